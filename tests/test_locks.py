"""Nothing is done twice at a time, on file systems that have no locks too."""

import errno
import fcntl
import os
import re
import subprocess
import sys

import pytest
import toy_jobs
from auto_merge_llm.errors import InputError
from running import ROOT

from merginguriel.utils.jobs import engine
from merginguriel.utils.storage.locks import LockedError, locked
from merginguriel.utils.training.unfinished import alone


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def without_locks(request, monkeypatch):
    def refuse(*args):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def excludes(path):
    with locked(path), pytest.raises(LockedError), locked(path, timeout=0):
        pass
    with locked(path, timeout=0):
        pass


def test_a_lock_excludes(tmp_path):
    excludes(tmp_path / "folder/lock")


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_it_does_where_the_file_system_has_none(tmp_path, without_locks):
    excludes(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_what_a_killed_process_has_left_is_taken_over(tmp_path, without_locks):
    path = tmp_path / "lock"
    with locked(path):
        (owner,) = tmp_path.iterdir()
        said = owner.read_text()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner.write_text(re.sub(rf"\b{os.getpid()}\b", str(gone.pid), said, count=1))
    with locked(path, timeout=5):
        pass


def test_other_errors_are_not_taken_for_a_lack_of_locks(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken"), locked(tmp_path / "lock"):
        pass


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_jobs_and_trainings(tmp_path, without_locks):
    outcome = engine.work_off(toy_jobs.make_jobs(tmp_path), toy_jobs.Here())
    assert len(outcome.done) == 9 and not outcome.failures
    with alone(tmp_path / "m"), pytest.raises(InputError, match="another process trains"), alone(tmp_path / "m"):
        pass
    assert not (tmp_path / "m").exists()


NO_LOCKS = "import errno, fcntl\ndef no(*a): raise OSError(errno.ENOLCK, 'No locks available')\nfcntl.flock = no"


@pytest.mark.parametrize(
    "script, flags",
    [
        ("training_bert", "--dataset-config-name nl-NL --output-dir m --do-train --num-train-epochs 1"),
        ("run_nxn_evaluation", "--locales nl-NL,de-DE --models-root {models}"),
        ("run_large_scale_experiment", "--locales af-ZA --modes average --num-languages 2 --models-root {models}"),
        ("run_iterative_training", "--mode average --target-lang af-ZA --locales nl-NL --max-epochs 1"),
        ("train_missing_models", "--locales nl-NL --epochs 1"),
    ],
)
def test_commands(begin, tiny_base, models_root, tmp_path, script, flags):
    if "models}" not in flags:
        flags += " --max-train-samples 32" if script != "train_missing_models" else ""
    base = "--model-name-or-path" if "train" in script and script != "train_missing_models" else "--base-model"
    argv = [*flags.format(models=models_root).split(), "--dataset-name", "mini", base, tiny_base]
    done = begin(f"merginguriel/{script}.py", *argv, first=NO_LOCKS).end()
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.rglob("*.owner"))


def test_nobody_locks_otherwise():
    users = [
        str(path.relative_to(ROOT))
        for path in [*(ROOT / "merginguriel").rglob("*.py"), *(ROOT / "submodules").rglob("*.py")]
        if re.search(r"FileLock|flock", path.read_text())
    ]
    assert users == ["merginguriel/utils/storage/locks.py"]
