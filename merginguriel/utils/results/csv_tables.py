"""Tables for programs: a row a result, or a row a locale with columns of every variant."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from merginguriel.utils.results.baselines import BASELINES, TESTED
from merginguriel.utils.results.comparison import Comparison

# Columns of the tables by locale, after a variant's name -> of the comparison.
OF_VARIANT = {"improvement": "vs_native", "vs_best_source": "vs_best_source", "vs_best_overall": "vs_best_zero_shot"}
OF_VARIANT_COMPREHENSIVE = (
    OF_VARIANT
    | {name: name for name in ("vs_avg_zero_shot", "best_source", "best_source_accuracy")}
    | {f"p_{BASELINES[name].in_files}_holm": f"p_{name}_holm" for name in TESTED}
)
# Columns of a comparison -> of the table of pictures, after a variant's name.
OF_METHOD = {
    "accuracy": "",
    "vs_avg_zero_shot": "_vs_avg_zero",
    "vs_best_zero_shot": "_vs_best_zero",
    "vs_best_source": "_vs_best_source",
    "best_source": "_best_source",
    "best_source_accuracy": "_best_source_accuracy",
    "num_sources": "_num_languages",
    "sources": "_source_locales",
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


def aggregated(results: Aggregate) -> pd.DataFrame:
    """A row a result of the results folder, cells of N×N left out; baselines beside merges and ensembles."""
    rows = results.long[results.long.kind != "nxn"]
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
            "source_languages": rows.sources.map(lambda text: json.dumps(list(json.loads(text))), na_action="ignore"),
            "weights": rows.sources,
            "merge_mode": rows.method.where(rows.kind.isin(("merge", "ensemble"))),
            "num_languages": rows.num_sources,
            "merge_timestamp": rows.merge_timestamp,
        }
    )
    if results.with_baselines:
        beside = results.frame.set_index("folder")
        for name, baseline in BASELINES.items():
            table[f"{baseline.in_files}_accuracy"] = rows.folder.map(beside[f"{name}_accuracy"])
            if name in beside:
                table[f"{baseline.in_files}_language"] = rows.folder.map(beside[name])
    identity = ["kind", "selection", "include_target", "seed", "base_model", "settings", "split"]
    more = rows[[*identity, "macro_f1", "ci_low", "ci_high", "folder", "git_commit"]]
    return table.join(more).sort_values(["experiment_variant", "locale", "folder"], ignore_index=True)


def compared(results: Aggregate, *, comprehensive: bool) -> pd.DataFrame:
    """A row a locale, a column a variant, each against its own best source, the best zero-shot and the native model.

    `best_source_accuracy` of a locale is the best of the sources that any of its variants used. `comprehensive` adds,
    for each variant, its own best source, the average zero-shot and the p values.
    """
    frame, of_locale = results.frame, results.frame.groupby("locale")
    table = frame.pivot(index="locale", columns="variant", values="accuracy").sort_index(axis=1)
    variants = list(table.columns)
    natives = results.long[results.long.kind == "native"].groupby("locale").accuracy.agg(only_value)
    table = table.reindex(sorted({*table.index, *natives.index}))
    table.insert(0, "baseline", natives.reindex(table.index))
    if results.with_baselines:
        table["baseline"] = table.baseline.fillna(of_locale.native_accuracy.agg(only_value))
        table["best_source_accuracy"] = of_locale.best_source_accuracy.max()
        table["best_overall_accuracy"] = of_locale.best_zero_shot_accuracy.agg(only_value)
        if comprehensive:
            table["avg_zero_shot_accuracy"] = of_locale.avg_zero_shot_accuracy.agg(only_value)
        wide = [table]
        for title, name in (OF_VARIANT_COMPREHENSIVE if comprehensive else OF_VARIANT).items():
            by_variant = frame.pivot(index="locale", columns="variant", values=name)[variants]
            wide.append(by_variant.add_suffix(f"_{title}"))
        table = pd.concat(wide, axis=1)
    return table.rename_axis("locale").reset_index()


def only_value(values: pd.Series) -> float:
    """The one value that all have; NaN where they differ, as those of two base models do."""
    distinct = values.dropna().unique()
    return distinct[0] if len(distinct) == 1 else np.nan


def advanced_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a locale: the baselines, then of every method its accuracy, its gain over each baseline, its sources."""
    by_locale = frame.groupby("locale")
    columns = {"baseline": "native", "avg_zero_shot": "avg_zero_shot", "best_zero_shot": "best_zero_shot"}
    wide = [pd.DataFrame({column: by_locale[f"{name}_accuracy"].agg(only_value) for column, name in columns.items()})]
    sources = frame["sources"].map(lambda text: " ".join(json.loads(text)) if isinstance(text, str) else "")
    for variant, rows in frame.assign(sources=sources).set_index("locale").groupby("variant", sort=True):
        wide.append(rows[list(OF_METHOD)].rename(columns=lambda name, variant=variant: variant + OF_METHOD[name]))
    return pd.concat([part.round(6) for part in wide], axis=1).rename_axis("locale").reset_index()
