"""Iterative training: nothing restarts between merges, a killed run ends as an undisturbed one, the seed's commands."""

import contextlib
import gc
import json
import logging
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import forked
import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from running import environment
from safetensors.torch import load_file

from merginguriel import run_iterative_training, run_merging_pipeline_refactored, training_bert
from merginguriel import run_large_scale_iterative_training as many
from merginguriel.utils.data import mini
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.evaluation import classifier, results
from merginguriel.utils.iterative import merge_step, run, timing
from merginguriel.utils.results.reproduction import command_of
from merginguriel.utils.storage import atomic
from merginguriel.utils.training import checkpoints, development, parts


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A forked child cannot use its parent's threads of OpenMP."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def flags(tiny_base):
    return shlex.split(
        f"--mode average --target-lang af-ZA --locales nl-NL,de-DE --model-name-or-path {tiny_base} "
        "--dataset-name mini --max-train-samples 96 --batch-size 32 --learning-rate 1e-2 --output-dir out"
    )


@pytest.fixture
def train(flags, tmp_path, monkeypatch):
    """train(*flags) -> folder of the run: the command, in this process and an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *more: trained([*flags, *map(str, more)])


def trained(argv: list[str]) -> Path:
    assert run_iterative_training.main(argv) == 0
    return Path.cwd() / argv[len(argv) - 1 - argv[::-1].index("--output-dir") + 1]


# Two runs that several tests look at


@pytest.fixture(scope="module")
def observed(flags, tmp_path_factory):
    """Six epochs with a merge after each, and what was seen in memory.

    `begun`: of every part its first step, its language, whether its weights are those of the merge before it, and
    whether its moments are those of the language's checkpoint. `living`: tensors after every merge.
    """
    begun, living = [], []
    fit, merge = parts.fit, run.Turns._merge
    folder = tmp_path_factory.mktemp("observed")

    def spy(settings, trainer, checkpoint, max_gpu_memory):
        import transformers

        class Look(transformers.TrainerCallback):
            def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
                if checkpoint is None:
                    begun.append((state.global_step, None, None, None))
                    return
                merged = load_file(folder / f"out/merged_models/merged_cycle_{len(living)}/model.safetensors")
                kept = torch.load(Path(checkpoint) / "optimizer.pt", weights_only=True)["state"]
                weights, moments = model.state_dict(), optimizer.state_dict()["state"]
                begun.append(
                    (
                        state.global_step,
                        Path(checkpoint).parts[-3],
                        all(torch.equal(weights[name], values) for name, values in merged.items()),
                        all(torch.equal(moments[key]["exp_avg"], moment["exp_avg"]) for key, moment in kept.items()),
                    )
                )

        trainer.add_callback(Look())
        return fit(settings, trainer, checkpoint, max_gpu_memory)

    def count(self, *args):
        merge(self, *args)
        gc.collect()
        living.append(sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(parts, "fit", spy)
        patch.setattr(run.Turns, "_merge", count)
        more = ["--max-epochs", "6", "--log-frequency", "1", "--retain-merge-checkpoints", "2"]
        return SimpleNamespace(folder=trained([*flags, *more]), begun=begun, living=living)


TWICE = ["--max-epochs", "2", "--merge-frequency", "2", "--bf16", "--save-config", "--save-strategy=merge"]


@pytest.fixture(scope="module")
def twice(flags, tmp_path_factory):
    """Two epochs, then the one merge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("twice"))
        return trained([*flags, *TWICE])


def history(folder: Path) -> list[dict]:
    return atomic.read_json(folder / "merge_history.json")["merge_history"]


def final_bytes(folder: Path) -> bytes:
    return (folder / "merged_models/final_merged_model/model.safetensors").read_bytes()


def newest(folder: Path, locale: str) -> checkpoints.LocaleCheckpoint:
    return checkpoints.newest(folder / locale / "checkpoints")


# The seed's commands

