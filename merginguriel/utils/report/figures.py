"""Which pictures the tables of aggregation give, each with its name and what it shows; drawn only when asked for."""

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from merginguriel.utils.data import massive
from merginguriel.utils.evaluation import predictions, statistics
from merginguriel.utils.report import heatmaps, plots, relation_plots, row_plots
from merginguriel.utils.report.findings import many
from merginguriel.utils.report.material import Material
from merginguriel.utils.results.comparison import ALPHA, BASELINES, TESTED
from merginguriel.utils.results.tables import TITLES, only_value

# What plot_results.py and quick_plot.py offer.
KINDS = {
    "accuracy": "accuracy of each method beside its baselines, locale by locale",
    "win_rate": "gain of each method over each baseline, locale by locale, and locales won and lost",
    "heatmap": "gains by locale and method, measured transfer and similarity, by language family",
    "summary": "ranking, critical differences, gain by number of sources, similarity against transfer, intents",
}
DIFFERENCES = {"vs_avg_zero": "avg_zero_shot", "vs_best_zero": "best_zero_shot", "vs_best_source": "best_source"}
FEWEST_RANKED = 5  # locales below which ranks say nothing
GAIN = "points of accuracy against the best source"


@dataclass(frozen=True)
class Picture:
    """`name`: stem of its file; `shows`: its caption; `draw()` gives the Figure."""

    name: str
    kind: str
    shows: str
    draw: Callable


def write(material: Material, kinds, folder: Path, time: str, formats=("png",)) -> list[str]:
    """Draw every picture of these kinds into `folder`, as <name>_<time>.<format>; returns their names."""
    from tqdm import tqdm

    # Methods of tables may be called anything.
    drawn = {re.sub(r"[^\w.=,-]+", ".", picture.name): picture for picture in pictures(material, kinds)}
    for name, picture in tqdm(drawn.items(), desc="drawing", leave=False, disable=None):
        figure = picture.draw()
        for suffix in formats:
            plots.save(figure, folder / f"{name}_{time}.{suffix}")
    return list(drawn)


def pictures(material: Material, kinds=tuple(KINDS)) -> Iterator[Picture]:
    """Every picture of these kinds for which the material has something to show."""
    found = itertools.chain(
        _of_methods(material), _of_gains(material), _of_matrices(material), _of_ranks(material), _of_intents(material)
    )
    return (picture for picture in found if picture.kind in kinds)


# A picture a method


def _of_methods(material: Material) -> Iterator[Picture]:
    for variant, rows in material.comparison.frame.groupby("variant", sort=True):
        title = material.titles[variant]
        yield Picture(
            f"pure_scores_{title}",
            "accuracy",
            f"Accuracy of {title} on each locale, beside four baselines.",
            functools.partial(_scores, rows, title),
        )
        for name, baseline in DIFFERENCES.items():
            if rows[f"vs_{baseline}"].notna().any():
                yield Picture(
                    f"{name}_{title}",
                    "win_rate",
                    f"{title} against the {TITLES[baseline]}, in points of "
                    f"accuracy, with 95 % intervals; a star marks p < {ALPHA} after Holm's adjustment.",
                    functools.partial(_differences, material, rows, title, baseline),
                )


def _scores(rows, title: str):
    baselines = {TITLES[name]: rows[f"{name}_accuracy"] for name in ("native", *DIFFERENCES.values())}
    return row_plots.scores(
        list(rows["locale"]), rows["accuracy"], baselines, method=title, title=f"{title}: accuracy beside the baselines"
    )


def _differences(material: Material, rows, title: str, baseline: str):
    intervals = np.array([material.interval(row, baseline) for row in rows.index])
    significant = rows[f"p_{baseline}_holm"] < ALPHA if baseline in TESTED else np.zeros(len(rows), bool)
    return row_plots.differences(
        list(rows["locale"]),
        100 * rows[f"vs_{baseline}"],
        intervals=100 * intervals,
        significant=np.asarray(significant),
        label="points of accuracy",
        title=f"{title} against the {TITLES[baseline]}",
    )


# All methods


