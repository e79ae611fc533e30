"""Pictures of all methods beside each other: gains, locales won, ranks."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from merginguriel.utils.evaluation import statistics
from merginguriel.utils.report import heatmaps, rank_plots, relation_plots, row_plots
from merginguriel.utils.report.picture import Picture
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.baselines import ALPHA, BASELINES, TITLES

FEWEST_RANKED = 5  # locales below which ranks say nothing
GAIN = "points of accuracy against the best source"


def gains(data: ReportData) -> Iterator[Picture]:
    """Locales won, and gains over the best source: by locale, on average, by number of sources."""
    frame, titles = data.frame, data.titles
    summary = data.summary[data.summary["compared"] > 0]
    against = summary[summary["baseline"] == "best_source"]
    of_locales = frame["locale"].nunique()
    if of_locales > 1 and len(summary):
        shows = "Share of locales on which each method is better and worse than a baseline."
        yield Picture("win_rates", "win_rate", shows, partial(_win_rates, summary, titles))
    if not len(against):
        return
    if of_locales > 1 and len(titles) > 1:
        shows = f"{GAIN.capitalize()}, by locale and method; a dot marks p < {ALPHA} after Holm's adjustment."
        yield Picture("gains", "heatmap", shows, partial(_gains, frame, titles))
    shows = (
        f"{GAIN.capitalize()}, mean over locales (their number in parentheses) with its 95 % interval; hollow where "
        "the interval holds 0."
    )
    yield Picture("ranking", "summary", shows, partial(_ranking, against, titles))
    series = _by_sources(against)
    if series:
        shows = "Mean gain by number of sources, a panel a method, others faint."
        yield Picture("gain_by_sources", "summary", shows, partial(relation_plots.gain_by_sources, series))


def _win_rates(summary: pd.DataFrame, titles: dict[str, str]) -> Figure:
    methods = list(dict.fromkeys(summary["variant"]))
    outcomes = {}
    for baseline in BASELINES:
        rows = summary[summary["baseline"] == baseline].set_index("variant")
        if len(rows):
            counts = rows[["wins", "ties", "losses"]].reindex(methods).fillna(0)
            outcomes[TITLES[baseline]] = counts.to_numpy(int)
    return row_plots.win_rates([titles[method] for method in methods], outcomes)


def _gains(frame: pd.DataFrame, titles: dict[str, str]) -> Figure:
    best_first = frame.groupby("variant")["vs_best_source"].mean().sort_values(ascending=False).index
    table, p_values = (
        frame.pivot(index="locale", columns="variant", values=name)[best_first]
        for name in ("vs_best_source", "p_best_source_holm")
    )
    return heatmaps.heatmap(
        100 * table.to_numpy(float),
        list(table.index),
        [titles[name] for name in best_first],
        label=GAIN,
        row_title="target",
        column_title="method",
        signed=True,
        marked=(p_values < ALPHA).to_numpy(),
    )


def _ranking(against: pd.DataFrame, titles: dict[str, str]) -> Figure:
    methods, counts = [titles[variant] for variant in against["variant"]], list(against["compared"])
    means, intervals = 100 * against["mean_gain"], 100 * against[["gain_low", "gain_high"]]
    return row_plots.ranking(methods, means, intervals, label=GAIN, counts=counts, title="Methods by their mean gain")


def _by_sources(against: pd.DataFrame) -> dict[str, np.ndarray]:
    """Method -> (points, 4) of those measured with several numbers of sources: number, mean, low, high in points."""
    series = {}
    for row in against[against["num_sources"].notna()].to_dict("records"):
        number = int(row["num_sources"])
        method = row["variant"].removeprefix("ensemble_").replace(f"_{number}lang", "", 1)
        gain = (100 * row[name] for name in ("mean_gain", "gain_low", "gain_high"))
        series.setdefault(method, []).append([number, *gain])
    return {method: np.array(sorted(points), float) for method, points in sorted(series.items()) if len(points) > 1}


def ranks(data: ReportData) -> Iterator[Picture]:
    """Critical differences of the methods that have all of enough locales."""
    table = data.frame.pivot(index="locale", columns="variant", values="accuracy")
    table = table[table.columns[table.notna().sum() == table.notna().sum().max()]].dropna()
    if len(table) >= FEWEST_RANKED and table.shape[1] > 1:
        shows = (
            f"Mean ranks over {len(table)} locales; a bar joins methods that Nemenyi's test does not tell apart "
            f"(α = {ALPHA})."
        )
        names = [data.titles[variant] for variant in table]
        yield Picture("critical_difference", "summary", shows, partial(_critical_difference, table, names))


def _critical_difference(table: pd.DataFrame, names: list[str]) -> Figure:
    distance = statistics.nemenyi_distance(table.shape[1], len(table))
    title = f"Mean ranks over {len(table)} locales, 1 is best"
    return rank_plots.critical_difference(names, statistics.mean_ranks(table), distance, title=title)
