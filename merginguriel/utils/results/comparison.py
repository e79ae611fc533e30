"""Every merge and ensemble beside its fair baselines, tested item by item.

Accuracies of test items are described here, never used to choose: the best source and the best zero-shot model are the
hardest baselines, which nobody can know without labelled items of the target.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from merginguriel.utils.evaluation.statistics import holm, mcnemar_of_counts
from merginguriel.utils.results import notes
from merginguriel.utils.results.baselines import BASELINE_COLUMNS, BASELINES, TESTED, RowBaselines, baselines_of
from merginguriel.utils.results.items import ItemReader
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.results.single_models import Singles

# What `compare` adds to the columns of rows.COLUMNS. NaN or None where a baseline was not measured.
COMPARISON = {
    **BASELINE_COLUMNS,
    **{f"vs_{name}": f"accuracy minus {name}_accuracy" for name in BASELINES},
    **{f"p_{name}": "exact McNemar test against it on the same items" for name in TESTED},
    **{f"p_{name}_holm": "adjusted for all tests against it in the table (Holm)" for name in TESTED},
}
Differences = dict[tuple[int, str], np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """`frame`: a row a merge or ensemble on its own target, columns of rows.COLUMNS and COMPARISON.

    `notes`: duplicates, baselines that disagree or are missing, in words. `damaged`: predictions, and why.
    `differences`: (row, baseline) -> right minus right of the baseline, (items,) -1, 0 or 1 in the order of the ids,
    where both have kept their predictions.
    """

    frame: pd.DataFrame
    notes: list[str]
    damaged: dict[Path, str]
    differences: Differences


def compare(long: pd.DataFrame, *, baselines: bool = True, tests: bool = True) -> Comparison:
    """Every merge and ensemble on its own target beside its baselines; `tests` reads predictions, for p values.

    Of several results of one experiment the newest counts. Without `baselines` their columns are empty.
    """
    own = long.kind.isin(("merge", "ensemble")) & (long.locale == long.target)
    frame = long[own].sort_values(["variant", "locale", "timestamp", "folder"], na_position="first")
    told = notes.duplicates(frame)
    frame = frame.drop_duplicates(["variant", "locale"], keep="last").reset_index(drop=True)
    singles = Singles(long if baselines else long[:0])
    beside = [baselines_of(row, singles.on_items_of(row)) for row in frame.itertuples()]
    frame = frame.join(pd.DataFrame([row.values for row in beside], columns=list(BASELINE_COLUMNS)))
    frame = frame.astype({f"{name}_accuracy": float for name in BASELINES} | {"num_zero_shot": "Int64"})
    for name in BASELINES:
        frame[f"vs_{name}"] = frame.accuracy - frame[f"{name}_accuracy"]
    reader = ItemReader()
    differences: Differences = {}
    if baselines and tests:
        differences, unpaired = _differences(frame.folder, beside, reader)
        told += unpaired
    for name in TESTED:
        paired = {row: difference for (row, baseline), difference in differences.items() if baseline == name}
        counts = [((difference > 0).sum(), (difference < 0).sum()) for difference in paired.values()]
        p_values = np.full(len(frame), np.nan)
        if paired:
            p_values[list(paired)] = mcnemar_of_counts(*np.transpose(counts))
        frame[f"p_{name}"], frame[f"p_{name}_holm"] = p_values, adjusted(p_values)
    if baselines:
        told += notes.gaps(frame, beside, singles)
    return Comparison(frame[[*COLUMNS, *COMPARISON]], told, reader.damaged, differences)


def _differences(folders: pd.Series, beside: list[RowBaselines], reader: ItemReader) -> tuple[Differences, list[str]]:
    """(as in Comparison, notes)"""
    differences: Differences = {}
    unpaired = without = 0
    for row, (folder, of_row) in enumerate(zip(folders, beside)):
        items = reader.read(folder)
        for name, results in of_row.results.items():
            # Results of one accuracy are one; what one of them has not kept another may have.
            kept = (reader.read(single.folder) for single in results if single.accuracy == results[0].accuracy)
            rival = next((found for found in kept if found), None) if items else None
            if items is None or rival is None:
                without += 1
            elif rival.ids != items.ids:
                unpaired += 1
            else:
                differences[row, name] = items.correct.astype(np.int8) - rival.correct
    said = {"predictions are not kept": without, "the ids of the items differ": unpaired}
    return differences, [f"{count} comparisons have no paired test: {why}" for why, count in said.items() if count]


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjustment of those that are not NaN."""
    adjusted, known = np.full(len(p_values), np.nan), ~np.isnan(p_values)
    adjusted[known] = holm(p_values[known])
    return adjusted