def _of_gains(material: Material) -> Iterator[Picture]:
    frame, titles = material.comparison.frame, material.titles
    summary = material.summary[material.summary["compared"] > 0]
    if not len(summary):
        return
    of_locales = frame["locale"].nunique()
    if of_locales > 1:
        yield Picture(
            "win_rates",
            "win_rate",
            "Share of locales on which each method is better and worse than a baseline.",
            functools.partial(_win_rates, summary, titles),
        )
    against = summary[summary["baseline"] == "best_source"]
    if not len(against):
        return
    if of_locales > 1 and len(titles) > 1:
        yield Picture(
            "gains",
            "heatmap",
            f"{GAIN.capitalize()}, by locale and method; a dot marks p < {ALPHA} after Holm's adjustment.",
            functools.partial(_gains, frame, titles),
        )
    yield Picture(
        "ranking",
        "summary",
        f"{GAIN.capitalize()}, mean over locales (their number in parentheses) with "
        "its 95 % interval; hollow where the interval holds 0.",
        functools.partial(_ranking, against, titles),
    )
    series = _by_sources(against)
    if series:
        yield Picture(
            "gain_by_sources",
            "summary",
            "Mean gain by number of sources, a panel a method, others faint.",
            functools.partial(
                relation_plots.gain_by_sources,
                series,
                title="Gain by number of sources",
                label="points against the\nbest source",
            ),
        )


def _win_rates(summary, titles):
    methods = list(dict.fromkeys(summary["variant"]))
    outcomes = {}
    for baseline in BASELINES:
        rows = summary[summary["baseline"] == baseline].set_index("variant")
        if len(rows):
            counts = rows[["wins", "ties", "losses"]].reindex(methods).fillna(0)
            outcomes[TITLES[baseline]] = counts.to_numpy(int)
    return row_plots.win_rates([titles[method] for method in methods], outcomes, title="Locales won and lost")


def _gains(frame, titles):
    best_first = frame.groupby("variant")["vs_best_source"].mean().sort_values(ascending=False).index
    table = frame.pivot(index="locale", columns="variant", values="vs_best_source")[best_first]
    p_values = frame.pivot(index="locale", columns="variant", values="p_best_source_holm")[best_first]
    return heatmaps.heatmap(
        100 * table.to_numpy(float),
        list(table.index),
        [titles[name] for name in best_first],
        label=GAIN,
        row_title="target",
        column_title="method",
        signed=True,
        number="{:+.1f}",
        marked=(p_values < ALPHA).to_numpy(),
    )


def _ranking(against, titles):
    return row_plots.ranking(
        [titles[variant] for variant in against["variant"]],
        100 * against["mean_gain"],
        100 * against[["gain_low", "gain_high"]],
        label=GAIN,
        counts=list(against["compared"]),
        title="Methods by their mean gain",
    )


def _by_sources(against) -> dict[str, np.ndarray]:
    """Method -> (points, 4) of those measured with several numbers of sources: number, mean, low, high in points."""
    series = {}
    for number, row in zip(against["num_sources"], against.to_dict("records")):
        if number == number and number is not None:  # not NaN
            method = row["variant"].removeprefix("ensemble_").replace(f"_{int(number)}lang", "", 1)
            series.setdefault(method, []).append(
                [number, *(100 * row[name] for name in ("mean_gain", "gain_low", "gain_high"))]
            )
    return {method: np.array(sorted(points), float) for method, points in sorted(series.items()) if len(points) > 1}


# Matrices


def _of_matrices(material: Material) -> Iterator[Picture]:
    transfer, similarity = material.transfer, material.similarity
    if transfer and min(transfer.values.shape) > 1:
        yield Picture(
            "transfer",
            "heatmap",
            "Accuracy of each model (rows) on each locale (columns), by language "
            "family; a square marks a model on its own language.",
            functools.partial(
                heatmaps.heatmap,
                transfer.values,
                transfer.sources,
                transfer.targets,
                label="accuracy",
                row_title="model of",
                column_title="evaluated on",
            ),
        )
    if similarity:
        yield Picture(
            "similarity",
            "heatmap",
            "Similarity of languages, by family.",
            functools.partial(
                heatmaps.heatmap,
                similarity.values,
                similarity.locales,
                similarity.locales,
                label="similarity",
                row_title="target",
                column_title="source",
            ),
        )
    if transfer and similarity:
        alike, measured, sources, targets = _of_other_languages(transfer, similarity)
        known = ~np.isnan(relation_plots.rank_correlations(alike, measured))
        if known.sum() > 1:
            yield Picture(
                "similarity_and_transfer",
                "summary",
                "Similarity of a source to its target, against the "
                "accuracy of its model there. Right: rank correlation over the sources of each target.",
                functools.partial(
                    relation_plots.similarity_against_transfer,
                    alike[:, known],
                    measured[:, known],
                    list(itertools.compress(targets, known)),
                    sources,
                    similarity_label="similarity of source and target",
                    title="Similarity and measured transfer",
                ),
            )


