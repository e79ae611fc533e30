"""The metrics: a function and a line for METRICS make a new one, which every result then tells."""

from collections.abc import Callable
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


def macro_f1(predicted: np.ndarray, gold: np.ndarray) -> float:
    """Mean F1 over the labels that occur among gold labels or predictions."""
    return float(np.mean([row.f1 for row in per_label(predicted, gold)]))


def accuracy(predicted: np.ndarray, gold: np.ndarray) -> float:
    return int((predicted == gold).sum()) / len(gold)


# Name -> what it computes of predicted and gold labels, (items,) each, and a line for people.
METRICS: dict[str, tuple[Callable[[np.ndarray, np.ndarray], float], str]] = {
    "accuracy": (accuracy, "share of items that are right"),
    "macro_f1": (macro_f1, "mean F1 over the labels that occur"),
}


def measure_all(predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """Every metric, by name."""
    return {name: metric(predicted, gold) for name, (metric, _) in METRICS.items()}
