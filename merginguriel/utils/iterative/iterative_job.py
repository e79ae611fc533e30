"""Iterative training for many targets: each is a job, done in its own folder and continued there."""

import shutil
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.iterative import run
from merginguriel.utils.iterative.settings import IterativeSettings
from merginguriel.utils.jobs import engine
from merginguriel.utils.jobs.engine import Job, Outcome
from merginguriel.utils.models import store
from merginguriel.utils.models.initial import initial_checkpoint
from merginguriel.utils.storage import atomic, environment, naming

PROGRESS_JSON = "iterative_large_scale_progress.json"
FINAL_JSON = "iterative_large_scale_final_results.json"


def plan_jobs(
    runs: dict[str, IterativeSettings], *, cleanup: bool, overwrite: bool
) -> tuple[list[Job], dict[str, str]]:
    """(a job for each target, why others could not be planned); InputError where none can."""
    planned, failures, data = [], {}, task.Fingerprints()
    for target, settings in runs.items():
        try:
            chosen = run.plan(settings)
            rests_on = run.rests_on(settings, chosen, data)
        except InputError as error:
            failures[target] = str(error)
            continue
        folder = run.result_folder(settings, chosen)
        planned.append(
            Job(
                "iterative",
                folder.name,
                target,
                folder,
                rests_on,
                {"settings": settings, "plan": chosen, "cleanup": cleanup, "overwrite": overwrite},
            )
        )
    if not planned:
        raise InputError(next(iter(failures.values())))
    return planned, failures


def run_job(job: Job, shared: dict) -> str:
    settings = job.options["settings"]
    final = run.run(settings, job.options["plan"], overwrite=job.options["overwrite"])
    if job.options["cleanup"]:
        keep_final_model(settings)
    return f"{final.accuracy:.4f}"


def keep_final_model(settings: IterativeSettings) -> None:
    """Remove checkpoints and the merges before the last one."""
    for entry in atomic.read_json(settings.folder / run.HISTORY_JSON)["merge_history"]:
        for locale in entry["active_locales"]:
            shutil.rmtree(settings.folder / locale, ignore_errors=True)
        if entry["name"] != run.FINAL:
            shutil.rmtree(settings.folder / run.MERGED / entry["name"], ignore_errors=True)


def memory_needed(settings: IterativeSettings) -> int:
    """Bytes of a worker: weights, gradients, two moments, and what training works with."""
    initial = initial_checkpoint(settings.training.base_model, settings.training.seed, settings.training.models_root)
    return 6 * sum(size for size, _ in store.files_of(initial).values())


def work_off(planned: list[Job], failures: dict[str, str], backend, config: dict, folder: Path) -> Outcome:
    """Do what is missing; progress and end are kept as JSON in `folder`."""

    def said(outcome: Outcome) -> dict:
        return {
            "timestamp": environment.utc_now(),
            "total_locales": len(planned) + len(failures),
            "processed_locales": sum(outcome.settled(job.name) for job in planned),
            "accuracies": {job.group: accuracy_of(job) for job in planned if outcome.is_whole(job.name)},
            "failures": {**failures, **outcome.failures},
        }

    outcome = engine.work_off(planned, backend, lambda now: atomic.write_json(folder / PROGRESS_JSON, said(now)))
    outcome.failures.update(failures)
    atomic.write_json(folder / PROGRESS_JSON, said(outcome))
    atomic.write_json(folder / FINAL_JSON, {**said(outcome), "config": config})
    return outcome


def accuracy_of(job: Job) -> float:
    return atomic.read_json(job.folder / naming.RESULTS_JSON)["performance"]["accuracy"]


def summary_table(planned: list[Job], outcome: Outcome) -> str:
    """A line for every target that is done: its merges, its test accuracy with interval, its sources."""
    lines = ["target  merges  accuracy  95 % interval   sources"]
    for job in planned:
        if outcome.is_whole(job.name):
            result = atomic.read_json(job.folder / naming.RESULTS_JSON)
            low, high = result["performance"]["ci95"]
            experiment = result["experiment"]
            lines.append(
                f"{job.group:<6}  {len(experiment['iterative']['merges']):6}  {accuracy_of(job):8.4f}  "
                f"[{low:.3f}, {high:.3f}]  {' '.join(source['locale'] for source in experiment['sources'])}"
            )
    return "\n".join(lines)
