"""Many trainings as a user runs them: missing locales, one language left out, kills, failures, copies."""

import json
import os
import re
import shutil
import signal
import time

import pytest

from merginguriel import copy_models_to_haryos, run_multilang_training, train_missing_models
from merginguriel.utils.data import mini, older_names
from merginguriel.utils.data.massive import MASSIVE, MINI_TASK
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.jobs import ledger, processes
from merginguriel.utils.storage import atomic, naming

MISSING = "merginguriel/train_missing_models.py"
MULTILANG = "merginguriel/run_multilang_training.py"


@pytest.fixture
def said(monkeypatch, tmp_path, capsys):
    """said(main, *flags) -> (exit code, stdout, stderr), in this process: for what starts no training."""
    monkeypatch.chdir(tmp_path)

    def call(main, *flags):
        try:
            code = main([str(flag) for flag in flags])
        except SystemExit as stop:
            code = stop.code
        done = capsys.readouterr()
        return code, done.out, done.err

    return call


def commands(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("merginguriel train ")]


def whole(tmp_path) -> dict[str, int]:
    """Locale -> when its finished model was written."""
    return {
        locale: (folder / "training.json").stat().st_mtime_ns
        for locale, folder in naming.find_models(tmp_path / "haryos_model", "tiny", "massive").items()
        if (folder / "training.json").is_file()
    }


# Missing models


def test_dry_runs_of_missing_models(said, tmp_path):
    code, out, _ = said(train_missing_models.main, "--dry-run")
    assert code == 0 and len(commands(out)) == 49 and out.startswith("49 of 49 models")
    for flag in (
        "--per-device-train-batch-size 32 ",
        "--per-device-eval-batch-size 64 ",
        "--num-train-epochs 3 ",
        "--learning-rate 5e-05",
        "--output-dir haryos_model/xlm-roberta-base_massive_k_af-ZA ",
    ):
        assert flag in f"{commands(out)[0]} "
    code, out, _ = said(
        train_missing_models.main,
        "--base-model",
        "FacebookAI/xlm-roberta-large",
        "--locales",
        "af-ZA",
        "sq-AL",
        "--train-bs",
        16,
        "--eval-bs",
        16,
        "--fp16",
        "--dry-run",
    )
    assert code == 0 and [re.search(r"--output-dir (\S+)", line)[1] for line in commands(out)] == [
        "haryos_model/xlm-roberta-large_massive_k_af-ZA",
        "haryos_model/xlm-roberta-large_massive_k_sq-AL",
    ]
    assert all(
        "--model-name-or-path FacebookAI/xlm-roberta-large" in line
        and line.endswith("--fp16")
        and "--per-device-train-batch-size 16" in line
        for line in commands(out)
    )

    (tmp_path / "model_mapping_unified.csv").write_text("name,locale\nAfrikaans,af-ZA\nAlbanian,sq-AL\nThai,th-TH\n")
    (tmp_path / "available_locales.txt").write_text("1→af-ZA\n2→sq-AL\n\nth-TH\n")
    for file in ("model_mapping_unified.csv", "available_locales.txt"):
        code, out, _ = said(train_missing_models.main, "--mapping-csv", file, "--max", 2, "--dry-run")
        assert code == 0 and "3 of 3 models" in out and "2 to train now" in out
        assert re.findall(r"--dataset-config-name (\S+)", out) == ["af-ZA", "sq-AL"]
    mini_flags = ["--dataset-name", "mini", "--dry-run"]
    code, out, _ = said(
        train_missing_models.main, *mini_flags, "--additional-args", "--batch_size", 8, "--max_steps", 3
    )
    assert len(commands(out)) == 12 and commands(out)[0].endswith("--per-device-train-batch-size 8 --max-steps 3")
    _, out, _ = said(train_missing_models.main, *mini_flags)
    parts = [said(train_missing_models.main, *mini_flags, "--shard", f"{part}/5")[1] for part in range(1, 6)]
    assert parts[0].startswith("3 of 3 models") and sorted(sum(map(commands, parts), [])) == sorted(commands(out))
    assert not list(tmp_path.glob("*/"))


@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--mapping-csv", "absent.csv"], "no file absent.csv"),
        (["--mapping-csv", "other.csv"], "no column 'locale'"),
        (["--mapping-csv", "typo.txt"], "did you mean af-ZA"),
        (["--locales", "af-ZA", "--additional-args", "--output_dir", "x"], "--output-dir cannot stand"),
        (["--locales", "af-ZA", "--additional-args", "--no_such_flag"], "--no-such-flag"),
        (["--locales", "af-ZA", "--fp16", "--bf16"], "not allowed with"),
        (["--workers", "2", "--workers-per-gpu", "2"], "exclude each other"),
    ],
)
def test_wrong_flags_of_missing_models(said, tmp_path, flags, reason):
    (tmp_path / "other.csv").write_text("name,code\nAfrikaans,af\n")
    (tmp_path / "typo.txt").write_text("af-ZX\n")
    before = sorted(tmp_path.iterdir())
    code, _, err = said(train_missing_models.main, "--dry-run", *flags)
    assert code == 2 and reason in err and sorted(tmp_path.iterdir()) == before


