"""Items as the batches of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Collator:
    """Rows of token ids, masks and labels as tensors (n, t) and (n,), filled up on the right as in scoring.

    Labels that are probabilities become (n, classes). `pad_id` is the model's, which some models look for. `multiple`:
    t is one of this number.
    """

    pad_id: int
    multiple: int = 1

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        width = -(-longest // self.multiple) * self.multiple
        batch = {"labels": torch.from_numpy(np.array([row["labels"] for row in rows]))}
        for name in rows[0].keys() - {"labels"}:
            filled = np.full((len(rows), width), self.pad_id if name == "input_ids" else 0)
            for place, row in enumerate(rows):
                filled[place, : len(row[name])] = row[name]
            batch[name] = torch.from_numpy(filled)
        return batch
