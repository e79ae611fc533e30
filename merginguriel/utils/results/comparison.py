"""All results in one table, and every merge and ensemble beside its fair baselines.

Accuracies of test items are described here, never used to choose: the best source and the best zero-shot model are the
hardest baselines, which nobody can know without labelled items of the target.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from merginguriel.utils.evaluation.statistics import holm, mcnemar_of_counts
from merginguriel.utils.results.baselines import ItemReader, Single, Singles
from merginguriel.utils.results.rows import COLUMNS

# What a merge or ensemble is measured against, as columns and as words.
BASELINES = {
    "best_source": "best of the sources that take part in it",
    "best_zero_shot": "best of all models but the target's own",
    "avg_zero_shot": "mean of all models but the target's own",
    "native": "the target's own model",
}
# Single models, whose items can be compared one by one.
TESTED = ("best_source", "best_zero_shot", "native")
ALPHA = 0.05
# What `compare` adds to the columns of result_rows.COLUMNS. NaN or None where a baseline was not measured.
COMPARISON = {
    "best_source": "its locale",
    "best_source_accuracy": BASELINES["best_source"] + "; only where all of them were measured",
    "best_zero_shot": "its locale",
    "best_zero_shot_accuracy": BASELINES["best_zero_shot"],
    "avg_zero_shot_accuracy": BASELINES["avg_zero_shot"],
    "num_zero_shot": "how many models the two are taken over",
    "native_accuracy": BASELINES["native"],
    **{f"vs_{name}": f"accuracy minus {name}_accuracy" for name in BASELINES},
    **{f"p_{name}": "exact McNemar test against it on the same items" for name in TESTED},
    **{f"p_{name}_holm": "adjusted for all tests against it in the table (Holm)" for name in TESTED},
}


@dataclass(frozen=True)
class Comparison:
    """`frame`: a row a merge or ensemble on its own target, columns of result_rows.COLUMNS and COMPARISON.

    `notes`: duplicates, baselines that disagree or are missing, in words. `damaged`: predictions, and why.
    `differences`: (row, baseline) -> right minus right of the baseline, (items,) -1, 0 or 1 in the order of the ids,
    where both have kept their predictions.
    """

    frame: pd.DataFrame
    notes: list[str]
    damaged: dict[Path, str]
    differences: dict[tuple[int, str], np.ndarray]


# Comparing


def compare(long: pd.DataFrame, *, baselines: bool = True, tests: bool = True) -> Comparison:
    """Every merge and ensemble on its own target beside its baselines; `tests` reads predictions, for p values.

    Of several results of one experiment the newest counts. Without `baselines` their columns are empty.
    """
    own = long.kind.isin(("merge", "ensemble")) & (long.locale == long.target)
    frame = long[own].sort_values(["variant", "locale", "timestamp", "folder"], na_position="first")
    notes = _duplicates(frame)
    frame = frame.drop_duplicates(["variant", "locale"], keep="last").reset_index(drop=True)
    singles = Singles(long if baselines else long[:0])
    beside = [Beside.of(row, singles.on_items_of(row)) for row in frame.itertuples()]
    frame = frame.join(pd.DataFrame([row.values for row in beside], columns=list(Beside.COLUMNS)))
    frame = frame.astype(
        {name: float for name in Beside.COLUMNS if name.endswith("accuracy")} | {"num_zero_shot": "Int64"}
    )
    for name in BASELINES:
        frame[f"vs_{name}"] = frame.accuracy - frame[f"{name}_accuracy"]
    reader, differences = ItemReader(), {}
    if baselines and tests:
        differences, unpaired = _differences(frame, beside, reader)
        notes += unpaired
    for name in TESTED:
        p_values = np.full(len(frame), np.nan)
        paired = {row: difference for (row, baseline), difference in differences.items() if baseline == name}
        counts = [((difference > 0).sum(), (difference < 0).sum()) for difference in paired.values()]
        if paired:
            p_values[list(paired)] = mcnemar_of_counts(*np.transpose(counts))
        frame[f"p_{name}"] = p_values
        frame[f"p_{name}_holm"] = _holm(p_values)
    frame = frame[[*COLUMNS, *COMPARISON]]
    if baselines:
        notes += _gaps(frame, beside, singles)
    return Comparison(frame, notes, reader.damaged, differences)


@dataclass(frozen=True)
class Beside:
    """The baselines of one row: `values` of COLUMNS, the results of each single model, and what was not measured."""

    COLUMNS: ClassVar = tuple(name for name in COMPARISON if not name.startswith(("vs_", "p_")))
    values: list
    results: dict[str, list[Single]]  # baseline -> of its model, the one to take first
    unmeasured: list[str]  # its own sources without a result on its items

    @classmethod
    def of(cls, row, pool: dict[str, list[Single]]) -> "Beside":
        accuracy = {source: results[0].accuracy for source, results in pool.items()}
        own = json.loads(row.sources) if isinstance(row.sources, str) else {}
        others = [source for source in pool if source != row.target]
        unmeasured = [source for source in own if source not in pool]
        # max takes the first of equals: pools are sorted by locale.
        best = max(others, key=accuracy.get, default=None)
        best_own = None if unmeasured else max(sorted(own), key=accuracy.get, default=None)
        models = {"best_source": best_own, "best_zero_shot": best, "native": row.target if row.target in pool else None}
        values = {
            **{f"{name}_accuracy": accuracy.get(model) for name, model in models.items()},
            "best_source": best_own,
            "best_zero_shot": best,
            "num_zero_shot": len(others),
            "avg_zero_shot_accuracy": float(np.mean([accuracy[source] for source in others])) if others else None,
        }
        return cls(
            [values[name] for name in cls.COLUMNS],
            {name: pool[model] for name, model in models.items() if model is not None},
            unmeasured,
        )


def _duplicates(frame: pd.DataFrame) -> list[str]:
    notes = []
    for (variant, locale), group in frame[frame.duplicated(["variant", "locale"], keep=False)].groupby(
        ["variant", "locale"]
    ):
        *others, taken = group.folder
        notes.append(
            f"{len(group)} results of {variant} for {locale}: {taken} counts, the newest; not {', '.join(others)}"
        )
    return notes


def _differences(frame: pd.DataFrame, beside: list[Beside], reader: ItemReader):
    """((row, baseline) -> row right minus baseline right, (items,) int8 in the order of ids; notes)."""
    differences, unpaired, without = {}, 0, 0
    for row, (folder, baselines) in enumerate(zip(frame.folder, beside)):
        items = reader.read(folder)
        for name, results in baselines.results.items():
            # Results of one accuracy are one; what one of them has not kept another may have.
            kept = (reader.read(single.folder) for single in results if single.accuracy == results[0].accuracy)
            rival = items and next((found for found in kept if found), None)
            if not rival:
                without += 1
            elif rival.ids != items.ids:
                unpaired += 1
            else:
                differences[row, name] = items.correct.astype(np.int8) - rival.correct
    notes = [f"{without} comparisons have no paired test: predictions are not kept"] if without else []
    notes += [f"{unpaired} comparisons have no paired test: the ids of the items differ"] if unpaired else []
    return differences, notes


def _holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjustment of those that are not NaN."""
    adjusted, known = np.full(len(p_values), np.nan), ~np.isnan(p_values)
    adjusted[known] = holm(p_values[known])
    return adjusted


