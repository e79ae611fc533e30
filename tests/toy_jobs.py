"""Jobs that take no time, for the tests of their list; run as a script, works them off in the folder given."""

import os
import sys
import time
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.jobs import engine, processes
from merginguriel.utils.jobs.job import KINDS, Job
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import RESULT

KINDS["toy"] = "toy_jobs"


def run(job, shared):
    """Notes that it began and ended, so that tests see what was done how often."""
    with open(job.folder.parent / "log", "a") as log:
        log.write(f"began {job.name}\n")
    if job.options.get("refuses"):
        raise InputError("no such model")
    if job.options.get("breaks"):
        raise ValueError("a bug")
    dies = job.folder.parent / f"dies {job.name}"
    if dies.exists():
        dies.unlink() if job.options.get("once") else None
        os._exit(9)
    time.sleep(job.options.get("seconds", 0))
    shared["count"] = shared.get("count", 0) + 1
    with atomic.whole_folder(job.folder, RESULT, overwrite=True) as partial:
        (partial / "part").write_text("x")
        atomic.write_json(partial / "results.json", {"job": job.hash})
    with open(job.folder.parent / "log", "a") as log:
        log.write(f"ended {job.name}\n")
    return f"number {shared['count']} of its group"


def make_jobs(folder: Path, **options) -> list[Job]:
    """Nine jobs in three groups; `options` by the job's name."""
    return [
        Job(
            "toy",
            f"job{number}",
            f"group{number % 3}",
            folder / f"job{number}",
            {"number": number},
            options.get(f"job{number}", options.get("every", {})),
        )
        for number in range(9)
    ]


class Worker(engine.Worker):
    """Unpickling it registers the toy kind in a new process."""


class Here:
    def run(self, make, groups, progress):
        processes.in_this_process(Worker, groups, progress)


class InProcesses:
    def run(self, make, groups, progress):
        processes.in_processes(Worker, groups, 2, progress)


if __name__ == "__main__":
    seconds = float(sys.argv[2]) if sys.argv[2:] else 0.02
    engine.work_off(make_jobs(Path(sys.argv[1]), every={"seconds": seconds}), InProcesses() if sys.argv[3:] else Here())
