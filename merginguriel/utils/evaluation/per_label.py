"""Precision, recall and F1 of every label."""

import csv

from merginguriel.utils.evaluation.metrics import LabelScores, per_label
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.csv_cells import cell

PER_INTENT = "per_intent.csv"


def write_per_intent(evaluation: Evaluation) -> None:
    """per_intent.csv into the evaluation's folder; an empty cell where there is nothing to divide by."""
    with (
        atomic.beside(evaluation.folder / PER_INTENT) as partial,
        open(partial, "w", newline="", encoding="utf-8") as out,
    ):
        writer = csv.writer(out)
        writer.writerow(("intent", *LabelScores._fields[1:]))
        for name, row in _rows(evaluation):
            scores = (f"{score:.6f}" if score == score else "" for score in row[1:4])
            writer.writerow([cell(name), *scores, row.support])


def per_intent_table(evaluation: Evaluation) -> str:
    rows = _rows(evaluation)
    width = max(26, *(len(name) for name, _ in rows))
    lines = [f"{'label':<{width}}precision  recall      F1  support"]
    for name, row in rows:
        precision, recall, f1 = (f"{score:.4f}" if score == score else "-" for score in row[1:4])
        lines.append(f"{name:<{width}}{precision:>9}  {recall:>6}  {f1:>6}  {row.support:7}")
    return "\n".join(lines)


def _rows(evaluation: Evaluation) -> list[tuple[str, LabelScores]]:
    found = per_label(evaluation.predicted, evaluation.gold)
    return [(evaluation.label_names[row.label], row) for row in found]
