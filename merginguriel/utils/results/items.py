"""What was answered on which item, read from kept predictions and from the logits of N×N runs."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.ensembles.votes import soft
from merginguriel.utils.evaluation import nxn_logits, predictions
from merginguriel.utils.evaluation.agreement import check_agreement, read_answers
from merginguriel.utils.storage import atomic, naming


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
        self.read, self.voted = functools.cache(self._read), functools.cache(self._voted)
        self._logits, self._order = functools.cache(nxn_logits.Logits), functools.cache(_order)

    def _read(self, folder: str) -> Answers | None:
        """Of the result in `folder`, a cell of an N×N or another; None where predictions are not kept."""
        file = Path(folder) / predictions.PREDICTIONS
        try:
            if file.is_file():
                kept = read_answers(Path(folder), ())
                return self._sorted(kept["ids"], kept["labels"], kept["predictions"])
            return self._of_cell(Path(folder))
        except InputError as error:
            self.damaged[file] = str(error)
            return None

    def _voted(self, models: tuple[tuple[str, ...], ...]) -> Answers | None:
        """What models elect together by the soft vote of equals; of each, the folders of its results, first come first.

        None where one of them has kept no logits, or they are of other items.
        """
        said = [next((found for folder in folders if (found := self._said(folder))), None) for folders in models]
        known = [one for one in said if one is not None]
        if not known or len(known) < len(said) or len({one[0] for one in known}) > 1:
            return None
        key, gold, _ = known[0]
        shapes = {logits.shape for _, _, logits in known}
        if len(shapes) > 1 or any(not np.array_equal(gold, other) for _, other, _ in known):
            return None
        return Answers(key, gold, soft([logits for _, _, logits in known], np.ones(len(known))))

    def _said(self, folder: str) -> tuple[int, np.ndarray, np.ndarray] | None:
        """(what stands for the sorted ids, gold labels, logits (items, labels)) of a result; None where not kept."""
        file = Path(folder) / predictions.PREDICTIONS
        try:
            if file.is_file():
                kept = read_answers(Path(folder)) if predictions.keeps_logits(file) else None
            else:
                kept = self._cell(Path(folder))
            if kept is None:
                return None
        except InputError as error:
            self.damaged[file] = str(error)
            return None
        order, key = self._order(kept["ids"].tobytes(), kept["ids"].dtype.str)
        return key, kept["labels"][order], kept["logits"][order]

    def _of_cell(self, folder: Path) -> Answers | None:
        kept = self._cell(folder)
        return self._sorted(kept["ids"], kept["labels"], kept["logits"].argmax(-1)) if kept else None

    def _cell(self, folder: Path) -> dict[str, np.ndarray] | None:
        """ids, labels and logits of a cell of an N×N."""
        cell = naming.parse_cell(folder.name)
        if cell is None or not (folder.parent / nxn_logits.LOGITS).is_file():
            return None
        source, target = cell
        kept = self._logits(folder.parent)
        found = {"ids": kept.ids(target), "labels": kept.labels(target), "logits": kept.logits(source, target)}
        if (folder / naming.RESULTS_JSON).is_file():
            answers = {"labels": found["labels"], "predictions": found["logits"].argmax(-1)}
            check_agreement(answers, atomic.read_json(folder / naming.RESULTS_JSON), kept.path)
        return found

    def _sorted(self, ids: np.ndarray, gold: np.ndarray, predicted: np.ndarray) -> Answers:
        order, key = self._order(ids.tobytes(), ids.dtype.str)
        return Answers(key, gold[order], predicted[order])


def _order(ids: bytes, dtype: str) -> tuple[np.ndarray, int]:
    """(the order that sorts the ids, what stands for them sorted)"""
    names = np.frombuffer(ids, dtype)
    order = np.argsort(names)
    return order, hash(tuple(names[order].tolist()))
