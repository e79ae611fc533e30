"""Jobs as tasks of a Ray cluster, whose machines share the folders: the same jobs and results as with processes."""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from auto_merge_llm.errors import InputError

from merginguriel.utils.jobs.engine import Worker
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.outcome import JobProgress

_ROOT = Path(__file__).resolve().parents[3]
# Of a checkout that is not installed; the machines share it as they share the models.
_IMPORTS = (_ROOT, _ROOT / "submodules/auto_merge_llm")


@dataclass(frozen=True)
class RayBackend:
    """Tasks of one core, `memory` bytes and `gpus` GPUs (a share of one, 0 for none), a group of jobs each."""

    workers: int
    gpus: float
    memory: int

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    def run(self, make: Callable[[], Worker], groups: list[tuple[str, list[Job]]], progress: JobProgress) -> None:
        maker = ray.put(pickle.dumps(make))
        task = ray.remote(
            num_cpus=1,
            num_gpus=self.gpus,
            memory=self.memory,
            num_returns="streaming",
            max_retries=0,
            runtime_env={"env_vars": _environment()},
        )(_do)
        running: dict[Any, tuple[int, str]] = {}  # by the stream of a task's events
        for number, (group, jobs) in enumerate(groups):
            running[task.remote(str(Path.cwd()), maker, pickle.dumps(jobs))] = (number, group)
            progress.start(number, group)
        try:
            events: Any
            while running:
                for events in ray.wait(list(running), num_returns=1)[0]:
                    number, group = running[events]
                    try:
                        name, *details = ray.get(next(events))
                        getattr(progress, name)(number, *details)
                    except StopIteration:
                        del running[events]
                    except ray.exceptions.RayError as error:
                        del running[events]
                        progress.failed(number, group, f"{type(error).__name__}: {str(error).splitlines()[0]}")
        finally:
            for events in running:
                ray.cancel(events, force=True)


def _do(folder: str, maker: bytes, jobs: bytes) -> Iterator[tuple]:
    os.chdir(folder)
    yield from pickle.loads(maker)().events(pickle.loads(jobs))


def _environment() -> dict[str, str]:
    paths = [*map(str, _IMPORTS), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE") if name in os.environ}
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), **kept}


def _check_reachable(address: str | None) -> None:
    """Ray itself waits for minutes where nobody answers."""
    host, _, port = (address or "").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise InputError(
                f"no Ray cluster at {address}: {error.strerror or error}; start one with ray start "
                "--head, or correct --address (docs/sweeps.md)"
            ) from None


def connect(address: str | None, per_gpu: int | None, memory: int) -> RayBackend:
    """The cluster at `address`, or one of this machine alone; it ends with this process.

    Raises InputError where it cannot be reached, or where no machine of it has what a job asks for: `memory` bytes, and
    a share of a GPU if `per_gpu` says how many jobs share one. Without that, GPUs are taken where there are any.
    """
    where = address or "this machine"
    _check_reachable(address)
    try:
        ray.init(
            address=address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=None if address else False,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise InputError(
            f"no Ray cluster at {where}: {reason}; start one with ray start --head, "
            "check the address and the token (docs/sweeps.md)"
        ) from None
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    gpus = sum(machine.get("GPU", 0) for machine in machines)
    if per_gpu and not gpus:
        raise InputError(
            f"the Ray cluster at {where} has no GPU, and --workers-per-gpu asks for them; start its "
            "workers on machines with GPUs, or leave the flag out"
        )
    share = 1 / (per_gpu or 1) if gpus else 0.0
    able = [
        machine
        for machine in machines
        if machine.get("CPU", 0) >= 1 and machine.get("GPU", 0) >= share and machine.get("memory", 0) >= memory
    ]
    if not able:
        raise InputError(
            f"no machine of the Ray cluster at {where} has {memory / 1e9:.1f} GB of memory and a core"
            f"{' and a GPU' if gpus else ''} for a job; add larger ones or sweep fewer languages"
        )
    slots = sum(
        min(
            machine["CPU"],
            machine["memory"] // max(1, memory),
            machine.get("GPU", 0) // share if share else machine["CPU"],
        )
        for machine in able
    )
    return RayBackend(int(slots), share, memory)