def _of_other_languages(transfer, similarity) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """(similarity, transfer, sources, targets) of the locales in both; the two (sources, targets), NaN on the own."""
    sources = [source for source in transfer.sources if source in similarity.locales]
    targets = [target for target in transfer.targets if target in similarity.locales]
    alike = similarity.values[
        np.ix_(
            [similarity.locales.index(target) for target in targets],
            [similarity.locales.index(source) for source in sources],
        )
    ].T
    measured = transfer.values[
        np.ix_(
            [transfer.sources.index(source) for source in sources],
            [transfer.targets.index(target) for target in targets],
        )
    ]
    own = np.array(sources)[:, None] == np.array(targets)
    return np.where(own, np.nan, alike), np.where(own, np.nan, measured), sources, targets


# Ranks


def _of_ranks(material: Material) -> Iterator[Picture]:
    table = material.comparison.frame.pivot(index="locale", columns="variant", values="accuracy")
    table = table[table.columns[table.notna().sum() == table.notna().sum().max()]].dropna()
    if len(table) >= FEWEST_RANKED and table.shape[1] > 1:
        yield Picture(
            "critical_difference",
            "summary",
            f"Mean ranks over {len(table)} locales; a bar joins methods "
            f"that Nemenyi's test does not tell apart (α = {ALPHA}).",
            functools.partial(_critical_difference, table, material.titles),
        )


def _critical_difference(table, titles):
    distance = statistics.nemenyi_distance(table.shape[1], len(table))
    return relation_plots.critical_difference(
        [titles[variant] for variant in table],
        statistics.mean_ranks(table),
        distance,
        title=f"Mean ranks over {len(table)} locales, 1 is best",
    )


# Intents


def _of_intents(material: Material) -> Iterator[Picture]:
    differences = material.comparison.differences
    for variant, rows in material.comparison.frame.groupby("variant", sort=True):
        rows = rows[
            [
                (row, "best_source") in differences and (Path(folder) / predictions.PREDICTIONS).is_file()
                for row, folder in rows["folder"].items()
            ]
        ]
        if len(rows):
            title = material.titles[variant]
            yield Picture(
                f"intents_{title}",
                "summary",
                f"Accuracy of {title} by intent, mean over {many(len(rows), 'locale')}.",
                functools.partial(_intents, rows, differences, title),
            )


def _intents(rows, differences, title: str):
    own, best = zip(*(_by_intent(folder, differences[row, "best_source"]) for row, folder in rows["folder"].items()))
    return row_plots.intents(
        massive.INTENTS,
        np.array(own),
        np.array(best),
        method=title,
        baseline_name=TITLES["best_source"],
        title=f"{title}: accuracy by intent",
    )


def _by_intent(folder: str, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(intents,) accuracy of a result and of its best source; `difference` is right minus right, by sorted ids."""
    kept = predictions.read_predictions(Path(folder) / predictions.PREDICTIONS, ("ids", "labels", "predictions"))
    order = np.argsort(kept["ids"])
    gold, right = kept["labels"][order], (kept["predictions"] == kept["labels"])[order]
    counts = np.bincount(gold, minlength=len(massive.INTENTS)).astype(float)
    counts[counts == 0] = np.nan
    own, best = (np.bincount(gold, weights=values, minlength=len(counts)) for values in (right, right - difference))
    return own / counts, best / counts


# A table


def advanced_summary(frame):
    """A row a locale: the baselines, then of every method its accuracy, its sources and its gain over each baseline."""
    import pandas as pd

    by_locale = frame.groupby("locale")
    columns = {"baseline": "native", "avg_zero_shot": "avg_zero_shot", "best_zero_shot": "best_zero_shot"}
    wide = pd.DataFrame({column: by_locale[f"{name}_accuracy"].agg(only_value) for column, name in columns.items()})
    parts = [wide.round(6)]
    for variant, rows in frame.groupby("variant", sort=True):
        rows = rows.set_index("locale")
        sources = rows["sources"].map(lambda text: " ".join(json.loads(text)) if isinstance(text, str) else "")
        parts.append(
            pd.DataFrame(
                {
                    variant: rows["accuracy"],
                    f"{variant}_vs_avg_zero": rows["vs_avg_zero_shot"],
                    f"{variant}_vs_best_zero": rows["vs_best_zero_shot"],
                    f"{variant}_vs_best_source": rows["vs_best_source"],
                    f"{variant}_best_source": rows["best_source"],
                    f"{variant}_best_source_accuracy": rows["best_source_accuracy"],
                    f"{variant}_num_languages": rows["num_sources"],
                    f"{variant}_source_locales": sources,
                }
            ).round(6)
        )
    return pd.concat(parts, axis=1).rename_axis("locale").reset_index()
