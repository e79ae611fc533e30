"""Training: one initial head for all, whole models only, resumable."""

import importlib.machinery
import importlib.util
import json
import shutil
import signal
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from filelock import FileLock
from running import ROOT
from safetensors.numpy import load_file

from merginguriel import training_bert
from merginguriel.utils.data import massive, mini
from merginguriel.utils.data.massive import MASSIVE, MINI_TASK
from merginguriel.utils.models import devices, model_folder
from merginguriel.utils.models.initial import initial_checkpoint
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import atomic
from merginguriel.utils.training import cuda_graphs, tracking, trainer, unfinished, vocabulary
from merginguriel.utils.training.settings import TrainingRun, TrainingSettings, TrainingSteps
from merginguriel.utils.training.train import train

SCRIPT = "merginguriel/training_bert.py"


@pytest.fixture
def flags(tiny_base):
    return [
        "--model_name_or_path",
        str(tiny_base),
        "--dataset_name",
        "mini",
        "--per_device_train_batch_size",
        "32",
        "--learning_rate",
        "1e-3",
    ]


def test_trains_evaluates_and_predicts(run, flags, tmp_path):
    done = run(SCRIPT, *flags, "--dataset_config_name", "af-ZA", "--output_dir", "results/af", "--num_train_epochs", 2)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results/af"
    metrics = atomic.read_json(folder / "all_results.json")
    assert f"test accuracy {metrics['predict_accuracy']:.4f} on af-ZA" in done.stdout
    assert model_folder.read_labels(folder, MINI_TASK) == list(massive.INTENTS)
    assert not (tmp_path / "results/af.training").exists() and not list(folder.glob("*.bin"))
    # The predictions are those of the model that was saved.
    split = MINI_TASK.load("af-ZA", "test")
    rows = [line.split("\t") for line in (folder / "predict_results.txt").read_text().splitlines()[1:]]
    hits = sum(name == massive.INTENTS[label] for (_, name), label in zip(rows, split.labels))
    assert hits / len(split) == pytest.approx(metrics["predict_accuracy"])
    evaluated = run(
        "merginguriel/evaluate_specific_model.py", "--base-model", folder, "--locale", "af-ZA", "--dataset-name", "mini"
    )
    assert f"accuracy {metrics['predict_accuracy']:.4f}" in evaluated.stdout


def test_all_epochs_are_trained_unless_stopping_early_is_asked_for(flags, tmp_path, monkeypatch, capsys):
    """At a learning rate of 0 no epoch is better than the first."""
    monkeypatch.chdir(tmp_path)
    few = [
        "--max_train_samples",
        "32",
        "--max_eval_samples",
        "12",
        "--do_train",
        "--do_eval",
        "--num_train_epochs",
        "5",
    ]
    few += ["--dataset_config_name", "af-ZA", "--learning_rate", "0", "--output_dir"]
    for more, epochs in (([], 5), (["--early_stopping_patience", "2"], 3)):
        assert training_bert.main([*flags, *few, f"m/{epochs}", *more]) == 0
        assert atomic.read_json(tmp_path / f"m/{epochs}/trainer_state.json")["epoch"] == epochs
        stopped = "stopped after epoch 3 of 5: 2 epochs without a better validation accuracy"
        assert (stopped in capsys.readouterr().out) == bool(more)


