"""N×N: every source model on every target locale. Rows are source models, columns target locales."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import DRAW_SEED, Split
from merginguriel.utils.evaluation.classifier import model_settings
from merginguriel.utils.evaluation.nxn_job import NxnContext
from merginguriel.utils.evaluation.results import score_in
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.models import devices
from merginguriel.utils.models.model_folder import bytes_of
from merginguriel.utils.similarity.transfer import MATRIX_CSV, RUN_JSON, SUMMARY_JSON, TransferMatrix
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.locks import locked
from merginguriel.utils.storage.naming import RESULTS_JSON
from merginguriel.utils.storage.progress import over

TOKENS = ".tokens"  # folder of token ids, in that of the runs


@dataclass(frozen=True)
class NxnPlan:
    """What to evaluate: models by source locale, on targets. `folder` holds the runs."""

    sources: Mapping[str, Path]
    targets: tuple[str, ...]
    split: str
    folder: Path
    items: NxnContext
    max_items: int | None = None  # of each target, drawn at random

    def draw(self, target: str) -> tuple[int, int] | None:
        """How many of its items, and by which seed, where that is not all of them."""
        if self.max_items is None or self.max_items >= len(self.items.split(target, self.split)):
            return None
        return self.max_items, DRAW_SEED

    def items_of(self, target: str) -> Split:
        return self.items.split(target, self.split, self.draw(target))

    def describe(self) -> str:
        drawn = f"at most {self.max_items} items of the " if self.max_items else ""
        return (
            f"{len(self.sources)} source models on {len(self.targets)} target locales, {drawn}{self.split} split of "
            f"{self.items.task.data}: {len(self.sources) * len(self.targets)} cells"
        )


@dataclass
class Run:
    """One N×N evaluation in its folder. `failures` maps sources to the reason why they have no results."""

    plan: NxnPlan
    folder: Path
    settings: dict[str, Any]
    failures: dict[str, str] = field(default_factory=dict)

    def cell(self, source: str, target: str) -> Path:
        return self.folder / f"{source}_on_{target}"

    def is_done(self, source: str, target: str) -> bool:
        return (self.cell(source, target) / RESULTS_JSON).is_file()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to do: the summary is written last, and removed first.

        In a run of an earlier version, which told less, to tell the rest is left.
        """
        is_finished = (self.folder / SUMMARY_JSON).is_file() and not self.missing()
        return is_finished and atomic.read_json(self.folder / RUN_JSON) == self.settings

    def missing(self) -> dict[str, list[str]]:
        """Source -> targets without a result."""
        left = {
            source: [target for target in self.plan.targets if not self.is_done(source, target)]
            for source in self.plan.sources
        }
        return {source: targets for source, targets in left.items() if targets}

    def matrix(self) -> TransferMatrix:
        values = np.full((len(self.plan.sources), len(self.plan.targets)), np.nan)
        for row, source in enumerate(self.plan.sources):
            for column, target in enumerate(self.plan.targets):
                if self.is_done(source, target):
                    values[row, column] = score_in(self.cell(source, target))
        return TransferMatrix(tuple(self.plan.sources), self.plan.targets, values, str(self.folder / MATRIX_CSV))

    def jobs(self) -> list[Job]:
        """A job a cell; the cells of a source are a group."""
        settings = {"split": self.plan.split, "precision": self.settings["precision"]}
        draws = {target: self.plan.draw(target) for target in self.plan.targets}
        return [
            Job(
                "cell",
                f"{source}_on_{target}",
                source,
                self.cell(source, target),
                {**settings, "model": model, "target": target, "data": self.settings["data"][target]},
                {"model": self.plan.sources[source], "draws": draws},
                title=source,
            )
            for source, model in self.settings["sources"].items()
            if source not in self.failures
            for target in self.plan.targets
        ]

    @property
    def memory_needed(self) -> int:
        """Bytes of a worker: a model, and another while the next is read."""
        readable = [path for source, path in self.plan.sources.items() if source not in self.failures]
        return 2 * bytes_of(readable[0]) if readable else 0

    def add_failures(self, by_job: Mapping[str, str]) -> None:
        """Put the reasons why cells failed into `failures`, under their sources."""
        for name, reason in by_job.items():
            self.failures.setdefault(name.partition("_on_")[0], reason)


def prepare(plan: NxnPlan, *, anew: bool = False, keep_tokens: bool = False) -> Run:
    """The run of these models, data, split and precision to go on with, else a new one; nothing is written of it.

    `keep_tokens`: for workers of this machine, while models are hashed.
    A model that cannot be read is among `failures`, and any run may still be waiting for its repair.
    Raises InputError where a target has no data.
    """
    dtype, failures = devices.evaluation_dtype(devices.default_device()), {}

    def fingerprint(source: str) -> dict[str, Any] | None:
        try:
            return model_settings(plan.sources[source], plan.items.task, dtype)
        except (InputError, OSError) as error:
            failures[source] = str(error)
            return None

    # Hashing gigabytes of weights runs beside reading them, and beside reading the data: here, where all languages are
    # read before another process has imported what it needs.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        hashed = pool.map(fingerprint, plan.sources)
        try:
            items = {target: plan.items_of(target) for target in plan.targets}
            if keep_tokens:
                plan.items.keep_tokens(next(iter(plan.sources.values())), items.values())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        sources = dict(zip(plan.sources, over(hashed, "fingerprints", len(plan.sources))))
    settings = {
        "split": plan.split,
        "precision": str(dtype).removeprefix("torch."),
        "data": {target: split.fingerprint() for target, split in items.items()},
        # The same without labels, for those who must not read any.
        "texts": {target: split.unlabelled().fingerprint() for target, split in items.items()},
        "sources": sources,
    }
    return _find(Run(plan, plan.folder, settings, failures), anew)


def begin(run: Run, *, anew: bool = False) -> Run:
    """Write down that the run is at work, so that whoever asks for the same goes on with it; which run it is."""
    run.plan.folder.mkdir(parents=True, exist_ok=True)
    with locked(run.plan.folder / ".lock"):
        # Another process may have begun it just now.
        run = _find(run, anew)
        run.folder.mkdir(exist_ok=True)
        (run.folder / SUMMARY_JSON).unlink(missing_ok=True)
        atomic.write_json(run.folder / RUN_JSON, run.settings)
    return run


def _find(run: Run, anew: bool) -> Run:
    """The same in the folder of the run to go on with, or in a new one."""
    plan = run.plan
    for folder in [] if anew else sorted(plan.folder.glob("nxn_eval_*"), reverse=True):
        kept = Run(plan, folder, run.settings, run.failures)
        if _goes_on(kept):
            return kept
    moment = datetime.now()
    while (folder := plan.folder / f"nxn_eval_{moment:%Y%m%d_%H%M%S}").exists():
        moment += timedelta(seconds=1)
    return Run(plan, folder, run.settings, run.failures)


def _goes_on(run: Run) -> bool:
    """Whether the folder's finished cells are cells of this run. A source without any may have been repaired."""
    if not (run.folder / RUN_JSON).is_file():
        return False
    kept = atomic.read_json(run.folder / RUN_JSON)
    same = all(kept.get(name) == run.settings[name] for name in ("split", "precision", "data"))
    return (
        same
        and list(kept["sources"]) == list(run.settings["sources"])
        and all(
            settings == kept["sources"][source] or not any(run.is_done(source, target) for target in run.plan.targets)
            for source, settings in run.settings["sources"].items()
        )
    )
