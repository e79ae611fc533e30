"""What teachers say of texts, as labels: probabilities of the task's classes, (texts, classes)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# As they are kept, and so as they are used: a run that was stopped goes on with the same numbers.
KEPT = np.float16


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of `logits` as they are kept; 0 for a class that the model lacks, whose logit is -inf."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return (exponentials / exponentials.sum(-1, keepdims=True)).astype(KEPT)


def vote(opinions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean of probabilities, float64; the weights are scaled to sum to 1."""
    total = np.zeros(opinions[0].shape)
    for opinion, weight in zip(opinions, weights):
        total += weight / sum(weights) * opinion
    return total


def sharpened(mean: np.ndarray, power: float) -> np.ndarray:
    """`mean` to the `power`, each row scaled to sum to 1, float32; a row of zeros stays one, and teaches nothing."""
    raised = mean.astype(np.float64) ** power
    sums = raised.sum(-1, keepdims=True)
    return (raised / np.where(sums, sums, 1)).astype(np.float32)


def taught_by(voted: np.ndarray, before: np.ndarray | None, alone: bool = False) -> np.ndarray:
    """The teacher of a round: the vote, and as much the student of the round before, where there was one.

    `alone`: from the second round on, that student alone.
    """
    if before is None:
        return voted
    return before if alone else (voted + before) / 2


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the texts of which both say the same."""
    return float((one.argmax(-1) == other.argmax(-1)).mean())


def cross_entropy(
    model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
) -> Any:
    """Trainer's `compute_loss` for labels (batch, the model's classes) of floats: the mean over the batch."""
    outputs = model(**{name: values for name, values in inputs.items() if name != "labels"})
    loss = torch.nn.functional.cross_entropy(outputs.logits.float(), inputs["labels"])
    return (loss, outputs) if return_outputs else loss