def test_all_runs_start_from_one_initial_head(flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--do_train", "--num_train_epochs", "1", "--max_train_samples", "32", "--learning_rate", "0"]
    for locale in ("af-ZA", "nl-NL"):
        where = ["--dataset_config_name", locale, "--output_dir", f"m/{locale}"]
        assert training_bert.main([*flags, *few, *where]) == 0
    start = tmp_path / "haryos_model/init/tiny_seed42"
    initial = load_file(start / "model.safetensors")
    fingerprint = json.loads((start / "config.json").read_text())["initial_head"]
    for locale in ("af-ZA", "nl-NL"):
        trained = load_file(tmp_path / f"m/{locale}/model.safetensors")
        # With learning rate 0, training returns what it started from.
        assert all(np.array_equal(trained[name], initial[name]) for name in initial)
        assert json.loads((tmp_path / f"m/{locale}/config.json").read_text())["initial_head"] == fingerprint


def test_seeds_give_other_heads(tiny_base, tmp_path):
    heads = {
        seed: json.loads(
            (initial_checkpoint(ModelStore(str(tiny_base), MINI_TASK, tmp_path), seed) / "config.json").read_text()
        )["initial_head"]
        for seed in (1, 2)
    }
    assert heads[1] != heads[2]


def test_same_seed_same_bytes(run, flags, tmp_path):
    once = ["--dataset_config_name", "af-ZA", "--do_train", "--num_train_epochs", 1, "--save_strategy", "no"]
    for name in ("a", "b"):
        run(SCRIPT, *flags, *once, "--output_dir", f"{name}/m", "--models-root", f"{name}/init")
    assert (tmp_path / "a/m/model.safetensors").read_bytes() == (tmp_path / "b/m/model.safetensors").read_bytes()


def test_several_locales_train_together(run, flags, tmp_path):
    several = ["--dataset_config_name", "af-ZA,nl-NL", "--do_train", "--num_train_epochs", 1, "--save_strategy", "no"]
    done = run(SCRIPT, *flags, *several)
    assert done.returncode == 0, done.stderr
    for line in (
        "Loading and combining 2 language configurations: ['af-ZA', 'nl-NL']",
        "Loading nl-NL...",
        "✓ af-ZA: 348 training samples",
        "✓ nl-NL: 348 training samples",
        "Combining datasets...",
        "Combined training set: 696 samples",
        "Shuffling datasets with seed 42",
        "  Languages: 2 languages: ['af-ZA', 'nl-NL']",
        "  Total samples: 696",
    ):
        assert line in done.stderr.splitlines(), line
    folder = tmp_path / "checkpoint_results/tiny_massive_af-ZA-nl-NL_lr1e-3_ep1"
    assert atomic.read_json(folder / "trainer_state.json")["global_step"] == int(np.ceil(2 * 348 / 32))


FAKE_WANDB = """
import json, os
class Error(Exception): pass
class Run:
    def __init__(self, settings): self.kept = {**settings, "mode": os.environ["WANDB_MODE"], "logs": []}
    def log(self, values): self.kept["logs"].append(values)
    def finish(self): open("wandb.json", "w").write(json.dumps(self.kept))
def init(**settings): return Run(settings)
"""


def test_names_of_transformers_4_bfloat16_checkpointing_and_tracking(flags, tmp_path, monkeypatch, capsys):
    wandb = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("wandb", None))
    exec(FAKE_WANDB, vars(wandb))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    names = (
        "--dataset_config_name af-ZA,nl-NL --evaluation_strategy no --save_strategy no --warmup_ratio 0.5 "
        "--lr_scheduler_type cosine --no_cuda --bf16 --gradient_accumulation_steps 2 --gradient_checkpointing "
        "--max_steps 4 --logging_steps 1 --wandb --output_dir m"
    )
    assert training_bert.main([*flags, *names.split()]) == 0
    said = capsys.readouterr().out
    steps = [row for row in atomic.read_json(tmp_path / "m/trainer_state.json")["log_history"] if "loss" in row]
    # Two steps of warm-up to 1e-3, then half a cosine over two.
    assert [row["learning_rate"] for row in steps] == pytest.approx([0, 5e-4, 1e-3, 5e-4])
    kept = atomic.read_json(tmp_path / "wandb.json")
    assert (kept["project"], kept["mode"]) == ("MergingUriel", "offline")
    assert kept["name"] == "tiny_massive_af-ZA-nl-NL_lr1e-3_ep15"
    assert kept["config"]["locales"] == ["af-ZA", "nl-NL"] and kept["config"]["num_languages"] == 2
    metrics = atomic.read_json(tmp_path / "m/all_results.json")
    assert [row["loss"] for row in kept["logs"] if "loss" in row] == [row["loss"] for row in steps]
    assert kept["logs"][-1]["predict_accuracy"] == metrics["predict_accuracy"]
    for locale, accuracy in metrics["predict_accuracy_by_locale"].items():
        assert f"  {locale}  {accuracy:.4f}" in said
    assert np.mean(list(metrics["predict_accuracy_by_locale"].values())) == pytest.approx(metrics["predict_accuracy"])


