"""Which of all results are asked for: those of one split and one task, by one metric."""

import logging
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import MINI
from merginguriel.utils.data.task_file import task_named
from merginguriel.utils.merging.modes import ALIASES
from merginguriel.utils.results.formatting import many
from merginguriel.utils.results.single_models import SINGLE

log = logging.getLogger(__name__)


def choose(
    long: pd.DataFrame,
    split: str,
    locales: list[str] | None = None,
    types: list[str] | None = None,
    task: str | None = None,
) -> pd.DataFrame:
    """The rows of one split and task, of some locales, and of some methods or variants (baseline: the native models).

    Single models stay, as baselines are made of them. InputError where a type has no result, where there are several
    tasks and none is named, or where nothing is left.
    """
    rows = _by_one_metric(_of_task(long[long.split == split], task))
    if locales:
        rows = rows[rows.locale.isin(locales)]
    if types:
        rows = of_types(rows, types)
    if rows.empty:
        raise InputError(
            f"no results of the {split} split{' for these locales' if locales else ''}; check "
            "--results-dir, --split and --locales"
        )
    return rows.reset_index(drop=True)


def of_types(rows: pd.DataFrame, types: list[str]) -> pd.DataFrame:
    """Those of some methods or variants, and single models; InputError where a type has no result."""
    wanted = {{"baseline": "native"}.get(name, name) for name in in_own_names(types, {*rows.method, *rows.variant})}
    unknown = sorted(wanted - {*rows.method, *rows.variant, "native"})  # which only a note says that it is missing
    if unknown:
        splits, there = " and ".join(sorted(set(rows.split))), sorted({*rows.method[rows.kind != "nxn"]})
        close = [one for name in unknown for one in get_close_matches(name, {*rows.method, *rows.variant}, 2)]
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        raise InputError(
            f"no result of {', '.join(unknown)} on the {splits} split; {meant}there are some of {', '.join(there)}"
        )
    return rows[rows.method.isin(wanted) | rows.variant.isin(wanted) | rows.kind.isin(SINGLE)]


def in_own_names(types: Iterable[str], there: Collection[str]) -> list[str]:
    """`types` with the modes' own names where results have no other: fisher is fisher_dataset."""
    return [name if name in there else ALIASES.get(name, name) for name in types]


def _of_task(rows: pd.DataFrame, asked: str | None) -> pd.DataFrame:
    """Those of the task of this name or file; by default of the only one that the results folder has."""
    own = rows[rows.kind != "nxn"]  # N×N runs of other tasks, which lie elsewhere, are no question
    tasks = _tasks(own if len(own) else rows)
    told = ", ".join(f"{label} ({many(int(_are_of(own, *task).sum()), 'result')})" for label, task in tasks.items())
    if asked is None:
        if len(tasks) > 1:
            raise InputError(f"there are results of {len(tasks)} tasks: {told}; choose one with --task NAME")
        wanted = next(iter(tasks.values()), None)
    elif asked not in tasks and (Path(asked).is_file() or asked == MINI):
        task = task_named(asked)
        wanted = task.name, task.model_hash
    else:
        wanted = tasks.get(asked)
    chosen = rows[_are_of(rows, *wanted)] if wanted else rows[:0]
    if asked is not None and chosen.empty:
        raise InputError(f"no results of task {asked}; there are some of {told or 'none'}")
    return chosen


def _tasks(rows: pd.DataFrame) -> dict[str, tuple[str, str | None]]:
    """What each task is called -> its name and, where several have that, the hash that is then in what it is called."""
    found: dict[str, tuple[str, str | None]] = {}
    for name, hashes in rows.groupby("task").task_hash:
        several = sorted(set(hashes.dropna()))
        found |= {f"{name}@{one}": (name, one) for one in several} if len(several) > 1 else {name: (name, None)}
    return found


def _are_of(rows: pd.DataFrame, name: str, task_hash: str | None) -> pd.Series:
    """Which rows; one that tells no hash may be of any of that name."""
    return (rows.task == name) & (rows.task_hash.isna() | (rows.task_hash == task_hash) | (task_hash is None))


def _by_one_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """All by the metric of the newest, where that of the task's file has been another one before."""
    metrics = sorted(set(rows.metric))
    if len(metrics) < 2:
        return rows
    metric = rows.sort_values("timestamp", na_position="first").metric.iloc[-1]
    rows = rows.assign(metric=metric, score=rows[metric].astype(float))
    known = rows.score.notna()
    left = f"; {many(int((~known).sum()), 'result')} without it left out" if not known.all() else ""
    log.warning("note: results by %s: ranked by %s, that of the newest%s", " and by ".join(metrics), metric, left)
    return rows[known]
