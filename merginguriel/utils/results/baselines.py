"""What a merge is measured against: every single model on the same items, and who was right on which item."""

import functools
import os
from collections import defaultdict
from itertools import product
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation import nxn_logits, predictions
from merginguriel.utils.storage import naming

SINGLE = ("native", "source", "nxn")  # kinds of results of the model of one locale


class Single(NamedTuple):
    """A result of the model of one locale."""

    source: str
    accuracy: float
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
        self._by_locale, self.disagreements = defaultdict(list), {}
        self._pool = functools.cache(self._find)
        rows = long[long.kind.isin(SINGLE)]
        for row in rows.itertuples(index=False):
            fields = {name: _known(getattr(row, name)) for name in Single._fields}
            self._by_locale[row.locale, row.split].append(Single(**fields))

    def on_items_of(self, row) -> dict[str, list[Single]]:
        """Locale of each model of the row's pool -> its results on the row's very items, the one to take first.

        The pool: models of the base model and folder that the row's sources come from. An older result that does not
        tell its base model, folder or data fits all. Results in the row's precision come first, then those of result
        folders, then the newest.
        """
        return self._pool(
            row.locale,
            row.split,
            *(_known(getattr(row, name)) for name in ("base_model", "models_root", "total", "data", "precision")),
        )

    def _find(self, locale, split, base_model, models_root, total, data, precision) -> dict[str, list[Single]]:
        pool = defaultdict(list)
        for single in self._by_locale[locale, split]:
            if (
                _fit(single.base_model, base_model)
                and _fit(single.total, total)
                and _fit(single.data, data)
                and _same_folders(single.models_root, models_root)
            ):
                pool[single.source].append(single)
        for source, results in pool.items():
            # Stable sorts, the least important first.
            results.sort(key=lambda single: (single.timestamp or "", single.folder), reverse=True)
            results.sort(key=lambda single: (single.precision != precision, single.kind == "nxn"))
            differing = [single for single in results if abs(single.accuracy - results[0].accuracy) > 1e-9]
            if differing:
                self.disagreements[source, locale, split] = (results[0], *differing)
        return dict(sorted(pool.items()))


def _known(value):
    """None for every way in which a table says that it does not know."""
    return None if pd.isna(value) else value


def _fit(one, other) -> bool:
    return one is None or other is None or one == other


def _same_folders(one: str | None, other: str | None) -> bool:
    """Whether a path of each may be one folder, the shorter being relative to somewhere."""
    if one is None or other is None or one == other:
        return True
    for pair in product(one.split(os.pathsep), other.split(os.pathsep)):
        short, long = sorted((PurePath(path).parts for path in pair), key=len)
        if long[len(long) - len(short) :] == short:
            return True
    return False


class Items(NamedTuple):
    """Which items were answered rightly, (items,) bool in the order of the sorted ids; `ids` stands for those."""

    ids: int
    correct: np.ndarray


class ItemReader:
    """Reads who was right on which item, each result once. `damaged`: file -> why it was left out."""

    def __init__(self):
        self.damaged: dict[Path, str] = {}
        self._read, self._logits = functools.cache(self._read_result), functools.cache(nxn_logits.Logits)
        self._order = functools.cache(_order)

    def read(self, folder: str) -> Items | None:
        """Of the result in `folder`, a cell of an N×N or another; None where predictions are not kept."""
        return self._read(folder)

    def _read_result(self, folder: str) -> Items | None:
        file = Path(folder) / predictions.PREDICTIONS
        try:
            if file.is_file():
                kept = predictions.read_predictions(file, ("ids", "labels", "predictions"))
                return self._sorted(kept["ids"], kept["predictions"] == kept["labels"])
            return self._of_cell(Path(folder))
        except InputError as error:
            self.damaged[file] = str(error)
            return None

    def _of_cell(self, folder: Path) -> Items | None:
        cell = naming.parse_cell(folder.name)
        if cell is None or not (folder.parent / nxn_logits.LOGITS).is_file():
            return None
        source, target = cell
        kept = self._logits(folder.parent)
        return self._sorted(kept.ids(target), kept.logits(source, target).argmax(-1) == kept.labels(target))

    def _sorted(self, ids: np.ndarray, correct: np.ndarray) -> Items:
        order, key = self._order(ids.tobytes(), ids.dtype.str)
        return Items(key, correct[order])


def _order(ids: bytes, dtype: str) -> tuple[np.ndarray, int]:
    """(the order that sorts the ids, what stands for them sorted)"""
    ids = np.frombuffer(ids, dtype)
    order = np.argsort(ids)
    return order, hash(tuple(ids[order].tolist()))
