"""Jobs worked off in this process or in several long-lived ones, which share the GPUs and the processor cores."""

import contextlib
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.jobs import copies
from merginguriel.utils.storage import messages

AGAIN = "run the same command again"
log = logging.getLogger(__name__)


def cores() -> int:
    """Those that this process may use: fewer than the machine has, where SLURM or taskset shares it out."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """Those that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible, count = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count()
    # The list may name more than there are.
    return visible.split(",")[:count] if visible else [str(gpu) for gpu in range(count)]


# Of both functions: `make()` is called once a process and returns `do(name, job, report)`. Events go to the methods of
# `progress`, with the worker's number and the job's name: start(), done(result, seconds), failed(reason), and whatever
# `do` reports itself. A job that raises InputError has failed; the others go on.


def in_this_process(make: Callable, jobs: Iterable[tuple[str, Any]], progress) -> None:
    """One job after the other. What is not InputError is a bug and raised."""
    _work_off(make, jobs, lambda event, *details: getattr(progress, event)(0, *details))


def in_processes(make: Callable, jobs: Iterable[tuple[str, Any]], workers: int, progress, loads: Iterable = ()) -> None:
    """`workers` processes, each given a job at a time; where one dies, its job has failed and another takes its place.

    `make` and the jobs must pickle. `loads`: what the jobs import. The processes end with this one, however it ends.
    """
    context = copies.context(loads)
    waiting = list(jobs)
    processes: dict[Any, tuple[int, multiprocessing.process.BaseProcess]] = {}  # by the pipe to each
    current: dict[Any, str | None] = {}
    reasons: dict[Any, str] = {}
    workers = min(workers, len(waiting))
    told = ForkingPickler.dumps(make)  # once for all: it may hold the texts of many languages

    def start(number: int) -> Connection:
        ours, theirs = context.Pipe()
        with _environment(number, workers) as environment:
            process = context.Process(target=_worker, args=(environment, theirs), daemon=True)
            process.start()
        theirs.close()
        processes[ours] = (number, process)
        return ours

    def begin(pipe: Connection) -> None:
        _reach(pipe.send_bytes, told)
        give(pipe)

    def bury(pipe: Connection) -> None:
        number, process = processes.pop(pipe)
        process.join()
        if current[pipe]:
            why = reasons.pop(pipe, None) or f"its process ended with exit code {process.exitcode}; {AGAIN}"
            progress.failed(number, current[pipe], why)
        if waiting:
            begin(start(number))

    def give(pipe: Connection) -> None:
        job = waiting.pop(0) if waiting else None
        current[pipe] = job[0] if job else None
        _reach(pipe.send, job)

    try:
        # To send more than a pipe holds waits until the worker has imported, so that all are started first.
        for started in [start(number) for number in range(workers)]:
            begin(started)
        while processes:
            pipe: Any
            for pipe in wait(list(processes)):
                try:
                    event, *details = pipe.recv()
                except (EOFError, ConnectionResetError):
                    bury(pipe)
                    continue
                if event == "dies":
                    reasons[pipe] = details[0]
                else:
                    getattr(progress, event)(processes[pipe][0], *details)
                if event in ("done", "failed"):
                    give(pipe)
    finally:
        _end([process for _, process in processes.values()])


def _reach(send: Callable, what: Any) -> None:
    """A process that has ended is not told; that it has is seen where it is listened to."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        send(what)


def _end(processes: list[multiprocessing.process.BaseProcess]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def _work_off(make: Callable, jobs: Iterable[tuple[str, Any]], report: Callable) -> None:
    do = make()
    for name, job in jobs:
        report("start", name)
        start = time.monotonic()
        try:
            result = do(name, job, report)
        except InputError as error:
            report("failed", name, str(error))
        else:
            report("done", name, result, time.monotonic() - start)


def _worker(environment: dict[str, str], pipe) -> None:
    import signal
    import threading

    copies.become(environment)
    logging.basicConfig(format="%(message)s")
    messages.set_level(messages.QUIET)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None, "a worker has a parent"
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        _work_off(pipe.recv(), iter(pipe.recv, None), lambda *event: pipe.send(event))
    except Exception as error:
        # A GPU may be unusable for this process after an error, so it ends, with its traceback on stderr.
        reason = (str(error).splitlines() or [""])[0]
        pipe.send(("dies", f"{type(error).__name__}: {reason}"))
        raise


def warn_of_threads(workers: int) -> None:
    """Of workers that compute: where threads outnumber cores, those that are done wait in loops for the others."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) > 1 and int(threads) * workers > cores():
        log.warning(
            "warning: OMP_NUM_THREADS=%s for each of %d workers makes more threads than there are cores (%d), which is "
            "several times as slow; unset it",
            threads,
            workers,
            cores(),
        )


@contextlib.contextmanager
def _environment(number: int, workers: int):
    """What worker `number` is to inherit: one of the GPUs in turn, its share of the processor cores."""
    settings, visible = {"TOKENIZERS_PARALLELISM": "false"}, gpus()
    if visible:
        settings["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]
    if "OMP_NUM_THREADS" not in os.environ:
        settings["OMP_NUM_THREADS"] = str(max(1, cores() // workers))
    with copies.changed_environment(settings):
        yield dict(os.environ)
