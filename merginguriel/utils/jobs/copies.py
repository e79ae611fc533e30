"""How worker processes come to be: copies of one that has imported what they need, which takes seconds, where they can.

On a GPU each is a new process: a copy could not use the GPU if an import had touched it. So it is where the system has
no such copies.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterable
from typing import Any

ALWAYS = ("torch", "transformers.modeling_utils")  # what every worker loads


def context(loads: Iterable[str] = ()) -> Any:
    """Of multiprocessing; `loads`: modules that the workers will import. The first call of a process decides them."""
    import torch

    if sys.platform != "linux" or torch.cuda.device_count():
        return multiprocessing.get_context("spawn")
    found: Any = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([*ALWAYS, *loads])
    return found


def get_ready(loads: Iterable[str] = ()) -> None:
    """Let the process whose copies will be workers import while this one does something else."""
    if context(loads).get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()


def become(environment: dict[str, str]) -> None:
    """Make this worker what a new process would be in that environment: the copied one has an older."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    threads = environment.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads):
        torch.set_num_threads(int(threads))