@pytest.fixture
def still(tiny_base, tmp_path):
    """still(name, **changes): a run of a few steps without dropout, for comparing arithmetic in this process."""
    base = shutil.copytree(tiny_base, tmp_path / "still")
    config = json.loads((base / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config))
    few = dict(
        per_device_train_batch_size=32, learning_rate=1e-3, num_train_epochs=1, save_strategy="no", logging_steps=1
    )

    def make(name, **changes):
        store = ModelStore(str(base), MINI_TASK, tmp_path)
        return TrainingRun(MINI_TASK, store, ("af-ZA",), tmp_path / name, TrainingSettings(**{**few, **changes}))

    return make


def losses_and_norms(run) -> np.ndarray:
    """(steps, 2)"""
    train(run, TrainingSteps(do_train=True))
    rows = atomic.read_json(run.output_dir / "trainer_state.json")["log_history"]
    return np.array([[row["loss"], row["grad_norm"]] for row in rows if "grad_norm" in row])


def test_accumulated_batches_are_one_large_batch(still):
    whole = losses_and_norms(still("whole"))
    for size in (16, 8):
        parts = losses_and_norms(
            still(f"of{size}", per_device_train_batch_size=size, gradient_accumulation_steps=32 // size)
        )
        assert parts[:10] == pytest.approx(whole[:10], rel=1e-3)  # the last step has fewer items
    checkpointed = losses_and_norms(still("checkpointed", gradient_checkpointing=True))
    assert checkpointed == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_graphed_passes_compute_what_plain_ones_do(still, monkeypatch, accumulated):
    """On a CPU, where a replay is the same passes over the same buffers."""
    captured = []

    def capture(passes, pool):
        captured.append(passes)
        passes()  # the warm-up
        return passes, pool

    monkeypatch.setattr(cuda_graphs, "capture", capture)
    monkeypatch.setattr("merginguriel.utils.training.train.check_environment", lambda settings: None)
    details = dict(
        per_device_train_batch_size=32 // accumulated, gradient_accumulation_steps=accumulated, num_train_epochs=2
    )
    plain = losses_and_norms(still("plain", **details))
    graphed = losses_and_norms(still("graphed", **details, cuda_graphs=True))
    assert graphed == pytest.approx(plain, rel=1e-3) and len(graphed) == 22
    assert len(captured) in (1, 2)  # of 8 and 16 tokens


def test_trimming_the_vocabulary_changes_nothing(still, monkeypatch, tiny_base):
    # Two models: with and without. Other languages' tokens are among the rows that neither moves.
    trained_rows = []

    class Whole:
        def __init__(self, model, texts):
            trained_rows.append(model.config.vocab_size)

        ids = staticmethod(list)

        def restore(self):
            pass

    class Watched(vocabulary.TrimmedVocabulary):
        def restore(self):
            trained_rows.append(self._model.get_input_embeddings().num_embeddings)
            super().restore()

    steps = TrainingSteps(do_train=True, do_eval=True)
    weights = {}
    for name, kind in (("trimmed", Watched), ("whole", Whole)):
        monkeypatch.setattr(vocabulary, "TrimmedVocabulary", kind)
        train(still(name, num_train_epochs=2, save_strategy="epoch"), steps)
        weights[name] = load_file(still(name).output_dir / "model.safetensors")
    start = load_file(initial_checkpoint(still("m").store, 42) / "model.safetensors")
    embeddings = "roberta.embeddings.word_embeddings.weight"
    moved = {name: (values[embeddings] != start[embeddings]).any(-1) for name, values in weights.items()}
    assert np.array_equal(moved["trimmed"], moved["whole"]) and 0 < moved["trimmed"].sum() < len(start[embeddings])
    for name, values in weights["whole"].items():
        np.testing.assert_allclose(weights["trimmed"][name], values, atol=2e-5, err_msg=name)
    trimmed, whole = trained_rows
    assert moved["trimmed"].sum() <= trimmed < whole == len(start[embeddings])
    assert json.loads((still("trimmed").output_dir / "config.json").read_text())["vocab_size"] == whole


def test_one_process_trains_a_model(still, tmp_path):
    with FileLock(tmp_path / ".m.training.lock"), pytest.raises(InputError, match="another process trains"):
        train(still("m"), TrainingSteps(do_train=True))
    assert not (tmp_path / "m").exists() and not (tmp_path / "m.training").exists()


def test_arguments_under_the_names_of_either_generation():
    older = dict(
        evaluation_strategy="epoch", no_cuda=True, warmup_ratio=0.1, gradient_checkpointing=True, max_steps=None
    )
    assert trainer.by_version(
        older, {"eval_strategy", "use_cpu", "warmup_steps", "activation_checkpointing"}, "5.23.0"
    ) == dict(eval_strategy="epoch", use_cpu=True, warmup_steps=0.1, activation_checkpointing=True)
    assert trainer.by_version(older, {"evaluation_strategy", "no_cuda", "warmup_ratio", "warmup_steps"}, "4.40.0") == {
        name: value for name, value in older.items() if name != "max_steps"
    }
    assert trainer.by_version({"warmup_ratio": 0.0, "warmup_steps": 7}, {"warmup_steps"}, "5.0") == {"warmup_steps": 7}


def wait_for_checkpoint(work):
    deadline = time.monotonic() + 120
    while unfinished.newest_checkpoint(work) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_training_goes_on_from_its_newest_checkpoint(begin, run, flags, tmp_path):
    train = [*flags, "--dataset_config_name", "af-ZA", "--output_dir", "m/af", "--do_train", "--num_train_epochs", 12]
    train += ["--max_train_samples", 128]
    process = begin(SCRIPT, *train)
    work = tmp_path / "m/af.training"
    wait_for_checkpoint(work)
    process.kill()
    assert process.end().returncode == -signal.SIGKILL
    assert not (tmp_path / "m/af").exists() and list(work.glob("checkpoint-*"))
    # Checkpoints that were cut off while they were written are passed over.
    (work / "checkpoint-9999").mkdir()
    (work / "checkpoint-9998").mkdir()
    (work / "checkpoint-9998/trainer_state.json").touch()
    done = run(SCRIPT, *train)
    assert done.returncode == 0 and "going on from" in done.stderr, done.stderr
    assert atomic.read_json(tmp_path / "m/af/trainer_state.json")["global_step"] == 12 * 4
    assert not work.exists()
    undisturbed = run(SCRIPT, *["m/whole" if flag == "m/af" else flag for flag in train])
    assert undisturbed.returncode == 0
    assert (tmp_path / "m/af/model.safetensors").read_bytes() == (tmp_path / "m/whole/model.safetensors").read_bytes()


def test_ctrl_c_says_how_to_go_on(begin, tmp_path, flags):
    endless = ["--dataset_config_name", "af-ZA", "--output_dir", "m/af", "--do_train", "--num_train_epochs", 500]
    process = begin(SCRIPT, *flags, *endless)
    wait_for_checkpoint(tmp_path / "m/af.training")
    process.kill(signal.SIGINT)
    start = time.monotonic()
    done = process.end(60)
    assert done.returncode == 130 and "run the same command again" in done.stderr
    assert time.monotonic() - start < 10 and "Traceback" not in done.stderr


def test_wrong_input(refused, flags, tmp_path):
    done = {
        "a": ["--dataset_config_name", "af-ZX"],
        "b": ["--dataset_config_name", "th-TH", "--do_train"],
        "c": ["--do_train", "false"],
        "d": ["--fp16", "--bf16"],
        "e": ["--num_train_epochs", "0"],
        "f": ["--model_name_or_path", "./absent"],
        "h": ["--fp16", "--use_cpu"],
        "j": ["--cuda_graphs", "--use_cpu"],
        "l": ["--cuda_graphs", "--torch_compile"],
        "m": ["--tf32", "--use_cpu"],
    }
    said = {name: refused(SCRIPT, *flags, *extra) for name, extra in done.items()}
    assert "did you mean af-ZA" in said["a"] and "mini corpus" in said["b"] and "nothing to do" in said["c"]
    assert "not allowed with" in said["d"] and "between" in said["e"]
    assert "cannot load the base model ./absent" in said["f"]
    assert "--fp16 needs a GPU" in said["h"] and "needs a CUDA GPU" in said["j"]
    assert "cannot be combined" in said["l"] and "--tf32 needs a GPU" in said["m"]


def precisions():
    """All that tells the precision of float32 products; RuntimeError where torch's older and newer way contradict."""
    newer = (
        [torch.backends.fp32_precision, torch.backends.cuda.matmul.fp32_precision]
        if hasattr(torch.backends, "fp32_precision")
        else []
    )
    return [torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32, *newer]


def test_tf32_ends_with_the_training(monkeypatch, tmp_path):
    """Left on, it would round what the same process merges next. Trainer itself would turn it on only once."""
    seen, before = [], precisions()

    class Learner:
        def train(self, resume_from_checkpoint):
            seen.append(torch.get_float32_matmul_precision())
            if resume_from_checkpoint:
                raise KeyError(resume_from_checkpoint)
            return SimpleNamespace(metrics={})

        def evaluate(self, metric_key_prefix):
            seen.append(torch.get_float32_matmul_precision())

    for tf32 in (True, False, True):
        trainer.fit(TrainingSettings(tf32=tf32), Learner(), None)
        trainer.evaluate(TrainingSettings(tf32=tf32), Learner())
        assert precisions() == before
    with pytest.raises(KeyError):
        trainer.fit(TrainingSettings(tf32=True), Learner(), "checkpoint")
    assert seen == ["high", "high", "highest", "highest", "high", "high", "high"] and precisions() == before
    # Trainer does not hear of it: without a GPU it would refuse. To compile, on a GPU, it turns TF32 on by itself.
    assert trainer._arguments(TrainingSettings(tf32=True), tmp_path, None).tf32 is None
    turned_on = []
    monkeypatch.setattr("transformers.training_args.is_torch_tf32_available", lambda: True)
    monkeypatch.setattr("transformers.training_args.enable_tf32", lambda on: turned_on.append(on) or use_tf32())
    trainer._arguments(TrainingSettings(torch_compile=True), tmp_path, None)
    assert turned_on == [True] and precisions() == before


@pytest.mark.parametrize("own", ["highest", "high", "medium"])
def test_the_precision_of_a_process_is_left_as_it_had_chosen(own):
    """Told by torch's older way or its newer one, which must not contradict each other afterwards."""
    before = precisions()
    try:
        torch.set_float32_matmul_precision(own)
        chosen = precisions()
        for tf32 in (True, False):
            with devices.tf32_products(tf32):
                assert torch.get_float32_matmul_precision() == ("high" if tf32 else own)
            assert precisions() == chosen
        with devices.precision_kept():
            use_tf32()
        assert precisions() == chosen
    finally:
        torch.set_float32_matmul_precision("highest")
        if hasattr(torch.backends, "fp32_precision"):
            torch.backends.cuda.matmul.fp32_precision = before[-1]


def use_tf32():
    """As transformers does."""
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "tf32"
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def test_tracking_is_installed_with_the_project_and_said_to_be_missing(monkeypatch):
    project = (ROOT / "pyproject.toml").read_text()
    needed = project.split("\ndependencies = [\n")[1].split("\n]\n")[0]
    assert '    "wandb' in needed
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install wandb"):
        tracking.check_installed()


def test_an_unfinished_run_is_not_continued_with_other_settings(run, flags, tmp_path):
    (tmp_path / "m/af.training/checkpoint-11").mkdir(parents=True)
    (tmp_path / "m/af.training/settings.json").write_text('{"learning_rate": 1}')
    done = run(SCRIPT, *flags, "--dataset_config_name", "af-ZA", "--output_dir", "m/af", "--do_train")
    assert done.returncode == 2 and "other settings" in done.stderr and not (tmp_path / "m/af").exists()


# The moment between the model's name and the command's last line.
KILLED = """
import os, shutil
remove = shutil.rmtree
def rmtree(path, *given, **more):
    if str(path).endswith("af.training") and os.path.exists("m/af"): os._exit(137)
    remove(path, *given, **more)
shutil.rmtree = rmtree
"""


def test_what_was_killed_after_its_model_was_whole_is_found(run, flags, tmp_path):
    few = [*flags, "--dataset_config_name", "af-ZA", "--output_dir", "m/af", "--num_train_epochs", 1, "--do_train"]
    few += ["--do_eval", "--max_train_samples", 32, "--max_eval_samples", 32]
    assert run(SCRIPT, *few, first=KILLED).returncode == 137
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "m/af").iterdir()}
    assert (tmp_path / "m/af.training/checkpoint-1").is_dir() and tmp_path / "m/af/training.json" in made
    again = run(SCRIPT, *few)
    assert again.returncode == 0 and "already trained" in again.stderr, again.stderr
    accuracy = atomic.read_json(tmp_path / "m/af/all_results.json")["eval_accuracy"]
    assert again.stdout == f"validation accuracy {accuracy:.4f} on af-ZA\nmodel: m/af\n"
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "m/af").iterdir()} == made
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["af"]


