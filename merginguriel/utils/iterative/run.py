"""Iterative training: models of several locales are trained in turn, merged every few epochs, and go on from the merge.

A run that is killed is repeated from what stands in its folder and ends with the same model.
"""

import contextlib
import functools
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.iterative import timing
from merginguriel.utils.iterative.history import read_history, write_history
from merginguriel.utils.iterative.merge_step import Merger
from merginguriel.utils.iterative.plan import IterativePlan
from merginguriel.utils.iterative.progress import EpochProgress
from merginguriel.utils.iterative.result import check_result, judge
from merginguriel.utils.iterative.run_folder import CONFIG_JSON, RunFolder
from merginguriel.utils.jobs import processes
from merginguriel.utils.jobs.job import loaded_by
from merginguriel.utils.storage import atomic, messages
from merginguriel.utils.training import tracking
from merginguriel.utils.training.checkpoints import set_aside_damaged
from merginguriel.utils.training.development import Development
from merginguriel.utils.training.parts import Part, Trainers
from merginguriel.utils.training.trainer import check_environment, device_of, free_memory
from merginguriel.utils.training.unfinished import alone

log = logging.getLogger(__name__)


def run(plan: IterativePlan, *, overwrite: bool = False, config: dict[str, Any] | None = None) -> Evaluation:
    """Train and merge as planned, and evaluate the last merge on the target's test items.

    Goes on where an earlier run with these settings stopped. `config` is kept in the folder. Raises InputError, before
    anything is trained, for what cannot be trained or merged, and where the folder holds another run and `overwrite` is
    false.
    """
    settings, result = plan.settings, plan.result_folder
    check_environment(settings.training.settings)
    if settings.max_gpu_memory and device_of(settings.training.settings) == "cpu":
        raise InputError("--max-gpu-memory needs a CUDA GPU; leave it out")
    check_result(plan.job, result, overwrite)
    if result.resolve() in (settings.folder.resolve(), *settings.folder.resolve().parents):
        raise InputError(f"the result {result} would hold the run {settings.folder}; choose another --output-dir")
    folder = RunFolder(settings.folder)
    with alone(folder.path.resolve()):  # "." has no name
        folder.claim(settings.record, plan.data, overwrite)
        if config is not None:
            atomic.write_json(folder.path / CONFIG_JSON, config)
        try:
            Turns(plan, folder).take()
            return judge(plan, folder, overwrite and result.exists())
        finally:
            free_memory()


