"""Tables for programs: a row a result, or a row a locale with columns of every variant.

Columns of another metric than accuracy are called by it, as in best_source_macro_f1.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS
from merginguriel.utils.results.baselines import EVERY, OF_ADAPTED, TESTED, told_of
from merginguriel.utils.results.comparison import Comparison
from merginguriel.utils.results.identity import COMPARED

# Columns of the tables by locale, after a variant's name -> of the comparison.
OF_VARIANT = {"improvement": "vs_native", "vs_best_source": "vs_best_source", "vs_best_overall": "vs_best_zero_shot"}
OF_VARIANT |= {f"vs_{name}": f"vs_{name}" for name in OF_ADAPTED}

_OF_ADAPTED = [f"{what}_{name}{end}" for name in OF_ADAPTED for what, end in (("vs", ""), ("p", "_holm"))]


def of_variant_comprehensive(metric: str) -> dict[str, str]:
    """The same of the comprehensive table."""
    return (
        OF_VARIANT
        | {"vs_avg_zero_shot": "vs_avg_zero_shot", "best_source": "best_source"}
        | {f"best_source_{metric}": "best_source_score"}
        | {f"p_{EVERY[name].in_files}_holm": f"p_{name}_holm" for name in TESTED}
    )


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

    @property
    def metric(self) -> str:
        return self.comparison.metric


def gains(results: Aggregate) -> pd.DataFrame:
    """The table to open first: a row a target and variant, its score, and what it gained over each baseline."""
    told = results.comparison.baselines if results.with_baselines else []
    against = [[name, f"vs_{name}", f"p_{name}_holm"] for name in told]
    columns = [
        *("target", "method", "num_sources", "selection", "seed", "metric", "score", "ci_low", "ci_high", "total"),
        *(column for columns in against for column in columns if column in results.frame),
        *("variant", "folder"),
    ]
    order = results.frame.sort_values(["target", "score", "variant"], ascending=[True, False, True], ignore_index=True)
    shares = [name for name in columns if name.startswith(("score", "ci_", "vs_"))]
    return order[columns].round(dict.fromkeys(shares, 6)).rename(columns={"total": "items"})


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
            "merge_mode": rows.method.where(rows.kind.isin(COMPARED)),
            "num_languages": rows.num_sources,
            "merge_timestamp": rows.merge_timestamp,
        }
    )
    if results.with_baselines:
        beside = results.frame.set_index("folder")
        for name in results.comparison.baselines:
            baseline = EVERY[name]
            table[f"{baseline.in_files}_{results.metric}"] = rows.folder.map(beside[f"{name}_score"])
            if name in beside:
                table[f"{baseline.in_files}_language"] = rows.folder.map(beside[name])
    identity = ["kind", "selection", "include_target", "seed", "base_model", "settings", "split"]
    others = [name for name in METRICS if name != ACCURACY]
    more = rows[[*identity, *others, "ci_low", "ci_high", "folder", "git_commit", "task", "metric", "score"]]
    return table.join(more).sort_values(["experiment_variant", "locale", "folder"], ignore_index=True)


def compared(results: Aggregate, *, comprehensive: bool) -> pd.DataFrame:
    """A row a locale, a column a variant, each against its own best source, the best zero-shot and the native model.

    The best source of a locale is the best of the sources that any of its variants used. `comprehensive` adds, for each
    variant, its own best source, the average zero-shot and the p values. Where the metric is not accuracy, a column
    tells it.
    """
    frame, of_locale, metric = results.frame, results.frame.groupby("locale"), results.metric
    table = frame.pivot(index="locale", columns="variant", values="score").sort_index(axis=1)
    variants = list(table.columns)
    natives = results.long[results.long.kind == "native"].groupby("locale").score.agg(only_value)
    table = table.reindex(sorted({*table.index, *natives.index}))
    table.insert(0, "baseline", natives.reindex(table.index))
    if results.with_baselines:
        table["baseline"] = table.baseline.fillna(of_locale.native_score.agg(only_value))
        table[f"best_source_{metric}"] = of_locale.best_source_score.max()
        table[f"best_overall_{metric}"] = of_locale.best_zero_shot_score.agg(only_value)
        if comprehensive:
            table[f"avg_zero_shot_{metric}"] = of_locale.avg_zero_shot_score.agg(only_value)
        wide = [table]
        told = of_variant_comprehensive(metric) if comprehensive else OF_VARIANT
        of_both = frame.set_index(["locale", "variant"])[[*dict.fromkeys(told.values())]].unstack("variant")
        for title, name in told.items() if variants else ():
            by_variant = of_both[name][variants]
            if name in _OF_ADAPTED:  # the columns of variants that are not adapted would be empty
                by_variant = by_variant.dropna(axis=1, how="all")
            wide.append(by_variant.add_suffix(f"_{title}"))
        table = pd.concat(wide, axis=1)
    if metric != ACCURACY:
        table.insert(0, "metric", metric)
    return table.rename_axis("locale").reset_index()


def only_value(values: pd.Series) -> float:
    """The one value that all have; NaN where they differ, as those of two base models do."""
    distinct = values.dropna().unique()
    return distinct[0] if len(distinct) == 1 else np.nan


def advanced_summary(frame: pd.DataFrame, metric: str = ACCURACY) -> pd.DataFrame:
    """A row a locale: the baselines, then of every method its score, its gain over each baseline, its sources."""
    # Columns of a comparison -> after a variant's name.
    of_method = {
        "score": "",
        "vs_avg_zero_shot": "_vs_avg_zero",
        "vs_best_zero_shot": "_vs_best_zero",
        "vs_best_source": "_vs_best_source",
        "best_source": "_best_source",
        "best_source_score": f"_best_source_{metric}",
        "num_sources": "_num_languages",
        "sources": "_source_locales",
    }
    by_locale = frame.groupby("locale")
    columns = {"baseline": "native", "avg_zero_shot": "avg_zero_shot", "best_zero_shot": "best_zero_shot"}
    wide = [pd.DataFrame({column: by_locale[f"{name}_score"].agg(only_value) for column, name in columns.items()})]
    sources = frame["sources"].map(lambda text: " ".join(json.loads(text)) if isinstance(text, str) else "")
    for variant, rows in frame.assign(sources=sources).set_index("locale").groupby("variant", sort=True):
        adapted = {f"vs_{name}": f"_vs_{name}" for name in told_of(rows) if name in OF_ADAPTED}
        titles = {name: variant + title for name, title in (of_method | adapted).items()}
        wide.append(rows[list(titles)].rename(columns=titles))
    table = pd.concat([part.round(6) for part in wide], axis=1)
    if metric != ACCURACY:
        table.insert(0, "metric", metric)
    return table.rename_axis("locale").reset_index()
