"""Every merge, ensemble and adapted model beside its fair baselines, tested item by item, by the task's metric.

Scores of test items are described here, never used to choose: the best source and the best zero-shot model are the
hardest baselines, which nobody can know without labelled items of the target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.metrics import ACCURACY
from merginguriel.utils.evaluation.statistics import holm
from merginguriel.utils.results import notes
from merginguriel.utils.results.adapted_rivals import AdaptedRivals
from merginguriel.utils.results.baselines import BASELINE_COLUMNS, EVERY, TESTED, RowBaselines, baselines_of, told_of
from merginguriel.utils.results.identity import COMPARED
from merginguriel.utils.results.items import Answers, ItemReader
from merginguriel.utils.results.pairs import Key, Pairs
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.results.single_models import Singles
from merginguriel.utils.storage import progress

# What `compare` adds to the columns of rows.COLUMNS. NaN or None where a baseline was not measured.
COMPARISON = {
    **BASELINE_COLUMNS,
    **{f"vs_{name}": f"score minus {name}_score" for name in EVERY},
    **{
        f"p_{name}": "exact McNemar test against it on the same items; approximate randomisation of another metric "
        "than accuracy"
        for name in TESTED
    },
    **{f"p_{name}_holm": "adjusted for all tests against it in the table (Holm)" for name in TESTED},
}


@dataclass(frozen=True)
class Comparison:
    """`frame`: a row a merge or ensemble on its own target, columns of rows.COLUMNS and COMPARISON.

    `notes`: duplicates, baselines that disagree or are missing, in words. `damaged`: predictions, and why. `pairs`:
    what results and their baselines answered, and the metric that all of it is about.
    """

    frame: pd.DataFrame
    notes: list[str]
    damaged: dict[Path, str]
    pairs: Pairs

    @property
    def metric(self) -> str:
        return self.pairs.metric

    @property
    def baselines(self) -> list[str]:
        """Those that tables tell of: own merge and vote where an adapted model has one."""
        return told_of(self.frame)


def compare(
    long: pd.DataFrame, *, baselines: bool = True, tests: bool = True, among: pd.DataFrame | None = None
) -> Comparison:
    """Every merge and ensemble on its own target beside its baselines; `tests` reads predictions, for p values.

    Of several results of one experiment the newest counts. Without `baselines` their columns are empty. `among`: the
    results that baselines are taken from, by default those of `long`. InputError where the results are not all by one
    metric.
    """
    metric = _metric_of(long)
    own = long.kind.isin(COMPARED) & (long.locale == long.target)
    frame = long[own].sort_values(["variant", "locale", "timestamp", "folder"], na_position="first")
    told = notes.duplicates(frame)
    frame = frame.drop_duplicates(["variant", "locale"], keep="last").reset_index(drop=True)
    among = (long if among is None else among) if baselines else long[:0]
    singles, reader = Singles(among), ItemReader()
    rivals = AdaptedRivals(among, singles, metric, reader if tests else None)
    beside = [rivals.beside(row, baselines_of(row, singles.on_items_of(row))) for row in frame.itertuples()]
    frame = frame.join(pd.DataFrame([row.values for row in beside], columns=list(BASELINE_COLUMNS)))
    frame = frame.astype({f"{name}_score": float for name in EVERY} | {"num_zero_shot": "Int64"})
    for name in EVERY:
        frame[f"vs_{name}"] = frame.score - frame[f"{name}_score"]
    pairs = Pairs(metric)
    if baselines and tests:
        answers, unpaired = _paired(frame.folder, beside, reader)
        pairs = Pairs(metric, answers)
        told += unpaired
    for name in TESTED:
        p_values, found = np.full(len(frame), np.nan), pairs.p_values(name)
        p_values[list(found)] = list(found.values())
        frame[f"p_{name}"], frame[f"p_{name}_holm"] = p_values, adjusted(p_values)
    if baselines:
        told += notes.gaps(frame, beside, singles)
    return Comparison(frame[[*COLUMNS, *COMPARISON]], told, reader.damaged, pairs)


def _metric_of(long: pd.DataFrame) -> str:
    metrics = sorted(set(long.metric.dropna()))
    if len(metrics) > 1:
        raise InputError(f"results by {' and by '.join(metrics)} are no comparison; choose one task of them")
    return metrics[0] if metrics else ACCURACY


def _paired(
    folders: pd.Series, beside: list[RowBaselines], reader: ItemReader
) -> tuple[dict[Key, tuple[Answers, Answers]], list[str]]:
    """(what is compared item by item, notes)"""
    pairs: dict[Key, tuple[Answers, Answers]] = {}
    rivals: Mapping[str, Answers | None]
    unpaired = without = 0
    rows = enumerate(zip(folders, beside))
    for row, (folder, of_row) in progress.over(rows, "pairing items", len(beside)):
        own = reader.read(folder)
        rivals = _answers_of(of_row, reader) if own else dict.fromkeys((*of_row.results, *of_row.answers))
        for name, rival in rivals.items():
            if own is None or rival is None:
                without += 1
            elif rival.ids != own.ids or not np.array_equal(rival.gold, own.gold):
                unpaired += 1
            else:
                pairs[row, name] = own, rival
    said = {"predictions are not kept": without, "the ids of the items, or their labels, differ": unpaired}
    return pairs, [f"{count} comparisons have no paired test: {why}" for why, count in said.items() if count]


def _answers_of(beside: RowBaselines, reader: ItemReader) -> dict[str, Answers | None]:
    """Of each baseline what it answered, where that is kept."""
    found: dict[str, Answers | None] = dict(beside.answers)
    for name, results in beside.results.items():
        # Results of one score are one; what one of them has not kept another may have.
        kept = (reader.read(one.folder) for one in results if one.score == results[0].score)
        found[name] = next((answers for answers in kept if answers), None)
    return found


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjustment of those that are not NaN."""
    adjusted, known = np.full(len(p_values), np.nan), ~np.isnan(p_values)
    adjusted[known] = holm(p_values[known])
    return adjusted
