"""Precision, recall and F1 of every label."""

import csv

from merginguriel.utils.evaluation.metrics import IntentScores, per_intent
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.storage import atomic

PER_INTENT = "per_intent.csv"


def write_per_intent(evaluation: Evaluation) -> None:
    """per_intent.csv into the evaluation's folder; an empty cell where there is nothing to divide by."""
    with atomic.beside(evaluation.folder / PER_INTENT) as partial, open(partial, "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(IntentScores._fields)
        for row in per_intent(evaluation.predicted, evaluation.gold):
            writer.writerow(
                [row.intent, *(f"{score:.6f}" if score == score else "" for score in row[1:4]), row.support]
            )


def per_intent_table(evaluation: Evaluation) -> str:
    lines = [f"{'intent':<26}precision  recall      F1  support"]
    for row in per_intent(evaluation.predicted, evaluation.gold):
        precision, recall, f1 = (f"{score:.4f}" if score == score else "-" for score in row[1:4])
        lines.append(f"{row.intent:<26}{precision:>9}  {recall:>6}  {f1:>6}  {row.support:7}")
    return "\n".join(lines)