class Turns:
    """Trains the languages of a run to the next merge, and merges them, from wherever its folder has come."""

    def __init__(self, plan: IterativePlan, folder: RunFolder):
        self._plan, self._settings, self._folder = plan, plan.settings, folder
        training = plan.settings.training
        self._development = Development(training, plan.initial)
        self._make = functools.partial(Trainers, training, plan.initial, plan.settings.max_gpu_memory)
        self._merger = Merger(plan, folder, self._development)
        self._history = read_history(folder.path)
        for locale in plan.locales:
            set_aside_damaged(folder.checkpoints_of(locale), scaled=training.settings.fp16)
        reached = {locale: folder.epoch(locale) for locale in plan.locales}
        self._progress = EpochProgress(plan.settings.max_epochs, reached, self._trained)

    def take(self) -> None:
        if self._merged_at == self._settings.max_epochs:
            return
        with self._tracked(), self._progress:
            for entry in self._history:  # what was lost with a damaged checkpoint
                self._train_all(entry["epoch"])
            while self._merged_at < self._settings.max_epochs:
                self._merge(*self._train_to_next_merge())

    @contextlib.contextmanager
    def _tracked(self) -> Iterator[None]:
        """Everything that is logged goes to the tracked run too, where one was asked for."""
        project = self._settings.training.settings.wandb_project
        tracked = tracking.start(project, self._folder.path.name, self._settings.record) if project else None
        self._log = tracked.log if tracked else lambda values: None
        try:
            yield
        finally:
            if tracked:
                tracked.finish()

    @functools.cached_property
    def _trainers(self) -> Trainers:
        return self._make(development=self._development)

    @property
    def _merged_at(self) -> int:
        return self._history[-1]["epoch"] if self._history else 0

    def _train_to_next_merge(self) -> tuple[int, str, list[dict[str, Any]]]:
        """(epoch, why there is a merge, what was decided on the way)."""
        settings, decisions = self._settings, []
        interval = self._history[-1]["next_interval"] if self._history else settings.merge_frequency
        planned = min(self._merged_at + interval, settings.max_epochs)
        for epoch in range(self._merged_at + 1, planned) if settings.performance_trigger else ():
            self._train_all(epoch)
            accuracies = {
                locale: {reached: metrics["eval_accuracy"] for reached, metrics in self._folder.metrics(locale).items()}
                for locale in self._plan.locales
            }
            decision = timing.plateau(accuracies, epoch, settings.convergence_threshold)
            log.info("%s", decision)
            decisions.append(asdict(decision))
            if decision.decided:
                return epoch, "plateau", decisions
        self._train_all(planned)
        is_last = planned == settings.max_epochs
        return planned, "end of training" if is_last else f"{interval} epoch{'s' * (interval > 1)}", decisions

    def _train_all(self, epoch: int) -> None:
        """Until every language has reached `epoch`, from the last merge before it on."""
        settings, folder = self._settings, self._folder
        before = [entry for entry in self._history if entry["epoch"] < epoch]
        merged = folder.merged(before[-1]["name"]) if before else None
        merged_at, merges = before[-1]["epoch"] if before else 0, tuple(entry["epoch"] for entry in self._history)
        parts = [
            (
                locale,
                Part(
                    locale,
                    folder.checkpoints_of(locale),
                    epoch,
                    settings.save_strategy == "epoch",
                    merged,
                    merged_at,
                    tuple(self._last(merges)) if settings.checkpoint_before_merge else (),
                ),
            )
            for locale in self._plan.locales
            if folder.epoch(locale) < epoch
        ]
        if merged and not merged.exists() and any(folder.epoch(locale) == merged_at for locale, _ in parts):
            raise InputError(
                f"{merged}, from which {', '.join(locale for locale, _ in parts)} would go on, is not there any more; "
                "use --overwrite to begin the run again"
            )
        if len(parts) > 1 and not settings.sequential:
            processes.warn_of_threads(len(parts))
            processes.in_processes(self._make, parts, len(parts), self._progress, loaded_by({"iterative"}))
        elif parts:
            processes.in_this_process(lambda: self._trainers, parts, self._progress)
        if self._progress.failures:
            raise InputError("; ".join(messages.by_reason(self._progress.failures)))

    def _trained(self, locale: str) -> None:
        epoch, metrics = max(self._folder.metrics(locale).items())
        metric = self._settings.training.task.metric
        log.debug("%s: epoch %d, validation %s %.4f", locale, epoch, metric, metrics["eval_accuracy"])
        told = {f"{locale}/{name}": metrics[name] for name in ("train_loss", "learning_rate", "eval_accuracy")}
        self._log({"epoch": epoch, **told})
        self._write_state()

    def _merge(self, epoch: int, reason: str, decisions: list[dict[str, Any]]) -> None:
        entry = self._merger.merge(self._history, epoch, reason, decisions)
        merged = entry["validation_accuracy"]["merged"]
        told = {f"merged/{locale}": value for locale, value in merged.items()}
        self._log({"epoch": epoch, "merge": entry["cycle"], **told})
        self._history.append(entry)
        write_history(self._folder.path, self._history)
        self._write_state()
        for old in self._history[: len(self._history) - len(self._last(self._history))]:
            shutil.rmtree(self._folder.merged(old["name"]), ignore_errors=True)

    def _last(self, merges: Sequence[Any]) -> Sequence[Any]:
        """Those that are kept."""
        retain = self._settings.retain
        return merges if retain is None else merges[-retain:]

    def _write_state(self) -> None:
        self._folder.write_state(self._settings.record, self._plan.data, self._plan.locales)
