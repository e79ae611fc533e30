"""Targets x modes x numbers of sources: the list of a sweep's jobs, and what is said of them in the end."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.adaptation.adapt import check_device
from merginguriel.utils.adaptation.adapt_job import MODELS_HELD
from merginguriel.utils.adaptation.run import log as adaptation_log
from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import Fingerprints, Task, Wanted
from merginguriel.utils.evaluation.evaluation_job import evaluation_job, precision_on
from merginguriel.utils.evaluation.results import score_in
from merginguriel.utils.jobs.engine import Backend
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.outcome import Outcome
from merginguriel.utils.jobs.reading_ahead import reading_ahead
from merginguriel.utils.merging import selection
from merginguriel.utils.merging.adapted_merge import adapted_merge_job
from merginguriel.utils.merging.consensus import Polls
from merginguriel.utils.merging.merge_job import MergeOutput, best_source, merge_job, source_jobs
from merginguriel.utils.merging.modes import BASELINE, needs_text
from merginguriel.utils.merging.plan import MergePlan, plan_merge
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.merging.sweep_grid import Grid
from merginguriel.utils.models.model_folder import WeightHashes, bytes_of
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.messages import said_once
from merginguriel.utils.storage.text_lines import name_width, named

log = logging.getLogger(__name__)
AT_ONCE = 64  # targets whose texts are in memory while they are planned


@dataclass
class Sweep:
    """`jobs` in the order in which they are best done; `failures`: why others could not even be planned, by name."""

    jobs: list[Job] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


class Planner:
    """Plans the jobs of target after target; models and texts are hashed once for all."""

    def __init__(self, grid: Grid, task: Task, store: ModelStore, output: MergeOutput, merged_root: Path):
        self._grid, self._task, self._store = grid, task, store
        self._output, self._merged_root, self._told = output, merged_root, task.words(store.base_model)
        self.available = store.available()
        self._hashes, self._data = WeightHashes(self.available), Fingerprints(task)
        self._polls = Polls(task, self.available, store.root, self._hashes)

    def ask(self, targets: Sequence[str], backend: Backend) -> None:
        """Let the models say what a choice or weights by consensus need to know, each loaded once for all targets."""
        needing = next((merge for merge in self._grid.merges if merge.needs_consensus), None)
        if needing:
            if needing.choice.nxn_matrix:  # which tells them
                self._hashes.read(self.available)
            self._polls.score(targets, needing.choice, backend)

    def plan(self, targets: Sequence[str], device: str) -> Sweep:
        """The jobs of all targets, to be done on a `device`. Raises InputError where none can be planned."""
        sweep, precision = Sweep(), precision_on(device)
        jobs: dict[str, Job] = {}
        with said_once(selection.log, adaptation_log):
            for first in range(0, len(targets), AT_ONCE):
                some = targets[first : first + AT_ONCE]
                with reading_ahead(self._task, self._wanted(some)):
                    self._plan_some(some, precision, jobs, sweep.failures)
        without = [name for name in targets if name not in self.available] if BASELINE in self._grid.modes else []
        if without:
            log.warning("warning: no baseline for %s, without a model of their own", ", ".join(without))
        if not jobs:
            missing = f"no models of {', '.join(without)} in {self._store.root}; train them or choose other --locales"
            raise InputError(next(iter(sweep.failures.values()), missing))
        sweep.jobs = list(jobs.values())
        return sweep

    def _wanted(self, targets: Sequence[str]) -> list[Wanted]:
        """What most merges will have read; of sources' texts each reads its own."""
        merges, splits = self._grid.merges, [("test", True)]
        if any(merge.adaptation.adapt or merge.needs_consensus for merge in merges):
            splits.append(("train", False))
        splits += {(merge.texts.split, True) for merge in merges if needs_text(merge.mode)}
        return [Wanted(target, *split) for target in targets for split in splits]

    def _plan_some(
        self, targets: Sequence[str], precision: str, jobs: dict[str, Job], failures: dict[str, str]
    ) -> None:
        for target in targets:
            plans = self._plans(target, failures)
            try:
                for job in self._jobs(target, plans, precision):
                    jobs.setdefault(job.name, job)
            except InputError as error:
                failures[target] = str(error)

    def _plans(self, target: str, failures: dict[str, str]) -> list[MergePlan]:
        """Selections apart, a method after the other, so that what is measured for it serves all numbers of sources."""
        plans, grid = [], self._grid
        for chosen in grid.selections:
            for mode in grid.modes:
                for number in sorted(grid.numbers, reverse=True) if mode != BASELINE else ():
                    settings = grid.settings(mode, target, number, chosen)
                    try:
                        plans.append(self._plan(settings))
                    except InputError as error:
                        failures[_name(settings, number, self._told)] = str(error)
        return plans

    def _plan(self, settings: MergeSettings) -> MergePlan:
        plan = plan_merge(
            settings,
            self._task,
            self._store,
            merged_root=self._merged_root,
            available=self.available,
            weights_sha256=self._hashes,
            polls=self._polls,
        )
        for locale in plan.texts:
            self._data[locale, plan.settings.texts.split]  # what cannot be read is missed by this merge alone
        return plan

    def _jobs(self, target: str, plans: list[MergePlan], precision: str) -> list[Job]:
        """The target's own model, then the sources of each selection alone, and its merges."""
        own = self.available.get(target) if BASELINE in self._grid.modes else None
        if not plans and own is None:
            return []
        split, output, jobs = self._task.load(target, "test"), self._output, []
        if own:
            folder = output.results_root / naming.baseline_name(target, self._told)
            jobs.append(
                evaluation_job(
                    folder,
                    own,
                    split,
                    precision,
                    group=target,
                    overwrite=output.overwrite,
                    label=BASELINE,
                    source=target,
                )
            )
        for chosen in dict.fromkeys(plan.selection["selection"] for plan in plans):
            mine = [plan for plan in plans if plan.selection["selection"] == chosen]
            jobs += source_jobs(mine, split, precision, output)
            jobs += [_job(plan, split, precision, output, self._data) for plan in mine]
        return jobs