def _gaps(frame: pd.DataFrame, beside: list[Beside], singles: Singles) -> list[str]:
    """Where baselines are unknown, or known in two ways."""
    notes = []
    unmeasured = sorted(
        {
            f"{source} on {row.locale}"
            for row, baselines in zip(frame.itertuples(), beside)
            for source in baselines.unmeasured
        }
    )
    if unmeasured:
        rows = sum(bool(baselines.unmeasured) for baselines in beside)
        notes.append(
            f"best source unknown for {rows} results, not measured: {_some(unmeasured)}; run "
            "run_nxn_evaluation.py --split test"
        )
    untold = int(frame.sources.isna().sum())
    if untold:
        notes.append(f"best source unknown for {untold} results that do not tell their sources")
    without = sorted(set(frame.locale[frame.native_accuracy.isna()]))
    if without:
        notes.append(f"no result of the native model of {_some(without)}")
    counts = frame.num_zero_shot
    if len(frame) and counts.min() != counts.max():
        notes.append(
            f"best and average zero-shot are over {counts.min()} to {counts.max()} models, by locale; "
            "run_nxn_evaluation.py --split test measures all of them"
        )
    if singles.disagreements:
        told = [
            f"{source} on {locale} is {results[0].accuracy:.4f} in {results[0].folder}, which counts, and "
            f"{results[1].accuracy:.4f} in {results[1].folder}"
            for (source, locale, _), results in sorted(singles.disagreements.items())
        ]
        notes.append(f"{len(told)} results of single models disagree: {_some(told, 3)}")
    return notes


def _some(things: list[str], shown: int = 8) -> str:
    return ", ".join(things[:shown]) + (f" and {len(things) - shown} more" if len(things) > shown else "")
