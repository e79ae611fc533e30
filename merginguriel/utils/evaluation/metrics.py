"""The metrics: a function and a line for METRICS make a new one, which every result then tells.

Each is computed from counts of every label, which add up over items, so that what a resampling draws again is counted
again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class LabelScores(NamedTuple):
    """One label's precision, recall and F1; NaN where there is nothing to divide by."""

    label: int
    precision: float
    recall: float
    f1: float
    support: int


def per_label(predicted: np.ndarray, gold: np.ndarray) -> list[LabelScores]:
    """A row for every label that occurs among gold labels or predictions, in their order."""
    rows = []
    for label in np.union1d(gold, predicted):
        hits = int(((predicted == label) & (gold == label)).sum())
        support, said = int((gold == label).sum()), int((predicted == label).sum())
        rows.append(
            LabelScores(
                int(label),
                hits / said if said else float("nan"),
                hits / support if support else float("nan"),
                2 * hits / (said + support),
                support,
            )
        )
    return rows


class Counts(NamedTuple):
    """Of each label, (..., labels): how many items are it and said to be it, are said to be it, are it."""

    hits: np.ndarray
    said: np.ndarray
    support: np.ndarray


def counts_of(predicted: np.ndarray, gold: np.ndarray) -> Counts:
    """Of predicted and gold labels, (items,) each: numbers from 0 on."""
    size = int(max(predicted.max(), gold.max())) + 1
    return Counts(*(np.bincount(labels, minlength=size) for labels in (gold[predicted == gold], predicted, gold)))


def accuracy(counts: Counts) -> np.ndarray:
    return counts.hits.sum(-1) / counts.support.sum(-1)


def macro_f1(counts: Counts) -> np.ndarray:
    """Mean F1 over the labels that occur among gold labels or predictions."""
    both = counts.said + counts.support
    return (2 * counts.hits / np.maximum(both, 1)).sum(-1) / (both > 0).sum(-1)


@dataclass(frozen=True)
class Metric:
    """`of_counts`: (..., labels) -> (...). `title`: for people. `meaning`: what it is, after "the".

    `hub_id`: what the Hub calls its kind, in the metadata of models.
    """

    of_counts: Callable[[Counts], np.ndarray]
    title: str
    meaning: str
    hub_id: str

    def __call__(self, predicted: np.ndarray, gold: np.ndarray) -> float:
        """Of predicted and gold labels, (items,) each."""
        return float(self.of_counts(counts_of(predicted, gold)))


# The metric of a task that names none, and the only one that is a mean over items: of a difference of it McNemar's test
# and the bootstrap of right answers tell what it is worth, of others what evaluation/resampling.py has.
ACCURACY = "accuracy"
METRICS = {
    ACCURACY: Metric(accuracy, "accuracy", "share of items that are right", "accuracy"),
    "macro_f1": Metric(macro_f1, "macro-F1", "mean F1 over the labels that occur", "f1"),
}


def measure_all(predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """Every metric, by name."""
    return {name: metric(predicted, gold) for name, metric in METRICS.items()}
