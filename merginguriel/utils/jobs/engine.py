"""Many jobs: what is done is skipped, what fails is named and the others go on, in processes here or on a cluster."""

import functools
import gc
import hashlib
import importlib
import json
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.jobs import memory, processes
from merginguriel.utils.storage import atomic, messages
from merginguriel.utils.storage.naming import RESULTS_JSON

log = logging.getLogger(__name__)
# Kind -> module and function. The function is called as f(job, shared): it writes `job.folder` whole, with `job.hash`
# as "job" in results.json, and returns a few words for people, such as the accuracy. It raises InputError where that
# cannot be. `shared` is a dict for what it loads: the jobs of a group that run in one process get the same.
KINDS = {
    "evaluation": ("merginguriel.utils.merging.merge_job", "run_evaluation"),
    "merge": ("merginguriel.utils.merging.merge_job", "run_merge"),
    "iterative": ("merginguriel.utils.iterative.iterative_job", "run_job"),
}


@dataclass(frozen=True)
class Job:
    """One result to make, as plain data, which pickles and means the same on every machine.

    `name` is unique among the jobs; `folder` holds the result. `settings`: everything that the result rests on, as
    JSON has it; `options`: what else the kind needs to know; `products`: what it makes beside the result, as JSON files
    and what stands in them. One process does the jobs of a `group`, in order.
    """

    kind: str
    name: str
    group: str
    folder: Path
    settings: dict
    options: dict = field(default_factory=dict)
    products: tuple[tuple[str, dict], ...] = ()

    @functools.cached_property
    def hash(self) -> str:
        """sha256 of kind and settings: results.json has it as "job", and that is the mark of done."""
        return settings_hash(self.kind, self.settings)

    def is_done(self) -> bool:
        return self.has_result() and all(_tells(Path(file), content) for file, content in self.products)

    def has_result(self) -> bool:
        return _tells(self.folder / RESULTS_JSON, {"job": self.hash})


def _tells(file: Path, content: dict) -> bool:
    try:
        return content.items() <= atomic.read_json(file).items()
    except InputError:  # none, or a damaged one, which is reported when the job would replace it
        return False


def settings_hash(kind: str, settings: dict) -> str:
    return hashlib.sha256(json.dumps([kind, settings], sort_keys=True).encode()).hexdigest()


@dataclass
class Outcome:
    """What became of the jobs, by name: what a finished one said, which were done before, why one failed."""

    done: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def settled(self, name: str) -> bool:
        return name in self.done or name in self.failures or name in self.kept

    def is_whole(self, name: str) -> bool:
        return name in self.done or name in self.kept

    def __str__(self) -> str:
        return f"{len(self.done)} done, {len(self.kept)} done before, {len(self.failures)} failed"


def shard(jobs: list[Job], number: int, count: int) -> list[Job]:
    """Every `count`-th group of jobs, from the `number`-th on, counted from 1: all shards together are all jobs."""
    mine = set(list(dict.fromkeys(job.group for job in jobs))[number - 1 :: count])
    return [job for job in jobs if job.group in mine]


def work_off(jobs: Iterable[Job], backend, changed: Callable[[Outcome], None] = lambda outcome: None) -> Outcome:
    """Do what is not done yet. `backend.run(groups, progress)` does [(group, jobs), …] and reports as `Worker` does.

    `changed` is called whenever a job has ended. A job whose process or machine is lost is tried once more.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    outcome, left = Outcome(), []
    for job in jobs:
        left.append(job) if not job.is_done() else outcome.kept.append(job.name)
    with (
        logging_redirect_tqdm(),
        tqdm(
            total=len(left) + len(outcome.kept),
            initial=len(outcome.kept),
            desc="jobs",
            unit=" jobs",
            leave=False,
            disable=None,
        ) as bar,
    ):
        progress = _Progress(outcome, left, bar, changed)
        while left:
            groups = {}
            for job in left:
                groups.setdefault(job.group, []).append(job)
            backend.run(list(groups.items()), progress)
            left = [job for job in left if not outcome.settled(job.name)]
    return outcome


def conclude(outcome: Outcome, table: str) -> int:
    """Print how a command's jobs ended; its exit code."""
    print(table)
    print(outcome)
    for line in messages.by_reason(outcome.failures):
        print(f"failed: {line}", file=sys.stderr)
    return 1 if outcome.failures else 0


