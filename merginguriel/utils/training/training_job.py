"""The job of a training: one model, and, where a language was held out of it, its result on that language."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merginguriel.utils.evaluation.classifier import Classifier, evaluate
from merginguriel.utils.evaluation.results import score_in
from merginguriel.utils.jobs.job import Job, settings_hash, tells
from merginguriel.utils.jobs.outcome import Outcome
from merginguriel.utils.models.initial import initial_checkpoint
from merginguriel.utils.models.model_folder import TRAINING_JSON, bytes_of, files_of, is_whole
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON
from merginguriel.utils.training import unfinished
from merginguriel.utils.training.settings import TrainingRun, TrainingSteps
from merginguriel.utils.training.train import train
from merginguriel.utils.training.trainer import free_memory

log = logging.getLogger(__name__)


def training_job(
    run: TrainingRun, steps: TrainingSteps, command: str = "", held_out: tuple[str, Path] | None = None
) -> Job:
    """`command`: the line for a shell that does the same. `held_out`: a locale, and where the result on it goes."""
    name = run.output_dir.name
    options = {"run": run, "steps": steps, "command": command, "held_out": held_out}
    return Job("training", name, name, run.output_dir, run.record, options, mark=TRAINING_JSON)


def is_done(job: Job) -> bool:
    """Whether the model is whole, and the result on the language held out is that of this very model."""
    if not is_whole(job.folder) or not job.options["held_out"]:
        return is_whole(job.folder)
    locale, result = job.options["held_out"]
    return tells(result / RESULTS_JSON, {"job": _held_out_hash(job.folder, locale)})


def run(job: Job, shared: dict[str, Any]) -> str:
    if not is_whole(job.folder):
        if job.folder.exists():
            log.warning("%s was not whole; it is now %s", job.folder, atomic.set_aside(job.folder).name)
        try:
            train(job.options["run"], job.options["steps"], shared["progress"])
        finally:
            free_memory()
    if job.options["held_out"]:
        _evaluate(job, *job.options["held_out"])
    return accuracies(job)


def _evaluate(job: Job, locale: str, result: Path) -> None:
    task = job.options["run"].task
    # What stands there already is the result of an earlier model of this name.
    evaluate(
        Classifier(job.folder, task),
        task.load(locale, "test"),
        result,
        overwrite=True,
        job=_held_out_hash(job.folder, locale),
    )


def _held_out_hash(model: Path, locale: str) -> str:
    return settings_hash("held out", {"locale": locale, "files": files_of(model)})


def remove_leftovers(jobs: Sequence[Job]) -> None:
    """Checkpoints beside whole models: of a run that was killed between finishing one and removing the other."""
    for job in jobs:
        if is_whole(job.folder):
            unfinished.remove_leftovers(job.folder, unfinished.unfinished(job.folder))


def memory_needed(run: TrainingRun) -> int:
    """Bytes of a worker: weights, gradients, two moments, and what training works with."""
    return 6 * bytes_of(initial_checkpoint(run.store, run.settings.seed))


def accuracies(job: Job) -> str:
    """The accuracies of a finished job, in words."""
    file = job.folder / "all_results.json"
    metrics = atomic.read_json(file) if file.is_file() else {}
    metric = job.options["run"].task.metric
    found = {"validation": metrics.get(f"eval_{metric}"), "test": metrics.get(f"predict_{metric}")}
    if job.options["held_out"]:
        found["held-out test"] = score_in(job.options["held_out"][1])
    said = [f"{name} {metric} {value:.4f}" for name, value in found.items() if value is not None]
    return ", ".join(said) or "trained"


def table(jobs: Sequence[Job], outcome: Outcome) -> str:
    """A line for every model that is there, with its accuracies."""
    whole = sorted((job for job in jobs if outcome.is_whole(job.name)), key=lambda job: job.name)
    return "\n".join(f"{job.name}  {accuracies(job)}" for job in whole)
