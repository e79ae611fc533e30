"""One training by two processes, started as torchrun starts them."""

import json
import shutil
import signal
import socket
import time

import pytest
from running import renaming
from safetensors.numpy import load_file

from merginguriel.utils.storage import atomic
from merginguriel.utils.training import ranks

SCRIPT = "merginguriel/training_bert.py"


@pytest.fixture
def flags(tiny_base, tmp_path):
    """Of a training without dropout: how its batches are shared out changes nothing but rounding."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config | without))
    told = ["--model_name_or_path", base, "--dataset_name", "mini", "--dataset_config_name", "nl-NL"]
    return [*told, "--learning_rate", 5e-3, "--num_train_epochs", 3, "--max_train_samples", 320]


def both(begin, script, *flags, first=""):
    """The two processes, begun."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port = some.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [begin(script, *flags, first=first, RANK=rank, LOCAL_RANK=rank, **told) for rank in "01"]


def test_two_train_as_one_and_go_on_after_a_kill(begin, run, flags, tmp_path):
    one = run(SCRIPT, *flags, "--per_device_train_batch_size", 32, "--output_dir", "one")
    assert one.returncode == 0, one.stderr
    halves = [*flags, "--per_device_train_batch_size", 16, "--output_dir", "two"]
    # The second checkpoint is not named any more.
    stopped = both(begin, SCRIPT, *halves, first=renaming("checkpoint-20", "time.sleep(60)"))
    deadline = time.monotonic() + 120
    last = [tmp_path / "two.training/checkpoint-10" / name for name in ("trainer_state.json", "rng_state_1.pth")]
    while not all(file.exists() for file in last):
        assert time.monotonic() < deadline and all(process.poll() is None for process in stopped)
        time.sleep(0.05)
    for process in stopped:
        process.kill(signal.SIGKILL)
        process.end()
    alone = run(SCRIPT, *halves)
    assert alone.returncode == 2 and "other settings" in alone.stderr  # a step of one process is another
    done, silent = (process.end() for process in both(begin, SCRIPT, *halves))
    assert done.returncode == silent.returncode == 0, done.stderr + silent.stderr
    assert "going on from" in done.stderr and "two" in done.stdout and silent.stdout == ""
    assert not (tmp_path / "two.training").exists()
    assert done.stdout == one.stdout.replace("model: one", "model: two")
    merged, alone = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    for name, values in alone.items():
        assert merged[name] == pytest.approx(values, abs=2e-4), name
    told = atomic.read_json(tmp_path / "two/training.json")["settings"]
    assert told["gpus"] == 2 and "gpus" not in atomic.read_json(tmp_path / "one/training.json")["settings"]


def test_other_commands_are_not_for_torchrun(run, tmp_path):
    for script in ("train_missing_models", "run_merging_pipeline_refactored", "run_iterative_training"):
        done = run(f"merginguriel/{script}.py", WORLD_SIZE="2", RANK="1", LOCAL_RANK="1")
        assert done.returncode == 2 and "torchrun" in done.stderr and len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "told, count, first",
    [
        ({}, 1, True),
        ({"WORLD_SIZE": "8", "RANK": "3"}, 1, True),  # of a cluster's queue, not of torchrun
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, 2, True),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "0"}, 2, False),
    ],
)
def test_who_is_there(monkeypatch, told, count, first):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert (ranks.count(), ranks.is_first()) == (count, first)
