"""What a merge is measured against: every single model's results on the very items of the merge."""

import functools
import os
from collections import defaultdict
from itertools import product
from pathlib import PurePath
from typing import Any, NamedTuple

import pandas as pd

SINGLE = ("native", "source", "nxn")  # kinds of results of the model of one locale


class Single(NamedTuple):
    """A result of the model of one locale."""

    source: str
    score: float  # by the task's metric
    folder: str
    kind: str
    base_model: str | None
    models_root: str | None
    total: int | None
    data: str | None
    precision: str | None
    timestamp: str | None


class Singles:
    """All single models' results, found by what a merge must share with them.

    `disagreements`: (source, locale, split) -> results of one model on the same items that differ, of those asked for.
    """

    def __init__(self, long: pd.DataFrame):
        self._by_locale: dict[tuple[str, str], list] = defaultdict(list)
        self.disagreements: dict[tuple[str, str, str], Any] = {}
        self._pool = functools.cache(self._find)
        rows = long.loc[long.kind.isin(SINGLE), ["locale", "split", *Single._fields]].astype(object)
        for locale, split, *fields in rows.where(rows.notna(), None).itertuples(index=False):
            self._by_locale[locale, split].append(Single(*fields))

    def on_items_of(self, row: Any) -> dict[str, list[Single]]:
        """Locale of each model of the row's pool -> its results on the row's very items, the one to take first.

        The pool: models of the base model and folder that the row's sources come from. An older result that does not
        tell its base model, folder or data fits all. Results in the row's precision come first, then those of result
        folders, then the newest.
        """
        shared = [getattr(row, name) for name in ("base_model", "models_root", "total", "data", "precision")]
        return self._pool(row.locale, row.split, *(None if pd.isna(value) else value for value in shared))

    def _find(self, locale, split, base_model, models_root, total, data, precision) -> dict[str, list[Single]]:
        pool = defaultdict(list)
        for single in self._by_locale[locale, split]:
            if (
                fit(single.base_model, base_model)
                and fit(single.total, total)
                and fit(single.data, data)
                and same_folders(single.models_root, models_root)
            ):
                pool[single.source].append(single)
        for source, results in pool.items():
            # Stable sorts, the least important first.
            results.sort(key=lambda single: (single.timestamp or "", single.folder), reverse=True)
            results.sort(key=lambda single: (single.precision != precision, single.kind == "nxn"))
            differing = [single for single in results if abs(single.score - results[0].score) > 1e-9]
            if differing:
                self.disagreements[source, locale, split] = (results[0], *differing)
        return dict(sorted(pool.items()))


def fit(one, other) -> bool:
    return one is None or other is None or one == other


def same_folders(one: str | None, other: str | None) -> bool:
    """Whether a path of each may be one folder, the shorter being relative to somewhere."""
    if one is None or other is None:
        return True
    for pair in product(one.split(os.pathsep), other.split(os.pathsep)):
        short, long = sorted((PurePath(path).parts for path in pair), key=len)
        if long[len(long) - len(short) :] == short:
            return True
    return False
