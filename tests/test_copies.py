"""Workers as copies of one process, where that can be."""

import subprocess
import sys

import pytest
import torch
from running import ROOT, environment

from merginguriel.utils.jobs import copies

linux = pytest.mark.skipif(sys.platform != "linux", reason="copies are for Linux")


def start_method(first: str = "") -> str:
    """That of workers, in a process that begins with the line `first`."""
    script = f"import torch; {first}\nfrom merginguriel.utils.jobs import copies\n"
    script += "if __name__ == '__main__':\n    copies.get_ready(); print(copies.context().get_start_method())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@linux
def test_without_a_gpu_workers_are_copies():
    assert start_method("torch.cuda.device_count = lambda: 0") == "forkserver"


@linux
@pytest.mark.skipif(torch.cuda.is_available(), reason="here a copy can use the GPU")
def test_where_a_copy_cannot_use_the_gpu_workers_are_new_processes():
    assert start_method("torch.cuda.device_count = lambda: 1") == "spawn"


@linux
def test_a_trial_that_cannot_be_made_is_an_error_and_no_endless_wait(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(copies.multiprocessing, "get_context", lambda kind: 1 / 0)
    copies._trial.cache_clear()
    try:
        with pytest.raises(ZeroDivisionError):
            copies._trial().result(timeout=10)
    finally:
        copies._trial.cache_clear()
