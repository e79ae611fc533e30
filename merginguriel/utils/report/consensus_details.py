"""Of a locale what the consensus of all models said of each: what it chose sources or weights by."""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from merginguriel.utils.report import html_cells
from merginguriel.utils.report.html_cells import Cell
from merginguriel.utils.report.html_tables import Column, table
from merginguriel.utils.report.plots import signed
from merginguriel.utils.results.formatting import many
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON


def consensus_details(locale: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A part that opens, of the first of a locale's results that tells a consensus; nothing where none does."""
    told = next((found for row in rows if _asked_models(row) and (found := _told(row["folder"]))), None)
    if told is None:
        return ""
    parts, texts = told["consensus"], told.get("texts") or {}
    asked = f"What chose: the consensus of {many(len(parts), 'model')} on {texts.get('count', 'some')} unlabelled texts"
    models = [{"model": name, **part} for name, part in parts.items()]
    models.sort(key=lambda one: (-one["score"], one["model"]))
    columns = [
        Column("Model", html_cells.text, "model", decisive=True),
        Column("Estimated accuracy", html_cells.number, "accuracy", decisive=True),
        Column("Similarity (cosine)", html_cells.number, "cosine"),
        Column("Score", _signed, "score", decisive=True),
    ]
    listed = table(f"consensus-{locale}", f"Consensus on {locale}", columns, models, tall=True)
    deserved = f"Beside it the similarity of languages counts {told.get('uriel_deserves', 0):.2f} times as much."
    return (
        f'<details class="how"><summary>{escape(asked)}</summary><p class="note">Accuracy is estimated without a '
        f"label. {deserved}</p>{listed}</details>"
    )


def _signed(score: float) -> Cell:
    return html_cells.number(score, partial(signed, digits=3))


def _asked_models(row: Mapping[str, Any]) -> bool:
    """Whether sources or weights of a result are by consensus; others need not be read."""
    return "consensus" in f"{row['selection']} {row['method']} {row['settings']}"


def _told(folder: Any) -> dict[str, Any] | None:
    file = Path(folder) / RESULTS_JSON if isinstance(folder, str) else None
    experiment = atomic.read_json(file).get("experiment") or {} if file and file.is_file() else {}
    similarity = experiment.get("similarity") or {}
    return similarity if similarity.get("consensus") else None