class Worker:
    """Does the jobs of a group in the process that it is made in."""

    def __call__(self, group: str, jobs: list[Job], report: Callable) -> None:
        for event in self.events(jobs):
            report(*event)

    def events(self, jobs: list[Job]) -> Iterator[tuple]:
        """What becomes of each job, as it happens: calls of the progress without the worker's number."""
        from filelock import FileLock, Timeout

        shared, waiting, busy = {}, deque(jobs), 0
        while waiting:
            job = waiting.popleft()
            # Another run has this job in hand: the others first, and wait only where there are no others.
            lock = FileLock(_lock_file(job), timeout=-1 if busy > len(waiting) else 0)
            try:
                lock.acquire()
            except Timeout:
                waiting.append(job)
                busy += 1
                continue
            busy = 0
            try:
                yield "job_started", job.name
                yield _done_or_why(job, shared)
            finally:
                lock.release()
        shared.clear()
        gc.collect()  # what it held on a GPU may refer to itself


def _lock_file(job: Job) -> Path:
    folder = job.folder.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{job.folder.name}.lock"


def _done_or_why(job: Job, shared: dict) -> tuple:
    if job.is_done():
        return "job_kept", job.name
    try:
        return "job_done", job.name, run_job(job, shared)
    except InputError as error:
        return "job_failed", job.name, str(error)
    except Exception as error:
        log.exception("%s", job.name)
        _check_device()
        return "job_failed", job.name, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def run_job(job: Job, shared: dict) -> str:
    module, function = KINDS[job.kind]
    return getattr(importlib.import_module(module), function)(job, shared)


def _check_device() -> None:
    """Raise where an error has left the GPU unusable for this process: another one shall do the rest."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


class _Progress:
    """What workers report, as a bar, a line for every job that has ended, and the outcome."""

    def __init__(self, outcome: Outcome, jobs: list[Job], bar, changed: Callable[[Outcome], None]):
        self._outcome, self._bar, self._changed = outcome, bar, changed
        self._names = {}
        for job in jobs:
            self._names.setdefault(job.group, []).append(job.name)
        self._running, self._begun, self._lost = {}, set(), Counter()

    def start(self, worker: int, group: str) -> None:
        self._running.pop(worker, None)
        self._begun.discard(worker)

    def done(self, worker: int, group: str, result: None, seconds: float) -> None:
        pass

    def failed(self, worker: int, group: str, reason: str) -> None:
        """The process, or its machine, is gone."""
        name = self._running.pop(worker, None)
        if name is None and worker not in self._begun:  # it never came to a job: the first one has to answer for it
            name = next((name for name in self._names[group] if not self._outcome.settled(name)), None)
        if name is None:
            return
        self._lost[name] += 1
        if self._lost[name] > 1:
            self.job_failed(worker, name, reason)
        else:
            log.warning("%s: lost, %s", name, reason.removesuffix(f"; {processes.AGAIN}") + "; it is tried once more")

    def job_started(self, worker: int, name: str) -> None:
        self._running[worker] = name
        self._begun.add(worker)
        self._show()

    def job_kept(self, worker: int, name: str) -> None:
        self._outcome.kept.append(name)
        self._ended(worker)

    def job_done(self, worker: int, name: str, words: str) -> None:
        self._outcome.done[name] = words
        log.info("%s: %s", name, words)
        self._ended(worker)

    def job_failed(self, worker: int, name: str, reason: str) -> None:
        self._outcome.failures[name] = reason
        log.warning("%s: failed, %s", name, reason)
        self._ended(worker)

    def _ended(self, worker: int) -> None:
        self._running.pop(worker, None)
        self._bar.update()
        self._show()
        self._changed(self._outcome)

    def _show(self) -> None:
        failed = [f"{len(self._outcome.failures)} failed"] if self._outcome.failures else []
        self._bar.set_postfix_str("; ".join([*failed, ", ".join(self._running.values())]))


@dataclass(frozen=True)
class LocalBackend:
    """Processes of this machine, `workers` at a time, spread over its GPUs."""

    workers: int

    @property
    def device(self) -> str:
        from merginguriel.utils.models import devices

        return devices.default_device()

    def run(self, groups: list[tuple[str, list[Job]]], progress) -> None:
        # A GPU can become unusable for a process.
        if min(self.workers, len(groups)) == 1 and self.device == "cpu":
            processes.in_this_process(Worker, groups, progress)
        else:
            processes.in_processes(Worker, groups, self.workers, progress)


def local_workers(workers: int | None, per_gpu: int | None, needed: int) -> int:
    """How many processes: `workers`, or `per_gpu` for every GPU, or one a core where `needed` bytes fit for each."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if per_gpu and not gpus:
        raise InputError("--workers-per-gpu, but this machine has no GPU; give --workers instead")
    if workers:
        return workers
    return gpus * (per_gpu or 1) or max(1, min(processes.cores(), memory.free_memory() // max(1, needed)))


def backend_of(args, needed: int):
    """What the flags of `arguments.add_backend` ask for; `needed`: bytes of memory a worker."""
    if args.backend == "local":
        return LocalBackend(local_workers(args.workers, args.workers_per_gpu, needed))
    from merginguriel.utils.jobs import ray_backend

    return ray_backend.connect(args.address, args.workers_per_gpu, needed)
