"""Runs the commands as a user does, on sources small enough to make in a second."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest
from running import Started, Zygote

from merginguriel.utils.data.task import USUAL_BASES

SOURCES = ("nl-NL", "de-DE", "en-US", "id-ID")
os.environ["HF_HUB_OFFLINE"] = "1"
# Dozens of processes import the same modules, here and in copies of the checkout: the first one keeps them compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
USUAL_BASES.add("tiny")  # it stands for the usual one, here and in tests/zygote.py
# A shell lets what it starts in the background ignore Ctrl+C, and commands would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
FROZEN = [0]  # how many modules there were when what they hold was last left out of the garbage


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    """Jobs and trainings collect garbage, and would go through all that has been imported every time."""
    if len(sys.modules) > FROZEN[-1] + 100:
        gc.collect()
        gc.freeze()
        FROZEN.append(len(sys.modules))


@pytest.fixture(scope="session")
def zygote():
    """The process that children of `run` come from; see tests/zygote.py."""
    process = Zygote()
    yield process
    process.close()


@pytest.fixture(scope="session")
def run_anywhere(zygote, tmp_path_factory):
    """run_anywhere(script, *flags, folder=…) -> CompletedProcess."""

    def call(script, *flags, folder, timeout=240):
        return Started(zygote, script, flags, folder, tmp_path_factory.mktemp("output")).end(timeout)

    return call


@pytest.fixture
def begin(tmp_path, tmp_path_factory, zygote):
    """begin(script, *flags) -> Started, in an empty working folder; several may run at a time."""
    begun = []

    def call(script, *flags, folder=tmp_path, first="", **variables):
        begun.append(Started(zygote, script, flags, folder, tmp_path_factory.mktemp("output"), first, **variables))
        return begun[-1]

    yield call
    for process in begun:
        if process.poll() is None:  # of a test that has failed
            process.kill()
            process.end()


@pytest.fixture
def run(begin):
    """run(script, *flags) -> CompletedProcess, in an empty working folder."""

    def call(script, *flags, timeout=240, **where):
        return begin(script, *flags, **where).end(timeout)

    return call


@pytest.fixture
def said_by(monkeypatch, tmp_path, capsys):
    """said_by(main, *flags) -> (exit code, stdout, stderr), in this process and an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def call(main, *flags):
        capsys.readouterr()
        try:
            code = main([str(flag) for flag in flags])
        except SystemExit as stop:
            code = stop.code
        done = capsys.readouterr()
        return code, done.out, done.err

    return call


@pytest.fixture
def refused(run, tmp_path):
    """refused(script, *flags) -> the error: one line, exit code 2, nothing left behind."""

    def call(script, *flags):
        before = sorted(tmp_path.rglob("*"))
        done = run(script, *flags)
        assert done.returncode == 2, done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
        assert sorted(tmp_path.rglob("*")) == before
        return errors[0]

    return call


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A random XLM-R encoder with a word-level tokenizer of the mini corpus."""
    from tiny_encoder import make_tiny_encoder

    folder = tmp_path_factory.mktemp("base") / "tiny"
    make_tiny_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def models_root(tiny_base, tmp_path_factory) -> Path:
    """Four sources that are the shared initial checkpoint plus noise, as fine-tuning would leave them."""
    from noisy_sources import make_noisy_sources

    from merginguriel.utils.data.massive import MASSIVE
    from merginguriel.utils.models import initial
    from merginguriel.utils.models.store import ModelStore

    root = tmp_path_factory.mktemp("models")
    store = ModelStore(str(tiny_base), MASSIVE, root)
    make_noisy_sources(initial.initial_checkpoint(store, 42), map(store.folder, SOURCES))
    return root


@pytest.fixture(scope="session")
def distant_root(models_root, tmp_path_factory) -> Path:
    """The same with more noise: models that answer differently, and that merge as mismatched only."""
    import shutil

    from noisy_sources import make_noisy_sources

    root = tmp_path_factory.mktemp("distant")
    shutil.copytree(models_root / "init", root / "init")
    folders = [root / f"tiny_massive_k_{locale}" for locale in SOURCES]
    make_noisy_sources(root / "init/tiny_seed42", folders, noise=0.05)
    return root


@pytest.fixture
def source_copies(models_root, tmp_path) -> Path:
    """The four sources, to be damaged; without what other tests have had kept beside them."""
    import shutil

    return Path(shutil.copytree(models_root, tmp_path / "haryos_model", ignore=shutil.ignore_patterns(".*")))


@pytest.fixture
def results(tmp_path):
    """Two targets. Right of 10, af-ZA: own model 9; nl 7, de 6, en 8, da 5. da-DK: own model 8; nl 4, de 8, en 5, af 3.

    similarity of nl and de: 8 on af-ZA, 8 on da-DK. average of nl, de and en: 6 on af-ZA alone.
    """
    from made_results import write_merge, write_single

    folder = tmp_path / "results"
    for source, right in (
        ("af-ZA", "1111111110"),
        ("nl-NL", "1111111000"),
        ("de-DE", "0000111111"),
        ("en-US", "1111111100"),
        ("da-DK", "1111100000"),
    ):
        write_single(folder, source, "af-ZA", right)
    for source, right in (
        ("da-DK", "1111111100"),
        ("nl-NL", "1111000000"),
        ("de-DE", "1111111100"),
        ("en-US", "1111100000"),
        ("af-ZA", "1110000000"),
    ):
        write_single(folder, source, "da-DK", right)
    write_merge(folder, "similarity", "af-ZA", {"nl-NL": 0.6, "de-DE": 0.4}, "1111111010")
    write_merge(folder, "similarity", "da-DK", {"nl-NL": 0.3, "de-DE": 0.7}, "0011111111")
    write_merge(folder, "average", "af-ZA", dict.fromkeys(("nl-NL", "de-DE", "en-US"), 1 / 3), "1111110000")
    return folder
