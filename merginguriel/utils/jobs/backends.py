"""Jobs in processes of this machine, and the backend that a command's flags ask for."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from auto_merge_llm.errors import InputError

from merginguriel.utils.jobs import copies, memory, processes
from merginguriel.utils.jobs.engine import Backend, Worker
from merginguriel.utils.jobs.job import Job, loaded_by
from merginguriel.utils.jobs.outcome import JobProgress
from merginguriel.utils.models.devices import default_device


class InThisProcess:
    """One job after the other, for what a command needs before it goes on."""

    workers = 1

    @property
    def device(self) -> str:
        return default_device()

    def run(self, make: Callable[[], Worker], groups: list[tuple[str, list[Job]]], progress: JobProgress) -> None:
        processes.in_this_process(make, groups, progress)


@dataclass(frozen=True)
class LocalBackend:
    """Processes of this machine, `workers` at a time, spread over its GPUs."""

    workers: int

    @property
    def device(self) -> str:
        return default_device()

    def run(self, make: Callable[[], Worker], groups: list[tuple[str, list[Job]]], progress: JobProgress) -> None:
        # A GPU can become unusable for a process, and what kills one worker must not kill the command.
        if self.workers == 1 and self.device == "cpu":
            processes.in_this_process(make, groups, progress)
        else:
            loads = loaded_by({job.kind for _, jobs in groups for job in jobs})
            processes.warn_of_threads(min(self.workers, len(groups)))
            processes.in_processes(make, groups, self.workers, progress, loads)


def get_ready(args: Any, kinds: set[str], jobs: int | None = None) -> None:
    """Where `backend_of(args)` will have jobs of these kinds, so many, done in processes: let these begin to load."""
    several = min(args.workers or 1, jobs or sys.maxsize) > 1
    if args.backend == "local" and (several or default_device() != "cpu"):
        copies.get_ready(loaded_by(kinds))


def local_workers(workers: int | None, per_gpu: int | None, needed: int) -> int:
    """How many processes: `per_gpu` for every GPU, or `workers`, or one a core where `needed` bytes fit for each."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if per_gpu and not gpus:
        raise InputError("--workers-per-gpu, but this machine has no GPU; give --workers instead")
    if per_gpu:
        return gpus * per_gpu
    return workers or gpus or max(1, min(processes.cores(), memory.free_memory() // max(1, needed)))


def backend_of(args: Any, needed: int) -> Backend:
    """What the flags of `flags.flag_groups.add_backend` ask for; `needed`: bytes of memory a worker."""
    if args.backend == "local":
        return LocalBackend(local_workers(args.workers, args.workers_per_gpu, needed))
    if importlib.util.find_spec("ray") is None:
        raise InputError("--backend ray needs Ray: pip install 'merginguriel[ray]', or leave --backend out")
    from merginguriel.utils.jobs import ray_backend  # Ray is an extra, and takes seconds to load

    return ray_backend.connect(args.address, args.workers_per_gpu, needed)
