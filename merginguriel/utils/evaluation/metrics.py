"""Metrics of predictions."""

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