# So that there is time to stop a training.
SLOWLY = """
import time
from transformers import Trainer
save = Trainer._save_checkpoint
def save_and_rest(*given):
    save(*given)
    time.sleep(0.1)
Trainer._save_checkpoint = save_and_rest
"""


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_workers_are_killed_interrupted_and_go_on(begin, run, tiny_base, tmp_path):
    left = tmp_path / "haryos_model/tiny_massive_k_es-ES"
    left.mkdir(parents=True)
    (left / "training.json").write_text("{}")  # a copy that was cut off: no weights
    locales = ("es-ES", "nl-NL", "de-DE", "en-US")
    few = ["--additional-args", "--max-train-samples", 64, "--max-eval-samples", 32, "--max-predict-samples", 32]
    flags = ["--base-model", tiny_base, "--dataset-name", "mini", "--epochs", 4, "--locales", *locales]
    process = begin(MISSING, *flags, "--workers", 2, *few, first=SLOWLY)
    wait_for(lambda: list(tmp_path.glob("haryos_model/*.training/checkpoint-*/trainer_state.json")), process)
    process.kill()
    process.end()
    time.sleep(0.5)
    unfinished = sorted(tmp_path.glob("haryos_model/*.training/checkpoint-*"))
    first = whole(tmp_path)
    time.sleep(0.5)
    assert sorted(tmp_path.glob("haryos_model/*.training/checkpoint-*")) == unfinished  # the workers died too
    assert unfinished and len(first) < 4

    process = begin(MISSING, *flags, "--workers", 2, *few, first=SLOWLY)
    wait_for(lambda: len(whole(tmp_path)) > len(first), process)
    process.kill(signal.SIGINT, group=True)
    stopped = time.monotonic()
    interrupted = process.end(30)
    assert interrupted.returncode == 130 and time.monotonic() - stopped < 8, interrupted.stderr
    assert "run the same command again" in interrupted.stderr and "Traceback" not in interrupted.stderr
    second = whole(tmp_path)

    done = run(MISSING, *flags, "--workers", 1, *few)  # fewer workers do the rest as well
    assert done.returncode == 0, done.stderr
    assert whole(tmp_path).items() >= second.items() and set(whole(tmp_path)) == set(locales)
    assert done.stdout.count("test accuracy") == 4 - len(second)
    assert (tmp_path / "haryos_model/tiny_massive_k_es-ES.incomplete1/training.json").is_file()
    assert not list(tmp_path.glob("haryos_model/*.training")) and not list(tmp_path.glob("haryos_model/.*partial*"))
    for locale in locales:
        state = atomic.read_json(tmp_path / f"haryos_model/tiny_massive_k_{locale}/trainer_state.json")
        assert state["global_step"] == 4 * 2
    leftover = tmp_path / "haryos_model/tiny_massive_k_nl-NL.training"  # as if killed just before the end
    leftover.mkdir()
    nothing = run(MISSING, *flags, "--workers", 2, *few)
    assert nothing.returncode == 0 and nothing.stdout.startswith("0 of 4 models") and not leftover.exists()


