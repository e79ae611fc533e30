"""The tables of the page: of methods, of locales, of all results."""

from functools import partial
from typing import Any

import pandas as pd

from merginguriel.utils.data.languages import language
from merginguriel.utils.evaluation.metrics import ACCURACY
from merginguriel.utils.report import html_cells
from merginguriel.utils.report.html_cells import Cell
from merginguriel.utils.report.html_tables import Column, controls, table
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.baselines import ALPHA
from merginguriel.utils.results.formatting import capitalised
from merginguriel.utils.results.pairs import said_item_test

VERDICTS = ("better by more than chance", "within chance", "worse by more than chance")
# Baselines beside the best source, as the tables call them.
AGAINST = {
    "best_zero_shot": "Against best zero-shot",
    "avg_zero_shot": "Against mean zero-shot",
    "native": "Against own model",
}
OF_ADAPTED = {"own_merge": "Against own merge", "vote": "Against vote of sources"}


def methods(data: ReportData) -> str:
    """A row a method, the largest mean gain over the best source first."""
    of, others = {name: rows.set_index("variant") for name, rows in data.summary.groupby("baseline")}, _others(data)
    against = of["best_source"].sort_values("mean_gain", ascending=False, kind="stable")
    against = against.assign(title=against.index.map(data.titles), **{name: of[name]["mean_gain"] for name in others})
    bounds = html_cells.bounds_of([*against["gain_low"], *against["gain_high"]])
    drawn = partial(html_cells.interval, bounds=bounds)
    columns = [
        Column("Method", html_cells.name, "title", decisive=True),
        Column(f"Mean {data.metric}", html_cells.number, "mean_score", decisive=True),
        Column("Against best source", html_cells.points, "mean_gain", decisive=True),
        Column("95 % interval", drawn, "mean_gain", "gain_low", "gain_high", decisive=True),
        Column("p (Wilcoxon, Holm)", html_cells.p_value, "p_wilcoxon_holm"),
        Column("Won : lost", html_cells.won_and_lost, "wins", "losses"),
        Column("by more than chance", html_cells.won_and_lost, "significant_wins", "significant_losses"),
        *(Column(title, html_cells.points, name) for name, title in others.items()),
        Column("Sources", html_cells.whole, "num_sources"),
        Column("Selection", html_cells.text, "selection"),
        Column("Locales", html_cells.whole, "locales"),
    ]
    return (
        f'<p class="note">Differences are points of {data.metric}, means over the locales that have both. <em>Best '
        "source</em>: the best, on these items, of the models that take part. <em>Best</em> and <em>mean "
        f"zero-shot</em>: of all models but the target's own. {_told_of_adapted(data)}<em>By more than chance</em>: "
        f"{said_item_test(data.comparison.metric)} on the same items, below {ALPHA} after Holm's adjustment for all "
        "results.</p>"
        + controls("table-methods", "methods")
        + table("table-methods", "Methods", columns, against.to_dict("records"))
    )


def locales(data: ReportData) -> str:
    """A row a locale: single models, and the best method."""
    best = _described(data).loc[data.frame.groupby("locale")["score"].idxmax()]
    columns = [
        Column("Locale", lambda locale: Cell(f'<a href="#locale-{locale}">{locale}</a>'), "locale", decisive=True),
        Column("Language", html_cells.text, "language"),
        Column("Family", html_cells.text, "family"),
        Column("Own model", html_cells.number, "native_score"),
        Column("Mean zero-shot", html_cells.number, "avg_zero_shot_score"),
        Column("Best zero-shot", html_cells.number, "best_zero_shot_score"),
        Column("its model", html_cells.text, "best_zero_shot"),
        Column("Best method", html_cells.name, "title", decisive=True),
        Column(capitalised(data.metric), html_cells.number, "score", decisive=True),
        Column("Best source", html_cells.text, "best_source"),
        Column("Gain", html_cells.points, "vs_best_source", decisive=True),
        Column(f"p ({data.item_test}, Holm)", html_cells.p_value, "p_best_source_holm"),
    ]
    rows = best.to_dict("records")
    return (
        '<p class="note">The best method of a locale is the best on these very items: a description, no way to '
        "choose one.</p>"
        + controls("table-locales", "locales", {"family": sorted(set(best["family"]))})
        + table("table-locales", "Locales", columns, rows, data={"family": "family"}, tall=True)
    )


def all_results(data: ReportData) -> str:
    """A row a result."""
    results = _described(data)
    columns = [
        Column("Method", html_cells.name, "title", decisive=True),
        Column("Locale", html_cells.text, "locale", decisive=True),
        Column("Family", html_cells.text, "family"),
        Column(capitalised(data.metric), html_cells.number, "score", decisive=True),
        *accuracy_beside(data),
        Column("Best source", html_cells.text, "best_source"),
        Column(f"its {data.metric}", html_cells.number, "best_source_score"),
        Column("Gain", html_cells.points, "vs_best_source", decisive=True),
        Column("p (Holm)", html_cells.p_value, "p_best_source_holm"),
        *(Column(title, html_cells.points, f"vs_{name}") for name, title in _others(data).items()),
    ]
    rows = [row | {"verdict": _verdict(row)} for row in results.to_dict("records")]
    filters = {"method": "title", "family": "family", "verdict": "verdict"}
    selects = {"method": sorted(data.titles.values()), "family": sorted(set(results["family"])), "verdict": VERDICTS}
    return controls("table-results", "results", selects) + table(
        "table-results", "All results", columns, rows, data=filters, tall=True
    )


def _others(data: ReportData) -> dict[str, str]:
    """The baselines beside the best source, as columns call them."""
    return AGAINST | of_adapted(data)


def of_adapted(data: ReportData) -> dict[str, str]:
    """Those of adapted models alone, where there are any."""
    return {name: title for name, title in OF_ADAPTED.items() if name in data.comparison.baselines}


def _told_of_adapted(data: ReportData) -> str:
    if not of_adapted(data):
        return ""
    return (
        "<em>Own merge</em>: the model before it was adapted, <em>vote of sources</em>: the soft vote of all that take "
        "part, with equal weights. "
    )


def accuracy_beside(data: ReportData) -> list[Column]:
    """Its column, where the metric is another one."""
    return [] if data.comparison.metric == ACCURACY else [Column("Accuracy", html_cells.number, "accuracy")]


def _described(data: ReportData) -> pd.DataFrame:
    """The rows of a comparison with the method's title, the language and its family."""
    languages = [language(locale) for locale in data.frame["locale"]]
    return data.frame.assign(
        title=data.frame["variant"].map(data.titles),
        language=[one.name for one in languages],
        family=[one.family or "unknown" for one in languages],
    )


def _verdict(row: dict[str, Any]) -> str:
    if pd.isna(row["p_best_source_holm"]):
        return ""
    better, within, worse = VERDICTS
    return within if row["p_best_source_holm"] >= ALPHA else better if row["vs_best_source"] > 0 else worse
