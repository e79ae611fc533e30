"""Damaged checkpoints: a training goes on from one before, and ends as if nothing had happened."""

import json
import logging
import shutil
from dataclasses import replace

import pytest
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import atomic
from merginguriel.utils.training.settings import TrainingRun, TrainingSettings, TrainingSteps
from merginguriel.utils.training.train import train
from merginguriel.utils.training.unfinished import newest_checkpoint
from merginguriel.utils.training.whole_checkpoints import check_whole

STEPS = TrainingSteps(do_train=True, do_eval=True)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory) -> TrainingRun:
    root = tmp_path_factory.mktemp("trainings")
    settings = TrainingSettings(
        num_train_epochs=4, learning_rate=1e-3, max_train_samples=64, max_eval_samples=32, logging_steps=3,
        per_device_train_batch_size=32, use_cpu=True,
    )  # fmt: skip
    return TrainingRun(MINI_TASK, ModelStore(str(tiny_base), MINI_TASK, root), ("af-ZA",), root / "m", settings)


def killed(run: TrainingRun, after: float) -> None:
    """Train until so large a share of the steps is done."""

    def end(share: float) -> None:
        if share > after:
            raise KilledError

    with pytest.raises(KilledError):
        train(run, STEPS, end)


def killing(*args, **kwargs):
    raise KilledError


@pytest.fixture(scope="module")
def undisturbed(run):
    whole = replace(run, output_dir=run.output_dir.with_name("whole"))
    return train(whole, STEPS), (whole.output_dir / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def broken_off(run):
    """The folder of a run that was killed after its third epoch of four, of which it has two checkpoints."""
    killed(run, 0.75)
    return run.output_dir.with_name("m.training")


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def zeros(file):
    file.write_bytes(bytes(file.stat().st_size))


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


DAMAGES = [
    *((name, how) for name in ("model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt")
      for how in (cut, empty, zeros)),
    ("optimizer.pt", flip),
    *((name, None) for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")),
    *((name, how) for name in ("trainer_state.json", "config.json") for how in (cut, empty, zeros)),
]  # fmt: skip


@pytest.mark.parametrize(
    "name, how", [*DAMAGES, ("optimizer.pt", None), ("scheduler.pt", None), ("rng_state.pth", None)]
)
def test_what_is_damaged_or_missing_is_named(broken_off, tmp_path, name, how, caplog):
    work = shutil.copytree(broken_off, tmp_path / "m.training")
    older, newest = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    for checkpoint in (older, newest):
        check_whole(checkpoint)
    file = newest / name
    how(file) if how else file.unlink()
    with pytest.raises(InputError, match=name):
        check_whole(newest)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(work) == str(older)
    assert caplog.text.count("warning:") == 1 and name in caplog.text


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_it_ends_as_if_nothing_had_happened(run, broken_off, undisturbed, tmp_path, damaged):
    """Of two checkpoints none, the newest or both are damaged; the folder has another place by now."""
    shutil.copytree(broken_off, tmp_path / "m.training")
    found = sorted((tmp_path / "m.training").glob("checkpoint-*"), key=lambda path: -int(path.name[11:]))
    steps = [int(checkpoint.name[11:]) for checkpoint in found] + [0]
    for checkpoint in found[:damaged]:
        cut(checkpoint / "model.safetensors")
    moved = replace(run, output_dir=tmp_path / "m")
    metrics, weights = undisturbed
    reached = []
    again = train(moved, STEPS, reached.append)
    assert steps[damaged] / 8 < min(reached) and (not damaged or min(reached) <= steps[0] / 8)
    assert (tmp_path / "m/model.safetensors").read_bytes() == weights
    assert again["train_loss"] == metrics["train_loss"] and again["eval_accuracy"] == metrics["eval_accuracy"]
    for name in ("train_results.json", "all_results.json"):
        reports = [atomic.read_json(folder / name) for folder in (tmp_path / "m", run.output_dir.with_name("whole"))]
        assert reports[0]["train_loss"] == reports[1]["train_loss"] == metrics["train_loss"]


def test_the_loss_is_that_of_all_steps(run, undisturbed):
    state = atomic.read_json(run.output_dir.with_name("whole") / "trainer_state.json")
    trainers = next(row["train_loss"] for row in state["log_history"] if "train_loss" in row)
    assert undisturbed[0]["train_loss"] == pytest.approx(trainers, rel=1e-6)


def test_the_best_epoch_stays_the_best(run, broken_off, tmp_path):
    """Trainer would forget a best checkpoint that is elsewhere by now, and break off over one that is damaged."""
    work = shutil.copytree(broken_off, tmp_path / "m.training")
    older, newest = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    state = json.loads((newest / "trainer_state.json").read_text())
    atomic.write_json(newest / "trainer_state.json", {**state, "best_model_checkpoint": f"elsewhere/{older.name}"})
    assert newest_checkpoint(work) == str(newest)
    assert atomic.read_json(newest / "trainer_state.json")["best_model_checkpoint"] == str(older)
    cut(older / "model.safetensors")
    with pytest.raises(InputError, match=older.name):
        check_whole(newest)


def test_early_stopping_has_waited_as_long(run, tmp_path, monkeypatch):
    """With learning rate 0 no epoch is better than the first: all end after two more, however often they are killed."""
    settings = replace(run.settings, learning_rate=0.0, early_stopping_patience=2, num_train_epochs=9)
    steps = []
    for name, kills in {"undisturbed": (), "killed": (0.2, 0.3), "last": (1,)}.items():
        one = replace(run, settings=settings, output_dir=tmp_path / name)
        for after in kills:
            with monkeypatch.context() as patch:
                if after == 1:  # all has been learnt, and nothing is written
                    patch.setattr(atomic, "whole_folder", killing)
                killed(one, after)
        train(one, STEPS)
        steps.append(atomic.read_json(tmp_path / name / "trainer_state.json")["global_step"])
    assert steps == [6, 6, 6]


def test_the_loss_scale_of_float16_is_needed(broken_off):
    checkpoint = next(broken_off.glob("checkpoint-*"))
    with pytest.raises(InputError, match=r"scaler\.pt"):
        check_whole(checkpoint, scaled=True)
