"""The job of an iterative run: each of many targets is trained in a folder of its own and continued there."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import Fingerprints
from merginguriel.utils.evaluation.results import score_in
from merginguriel.utils.iterative import run as iterative
from merginguriel.utils.iterative.history import read_history
from merginguriel.utils.iterative.plan import IterativePlan, plan_run
from merginguriel.utils.iterative.run_folder import FINAL, RunFolder
from merginguriel.utils.iterative.settings import IterativeSettings
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.outcome import Outcome
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON


def iterative_jobs(
    runs: Sequence[IterativeSettings], *, cleanup: bool, overwrite: bool
) -> tuple[list[Job], dict[str, str]]:
    """(a job for each run, by target why others could not be planned); InputError where none can.

    `cleanup`: keep only the final model of a run that is done. The runs are of one task.
    """
    jobs: list[Job] = []
    failures: dict[str, str] = {}
    data = Fingerprints(runs[0].training.task)
    for settings in runs:
        try:
            plan = plan_run(settings, data)
        except InputError as error:
            failures[settings.target] = str(error)
            continue
        folder, options = plan.result_folder, {"plan": plan, "cleanup": cleanup, "overwrite": overwrite}
        jobs.append(
            Job("iterative", folder.name, settings.target, folder, plan.rests_on, options, label=settings.merge.mode)
        )
    if not jobs:
        raise InputError(next(iter(failures.values())))
    return jobs, failures


def run(job: Job, shared: dict[str, Any]) -> str:
    plan: IterativePlan = job.options["plan"]
    final = iterative.run(plan, overwrite=job.options["overwrite"])
    if job.options["cleanup"]:
        keep_final_model(plan.settings.folder)
    return f"{final.accuracy:.4f}"


def keep_final_model(folder: Path) -> None:
    """Remove a run's checkpoints and the merges before the last one."""
    for entry in read_history(folder):
        for locale in entry["active_locales"]:
            shutil.rmtree(RunFolder(folder).checkpoints_of(locale), ignore_errors=True)
            with contextlib.suppress(OSError):  # nothing of ours is in it
                (folder / locale).rmdir()
        if entry["name"] != FINAL:
            shutil.rmtree(RunFolder(folder).merged(entry["name"]), ignore_errors=True)


def accuracies(jobs: Sequence[Job], outcome: Outcome) -> dict[str, Any]:
    """What the end of such a list tells beside: the test accuracy of every target that is done."""
    return {"accuracies": {job.group: score_in(job.folder) for job in jobs if outcome.is_whole(job.name)}}


def summary_table(jobs: Sequence[Job], outcome: Outcome) -> str:
    """A line for every target that is done: its merges, its test accuracy with interval, its sources."""
    lines = ["target  merges  accuracy  95 % interval   sources"]
    for job in jobs:
        if outcome.is_whole(job.name):
            result = atomic.read_json(job.folder / RESULTS_JSON)
            performance, experiment = result["performance"], result["experiment"]
            low, high = performance["ci95"]
            lines.append(
                f"{job.group:<6}  {len(experiment['iterative']['merges']):6}  {performance['accuracy']:8.4f}  "
                f"[{low:.3f}, {high:.3f}]  {' '.join(source['locale'] for source in experiment['sources'])}"
            )
    return "\n".join(lines)
