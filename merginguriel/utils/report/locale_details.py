"""Of each locale every method: its gain, its sources and weights, and how the number is made again."""

import json
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from pandas import isna

from merginguriel.utils.data.languages import language
from merginguriel.utils.report import html_cells
from merginguriel.utils.report.consensus_details import consensus_details
from merginguriel.utils.report.html_cells import EMPTY, Cell
from merginguriel.utils.report.html_tables import Column, table
from merginguriel.utils.report.page_tables import accuracy_beside, of_adapted
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results import formatting, reproduction
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON


def each_locale(data: ReportData) -> str:
    """A part a locale that opens, methods of the highest score first."""
    lows, highs = zip(*(data.interval(row, "best_source") for row in data.frame.index))
    frame = data.frame.assign(title=data.frame["variant"].map(data.titles), gain_low=lows, gain_high=highs)
    gain = partial(html_cells.interval, bounds=html_cells.bounds_of([*lows, *highs]))
    columns = [
        Column("Method", html_cells.name, "title", decisive=True),
        Column(formatting.capitalised(data.metric), html_cells.number, "score", decisive=True),
        Column("Gain", html_cells.points, "vs_best_source", decisive=True),
        Column("its 95 % interval", gain, "vs_best_source", "gain_low", "gain_high", decisive=True),
        Column(f"p ({data.item_test})", html_cells.p_value, "p_best_source"),
        Column("p (Holm)", html_cells.p_value, "p_best_source_holm"),
        *(Column(title, html_cells.points, f"vs_{name}") for name, title in of_adapted(data).items()),
        Column("Best source", html_cells.text, "best_source"),
        Column("Sources and weights", _sources, "sources", "best_source"),
        *accuracy_beside(data),
        Column("95 % interval of accuracy", _range, "ci_low", "ci_high"),
        Column("Command", _how, "folder", "git_commit", "seed", "timestamp"),
    ]
    parts = [
        '<p><button type="button" class="plain" data-all="open">Open all</button> '
        '<button type="button" class="plain" data-all="closed">Close all</button></p>'
    ]
    for locale, group in frame.groupby("locale"):
        rows = group.sort_values("score", ascending=False, kind="stable").to_dict("records")
        parts.append(
            f'<details class="locale" id="locale-{locale}"><summary>{_headline(rows[0])}</summary>'
            f'<p class="note">{_alone(rows[0])}</p>{consensus_details(locale, rows)}'
            f"{table(f'table-{locale}', f'Results on {locale}', columns, rows)}</details>"
        )
    return "\n".join(parts)


def _headline(best: dict[str, Any]) -> str:
    locale, gain, p = best["locale"], best["vs_best_source"], best["p_best_source_holm"]
    headline = f"<b>{escape(language(locale).name)}</b> {locale}: {escape(best['title'])} {best['score']:.4f}"
    if isna(gain):
        return headline
    chance = "" if isna(p) else f", p {escape(formatting.said_p(p))}"
    return f"{headline}, {html_cells.points(gain).html} against {escape(best['best_source'])}{chance}"


def _alone(row: dict[str, Any]) -> str:
    known = {
        "own model": row["native_score"],
        "mean of all others": row["avg_zero_shot_score"],
        f"best of all others ({row['best_zero_shot']})": row["best_zero_shot_score"],
    }
    told = [f"{name} {value:.4f}" for name, value in known.items() if not isna(value)]
    return escape(f"Single models: {', '.join(told)}.") if told else "No single model was measured on these items."


def _sources(sources: str | None, best_source: str | None) -> Cell:
    if not isinstance(sources, str):
        return EMPTY
    weights = json.loads(sources)
    equal = max(weights.values()) - min(weights.values()) < 1e-9
    names = [f"{escape(name)}{'' if equal else f'&nbsp;{100 * weight:.1f}&nbsp;%'}" for name, weight in weights.items()]
    names = [f"<b>{shown}</b>" if name == best_source else shown for name, shown in zip(weights, names)]
    return Cell(f'<div class="wide">{", ".join(names)}{", equally" if equal and len(names) > 1 else ""}</div>')


def _range(low: float, high: float) -> Cell:
    return Cell("" if isna(low) else f"{low:.3f} to {high:.3f}")


def _how(folder: str | None, commit: str | None, seed: int | None, evaluated: str | None) -> Cell:
    file = Path(folder) / RESULTS_JSON if isinstance(folder, str) else None
    command = reproduction.command_of(atomic.read_json(file)) if file and file.is_file() else None
    told = {"commit": commit, "seed": seed, "evaluated": evaluated, "kept in": folder}
    details = ", ".join(f"{name} {value}" for name, value in told.items() if not isna(value))
    shown = f"<code data-csv>{escape(command)}</code>" if command else "The result does not tell its command."
    return Cell(f'<details class="how"><summary>show</summary><div>{shown}<br>{escape(details)}</div></details>')
