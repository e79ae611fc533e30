"""Logits that an N×N evaluation kept: no model is loaded for a vote, none need be there."""

from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import Split
from merginguriel.utils.ensembles.settings import VoteSettings
from merginguriel.utils.evaluation import nxn_logits
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.models.store import ModelStore


class KeptLogits:
    """The N×N evaluation in `folder`; opened again in every process."""

    def __init__(self, folder: Path, matrix: Any):
        self.folder, self.matrix = folder, matrix

    def __reduce__(self) -> tuple:
        return _open, (self.folder,)

    def available(self, settings: VoteSettings, store: ModelStore) -> dict[str, Path]:
        """Source -> folder of its model; InputError where one that is asked for is not there, or of another base."""
        missing = [locale for locale in settings.choice.sources or () if locale not in self.matrix.sources]
        if missing:
            raise InputError(
                f"no {', '.join(missing)} among the sources of the N×N logits; evaluate them or leave "
                "them out of --sources"
            )
        paths = self.matrix.paths()
        others = [path.name for locale, path in paths.items() if path.name != store.folder(locale).name]
        if others:
            raise InputError(
                f"the N×N logits are of models such as {others[0]}, whose base model is not "
                f"{store.base_model}; correct --base-model or --nxn-dir"
            )
        return paths

    def check(self, split: Split, whole: Split) -> None:
        """InputError unless logits of these items are kept, and of these texts; `whole`: the split without a draw."""
        self._places(split)
        kept = whole.of(self.matrix.ids(split.locale).tolist())
        if kept.fingerprint() != self.matrix.data_sha256[split.locale]:
            raise InputError(
                f"the N×N logits of {split.locale} are of other texts under the ids of --dataset-name; give the data "
                "that they were made on, or evaluate again with run_nxn_evaluation.py"
            )

    def logits(self, source: str, split: Split) -> np.ndarray:
        """(items, labels) float32, in the order of the split."""
        logits = np.asarray(self.matrix.logits(source, split.locale), np.float32)[self._places(split)]
        if logits.shape[1] != len(split.label_names):
            raise InputError(
                f"the N×N logits have {logits.shape[1]} labels and the task {len(split.label_names)}; correct --task"
            )
        return logits

    def alone(self, source: str, split: Split, metric: str) -> Evaluation:
        predicted = self.logits(source, split).argmax(-1)
        ids, gold = np.array(split.ids), np.array(split.labels)
        return Evaluation(f"{source} alone", self.folder, ids, gold, predicted, split.label_names, metric)

    def _places(self, split: Split) -> list[int]:
        if split.locale not in self.matrix.targets:
            raise InputError(f"no {split.locale} among the targets of the N×N logits; evaluate it or leave it out")
        place = {id_: item for item, id_ in enumerate(self.matrix.ids(split.locale))}
        gold = self.matrix.labels(split.locale)
        items = [place[id_] for id_ in split.ids if id_ in place]
        if len(items) < len(split.ids) or [int(gold[item]) for item in items] != split.labels:
            raise InputError(
                f"the N×N logits of {split.locale} are of other items than --dataset-name has; give the "
                "data that they were made on"
            )
        return items


def _open(folder: Path) -> KeptLogits:
    return KeptLogits(folder, nxn_logits.open_logits(folder))
