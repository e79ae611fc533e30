"""How worker processes come to be: copies of one that has imported what they need, which takes seconds, where they can.

A copy cannot use a GPU that an import has touched. Where there are GPUs, one copy tries, and if it fails all workers
are new processes. So they are where the system has no such copies.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from multiprocessing import forkserver, resource_tracker, util
from typing import Any

ALWAYS = ("torch", "transformers.modeling_utils")  # what every worker loads
_ASK_THE_DRIVER = "PYTORCH_NVML_BASED_CUDA_CHECK"  # whether there is a GPU, which to ask CUDA itself would touch it


def context(loads: Iterable[str] = ()) -> Any:
    """Of multiprocessing; `loads`: modules that the workers will import. The first call of a process decides them."""
    get_ready(loads)
    return multiprocessing.get_context("forkserver" if _trial().result() else "spawn")


def get_ready(loads: Iterable[str] = ()) -> None:
    """Let the process whose copies will be workers import while this one does something else."""
    if sys.platform != "linux":
        return
    found: Any = multiprocessing.get_context("forkserver")
    # Before 3.11 it would look for ours in the folder where the command was given.
    ours = [name for name in loads if sys.version_info >= (3, 11) or not name.startswith("merginguriel.")]
    found.set_forkserver_preload([*ALWAYS, *ours])
    # It must import what this process would, from the same places.
    places = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    resource_tracker.ensure_running()  # which lets signals through again
    # Ctrl+C is answered here: while it imports, the other would end with a traceback of whatever it has just read.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with changed_environment({_ASK_THE_DRIVER: "1", **places}):
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    _end_it_with_this_process()
    _trial()


@functools.cache
def _end_it_with_this_process() -> None:
    """Else it would import to the end, and then make the copies that it was asked for, which fail aloud by then."""

    server: Any = forkserver  # which does not say the id of its process

    def end() -> None:
        if server._forkserver._forkserver_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server._forkserver._forkserver_pid, signal.SIGKILL)

    util.Finalize(None, end, exitpriority=-1)  # after the copies have ended


@contextlib.contextmanager
def changed_environment(settings: Mapping[str, str]) -> Iterator[None]:
    """For what is started while it lasts."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@functools.cache
def _trial() -> Future:
    """Whether copies work here; where there are GPUs a copy tries it while this process does something else."""
    import torch

    answer: Future = Future()
    if sys.platform != "linux" or not torch.cuda.device_count():
        answer.set_result(sys.platform == "linux")
    else:
        # No pool's thread, for which the end of this process would wait.
        threading.Thread(target=_answer, args=(answer,), daemon=True).start()
    return answer


def _answer(answer: Future) -> None:
    try:
        first: Any = multiprocessing.get_context("forkserver").Process(target=_use_gpu, daemon=True)
        first.start()
        first.join()
        answer.set_result(first.exitcode == 0)
    except BaseException as error:
        answer.set_exception(error)


def _use_gpu() -> None:
    import torch

    try:
        torch.cuda.init()
    except RuntimeError:  # said once more, and in full, by the worker that meets it
        sys.exit(1)


def become(environment: dict[str, str]) -> None:
    """Make this worker what a new process would be in that environment: the copied one has an older."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    threads = environment.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads):
        torch.set_num_threads(int(threads))
