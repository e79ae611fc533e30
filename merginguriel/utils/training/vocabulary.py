"""Training with the part of the vocabulary that the texts use; the other embeddings would not move anyway.

A row of the embeddings whose token never occurs has gradient 0, so Adam without weight decay leaves it as it is, and
leaving it out changes nothing but the cost. Of XLM-R base's 278 M parameters 192 M are embeddings, and a language's
texts use a few in a hundred of their rows.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


def can_be_trimmed(model: Any) -> bool:
    """Whether nothing but plain input embeddings knows the vocabulary.

    A class of its own may scale what it looks up, a bound on the norm changes the rows that it looks up, and what else
    has a row a token (tied output embeddings, tables of hashes, embeddings of each layer) would need to be cut as well.
    """
    embeddings = model.get_input_embeddings()
    plain = type(embeddings) is torch.nn.Embedding and embeddings.max_norm is None
    if not plain or embeddings.num_embeddings != getattr(model.config, "vocab_size", None):
        return False
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return sum(embeddings.num_embeddings in values.shape for _, values in tensors) == 1


class TrimmedVocabulary:
    """Puts the rows of `model`'s input embeddings that `texts` use in place of all; it must be one that allows that.

    `texts`: token ids, of everything that the model will see until `restore`. Ids up to the last that the configuration
    names are kept, so that padding, and whatever else the model's code looks for, keeps its id.
    """

    def __init__(self, model: Any, texts: Iterable[list[int]]):
        self._model, self._whole = model, model.get_input_embeddings()
        special = _special_ids(model.config, self._whole.num_embeddings)
        self._kept = np.union1d(np.arange(max(special, default=-1) + 1), np.concatenate([*map(np.array, texts)]))
        self._trained = torch.nn.Embedding.from_pretrained(
            self._whole.weight[torch.from_numpy(self._kept)].detach(),
            freeze=False,
            padding_idx=self._whole.padding_idx,
            scale_grad_by_freq=self._whole.scale_grad_by_freq,
            sparse=self._whole.sparse,
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


def _special_ids(config: Any, rows: int) -> list[int]:
    """The token ids that the configuration names, some of which may be of another vocabulary than its own."""
    named = [value for name, value in config.to_dict().items() if name.endswith("token_id")]
    ids = [each for value in named for each in (value if isinstance(value, list) else [value])]
    return [each for each in ids if isinstance(each, int) and 0 <= each < rows]
