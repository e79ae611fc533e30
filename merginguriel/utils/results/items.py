"""What was answered on which item, read from kept predictions and from the logits of N×N runs."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation import nxn_logits, predictions
from merginguriel.utils.storage import naming


@dataclass(frozen=True, eq=False)
class Answers:
    """Gold and predicted labels of one result, (items,) each in the order of the sorted ids, for which `ids` stands."""

    ids: int
    gold: np.ndarray
    predicted: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        return self.predicted == self.gold


class ItemReader:
    """Reads what was answered on which item, each result once. `damaged`: file -> why it was left out."""

    def __init__(self):
        self.damaged: dict[Path, str] = {}
        self.read = functools.cache(self._read)
        self._logits, self._order = functools.cache(nxn_logits.Logits), functools.cache(_order)

    def _read(self, folder: str) -> Answers | None:
        """Of the result in `folder`, a cell of an N×N or another; None where predictions are not kept."""
        file = Path(folder) / predictions.PREDICTIONS
        try:
            if file.is_file():
                kept = predictions.read_predictions(file, ("ids", "labels", "predictions"))
                return self._sorted(kept["ids"], kept["labels"], kept["predictions"])
            return self._of_cell(Path(folder))
        except InputError as error:
            self.damaged[file] = str(error)
            return None

    def _of_cell(self, folder: Path) -> Answers | None:
        cell = naming.parse_cell(folder.name)
        if cell is None or not (folder.parent / nxn_logits.LOGITS).is_file():
            return None
        source, target = cell
        kept = self._logits(folder.parent)
        return self._sorted(kept.ids(target), kept.labels(target), kept.logits(source, target).argmax(-1))

    def _sorted(self, ids: np.ndarray, gold: np.ndarray, predicted: np.ndarray) -> Answers:
        order, key = self._order(ids.tobytes(), ids.dtype.str)
        return Answers(key, gold[order], predicted[order])


def _order(ids: bytes, dtype: str) -> tuple[np.ndarray, int]:
    """(the order that sorts the ids, what stands for them sorted)"""
    names = np.frombuffer(ids, dtype)
    order = np.argsort(names)
    return order, hash(tuple(names[order].tolist()))
