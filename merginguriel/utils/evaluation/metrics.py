"""The metrics: a function and a line for METRICS make a new one, which every result then tells."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from merginguriel.utils.data.massive import INTENTS


class IntentScores(NamedTuple):
    """One intent's precision, recall and F1; NaN where there is nothing to divide by."""

    intent: str
    precision: float
    recall: float
    f1: float
    support: int


def per_intent(predicted: np.ndarray, gold: np.ndarray) -> list[IntentScores]:
    """A row for every intent that occurs among gold labels or predictions, in the order of INTENTS."""
    rows = []
    for intent in np.union1d(gold, predicted):
        hits = int(((predicted == intent) & (gold == intent)).sum())
        support, said = int((gold == intent).sum()), int((predicted == intent).sum())
        rows.append(
            IntentScores(
                INTENTS[intent],
                hits / said if said else float("nan"),
                hits / support if support else float("nan"),
                2 * hits / (said + support),
                support,
            )
        )
    return rows


def macro_f1(predicted: np.ndarray, gold: np.ndarray) -> float:
    """Mean F1 over the intents that occur among gold labels or predictions."""
    return float(np.mean([row.f1 for row in per_intent(predicted, gold)]))


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
