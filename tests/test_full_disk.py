"""A full disk in the middle of any work is one line, and nothing half is left where something whole is looked for."""

import errno
import os

import pytest
import toy_jobs
from auto_merge_llm.errors import InputError

from merginguriel import aggregate_results
from merginguriel.utils.jobs import engine
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.disk import NO_SPACE, is_full


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_words_of_libraries():
    """torch.save ends with a complaint about a position, over what the system said."""
    try:
        try:
            full()
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")  # noqa: B904
    except RuntimeError as error:
        assert is_full(error)
    assert is_full(RuntimeError('Error while serializing: IoError(Os { message: "No space left on device" })'))
    # Seen on full disks, of torch (files that it opens by itself) and numpy.
    assert is_full(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 8576 vs 8468"))
    assert is_full(RuntimeError("basic_ios::clear: iostream error"))
    assert is_full(OSError("1044 requested and 480 written"))
    assert is_full(OSError(errno.EDQUOT, "quota")) and not is_full(OSError(errno.EIO, "broken"))
    assert not is_full(RuntimeError("a bug"))


FULL = (
    "import errno, io, os, {module}\nwrite, calls = {module}.{name}, []\n"
    "def full(*args, **kwargs):\n"
    "    calls.append(1)\n"
    "    if len(calls) > {calls}: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
    "    return write(*args, **kwargs)\n"
    "{module}.{name} = full"
)
TORCH = (
    "import errno, os, torch\n"
    "def full(*args, **kwargs):\n"
    "    try: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
    "    except OSError: raise RuntimeError('[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0')\n"
    "torch.save = full"
)


@pytest.mark.parametrize(
    "script, flags, first, code",
    [
        ("training_bert", "--dataset-config-name nl-NL --output-dir m --do-train --num-train-epochs 2", TORCH, 2),
        ("run_iterative_training", "--mode average --target-lang af-ZA --locales nl-NL --max-epochs 1", TORCH, 2),
        ("train_missing_models", "--locales nl-NL --epochs 1", TORCH, 1),
        (
            "run_large_scale_experiment",
            "--locales af-ZA --modes average --num-languages 2 --models-root {models}",
            FULL.format(module="numpy", name="savez_compressed", calls=1),
            1,
        ),
        (
            "run_nxn_evaluation",
            "--locales nl-NL --models-root {models}",
            FULL.format(module="numpy", name="savez", calls=0),
            1,
        ),
    ],
)
def test_commands(begin, tiny_base, models_root, tmp_path, script, flags, first, code):
    base = "--model-name-or-path" if script in ("training_bert", "run_iterative_training") else "--base-model"
    argv = [*flags.format(models=models_root).split(), "--dataset-name", "mini", base, tiny_base]
    done = begin(f"merginguriel/{script}.py", *argv, first=first).end()
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert NO_SPACE in done.stderr
    assert not (tmp_path / "m").exists() and not list(tmp_path.glob("haryos_model/tiny_massive_k_nl-NL"))


def test_jobs_after_it_are_tried(tmp_path):
    listed = toy_jobs.make_jobs(tmp_path)
    write, calls = atomic.write_json, []

    def once(path, content):
        if path.name == "results.json" and not calls:
            calls.append(path)
            full()
        write(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "write_json", once)
        outcome = engine.work_off(listed, toy_jobs.Here())
    assert list(outcome.failures.values()) == [NO_SPACE] and len(outcome.done) == 8


def test_of_a_set_of_tables_none_is_left(results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write, calls = type(tmp_path).write_bytes, []

    def full_at_the_third(path, content):
        calls.append(path)
        if len(calls) == 3:
            full()
        return write(path, content)

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(type(tmp_path), "write_bytes", full_at_the_third)
    assert aggregate_results.main([]) == 2
    assert capsys.readouterr().err.endswith(f"error: {NO_SPACE}\n") and len(calls) == 3
    assert sorted(tmp_path.iterdir()) == before


def test_a_trainer_says_it(monkeypatch):
    from merginguriel.utils.training import trainer
    from merginguriel.utils.training.settings import TrainingSettings

    class Full:
        def train(self, **kwargs):
            full()

    with pytest.raises(InputError, match="no space left"):
        trainer.fit(TrainingSettings(), Full(), None)
