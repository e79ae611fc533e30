"""Training with the part of the vocabulary that the texts use; the other embeddings would not move anyway.

A row of the embeddings whose token never occurs has gradient 0, so Adam without weight decay leaves it as it is, and
leaving it out changes nothing but the cost. Of XLM-R base's 278 M parameters 192 M are embeddings, and a language's
texts use a few in a hundred of their rows.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


class TrimmedVocabulary:
    """Puts the rows of `model`'s input embeddings that `texts` use in place of all.

    `texts`: token ids, of everything that the model will see until `restore`. Ids up to the padding's are kept, so that
    the padding keeps its id.
    """

    def __init__(self, model: Any, texts: Iterable[list[int]]):
        self._model, self._whole = model, model.get_input_embeddings()
        padding = model.config.pad_token_id
        self._kept = np.union1d(np.arange(padding + 1), np.concatenate([np.array(ids) for ids in texts]))
        self._trained = torch.nn.Embedding.from_pretrained(
            self._whole.weight[torch.from_numpy(self._kept)].detach(), freeze=False, padding_idx=padding
        )
        self._use(self._trained)

    def ids(self, whole_ids: list[int]) -> list[int]:
        """The trimmed model's token ids."""
        return np.searchsorted(self._kept, whole_ids).tolist()

    def restore(self) -> None:
        """Give the model its whole embeddings again, with what their used rows have become."""
        with torch.no_grad():
            self._whole.to(self._trained.weight.device)
            self._whole.weight[torch.from_numpy(self._kept)] = self._trained.weight
        self._use(self._whole)

    def _use(self, embeddings: torch.nn.Embedding) -> None:
        self._model.set_input_embeddings(embeddings)
        # Checkpoints can be loaded by what stands in them.
        self._model.config.vocab_size = embeddings.num_embeddings