def _job(plan: MergePlan, split: Split, precision: str, output: MergeOutput, data: Fingerprints) -> Job:
    make = adapted_merge_job if plan.settings.adaptation.adapt else merge_job
    return make(plan, split, precision, output, data)


def _name(settings: MergeSettings, number: int, told: Sequence[str]) -> str:
    """Of a merge that cannot be planned; bare where what its words tell cannot be read either."""
    try:
        words = [*told, *settings.effective().words().values()]
    except InputError:
        words = []
    return naming.merge_name(settings.mode, settings.target, number, words)


def check_environment(grid: Grid) -> None:
    """InputError where this machine cannot adapt as the merges ask."""
    for mode in grid.merging_modes:
        merge = grid.settings(mode, "", 1, None)
        if merge.adaptation.adapt:
            check_device(merge.adaptation)


def memory_needed(grid: Grid, models: Sequence[Path]) -> int:
    """Bytes of a worker: sources, base, the merged model, and two models to measure and to score with.

    Fisher information is as large as its source. Those of the next selection are loaded before the others are dropped.
    """
    merges = [grid.settings(mode, "", 1, None) for mode in grid.merging_modes]
    measured = any(merge.method.measurement == "fisher" for merge in merges)
    of_source = max(len(grid.selections[:2]), 1 + measured)
    held = max(grid.numbers) * of_source + 4
    adapts = any(merge.adaptation.adapt for merge in merges)
    return max(held, MODELS_HELD if adapts else 0) * bytes_of(models[0])


def accuracies(jobs: Sequence[Job], outcome: Outcome) -> dict[str, Any]:
    """What the end of a sweep tells beside: the accuracy of every job that is done."""
    return {"accuracies": {job.name: score_in(job.folder) for job in jobs if outcome.is_whole(job.name)}}


def summary_table(jobs: Sequence[Job], outcome: Outcome, metric: str) -> str:
    """A line for every mode, number of sources and settings: means of `metric` over the targets that have it.

    The best source is that of the merge's own, by its score on test items: the hardest baseline, and no choice.
    """
    rows = defaultdict(list)
    for job in jobs:
        if outcome.is_whole(job.name) and job.label:
            best = best_source(job) if "alone" in job.options else None
            name = job.name.replace(f"_{job.options['locale']}", "")
            rows[name].append((score_in(job.folder), best[1] if best else np.nan))
    title = f"  targets  mean {metric}  vs best source"
    width = name_width(["merge", *rows], len(title))
    lines = [f"{'merge':<{width}}{title}"]
    for name, pairs in rows.items():
        of_merge, bests = np.array(pairs).T
        numbers = f"  {len(pairs):7}  {of_merge.mean():{len('mean ' + metric)}.4f}"
        differences = (of_merge - bests)[~np.isnan(bests)]
        lines.append(named(name, width, numbers + (f"  {differences.mean():+14.4f}" if len(differences) else "")))
    return "\n".join(lines)
