"""Tables by result, by locale and by method."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from merginguriel.utils.results.comparison import ALPHA, BASELINES, TESTED, Comparison
from merginguriel.utils.results.formatting import accuracy, gain, p_value

# The files have said "overall" for the best of all models since the first published ones.
IN_FILES = {
    "native": "native",
    "best_source": "best_source",
    "best_zero_shot": "best_overall",
    "avg_zero_shot": "avg_zero_shot",
}
TITLES = {
    "native": "native",
    "best_source": "best source",
    "best_zero_shot": "best zero-shot",
    "avg_zero_shot": "average zero-shot",
}


@dataclass(frozen=True)
class Aggregate:
    """All that the files are made from; `long` has the results that were asked for."""

    long: pd.DataFrame
    comparison: Comparison
    summary: pd.DataFrame
    with_baselines: bool = True

    @property
    def frame(self) -> pd.DataFrame:
        return self.comparison.frame


# Tables


def aggregated(results: Aggregate) -> pd.DataFrame:
    """A row a result of the results folder, cells of N×N left out; baselines beside merges and ensembles."""
    rows = results.long[results.long.kind != "nxn"]
    is_single = rows.sources.isna()
    table = pd.DataFrame(
        {
            "locale": rows.locale,
            "experiment_type": rows.method.replace("native", "baseline"),
            "experiment_variant": rows.variant.replace("native", "baseline"),
            "folder_name": rows.folder.map(lambda folder: Path(folder).name),
            "accuracy": rows.accuracy,
            "correct_predictions": rows.correct,
            "total_predictions": rows.total,
            "error_rate": 1 - rows.accuracy,
            "model_name": rows.model,
            "subfolder": rows.subfolder,
            "timestamp": rows.timestamp,
            "target_lang": rows.target,
            "source_languages": rows.sources.where(
                is_single, rows.sources[~is_single].map(lambda sources: json.dumps(list(json.loads(sources))))
            ),
            "weights": rows.sources,
            "merge_mode": rows.method.where(rows.kind.isin(("merge", "ensemble"))),
            "num_languages": rows.num_sources,
            "merge_timestamp": rows.merge_timestamp,
        }
    )
    if results.with_baselines:
        beside = results.frame.set_index("folder")
        for column, name in (
            ("best_source_accuracy", "best_source_accuracy"),
            ("best_source_language", "best_source"),
            ("best_overall_accuracy", "best_zero_shot_accuracy"),
            ("best_overall_language", "best_zero_shot"),
            ("avg_zero_shot_accuracy", "avg_zero_shot_accuracy"),
            ("native_accuracy", "native_accuracy"),
        ):
            table[column] = rows.folder.map(beside[name])
    more = [
        "kind",
        "selection",
        "include_target",
        "seed",
        "base_model",
        "settings",
        "split",
        "macro_f1",
        "ci_low",
        "ci_high",
        "folder",
        "git_commit",
    ]
    return table.join(rows[more]).sort_values(["experiment_variant", "locale", "folder"], ignore_index=True)


def compared(results: Aggregate, *, comprehensive: bool) -> pd.DataFrame:
    """A row a locale, a column a variant, each against its own best source, the best zero-shot and the native model.

    `best_source_accuracy` of a locale is the best of the sources that any of its variants used. `comprehensive` adds,
    for each variant, its own best source, the average zero-shot and the p values.
    """
    frame = results.frame
    table = frame.pivot(index="locale", columns="variant", values="accuracy").sort_index(axis=1)
    variants = list(table.columns)
    by_variant = {
        name: frame.pivot(index="locale", columns="variant", values=name)
        for name in frame.columns
        if name.startswith(("vs_", "p_", "best_source"))
    }
    natives = results.long[results.long.kind == "native"].groupby("locale").accuracy.agg(only_value)
    table = table.reindex(sorted({*table.index, *natives.index}))
    table.insert(0, "baseline", natives.reindex(table.index))
    if results.with_baselines:
        of_locale = frame.groupby("locale")
        table["baseline"] = table.baseline.fillna(of_locale.native_accuracy.agg(only_value))
        table["best_source_accuracy"] = of_locale.best_source_accuracy.max()
        table["best_overall_accuracy"] = of_locale.best_zero_shot_accuracy.agg(only_value)
        if comprehensive:
            table["avg_zero_shot_accuracy"] = of_locale.avg_zero_shot_accuracy.agg(only_value)
        columns = {
            "improvement": "vs_native",
            "vs_best_source": "vs_best_source",
            "vs_best_overall": "vs_best_zero_shot",
        }
        if comprehensive:
            columns |= {
                "vs_avg_zero_shot": "vs_avg_zero_shot",
                "best_source": "best_source",
                "best_source_accuracy": "best_source_accuracy",
            }
            columns |= {f"p_{IN_FILES[name]}_holm": f"p_{name}_holm" for name in TESTED}
        added = {
            f"{variant}_{title}": by_variant[name][variant] for title, name in columns.items() for variant in variants
        }
        table = pd.concat([table, pd.DataFrame(added, index=table.index)], axis=1)
    return table.rename_axis("locale").reset_index()


def only_value(values: pd.Series) -> float:
    """The one value that all have; NaN where they differ, as those of two base models do."""
    distinct = values.dropna().unique()
    return distinct[0] if len(distinct) == 1 else np.nan


# For people

METHOD_HEADER = [
    "method",
    "locales",
    "accuracy",
    *(f"vs {TITLES[name]} (95 % interval)" for name in BASELINES),
    "wins over best source",
    "p (Holm)",
]


def method_rows(summary: pd.DataFrame) -> list[list[str]]:
    """A row a variant for METHOD_HEADER: means over its locales; wins and Wilcoxon's p are against the best source."""
    rows = []
    for variant, group in summary.groupby("variant", sort=False):
        by_baseline = {row.baseline: row for row in group.itertuples()}
        first = by_baseline["best_source"]
        rows.append(
            [
                variant,
                str(first.locales),
                accuracy(first.mean_accuracy),
                *(gain(by_baseline[name], first.locales) for name in BASELINES),
                f"{first.wins}/{first.compared}" if first.compared else "",
                p_value(first.p_wilcoxon_holm),
            ]
        )
    return rows


def locale_table(results: Aggregate) -> tuple[list[str], list[list[str]]]:
    """(header, a row a locale): every variant's accuracy between the baselines'; † is better, ‡ worse than its own best
    source with Holm's p below ALPHA."""
    table = compared(results, comprehensive=True)
    variants = sorted(results.frame.variant.unique())
    baselines = {
        "baseline": "native",
        "best_overall_accuracy": "best zero-shot",
        "avg_zero_shot_accuracy": "average zero-shot",
    }
    baselines = {name: title for name, title in baselines.items() if name in table and table[name].notna().any()}

    def mark(row, variant) -> str:
        if row.get(f"{variant}_p_best_source_holm", 1.0) < ALPHA:
            return "†" if row[f"{variant}_vs_best_source"] > 0 else "‡"
        return ""

    rows = [
        [
            row["locale"],
            *(accuracy(row[name]) for name in baselines),
            *(accuracy(row[variant]) + mark(row, variant) for variant in variants),
        ]
        for _, row in table.iterrows()
    ]
    return ["locale", *baselines.values(), *variants], rows


CAPTION = (
    "Differences to the baselines are in points, with bootstrap intervals of the items, by id. Wins and "
    "Wilcoxon's p, adjusted by Holm, are against the best source."
)
