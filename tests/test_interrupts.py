"""Ctrl+C ends a command as such, whatever a library makes of it; and the small files around a kill."""

import os
import subprocess
import sys

import pytest
from auto_merge_llm.errors import InputError

from merginguriel.utils.flags.command import INTERRUPTED, command
from merginguriel.utils.jobs import engine
from merginguriel.utils.jobs.job import KINDS, Job
from merginguriel.utils.storage import atomic


def hidden_interrupt(*_):
    """As where transformers fails while it tidies up, and that is taken for a damaged model."""
    try:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("trying to pop from empty mode stack")
    except RuntimeError:
        raise InputError("cannot load the model") from None


def test_an_interrupt_is_none_of_the_errors_it_becomes(capsys):
    assert command(hidden_interrupt)([]) == 130
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"


def test_an_interrupted_job_has_not_failed(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "hidden", __name__)
    monkeypatch.setattr(sys.modules[__name__], "run", hidden_interrupt, raising=False)
    job = Job("hidden", "one", "group", tmp_path / "one", {})
    with pytest.raises(KeyboardInterrupt):
        list(engine.Worker().events([job]))


def test_an_interrupt_just_after_a_file_got_its_name(tmp_path, monkeypatch):
    def interrupted(source, target, rename=os.replace):
        rename(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(tmp_path / "file", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="systems without /proc")
def test_what_a_zombie_left_is_removed(tmp_path):
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
    assert not atomic._is_running(child.pid) and atomic._is_running(os.getpid())
    child.wait()
    assert not atomic._is_running(child.pid)