QUICK_START = {
    "basic": (
        "--mode similarity --target-lang sw-KE --max-epochs 1 --merge-frequency 1 --output-dir test_iterative "
        "--locales en-US",
        [1],
    ),
    "several": (
        "--mode similarity --target-lang sw-KE --locales en-US,fr-FR,de-DE --max-epochs 9 --merge-frequency 3 "
        "--output-dir iterative_results --batch-size 16 --fp16",
        [3, 6, 9],
    ),
    "advanced": (
        "--mode similarity --target-lang sw-KE --locales en-US,fr-FR,de-DE,es-ES,it-IT --max-epochs 15 "
        "--merge-frequency 3 --top-k 20 --sinkhorn-iters 20 --batch-size 16 --fp16 --adaptive-merge-frequency "
        "--performance-merge-trigger --convergence-threshold 1e-4 --checkpoint-before-merge --enable-wandb "
        "--output-dir advanced_iterative",
        None,
    ),
    "chosen": (
        "--mode similarity --target-lang sw-KE --max-epochs 8 --merge-frequency 4 --num-languages 5 --top-k 15 "
        "--output-dir auto_select_results",
        [4, 8],
    ),
}
FAKE_WANDB = """
import json
class Error(Exception): pass
class Run:
    def __init__(self, settings): self.kept = {**settings, "logs": []}
    def log(self, values): self.kept["logs"].append(values)
    def finish(self): open("wandb.json", "w").write(json.dumps(self.kept))
def init(**settings): return Run(settings)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A few items of the mini corpus under the names of all locales that these commands need."""
    folder = tmp_path_factory.mktemp("corpus") / "massive"
    for locale in DEFAULT_LOCALES:
        rows = mini.records(locale if locale in mini.LOCALES else "pt-PT")[::9]
        lines = [json.dumps({**row, "locale": locale}) for row in rows]
        atomic.write_text(folder / f"{locale}.jsonl", "\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("name", QUICK_START)
def test_quick_start(name, corpus, tiny_base, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake/wandb.py").write_text(FAKE_WANDB)
    monkeypatch.syspath_prepend(tmp_path / "fake")
    command, merges = QUICK_START[name]
    # float16 needs a GPU, and fifteen epochs of five languages need patience.
    small = ["--dataset-name", corpus, "--model-name-or-path", tiny_base] + (["--max-epochs", 4] if not merges else [])
    argv = [*shlex.split(command.replace("--fp16", "--bf16")), *map(str, small)]
    assert run_iterative_training.main(argv) == 0
    folder = tmp_path / argv[argv.index("--output-dir") + 1]
    entries = history(folder)
    if merges:
        assert [entry["epoch"] for entry in entries] == merges
    epochs = entries[-1]["epoch"]
    locales = entries[0]["active_locales"]
    assert len(locales) == (5 if name in ("advanced", "chosen") else argv[argv.index("--locales") + 1].count(",") + 1)
    assert sum(entries[0]["weights"].values()) == pytest.approx(1) and "sw-KE" not in locales
    # The tree of the seed, and nothing else.
    assert {path.name for path in folder.iterdir()} == {
        *locales,
        "merged_models",
        "state_summary.json",
        "merge_history.json",
    }
    merged = [f"merged_cycle_{number}" for number in range(1, len(entries))] + ["final_merged_model"]
    assert {path.name for path in (folder / "merged_models").iterdir()} == set(merged)
    steps = (
        -(-sum(row["partition"] == "train" for row in mini.records("en-US")[::9]) // (16 if "16" in argv else 128))
        * epochs
    )
    for locale in locales:
        assert newest(folder, locale).path.name == f"checkpoint_epoch_{epochs}.0_step_{steps}"
    printed = capsys.readouterr().out
    (result,) = (tmp_path / "results").iterdir()
    told = command_of(atomic.read_json(result / "results.json"))
    # What has no effect is left out: of named sources, and of the matrix that is shipped sparse.
    idle = {"--top-k", "--sinkhorn-iters"}
    kept = [word for before, word in zip(["", *argv], argv) if not idle & {before, word}]
    assert shlex.split(told) == ["merginguriel", "train-iterative", *kept]
    assert f"{atomic.read_json(result / 'results.json')['performance']['accuracy']:.4f}" in printed
    experiment = atomic.read_json(result / "results.json")["experiment"]
    assert experiment["mode"] == "iterative_similarity" and experiment["target"] == "sw-KE"
    if name == "advanced":
        kept = atomic.read_json(tmp_path / "wandb.json")
        assert kept["project"] == "MergingUriel-Iterative"
        assert [row["merged/sw-KE"] for row in kept["logs"] if "merge" in row] == [
            entry["validation_accuracy"]["merged"]["sw-KE"] for entry in entries
        ]
        # Checkpoints from before merges are there beside the last one.
        before = {entry["epoch"] for entry in entries}
        assert {one.epoch for one in checkpoints.checkpoints(folder / "en-US/checkpoints")} == before
        assert {decision["rule"] for entry in entries for decision in entry["decisions"]} == {"plateau", "interval"}


# Nothing restarts


def test_steps_learning_rate_and_optimiser_go_on_through_merges(observed):
    for locale in ("nl-NL", "de-DE"):
        last = newest(observed.folder, locale)
        rows = [row for row in atomic.read_json(last.path / "trainer_state.json")["log_history"] if "loss" in row]
        total = 18
        warmup = math.ceil(0.1 * total)
        assert [row["step"] for row in rows] == list(range(1, total + 1))
        assert [row["learning_rate"] for row in rows] == pytest.approx(
            [1e-2 * min(step / warmup, (total - step) / (total - warmup)) for step in range(total)]
        )
        assert atomic.read_json(last.path / "trainer_state.json")["max_steps"] == total
        moments = torch.load(last.path / "optimizer.pt", weights_only=True)["state"]
        assert {float(moment["step"]) for moment in moments.values()} == {float(total)}
        assert list(last.metrics) == [1, 2, 3, 4, 5, 6] and last.metrics[6]["learning_rate"] == 0


def test_a_locale_goes_on_from_the_merge_with_its_own_optimiser(observed):
    """Weights are replaced, moments kept: what stands in memory when a part begins."""
    assert [step for step, *_ in observed.begun] == [step for step in range(0, 18, 3) for _ in range(2)]
    assert [seen for _, *seen in observed.begun[2:]] == 5 * [["nl-NL", True, True], ["de-DE", True, True]]


def test_one_merge_at_the_end_is_a_merge_of_trained_sources(train, tiny_base, tmp_path):
    once = ["--max-epochs", 3, "--merge-frequency", 3]
    folder = train(*once)
    data = f"--dataset-name mini --max-train-samples 96 --model-name-or-path {tiny_base}"
    for locale in ("nl-NL", "de-DE"):
        training = (
            f"--dataset-config-name {locale} --per-device-train-batch-size 32 --learning-rate 1e-2 --warmup-ratio 0.1 "
            "--weight-decay 0.01 --num-train-epochs 3 --do-train --save-strategy no "
            f"--output-dir haryos_model/tiny_massive_k_{locale}"
        )
        assert training_bert.main(shlex.split(f"{data} {training}")) == 0
    merge = (
        f"--mode average --target-lang af-ZA --base-model {tiny_base} --dataset-name mini --sources nl-NL,de-DE "
        "--no-eval --output-dir one_shot"
    )
    assert run_merging_pipeline_refactored.main(shlex.split(merge)) == 0
    assert final_bytes(folder) == (tmp_path / "one_shot/model.safetensors").read_bytes()
    # Nor do checkpoints in between change anything.
    sparing = ["--save-strategy", "merge", "--output-dir", "sparing", "--results-dir", "r2"]
    assert final_bytes(train(*once, *sparing)) == final_bytes(folder)


def test_accuracies_are_those_of_the_models_on_disk(twice):
    (entry,) = history(twice)
    found = {}
    for locale, path in {
        "nl-NL": newest(twice, "nl-NL").path,
        "de-DE": newest(twice, "de-DE").path,
        "af-ZA": twice / "merged_models/final_merged_model",
    }.items():
        split = MINI_TASK.load(locale, "validation")
        scores = classifier.Classifier(path, MINI_TASK).logits(split.texts, "")
        found[locale] = float((scores.argmax(-1) == split.labels).mean())
    accuracy = entry["validation_accuracy"]
    assert accuracy["own"] == {locale: found[locale] for locale in ("nl-NL", "de-DE")}
    assert accuracy["merged"]["af-ZA"] == found["af-ZA"]


def test_memory_is_flat_over_cycles(observed):
    assert observed.living[1] >= observed.living[-1] and len(observed.living) == 6
    # So is the disk: two merges, and one checkpoint of each language.
    assert sorted(path.name for path in (observed.folder / "merged_models").iterdir()) == [
        "final_merged_model",
        "merged_cycle_5",
    ]
    for locale in ("nl-NL", "de-DE"):
        assert len(checkpoints.checkpoints(observed.folder / locale / "checkpoints")) == 1


@pytest.mark.parametrize(
    "allowed, said",
    [
        (None, "error: nl-NL, de-DE: the GPU's memory is too small; .* workers"),
        (600, "error: nl-NL, de-DE: --max-gpu-memory 600 is too small"),
    ],
)
def test_too_little_memory_is_said_once_for_all_locales(flags, tmp_path, monkeypatch, capsys, allowed, said):
    """No GPU is here: what torch raises there is raised by the Trainer, and the card is one of 2,400 MiB."""
    limits = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=2400 << 20))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)

    def out_of_memory(trainer, **kwargs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformers.Trainer.train", out_of_memory)
    made = parts.Trainers.__init__

    def make(self, run, initial, max_gpu_memory=None, development=None):
        made(self, run, initial, allowed, development)

    monkeypatch.setattr(parts.Trainers, "__init__", make)
    monkeypatch.chdir(tmp_path)
    assert run_iterative_training.main(flags) == 2
    assert re.search(said, capsys.readouterr().err) and limits == ([0.25] if allowed else [])


def test_task_vectors_start_at_the_last_merge(train, tmp_path):
    folder = train("--mode", "task_arithmetic", "--form", "sum", "--scaling", 0.5, "--max-epochs", 2)
    plan = atomic.read_json(folder / "merged_models/final_merged_model/merge_details.json")["plan"]
    assert plan["base"]["path"].endswith("merged_models/merged_cycle_1")
    base = load_file(folder / "merged_models/merged_cycle_1/model.safetensors")
    nl, de = (load_file(newest(folder, locale).path / "model.safetensors") for locale in ("nl-NL", "de-DE"))
    for name, values in load_file(folder / "merged_models/final_merged_model/model.safetensors").items():
        expected = base[name] + 0.5 * (nl[name] - base[name] + de[name] - base[name])
        torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("mode", ["fisher_dataset", "dare_ties", "adamerging"])
def test_methods_that_measure_learn_and_draw(train, mode):
    folder = train("--mode", mode, "--max-epochs", 2, *(["--num-fisher-examples", 20] if mode != "dare_ties" else []))
    assert [entry["merge_algorithm"] for entry in history(folder)] == [mode, mode]
    assert not list(folder.glob(".*"))  # what was measured of weights that are gone


# Killed, stopped, continued


def killed_after(operations: int, argv: list[str]) -> bool:
    """Run the command in a child process that is killed at its n-th change of the disk; False if there were fewer."""
    child = os.fork()
    if child == 0:
        left = operations

        def counting(function):
            def counted(*args, **kwargs):
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return counted

        for module, name in ((os, "replace"), (os, "rename"), (shutil, "rmtree"), (torch, "save")):
            setattr(module, name, counting(getattr(module, name)))
        os._exit(run_iterative_training.main(argv))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_anywhere_it_ends_with_the_same_bytes(train, flags, tmp_path):
    wanted = ["--max-epochs", "3", "--merge-frequency", "2"]
    whole = final_bytes(train(*wanted))
    shutil.rmtree(tmp_path / "results")
    kills, operations = 0, 4
    # One run that is killed again and again, each time a little further on.
    while killed_after(operations, [*flags, *wanted, "--output-dir", "killed"]):
        kills, operations = kills + 1, operations + 5
    assert kills >= 3
    assert final_bytes(tmp_path / "killed") == whole
    # And single kills: inside the first checkpoint, a merge, and the last merge.
    for number, operations in enumerate((2, 17, 29)):
        folder = f"once{number}"
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        assert killed_after(operations, [*flags, *wanted, "--output-dir", folder])
        assert final_bytes(train(*wanted, "--output-dir", folder)) == whole
        assert not list((tmp_path / folder).rglob("checkpoint-*"))


def test_a_finished_merge_that_the_history_lacks_is_not_made_again(train, flags, tmp_path, monkeypatch):
    """As a kill between the two leaves it; a merge of other sources than now is made again."""
    wanted = ["--max-epochs", "2"]
    whole = final_bytes(train(*wanted))
    shutil.rmtree(tmp_path / "results")

    def stop(*args):
        raise KeyboardInterrupt

    argv = [*flags, *wanted, "--output-dir", "stopped"]
    with monkeypatch.context() as patch:
        patch.setattr(run, "write_history", stop)
        assert run_iterative_training.main(argv) == 130
    folder = tmp_path / "stopped"
    (merged,) = (folder / "merged_models").iterdir()
    assert not (folder / "merge_history.json").exists()
    before = (merged / "model.safetensors").stat()
    assert final_bytes(trained(argv)) == whole
    after = (merged / "model.safetensors").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_damaged_checkpoint_is_trained_again(train, flags, tmp_path, monkeypatch, capsys):
    wanted = ["--max-epochs", "3", "--retain-merge-checkpoints", "5"]
    whole = final_bytes(train(*wanted))
    shutil.rmtree(tmp_path / "results")
    merge = run.Turns._merge

    def stop_before_the_last(self, epoch, *args):
        if epoch == 3:
            raise KeyboardInterrupt
        merge(self, epoch, *args)

    argv = [*flags, *wanted, "--output-dir", "damaged"]
    with monkeypatch.context() as patch:
        patch.setattr(run.Turns, "_merge", stop_before_the_last)
        assert run_iterative_training.main(argv) == 130
    folder = tmp_path / "damaged"
    for locale, name in (("nl-NL", "optimizer.pt"), ("de-DE", "checkpoint_metadata.json")):
        (newest(folder, locale).path / name).write_bytes(b"")
    gone = folder / "merged_models/merged_cycle_1"
    gone.rename(tmp_path / "kept")
    assert run_iterative_training.main(argv) == 2
    assert re.search(r"merged_cycle_1, from which .* is not there any more; use --overwrite", capsys.readouterr().err)
    (tmp_path / "kept").rename(gone)
    assert run_iterative_training.main(argv) == 0
    assert final_bytes(folder) == whole
    assert len(list(folder.glob("*/checkpoints/*.incomplete1"))) == 2


@contextlib.contextmanager
def in_a_child(argv: list[str]):
    """(process id of a child in which the command runs, what it says on stderr)"""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        logging.root.handlers.clear()  # pytest's
        sys.stderr = os.fdopen(writing, "w", buffering=1)
        os._exit(run_iterative_training.main(argv))
    os.close(writing)
    with os.fdopen(reading) as errors:
        yield child, errors


def test_ctrl_c_answers_at_once(flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["--max-epochs", "300", "--merge-frequency", "150", "--save-strategy", "merge", "--output-dir", "stopped"]
    with in_a_child([*flags, *more, "-v"]) as (child, errors):
        for line in errors:
            if line.startswith("epoch"):
                break
        start = time.monotonic()
        os.kill(child, signal.SIGINT)
        for line in errors:
            if "run the same command again" in line:
                break
        assert time.monotonic() - start < 2 and "interrupted" in line
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130


def test_processes_side_by_side_end_alike(twice, train, monkeypatch):
    forked.replace(monkeypatch.setattr)
    assert final_bytes(train(*TWICE, "--no-sequential-training")) == final_bytes(twice)


def test_ctrl_c_ends_what_python_cannot_leave(tmp_path):
    code = (
        "import hashlib, sys\nfrom merginguriel.utils.flags.command import answering_interrupts, command\n"
        "@command\ndef main(argv):\n    with answering_interrupts(0.5):\n        print('in', flush=True)\n"
        "        hashlib.pbkdf2_hmac('sha256', b'x', b'y', 500_000_000)\nsys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert time.monotonic() - start < 2
    assert process.returncode == 130 and errors.strip() == "interrupted: run the same command again to go on"


def test_a_finished_run_is_kept_and_others_are_refused(train, flags, tmp_path, capsys):
    folder = train("--max-epochs", 1)
    told = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    train("--max-epochs", 1)
    assert capsys.readouterr().out == told
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert run_iterative_training.main([*flags, "--max-epochs", "2"]) == 2
    assert "other settings" in capsys.readouterr().err
    for mine in ("notes.txt", "de-DE/notes.txt", "merged_models/final_merged_model/notes.txt"):
        (folder / mine).touch()
        assert run_iterative_training.main([*flags, "--max-epochs", "2", "--overwrite"]) == 2
        assert "was not written by a run" in capsys.readouterr().err and (folder / mine).exists()
        (folder / mine).unlink()
    # What is replaced is other settings' run, not this one when the command is given again.
    again = [history(train("--max-epochs", 2, "--overwrite"))[-1] for _ in range(2)]
    assert again[0]["epoch"] == 2 and again[0] == again[1]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    assert run_iterative_training.main([*flags, "--overwrite", "--output-dir", "mine"]) == 2
    assert "left alone" in capsys.readouterr().err and (tmp_path / "mine/file").exists()


def test_every_merge_is_kept_unless_another_number_is_asked_for(train):
    for retained, kept in (([], 5), (["--retain-merge-checkpoints", 2], 2)):
        folder = train("--max-epochs", 5, "--max-train-samples", 32, *retained, "--output-dir", f"kept{kept}")
        assert len(history(folder)) == 5 and len(list((folder / "merged_models").iterdir())) == kept


def test_other_items_are_another_run(train, corpus, tmp_path, capsys):
    given = ["--dataset-name", shutil.copytree(corpus, tmp_path / "items"), "--max-epochs", 1]
    train(*given)
    file = tmp_path / "items/de-DE.jsonl"
    rows = [{**row, "utt": f"ach {row['utt']}"} for row in map(json.loads, file.read_text().splitlines())]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for more, said in (
        ([], "exists already; use --overwrite"),
        (["--results-dir", "r"], "holds a run with other items in its dataset"),
    ):
        with pytest.raises(AssertionError):
            train(*given, *more)
        assert said in capsys.readouterr().err
    train(*given, "--overwrite")


def test_many_targets(tiny_base, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    common = shlex.split(
        f"--dataset-name {corpus} --model-name-or-path {tiny_base} --max-epochs 2 --max-train-samples 32"
    )
    argv = ["--target-languages", "af-ZA", "he-IL", "sw-KE", "--max-models", "2", "--merge-frequency", "1", *common]
    argv += ["--cleanup-intermediate", "--workers", "1"]
    assert many.main([*argv, "--dry-run"]) == 1  # he-IL is not in the matrix
    assert not (tmp_path / "iterative_large_scale_results").exists() and "0." in capsys.readouterr().out
    assert many.main(argv) == 1
    root = tmp_path / "iterative_large_scale_results"
    ended = atomic.read_json(root / "iterative_large_scale_final_results.json")
    assert ended["accuracies"].keys() == {"af-ZA", "sw-KE"} and list(ended["failures"]) == ["he-IL"]
    printed = capsys.readouterr().out
    for target, accuracy in ended["accuracies"].items():
        assert f"{target}        2    {accuracy:.4f}" in printed
        assert [path.name for path in (root / target / "merged_models").iterdir()] == ["final_merged_model"]
        assert {path.name for path in (root / target).iterdir()} == {
            "merged_models",
            "merge_history.json",
            "state_summary.json",
        }
    # Done is done, although the checkpoints are gone, and whichever of the two commands asks.
    assert many.main(argv) == 1 and "0 done, 2 done before, 1 failed" in capsys.readouterr().out
    (name,) = (path.name for path in (tmp_path / "results").glob("*_sw-KE_*"))
    assert name == "iterative_similarity_merge_sw-KE_2merged_max-epochs-2_max-train-samples-32"
    made = (tmp_path / "results" / name / "results.json").stat().st_mtime_ns
    alone = ["--mode", "similarity", "--target-lang", "sw-KE", "--num-languages", "2", "--output-dir", root / "sw-KE"]
    trained([*map(str, alone), *common])
    assert (tmp_path / "results" / name / "results.json").stat().st_mtime_ns == made
    with pytest.raises(InputError, match="with --workers"):
        many.main.__wrapped__([*argv, "--no-sequential-training"])


# When to merge


def test_plateau_by_hand():
    rising = {"a": {1: 0.50, 2: 0.60, 3: 0.66}, "b": {1: 0.40, 2: 0.50, 3: 0.58}}
    # a: 0.16 / 2, b: 0.18 / 2, mean 0.085
    decision = timing.plateau(rising, 3, 0.08)
    assert decision.value == pytest.approx(0.085) and decision.decided is False
    assert timing.plateau(rising, 3, 0.09).decided is True
    assert "+0.08500, threshold 0.09: merge now" in str(timing.plateau(rising, 3, 0.09))
    # One falls by as much as the other rises.
    level = {"a": {2: 0.6, 3: 0.7, 4: 0.7}, "b": {2: 0.6, 3: 0.5, 4: 0.5}}
    assert timing.plateau(level, 4, 1e-4).decided is True
    assert timing.plateau(level, 3, 1e-4).value is None and not timing.plateau(level, 3, 1e-4).decided


def test_intervals_by_hand():
    own = {"a": 0.80, "b": 0.70}
    costly = timing.next_interval(3, own, {"a": 0.70, "b": 0.66, "target": 0.1}, 3, 1e-4)
    assert costly.value == pytest.approx(0.07) and costly.decided == 2
    assert timing.next_interval(1, own, {"a": 0.70, "b": 0.66}, 4, 1e-4).decided == 1
    free = timing.next_interval(3, own, {"a": 0.78, "b": 0.72}, 3, 1e-4)
    assert free.value == pytest.approx(0) and free.decided == 4
    assert timing.next_interval(3, own, {"a": 0.70, "b": 0.66}, 3, 0.08).decided == 4


@pytest.mark.parametrize(
    "sequence, expected",
    [
        # Own accuracy of both locales by epoch -> epochs of merges, with --merge-frequency 4 and 8 epochs.
        ([0.1, 0.2, 0.2, 0.2, 0.3, 0.4, 0.5, 0.6], [4, 8]),
        ([0.2, 0.2, 0.2, 0.3, 0.4, 0.4, 0.4, 0.5], [3, 7, 8]),
    ],
)
def test_the_trigger_in_a_run(train, monkeypatch, sequence, expected):
    calls = []

    def accuracy(self, model, locale):
        calls.append(locale)
        epoch = sum(one == locale for one in calls) if locale != "af-ZA" else 1
        return sequence[min(epoch, 8) - 1]

    monkeypatch.setattr(development.Development, "score", accuracy)
    # Merges are evaluated too: their accuracies must not be counted among the epochs'.
    level = dict.fromkeys(("nl-NL", "de-DE", "af-ZA"), 0.5)
    monkeypatch.setattr(merge_step.Merger, "accuracies", lambda self, merge: level)
    one = np.zeros(1, int)
    monkeypatch.setattr(run, "judge", lambda *args: results.Evaluation("judged", None, one, one, one, ("a",)))
    folder = train("--max-epochs", 8, "--merge-frequency", 4, "--performance-merge-trigger", "--max-train-samples", 32)
    assert [entry["epoch"] for entry in history(folder)] == expected
    assert [entry["reason"] for entry in history(folder)][-1] == "end of training"


# Flags


def test_config_is_kept_and_read(twice, tmp_path, capsys):
    config = Path(shutil.copy(twice / "experiment_config.json", tmp_path))
    kept = atomic.read_json(config)
    assert kept["locales"] == "nl-NL,de-DE" and kept["save_strategy"] == "merge" and "save_config" not in kept
    again = ["--config-file", str(config)]
    settings, _ = run_iterative_training.parse(again)
    assert settings == run_iterative_training.parse([*again, "--merge-frequency", "2"])[0]
    assert settings.record == atomic.read_json(twice / "state_summary.json")["settings"]
    assert run_iterative_training.parse([*again, "--learning-rate", "1e-3"])[0].training.settings.learning_rate == 1e-3
    config.write_text(json.dumps({**kept, "merge_frequently": 1}))
    assert run_iterative_training.main(again) == 2 and "no flag --merge-frequently" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, said",
    [
        (["--cuda-graphs", "--gradient-checkpointing"], "cannot be combined"),
        (["--locales", "nl-NL,af-ZA"], "the target af-ZA is among the sources"),
        (["--locales", "nl-NL,fr-FR"], "fr-FR"),
        (["--fp16"], "--fp16 needs a GPU"),
        (["--max-gpu-memory", "4000"], "--max-gpu-memory needs a CUDA GPU"),
        (["--mode", "similarly"], "invalid choice"),
    ],
)
def test_wrong_input(flags, more, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = run_iterative_training.main([*flags, *more])
    except SystemExit as error:
        code = error.code
    errors = capsys.readouterr().err
    assert code == 2 and re.search(rf"^error: .*{re.escape(said)}", errors, re.MULTILINE), errors
    assert not (tmp_path / "out").exists()


def test_selection_real_needs_models(flags):
    chosen = [flag for flag in flags if flag not in ("--locales", "nl-NL,de-DE")]
    with pytest.raises(InputError, match="yet to be trained"):
        run_iterative_training.parse([*chosen, "--selection", "real", "--nxn-matrix", "x"])
