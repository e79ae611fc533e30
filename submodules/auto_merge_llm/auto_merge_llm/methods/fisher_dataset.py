"""Fisher merging on a dataset: the texts become one dataloader that all sources share; `fisher` does the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from auto_merge_llm.methods.fisher import Fisher


@dataclass(frozen=True)
class FisherDataset(Fisher):
    """`fisher` with the Fisher information of every source measured on the batches of `shared_dataloader`."""


def shared_dataloader(
    tokenizer: Any,
    texts: Sequence[str | tuple[str, str]],
    labels: Sequence[int],
    *,
    batch_size: int = 16,
    max_length: int = 128,
    shuffle_seed: int | None = None,
    pad_id: int | None = None,
) -> DataLoader[dict[str, torch.Tensor]]:
    """Batches of `input_ids`, `attention_mask` (n, t) and `labels` (n,): every text once, the last batch trimmed.

    Of pairs of texts also `token_type_ids` (n, t), where the tokenizer has them.

    Texts of similar length share a batch, which is padded to its own longest text; `shuffle_seed` shuffles them
    instead, anew in each pass. `pad_id` is the model's padding, by default the tokenizer's. The order depends on the
    texts alone, so all sources see the same batches. For another corpus, give its texts here.
    """
    padding = {"input_ids": tokenizer.pad_token_id if pad_id is None else pad_id, "token_type_ids": 0}
    pairs = len(texts) > 0 and not isinstance(texts[0], str)
    sides = [list(side) for side in zip(*texts)] if pairs else [list(texts)]
    encoded = tokenizer(*sides, truncation=True, max_length=max_length)
    inputs = ["input_ids", *(["token_type_ids"] if pairs and "token_type_ids" in encoded else [])]
    items = [{**{name: encoded[name][row] for name in inputs}, "labels": label} for row, label in enumerate(labels)]
    if shuffle_seed is None:
        items.sort(key=lambda item: len(item["input_ids"]))

    def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = {name: [torch.tensor(item[name], dtype=torch.long) for item in batch] for name in inputs}
        padded = {
            name: pad_sequence(values, batch_first=True, padding_value=padding[name]) for name, values in rows.items()
        }
        return {
            **padded,
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows["input_ids"]], batch_first=True),
            "labels": torch.tensor([item["labels"] for item in batch]),
        }

    generator = None if shuffle_seed is None else torch.Generator().manual_seed(shuffle_seed)
    return DataLoader(
        items,  # type: ignore[arg-type]  # A list is as good as a Dataset.
        batch_size,
        shuffle=generator is not None,
        generator=generator,
        collate_fn=collate,
    )


METHOD = FisherDataset
