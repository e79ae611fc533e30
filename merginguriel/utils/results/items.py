"""Who was right on which item, read from kept predictions and from the logits of N×N runs."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation import nxn_logits, predictions
from merginguriel.utils.storage import naming


class Items(NamedTuple):
    """Which items were answered rightly, (items,) bool in the order of the sorted ids; `ids` stands for those."""

    ids: int
    correct: np.ndarray


class ItemReader:
    """Reads who was right on which item, each result once. `damaged`: file -> why it was left out."""

    def __init__(self):
        self.damaged: dict[Path, str] = {}
        self.read = functools.cache(self._read)
        self._logits, self._order = functools.cache(nxn_logits.Logits), functools.cache(_order)

    def _read(self, folder: str) -> Items | None:
        """Of the result in `folder`, a cell of an N×N or another; None where predictions are not kept."""
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
    names = np.frombuffer(ids, dtype)
    order = np.argsort(names)
    return order, hash(tuple(names[order].tolist()))
