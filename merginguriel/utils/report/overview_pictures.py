"""Pictures of all methods beside each other, and of all languages: gains, locales won, ranks, transfer, similarity."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from merginguriel.utils.evaluation import statistics
from merginguriel.utils.report import heatmaps, relation_plots, row_plots, tree_plot
from merginguriel.utils.report.plots import Picture
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.baselines import ALPHA, EVERY
from merginguriel.utils.results.formatting import capitalised, some
from merginguriel.utils.similarity.matrix import LanguageMatrix
from merginguriel.utils.similarity.transfer import TransferMatrix

FEWEST_RANKED = 5  # locales below which ranks say nothing
FEWEST_OF_TREE = 10  # locales


def gains(data: ReportData) -> Iterator[Picture]:
    """Locales won, and gains over the best source: by locale, on average, by number of sources."""
    frame, titles, gain = data.frame, data.titles, f"points of {data.metric} against the best source"
    summary = data.summary[data.summary["compared"] > 0]
    against = summary[summary["baseline"] == "best_source"]
    of_locales = frame["locale"].nunique()
    if of_locales > 1 and len(summary):
        shows = (
            "On how many locales each method is better than a baseline (the number, and blue on the left), equal, "
            "and worse (orange on the right)."
        )
        yield Picture("win_rates", "win_rate", shows, partial(_win_rates, summary, titles))
    if not len(against):
        return
    if of_locales > 1 and len(titles) > 1:
        shows = (
            f"{capitalised(gain)}, by locale and method: blue above 0, red below; a dot marks p < {ALPHA} after Holm's "
            "adjustment."
        )
        yield Picture("gains", "heatmap", shows, partial(_gains, frame, titles, gain))
    if len(against) > 1:
        yield _ranking(against, titles, gain)
    series = _by_sources(against)
    if series:
        panels = "a panel a method, the others faint behind it, " if len(series) > 1 else ""
        shows = f"Mean gain by number of sources, {panels}with 95 % intervals where items were kept."
        yield Picture("gain_by_sources", "summary", shows, partial(relation_plots.gain_by_sources, series))


def _ranking(against: pd.DataFrame, titles: dict[str, str], gain: str) -> Picture:
    means, intervals = 100 * against["mean_gain"], 100 * against[["gain_low", "gain_high"]]
    unknown = intervals.isna().to_numpy().any(axis=1)
    known = " with its 95 % interval: blue above 0, orange below, grey and hollow where the interval holds 0"
    bare = ", grey without a line where items were not kept" if unknown.any() else ""
    rest = "; items were not kept, so that there are no intervals" if unknown.all() else known + bare
    shows = f"{capitalised(gain)}, mean over locales (their number in parentheses){rest}."
    methods = [titles[variant] for variant in against["variant"]]
    told: dict[str, Any] = {"label": gain, "counts": list(against["compared"]), "title": "Methods by their mean gain"}
    return Picture("ranking", "summary", shows, partial(row_plots.ranking, methods, means, intervals, **told))


def gain_by_language(data: ReportData) -> Iterator[Picture]:
    """What the method of the largest mean gain gains on each language, on a tree of how alike they are."""
    if data.similarity is None:
        return
    rows = data.frame[data.frame["variant"] == data.best].set_index("locale")["vs_best_source"].dropna()
    alike = _of_both(data.similarity)
    among = [locale for locale in rows.index if locale in alike.index]
    if len(among) < FEWEST_OF_TREE:
        return
    title, absent = data.titles[data.best], sorted(set(rows.index) - set(among))
    without = f" Without {some(absent)}, whose similarity is unknown." if absent else ""
    shows = (
        f"Gain of {title} over the best of its sources on each target, in points of {data.metric}: blue above 0, brown "
        f"below. The tree joins languages that are alike; a branch has the colour of their mean gain.{without}"
    )
    draw = partial(
        tree_plot.tree,
        among,
        alike.loc[among, among].to_numpy(float),
        100 * rows[among].to_numpy(float),
        label="points against the best source",
    )
    yield Picture("tree", "summary", shows, draw)


def _of_both(similarity: LanguageMatrix) -> pd.DataFrame:
    """Of the languages that are sources and targets of it, without those that lack a cell."""
    table = pd.DataFrame(similarity.values, list(similarity.sources), list(similarity.targets))
    both = [name for name in table.index if name in table.columns]
    table = table.loc[both, both]
    while table.isna().to_numpy().any():
        table = table.drop(index=(worst := table.isna().sum().idxmax()), columns=worst)
    return table


def _win_rates(summary: pd.DataFrame, titles: dict[str, str]) -> Figure:
    methods = list(dict.fromkeys(summary["variant"]))
    outcomes = {}
    for baseline in EVERY:
        rows = summary[summary["baseline"] == baseline].set_index("variant")
        if len(rows):
            counts = rows[["wins", "ties", "losses"]].reindex(methods).fillna(0)
            outcomes[EVERY[baseline].title] = counts.to_numpy(int)
    return row_plots.win_rates([titles[method] for method in methods], outcomes)


def _gains(frame: pd.DataFrame, titles: dict[str, str], label: str) -> Figure:
    best_first = frame.groupby("variant")["vs_best_source"].mean().sort_values(ascending=False).index
    table, p_values = (
        frame.pivot(index="locale", columns="variant", values=name)[best_first]
        for name in ("vs_best_source", "p_best_source_holm")
    )
    return heatmaps.heatmap(
        100 * table.to_numpy(float),
        list(table.index),
        [titles[name] for name in best_first],
        label=label,
        row_title="target",
        column_title="method",
        signed=True,
        marked=(p_values < ALPHA).to_numpy(),
    )


def _by_sources(against: pd.DataFrame) -> dict[str, np.ndarray]:
    """Method -> (points, 4) of those measured with several numbers of sources: number, mean, low, high in points."""
    series: dict[str, list[list[float]]] = {}
    for row in against[against["num_sources"].notna()].to_dict("records"):
        number = int(row["num_sources"])
        method = row["variant"].removeprefix("ensemble_").replace(f"_{number}lang", "", 1)
        gain = (100 * row[name] for name in ("mean_gain", "gain_low", "gain_high"))
        series.setdefault(method, []).append([number, *gain])
    return {method: np.array(sorted(points), float) for method, points in sorted(series.items()) if len(points) > 1}


def ranks(data: ReportData) -> Iterator[Picture]:
    """Critical differences of the methods that have all of enough locales."""
    table = data.frame.pivot(index="locale", columns="variant", values="score")
    table = table[table.columns[table.notna().sum() == table.notna().sum().max()]].dropna()
    if len(table) >= FEWEST_RANKED and table.shape[1] > 1:
        shows = (
            f"Mean ranks over {len(table)} locales; a bar joins methods that Nemenyi's test does not tell apart "
            f"(α = {ALPHA})."
        )
        names, of_methods = [data.titles[variant] for variant in table], statistics.mean_ranks(table)
        distance = statistics.nemenyi_distance(len(names), len(table))
        title = f"Mean ranks over {len(table)} locales, 1 is best"
        draw = partial(relation_plots.critical_difference, names, of_methods, distance, title=title)
        yield Picture("critical_difference", "summary", shows, draw)


def transfer_and_similarity(data: ReportData) -> Iterator[Picture]:
    """The matrices that there are, and how well one tells the other."""
    transfer, similarity = data.transfer, data.similarity
    if transfer and min(transfer.values.shape) > 1:
        shows = (
            f"{capitalised(data.metric)} of each model (rows) on each locale (columns), by language family; a square "
            "marks a model on its own language."
        )
        yield Picture("transfer", "heatmap", shows, partial(heatmaps.transfer_heatmap, transfer, data.metric))
    if similarity and min(similarity.values.shape) > 1:
        titles: dict[str, Any] = {"label": "similarity", "row_title": "target", "column_title": "source"}
        draw = partial(heatmaps.heatmap, similarity.values.T, similarity.targets, similarity.sources, **titles)
        yield Picture("similarity", "heatmap", "Similarity of languages, by family.", draw)
    if transfer and similarity:
        alike, measured = _of_other_languages(similarity, transfer)
        known = ~np.isnan(relation_plots.rank_correlations(alike.to_numpy(), measured.to_numpy()))
        if known.sum() > 1:
            shows = (
                "Left: similarity of each source to each target, against how far its model is above the mean of all "
                f"sources on that target, in points of {data.metric}. Right: rank correlation of the two over the "
                "sources of each target."
            )
            compared = alike.loc[:, known], measured.loc[:, known]
            draw = partial(relation_plots.similarity_against_transfer, *compared, data.metric)
            yield Picture("similarity_and_transfer", "summary", shows, draw)


def _of_other_languages(similarity: LanguageMatrix, transfer: TransferMatrix) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with rows of sources and columns of targets, of the locales in both; NaN where they are the same."""
    alike = pd.DataFrame(similarity.values, list(similarity.sources), list(similarity.targets))
    measured = pd.DataFrame(transfer.values, list(transfer.sources), list(transfer.targets))
    measured, alike = measured.align(alike, join="inner")
    own = measured.index.to_numpy()[:, None] == measured.columns.to_numpy()
    return alike.mask(own), measured.mask(own)