def test_a_failing_locale_is_named_and_the_others_go_on(run, tiny_base, tmp_path):
    (tmp_path / "data").mkdir()
    for locale in ("af-ZA", "nl-NL", "de-DE"):
        (tmp_path / f"data/{locale}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mini.records(locale)))
    healthy = (tmp_path / "data/nl-NL.jsonl").read_text()
    (tmp_path / "data/nl-NL.jsonl").write_text(healthy[:-20])
    flags = ["--base-model", tiny_base, "--dataset-name", "data", "--epochs", 1, "--locales", "af-ZA", "nl-NL", "de-DE"]
    done = run(MISSING, *flags)
    assert done.returncode == 1 and "2 done, 0 done before, 1 failed" in done.stdout, done.stderr
    assert "failed: tiny_massive_k_nl-NL: line 576 of data/nl-NL.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
    first = whole(tmp_path)
    assert set(first) == {"af-ZA", "de-DE"}
    (undone,), _ = ledger.undone(tmp_path / "haryos_model")
    assert list(undone.missing) == ["tiny_massive_k_nl-NL"] and "line 576" in str(undone)
    (tmp_path / "data/nl-NL.jsonl").write_text(healthy)
    done = run(MISSING, *flags)
    assert done.returncode == 0 and "1 of 3 models" in done.stdout and whole(tmp_path).items() > first.items()


class Fragile:
    """A worker that a bug breaks; it counts the jobs of its process."""

    def __init__(self):
        self.jobs = 0

    def __call__(self, name, job, report):
        self.jobs += 1
        if job == "bug":
            raise ValueError("broken\nfor good")
        return os.getpid(), self.jobs


class Heard:
    def __init__(self):
        self.results, self.reasons = {}, {}

    def start(self, worker, name):
        pass

    def done(self, worker, name, result, seconds):
        self.results[name] = result

    def failed(self, worker, name, reason):
        self.reasons[name] = reason


def test_a_worker_lives_on_until_a_bug_and_is_then_replaced():
    heard = Heard()
    processes.in_processes(Fragile, [("a", ""), ("b", ""), ("c", "bug"), ("d", "")], 1, heard)
    assert heard.reasons == {"c": "ValueError: broken"}
    (one, _), (two, second), (other, first) = (heard.results[name] for name in "abd")
    assert one == two != other and (second, first) == (2, 1)


# Many languages


def test_dry_runs_of_many_languages(said, tmp_path):
    code, out, _ = said(run_multilang_training.main, "--exclude", "en-US", "--dry-run")
    (line,) = commands(out)
    locales = re.search(r"--dataset-config-name (\S+)", line)[1].split(",")
    assert code == 0 and set(locales) == set(DEFAULT_LOCALES) - {"en-US"} and len(locales) == 48
    assert "--output-dir haryos_model/xlm-roberta-base_massive_LOLO_without_en_US " in line
    assert "--num-train-epochs 15 --do-train --do-eval --do-predict" in line
    code, out, _ = said(
        run_multilang_training.main,
        "--super-model",
        "--dry-run",
        "--additional-args",
        "--learning_rate",
        "1e-4",
        "--batch_size",
        32,
        "--num_train_epochs",
        10,
    )
    (line,) = commands(out)
    assert "haryos_model/xlm-roberta-base_massive_LOLO_all_languages " in line and line.count(",") == 48
    assert line.endswith("--learning-rate 1e-4 --per-device-train-batch-size 32 --num-train-epochs 10")
    code, out, _ = said(run_multilang_training.main, "--all-lolo", "--dry-run")
    assert [re.search(r"LOLO_without_(\S+)", line)[1] for line in commands(out)] == [
        locale.replace("-", "_") for locale in DEFAULT_LOCALES
    ]
    code, out, _ = said(run_multilang_training.main, "--exclude", "de-DE", "--output_dir", "my_model", "--dry-run")
    assert "--output-dir haryos_model/my_model " in commands(out)[0]
    for flags, reason in (
        (["--exclude", "de-DE", "--output-dir", "../x"], "is to be a name in haryos_model"),
        (["--exclude", "th-TH", "--dataset-name", "mini"], "unknown locale 'th-TH'"),
        (["--exclude", "de-DE", "--super-model"], "not allowed with"),
        (["--super-model", "--additional-args", "--nonsense"], "--nonsense"),
    ):
        code, _, err = said(run_multilang_training.main, *flags, "--dry-run")
        assert code == 2 and reason in err, err
    assert not list(tmp_path.iterdir())


def test_leaving_each_language_out_survives_a_failure(run, tiny_base, tmp_path):
    root = tmp_path / "haryos_model"
    hindrance = root / "tiny_massive_LOLO_without_nl_NL.training"
    (hindrance / "checkpoint-1").mkdir(parents=True)
    (hindrance / "settings.json").write_text('{"seed": 1}')
    flags = [
        "--all-lolo",
        "--locales",
        "af-ZA,nl-NL,de-DE",
        "--base-model",
        tiny_base,
        "--dataset-name",
        "mini",
        "--additional-args",
        "--batch_size",
        64,
        "--num_train_epochs",
        1,
        "--learning_rate",
        "1e-3",
    ]
    done = run(MULTILANG, *flags)
    assert done.returncode == 1 and "2 done, 0 done before, 1 failed" in done.stdout, done.stderr
    assert "failed: tiny_massive_LOLO_without_nl_NL: " in done.stderr and "other settings" in done.stderr
    models = {
        locale: root / f"tiny_massive_LOLO_without_{locale.replace('-', '_')}" for locale in ("af-ZA", "nl-NL", "de-DE")
    }
    assert [path.is_dir() for path in models.values()] == [True, False, True]
    kept = atomic.read_json(models["af-ZA"] / "all_results.json")
    assert list(kept["predict_accuracy_by_locale"]) == ["nl-NL", "de-DE"] and kept["predict_samples"] == 2 * 144
    results = atomic.read_json(tmp_path / "results/tiny_massive_LOLO_without_af_ZA_af-ZA/results.json")
    held_out = results["performance"]["accuracy"]
    assert results["evaluation_info"]["locale"] == "af-ZA" and results["performance"]["total_predictions"] == 144
    assert (
        f"tiny_massive_LOLO_without_af_ZA  validation accuracy {kept['eval_accuracy']:.4f}, test accuracy "
        f"{kept['predict_accuracy']:.4f}, held-out test accuracy {held_out:.4f}"
    ) in done.stdout
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*_af_ZA*/*")}

    shutil.rmtree(hindrance)
    shutil.rmtree(tmp_path / "results/tiny_massive_LOLO_without_de_DE_de-DE")  # as if killed before the evaluation
    trained = (models["de-DE"] / "training.json").stat().st_mtime_ns
    done = run(MULTILANG, *flags)
    assert done.returncode == 0 and "2 done, 1 done before, 0 failed" in done.stdout, done.stderr
    assert models["nl-NL"].is_dir() and (models["de-DE"] / "training.json").stat().st_mtime_ns == trained
    assert (tmp_path / "results/tiny_massive_LOLO_without_de_DE_de-DE/results.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*_af_ZA*/*")} == before


# Copies


def test_copying_finished_runs(said, models_root, tmp_path):
    runs = tmp_path / "checkpoint_results"

    def make(name):
        shutil.copytree(models_root / "tiny_massive_k_nl-NL", runs / name)
        (runs / name / "training.json").write_text("{}")
        return runs / name

    first = make("xlm-roberta-base_massive_af-ZA_lr5e-5_ep15")
    make("xlm-roberta-base_massive_nl-NL_lr5e-05_ep3_compile")
    make("xlm-roberta-base_massive_4langs-af-ZA_lr5e-5_ep15")
    code, out, _ = said(copy_models_to_haryos.main, "--dry-run")
    assert code == 0 and out.count("would copy") == 2 and not (tmp_path / "haryos_model").exists()
    code, out, _ = said(copy_models_to_haryos.main)
    found = naming.find_models(tmp_path / "haryos_model", "xlm-roberta-base", "massive")
    assert code == 0 and list(found) == ["af-ZA", "nl-NL"]
    for file in first.iterdir():
        assert (found["af-ZA"] / file.name).read_bytes() == file.read_bytes()

    half = make("xlm-roberta-base_massive_de-DE_lr5e-5_ep15")
    (half / "model.safetensors").write_bytes((half / "model.safetensors").read_bytes()[:-50])
    (runs / "xlm-roberta-base_massive_id-ID_lr5e-5_ep15.training").mkdir()
    (first / "training.json").write_text('{"new": 1}')
    code, out, _ = said(copy_models_to_haryos.main)
    assert code == 1 and out.count("not copied") == 3 and "half-written" in out and "interrupted" in out
    assert out.count("copied already") == 1  # the same bytes
    assert out.count("exists already") == 1 and (found["af-ZA"] / "training.json").read_text() == "{}"
    code, out, _ = said(copy_models_to_haryos.main, "--overwrite", "--runs", first)
    assert code == 0 and (found["af-ZA"] / "training.json").read_text() == '{"new": 1}'
    make("xlm-roberta-base_massive_af-ZA_lr1e-4_ep15")
    code, out, _ = said(copy_models_to_haryos.main, "--overwrite", "--dry-run")
    assert code == 1 and out.count("other runs go to") == 2
    code, out, _ = said(copy_models_to_haryos.main, "--runs", tmp_path / "absent", models_root)
    assert code == 1 and "no such folder" in out and "not a run of one language" in out
    shutil.rmtree(runs)
    code, _, err = said(copy_models_to_haryos.main)
    assert code == 2 and "no runs in checkpoint_results" in err


@pytest.mark.parametrize(
    "base, rate, epochs",
    [("xlm-roberta-base", 5e-5, 15), ("FacebookAI/xlm-roberta-large", 1e-3, 3), ("a_massive_b", 2e-5, 0.5)],
)
def test_names_of_runs_are_read_as_they_are_built(base, rate, epochs):
    name = naming.training_run_name(base, "massive", ["af-ZA"], rate, epochs)
    assert older_names.parse_training_run(name) == (naming.base_slug(base), "af-ZA")
    assert (
        older_names.parse_training_run(naming.training_run_name(base, "massive", ["af-ZA", "nl-NL"], rate, epochs))
        is None
    )


def test_locales_of_a_dataset():
    assert MINI_TASK.default_codes == mini.LOCALES and len(MASSIVE.default_codes) == 49
