"""The plan of an iterative run: what is merged, what the result rests on, and where it goes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from merginguriel.utils.data.task import Fingerprints, Task
from merginguriel.utils.iterative.run_folder import FINAL, RunFolder
from merginguriel.utils.iterative.settings import IterativeSettings
from merginguriel.utils.jobs.job import settings_hash
from merginguriel.utils.merging.consensus import ConsensusMatrix, Polls
from merginguriel.utils.merging.plan import MergePlan, plan_merge
from merginguriel.utils.merging.selection import Neighbours, SourceSettings
from merginguriel.utils.models.initial import initial_checkpoint
from merginguriel.utils.similarity.consensus import ORIGIN
from merginguriel.utils.storage import naming


@dataclass(frozen=True)
class IterativePlan:
    """`merge`: the last merge, whose sources are all `initial` yet. `data`: fingerprints of all items."""

    settings: IterativeSettings
    initial: Path
    merge: MergePlan
    data: dict[str, str]

    @property
    def locales(self) -> list[str]:
        return [source.locale for source in self.merge.sources]

    @property
    def rests_on(self) -> dict[str, Any]:
        """What the final model and its result rest on, as plain data."""
        return {**self.settings.record, "data": self.data}

    @cached_property
    def job(self) -> str:
        """The hash by which results.json tells that it is of this plan."""
        return settings_hash("iterative", self.rests_on)

    @property
    def result_folder(self) -> Path:
        settings, merge = self.settings, self.merge
        told = [*merge.words, *settings.words()]
        name = naming.merge_name(f"iterative_{merge.mode}", merge.target, len(merge.sources), told)
        return settings.results_root / name


class Untrained(Polls):
    """Nobody can be asked before the first merge: all weigh the same in the plan."""

    def __init__(self, task: Task):
        self._task = task

    def matrix(self, target: str, choice: SourceSettings, among: Neighbours) -> ConsensusMatrix:
        self._task.texts(target, "train")  # where there are none, it is said before anything is trained
        sources = tuple(code for code in among.codes if code != target)
        return ConsensusMatrix(sources, (target,), np.full((len(sources), 1), 1 / len(sources)), ORIGIN)


def plan_run(settings: IterativeSettings, data: Fingerprints | None = None) -> IterativePlan:
    """Sources, weights and method of all merges. Raises InputError where they cannot be chosen as asked.

    `data` remembers fingerprints from plan to plan.
    """
    training = settings.training
    data = Fingerprints(training.task) if data is None else data
    initial = initial_checkpoint(training.store, training.settings.seed)
    merge = plan_merge(
        settings.merge,
        training.task,
        training.store,
        output=RunFolder(settings.folder).merged(FINAL),
        available=dict.fromkeys(training.locales or training.task.codes, initial),
        polls=Untrained(training.task),
    )
    sources, target = [source.locale for source in merge.sources], merge.target
    splits = {"train": sources, "validation": [*sources, target], "test": [target]}
    needed = [(locale, split) for split, locales in splits.items() for locale in locales]
    needed += [(locale, merge.settings.texts.split) for locale in merge.texts]
    return IterativePlan(
        settings, initial, merge, {f"{locale} {split}": data[locale, split] for locale, split in needed}
    )