def test_a_finished_training_is_found_by_settings_items_and_steps(tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()

    def write(end=""):
        rows = [{**row, "utt": row["utt"] + end} for row in mini.records("af-ZA")]
        (tmp_path / "data/af-ZA.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    write()
    task = replace(MASSIVE, data="data")
    settings = TrainingSettings(
        num_train_epochs=1, learning_rate=1e-3, max_train_samples=32, max_eval_samples=32, max_predict_samples=32,
        per_device_train_batch_size=32, use_cpu=True,
    )  # fmt: skip
    one = TrainingRun(task, ModelStore(str(tiny_base), task, tmp_path), ("af-ZA",), tmp_path / "m", settings)
    steps = TrainingSteps(do_train=True, do_eval=True)
    metrics = train(one, steps)
    before = (tmp_path / "m/model.safetensors").stat().st_mtime_ns
    shutil.copytree("data", "elsewhere")
    assert metrics == train(one, steps) == train(replace(one, task=replace(task, data="elsewhere")), steps)
    for other, which in (
        (replace(one, settings=replace(settings, seed=43)), steps),
        (replace(one, settings=replace(settings, max_eval_samples=31)), steps),
        (one, replace(steps, do_eval=False)),
        (one, replace(steps, do_predict=True)),
    ):
        with pytest.raises(InputError, match="exists already and is not this training"):
            train(other, which)
    write(" nie")
    with pytest.raises(InputError, match="exists already and is not this training"):
        train(one, steps)
    write()
    assert train(one, steps) == metrics and (tmp_path / "m/model.safetensors").stat().st_mtime_ns == before
    (tmp_path / "m/model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="exists already"):
        train(one, steps)


def test_a_trained_model_is_not_overwritten(run, flags, tmp_path):
    (tmp_path / "m").mkdir()
    done = run(SCRIPT, *flags, "--dataset_config_name", "af-ZA", "--output_dir", "m", "--do_train")
    assert done.returncode == 2 and "--overwrite-output-dir" in done.stderr


def test_overwriting_leaves_models_of_other_languages_and_what_is_somebody_elses(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = [*flags, "--do_train", "--num_train_epochs", "1", "--max_train_samples", "32", "--output_dir", "m/x"]

    def said(language, *more):
        code = training_bert.main([*few, "--dataset_config_name", language, *more])
        return code, capsys.readouterr().err

    assert said("af-ZA")[0] == 0
    before = (tmp_path / "m/x/model.safetensors").stat().st_mtime_ns
    code, error = said("nl-NL", "--overwrite_output_dir")
    assert code == 2 and "m/x is the model of af-ZA, not of nl-NL" in error
    (tmp_path / "m/x/thesis.tex").touch()
    code, error = said("af-ZA", "--overwrite_output_dir")
    assert code == 2 and "holds more than a trained model, thesis.tex for one" in error
    (tmp_path / "m/x/thesis.tex").unlink()
    (tmp_path / "m/x.training").mkdir()
    (tmp_path / "m/x.training/plan.md").touch()
    code, error = said("af-ZA", "--overwrite_output_dir")
    assert code == 2 and "plan.md in it is of no training" in error and (tmp_path / "m/x.training/plan.md").exists()
    assert (tmp_path / "m/x/model.safetensors").stat().st_mtime_ns == before
    shutil.rmtree(tmp_path / "m/x.training")
    assert said("af-ZA", "--overwrite_output_dir")[0] == 0
    assert (tmp_path / "m/x/model.safetensors").stat().st_mtime_ns != before
