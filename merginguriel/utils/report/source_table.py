"""The table of the models that were merged: how each does on its own language and on the others."""

import json

import numpy as np

from merginguriel.utils.data.languages import language
from merginguriel.utils.report import html_cells
from merginguriel.utils.report.html_tables import Column, table
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.formatting import capitalised
from merginguriel.utils.similarity.transfer import TransferMatrix


def sources(data: ReportData) -> str:
    """A row a source model, the largest mean transfer first; "" where none was measured by itself."""
    if data.transfer is None:
        return ""
    rows = rows_of(data.transfer, _uses(data))
    columns = [
        Column("Model of", html_cells.text, "source", decisive=True),
        Column("Language", html_cells.text, "language"),
        Column("On its own language", html_cells.number, "own", decisive=True),
        Column("Mean transfer", html_cells.number, "mean", decisive=True),
        Column("Best on", html_cells.whole, "best", decisive=True),
        Column("Locales", html_cells.whole, "locales"),
        Column("Took part in", html_cells.whole, "uses"),
    ]
    return (
        f'<p class="note">{capitalised(data.metric)} of each model by itself. <em>Mean transfer</em>: over the other '
        "locales that it was measured on. <em>Best on</em>: on how many of them no other model is better, that of the "
        "language itself aside. <em>Took part in</em>: how many results of this page.</p>"
        + table("table-sources", "Source models", columns, rows, tall=True)
    )


def rows_of(transfer: TransferMatrix, uses: dict[str, int]) -> list[dict]:
    """`uses`: source -> results that it took part in."""
    others = np.where(transfer.own_language, np.nan, transfer.values)
    known = ~np.isnan(others)
    # fmax leaves NaN out; a locale that no other model was measured on has no best.
    best = known & (others == np.fmax.reduce(others, axis=0))
    rows = []
    for place, source in enumerate(transfer.sources):
        own = transfer.targets.index(source) if source in transfer.targets else None
        there = known[place]
        rows.append(
            {
                "source": source,
                "language": language(source).name,
                "own": np.nan if own is None else transfer.values[place, own],
                "mean": others[place, there].mean() if there.any() else np.nan,
                "best": int(best[place].sum()) if there.any() else np.nan,
                "locales": int(there.sum()),
                "uses": uses.get(source, 0),
            }
        )
    return sorted(rows, key=lambda row: (np.isnan(row["mean"]), -np.nan_to_num(row["mean"]), row["source"]))


def _uses(data: ReportData) -> dict[str, int]:
    named = [name for told in data.frame["sources"].dropna() for name in json.loads(told)]
    return {name: named.count(name) for name in set(named)}
