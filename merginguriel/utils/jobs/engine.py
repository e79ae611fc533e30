"""Many jobs: what is done is skipped, what fails is named and the others go on, in processes here or on a cluster."""

import contextlib
import functools
import gc
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from auto_merge_llm.errors import InputError

from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.ledger import Ledger
from merginguriel.utils.jobs.outcome import JobProgress, Outcome
from merginguriel.utils.storage import progress
from merginguriel.utils.storage.disk import of_disk
from merginguriel.utils.storage.interrupts import is_interrupt
from merginguriel.utils.storage.locks import LockedError, locked

log = logging.getLogger(__name__)


class Backend(Protocol):
    """Where jobs run: `run` makes a Worker a process by `make()` and lets it do [(group, jobs), …]."""

    @property
    def workers(self) -> int: ...

    @property
    def device(self) -> str: ...

    def run(self, make: Callable[[], "Worker"], groups: list[tuple[str, list[Job]]], progress: JobProgress) -> None: ...


def carry_out(ledger: Ledger, backend: Backend, *, context: Any = None, unit: str = "jobs") -> Outcome:
    """`work_off` the jobs of a ledger, which keeps what is to do, what is done, and how it ended."""
    ledger.begin()
    outcome = work_off(ledger.jobs, backend, ledger.changed, context=context, unit=unit)
    file = ledger.end(outcome)
    if file:
        log.info("%s", file)
    return outcome


def work_off(
    jobs: Iterable[Job],
    backend: Backend,
    changed: Callable[[Outcome], None] = lambda outcome: None,
    *,
    context: Any = None,
    unit: str = "jobs",
) -> Outcome:
    """Do what is not done yet. A job whose process or machine is lost is tried once more.

    `changed` is called whenever a job has ended. `context`: what all jobs share, sent once to every process.
    """
    outcome, left = Outcome(), []
    for job in jobs:
        left.append(job) if not job.is_done() else outcome.kept.append(job.name)
    with progress.Progress(unit, len(left) + len(outcome.kept), len(outcome.kept)) as bar:
        told = JobProgress(outcome, left, bar, changed)
        while left:
            ready = _ready(left, outcome, told)
            groups: dict[str, list[Job]] = {}
            for job in ready:
                groups.setdefault(job.group, []).append(job)
            if groups:
                backend.run(functools.partial(Worker, context), list(groups.items()), told)
            left = [job for job in left if not outcome.settled(job.name)]
    return outcome


def _ready(left: Sequence[Job], outcome: Outcome, told: JobProgress) -> list[Job]:
    """Those of `left` whose needs are done; where one of the needs has failed, the job has."""
    waiting, ready = {job.name for job in left}, []
    for job in left:
        failed = [name for name in job.needs if name in outcome.failures]
        if failed:
            told.job_failed(-1, job.name, outcome.failures[failed[0]])
        elif not waiting & set(job.needs):
            ready.append(job)
    return ready


class Worker:
    """Does the jobs of a group in the process that it is made in."""

    def __init__(self, context: Any = None):
        self._context = context

    def __call__(self, group: str, jobs: list[Job], report: Callable[..., None]) -> None:
        for event in self.events(jobs, report):
            report(*event)

    def events(self, jobs: list[Job], report: Callable[..., None] = lambda *event: None) -> Iterator[tuple]:
        """What becomes of each job, as it happens: calls of the progress without the worker's number.

        What share of a job is done goes to `report` alone.
        """
        shared: dict[str, Any] = {"context": self._context}
        waiting, busy = deque(jobs), 0
        while waiting:
            job = waiting.popleft()
            # Another run has this job in hand: the others first, and wait only where there are no others.
            with contextlib.ExitStack() as held:
                try:
                    held.enter_context(locked(_lock_file(job), timeout=-1 if busy > len(waiting) else 0))
                except LockedError:
                    waiting.append(job)
                    busy += 1
                    continue
                busy = 0
                yield "job_started", job.name
                shared["progress"] = functools.partial(report, "job_share", job.name)
                yield _done_or_why(job, shared)
        shared.clear()
        gc.collect()  # what it held on a GPU may refer to itself


def _lock_file(job: Job) -> Path:
    return job.folder.parent / ".locks" / f"{job.folder.name}.lock"


def _done_or_why(job: Job, shared: dict[str, Any]) -> tuple:
    if job.is_done():
        return "job_kept", job.name
    try:
        return "job_done", job.name, job.run(shared)
    except Exception as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from error
        if isinstance(error, InputError):
            return "job_failed", job.name, str(error)
        if reason := of_disk(error):
            return "job_failed", job.name, reason
        log.exception("%s", job.name)
        _check_device()
        return "job_failed", job.name, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _check_device() -> None:
    """Raise where an error has left the GPU unusable for this process: another one shall do the rest."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
