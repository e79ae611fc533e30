"""All results in one table, and every merge and ensemble beside its fair baselines.

Accuracies of test items are described here, never used to choose: the best source and the best zero-shot model are the
hardest baselines, which nobody can know without labelled items of the target.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils import evaluation, massive, naming, records, reproduction, result_rows, transfer
from merginguriel.utils.baselines import SINGLE, ItemReader, Single, Singles
from merginguriel.utils.statistics import bootstrap_interval, holm, mcnemar_of_counts, wilcoxon, wilson_interval

log = logging.getLogger(__name__)

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
ROUNDING = 1e-9  # equal shares of items differ in their last bits

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

# What all locales of a variant share.
VARIANT_SETTINGS = ("kind", "method", "num_sources", "selection", "include_target", "seed", "base_model", "settings",
                    "split")

# A row a variant and baseline: what `summarise` gives. NaN where there is nothing to compute from.
SUMMARY = {
    "variant": "as in the comparison", **{name: result_rows.COLUMNS[name] for name in VARIANT_SETTINGS},
    "baseline": ", ".join(BASELINES),
    "locales": "how many have the variant's accuracy",
    "mean_accuracy": "of the variant over these locales", "std_accuracy": "with n - 1; NaN for one locale",
    "min_accuracy": "lowest of its locales", "max_accuracy": "highest of its locales",
    "compared": "locales that have the baseline too; all that follows is over them",
    "baseline_accuracy": "mean of the baseline",
    "mean_gain": "of the variant over the baseline",
    "gain_low": "95 % interval, items drawn by id (paired bootstrap); NaN where predictions are not kept",
    "gain_high": "the same",
    "wins": "locales where the variant is better", "ties": "equal", "losses": "worse",
    "win_rate": "wins / compared", "win_low": "95 % Wilson interval", "win_high": "95 % Wilson interval",
    "significant_wins": f"locales where it is better with p_{{baseline}}_holm < {ALPHA}; 0 for avg_zero_shot",
    "significant_losses": "worse, the same way",
    "p_wilcoxon": "signed-rank test over the locales; NaN for one locale",
    "p_wilcoxon_holm": "adjusted for the variants compared with this baseline (Holm)",
}


@dataclass(frozen=True)
class Collection:
    """`long`: a row a result, columns of result_rows.COLUMNS. `damaged`: file -> why it was left out."""

    long: pd.DataFrame
    damaged: dict[Path, str]


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


# Collecting

def collect(results_root: Path = naming.RESULTS_ROOT, nxn: Path | None = naming.NXN_ROOT) -> Collection:
    """Every results.json under `results_root`, and every cell under `nxn`: a folder of runs, one run or its matrix.

    InputError where `results_root` or `nxn` does not exist.
    """
    rows, damaged = [], {}

    def read(folders, root):
        for folder in folders:
            log.debug("reading %s", folder)
            try:
                rows.append(result_rows.read_row(folder, root))
            except InputError as error:
                damaged[folder / evaluation.RESULTS_JSON] = str(error)

    if not results_root.is_dir():
        raise InputError(f"no folder {results_root}; run merges first, or name it with --results-dir")
    read(result_rows.find_results(results_root), results_root)
    for matrix in _matrices(nxn):
        read(result_rows.find_results(matrix.parent), matrix.parent)
        try:
            rows += _rows_of_matrix(matrix, {(row["source"], row["locale"]) for row in rows
                                             if row["kind"] == "nxn" and Path(row["folder"]).parent == matrix.parent})
        except InputError as error:
            damaged[matrix] = str(error)
    result_rows.tell_apart(rows)
    long = pd.DataFrame(rows, columns=list(result_rows.COLUMNS))
    return Collection(long.astype({name: "Int64" for name in ("num_sources", "seed", "correct", "total")}), damaged)


def _matrices(nxn: Path | None) -> list[Path]:
    """Where the matrix of every run is, or would be."""
    if nxn is None:
        return []
    if nxn.is_file():
        return [nxn]
    if (nxn / transfer.MATRIX_CSV).is_file() or (nxn / transfer.RUN_JSON).is_file():
        return [nxn / transfer.MATRIX_CSV]
    return [run / transfer.MATRIX_CSV for run in sorted(nxn.glob("*")) if run.is_dir() and run.name[0] != "."]


def _rows_of_matrix(matrix: Path, known: set[tuple[str, str]]) -> list[dict]:
    """Rows of the cells that have no results.json: of older runs, and of those whose folders were removed."""
    if not matrix.is_file():
        return []
    measured, summary = transfer.read_csv(matrix), matrix.with_name(transfer.SUMMARY_JSON)
    content = records.read_json(summary) if summary.is_file() else {}
    split = massive.SPLITS.get(content.get("split", "test"))
    models = content.get("models", {})
    rows = []
    for source, values in zip(measured.sources, measured.values):
        model = Path(models.get(source, {}).get("path", source))
        found = naming.parse_model(model.name)
        for target, accuracy in zip(measured.targets, values):
            if not np.isnan(accuracy) and (source, target) not in known:
                rows.append({
                    "kind": "nxn", "variant": "nxn", "method": "nxn", "locale": target, "target": target,
                    "num_sources": 1, "source": source, "accuracy": float(accuracy), "settings": "{}",
                    "split": "validation" if split == "dev" else split, "model": str(model), "folder": str(matrix),
                    "subfolder": "", "base_model": found[0] if found else None,
                    "models_root": str(model.parent) if found else None, "timestamp": content.get("timestamp"),
                    "dataset": content.get("dataset"), "precision": content.get("precision"),
                    "data": content.get("data_sha256", {}).get(target), **content.get("environment", {})})
    return [{name: row.get(name) for name in result_rows.COLUMNS} for row in rows]


def choose(long: pd.DataFrame, split: str, locales: list[str] | None = None,
           types: list[str] | None = None) -> pd.DataFrame:
    """The rows of one split, of some locales, and of some methods or variants (baseline: the native models).

    Single models stay, as baselines are made of them. InputError where a type has no result, or nothing is left.
    """
    rows = long[long.split == split]
    if locales:
        rows = rows[rows.locale.isin(locales)]
    if types:
        wanted = {{"baseline": "native"}.get(name, name) for name in types}
        known = {*rows.method, *rows.variant, "native"}  # which only a note says that it is missing
        if wanted - known:
            there = sorted({*rows.method[rows.kind != "nxn"]})
            raise InputError(f"no result of {', '.join(sorted(wanted - known))} on the {split} split; there are some "
                             f"of {', '.join(there)}")
        rows = rows[rows.method.isin(wanted) | rows.variant.isin(wanted) | rows.kind.isin(SINGLE)]
    if rows.empty:
        raise InputError(f"no results of the {split} split{' for these locales' if locales else ''}; check "
                         "--results-dir, --split and --locales")
    return rows.reset_index(drop=True)


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
    frame = frame.astype({name: float for name in Beside.COLUMNS if name.endswith("accuracy")} |
                         {"num_zero_shot": "Int64"})
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
    frame = frame[[*result_rows.COLUMNS, *COMPARISON]]
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
        values = {**{f"{name}_accuracy": accuracy.get(model) for name, model in models.items()},
                  "best_source": best_own, "best_zero_shot": best, "num_zero_shot": len(others),
                  "avg_zero_shot_accuracy": float(np.mean([accuracy[source] for source in others])) if others else None}
        return cls([values[name] for name in cls.COLUMNS],
                   {name: pool[model] for name, model in models.items() if model is not None}, unmeasured)


def _duplicates(frame: pd.DataFrame) -> list[str]:
    notes = []
    for (variant, locale), group in frame[frame.duplicated(["variant", "locale"], keep=False)].groupby(
            ["variant", "locale"]):
        *others, taken = group.folder
        notes.append(f"{len(group)} results of {variant} for {locale}: {taken} counts, the newest; not "
                     f"{', '.join(others)}")
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
    unmeasured = sorted({f"{source} on {row.locale}" for row, baselines in zip(frame.itertuples(), beside)
                         for source in baselines.unmeasured})
    if unmeasured:
        rows = sum(bool(baselines.unmeasured) for baselines in beside)
        notes.append(f"best source unknown for {rows} results, not measured: {_some(unmeasured)}; run "
                     "run_nxn_evaluation.py --split test")
    untold = int(frame.sources.isna().sum())
    if untold:
        notes.append(f"best source unknown for {untold} results that do not tell their sources")
    without = sorted(set(frame.locale[frame.native_accuracy.isna()]))
    if without:
        notes.append(f"no result of the native model of {_some(without)}")
    counts = frame.num_zero_shot
    if len(frame) and counts.min() != counts.max():
        notes.append(f"best and average zero-shot are over {counts.min()} to {counts.max()} models, by locale; "
                     "run_nxn_evaluation.py --split test measures all of them")
    if singles.disagreements:
        told = [f"{source} on {locale} is {results[0].accuracy:.4f} in {results[0].folder}, which counts, and "
                f"{results[1].accuracy:.4f} in {results[1].folder}"
                for (source, locale, _), results in sorted(singles.disagreements.items())]
        notes.append(f"{len(told)} results of single models disagree: {_some(told, 3)}")
    return notes


def _some(things: list[str], shown: int = 8) -> str:
    return ", ".join(things[:shown]) + (f" and {len(things) - shown} more" if len(things) > shown else "")


def gaps(frame: pd.DataFrame, locales: list[str] | None = None) -> list[str]:
    """Which of `locales`, by default of all that another one has, a variant has no result for, and the command."""
    lines = []
    for variant, group in frame.groupby("variant"):
        wanted = locales or frame.locale[frame.kind == group.kind.iloc[0]]
        left = sorted({*wanted} - {*group.locale})
        if left:
            folder = Path(group.folder.iloc[0])
            command = reproduction.command_for(left, records.read_json(folder / evaluation.RESULTS_JSON), folder.parent)
            lines.append(f"{variant} has no result for {', '.join(left)}" + (f"\n  {command}" if command else ""))
    return lines


# Summarising

def summarise(comparison: Comparison) -> pd.DataFrame:
    """A row a variant and baseline, columns of SUMMARY: variants of most locales first, among them the best mean.

    That order describes these items. It is no choice of a method, which needs others.
    """
    rows = []
    for variant, group in comparison.frame.groupby("variant"):
        accuracies = group.accuracy
        settings = group.iloc[0][list(VARIANT_SETTINGS)].to_dict()
        for name in BASELINES:
            rows.append({"variant": variant, **settings, "baseline": name, "locales": len(group),
                         "mean_accuracy": accuracies.mean(), "std_accuracy": accuracies.std(),
                         "min_accuracy": accuracies.min(), "max_accuracy": accuracies.max(),
                         **_against(name, group, comparison.differences)})
    summary = pd.DataFrame(rows, columns=[*SUMMARY])
    for name in BASELINES:
        chosen = summary.baseline == name
        summary.loc[chosen, "p_wilcoxon_holm"] = _holm(summary.p_wilcoxon[chosen].to_numpy(float))
    # Stable, so the four rows of a variant stay together.
    return summary.sort_values(["locales", "mean_accuracy"], ascending=False, ignore_index=True)


def _against(name: str, group: pd.DataFrame, differences: dict) -> dict:
    """One variant against one baseline over the locales that have both."""
    both = group[group[f"vs_{name}"].notna()]
    count, gains = len(both), both[f"vs_{name}"]
    low = high = win_low = win_high = p_value = np.nan
    by_item = [differences[row, name] for row in both.index if (row, name) in differences]
    if count and len(by_item) == count and len({difference.size for difference in by_item}) == 1:
        low, high = bootstrap_interval(np.stack(by_item))
    better, worse = gains > ROUNDING, gains < -ROUNDING
    wins, losses = int(better.sum()), int(worse.sum())
    if count:
        win_low, win_high = wilson_interval(wins, count)
    if count > 1:
        p_value = wilcoxon(both.accuracy, both[f"{name}_accuracy"])
    significant = (both[f"p_{name}_holm"] < ALPHA) if name in TESTED else gains != gains
    return {"compared": count, "baseline_accuracy": both[f"{name}_accuracy"].mean(), "mean_gain": gains.mean(),
            "gain_low": low, "gain_high": high, "wins": wins, "ties": count - wins - losses, "losses": losses,
            "win_rate": wins / count if count else np.nan, "win_low": win_low, "win_high": win_high,
            "significant_wins": int((significant & better).sum()),
            "significant_losses": int((significant & worse).sum()), "p_wilcoxon": p_value}
