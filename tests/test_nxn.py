"""N×N as a user runs it: cells against a plain loop, kills, damaged models, several workers, choosing by its matrix."""

import csv
import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from running import renaming
from safetensors.torch import load_file, save_file

from merginguriel.utils.data import massive, mini
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.data.massive_languages import LOCALES
from merginguriel.utils.evaluation import nxn, nxn_job, nxn_logits, nxn_summary
from merginguriel.utils.evaluation.nxn_job import NxnContext
from merginguriel.utils.jobs.backends import LocalBackend
from merginguriel.utils.jobs.engine import work_off
from merginguriel.utils.merging.examples import TextSettings
from merginguriel.utils.merging.model_card import model_card
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models import devices, loading
from merginguriel.utils.report import heatmaps, plots
from merginguriel.utils.similarity import transfer
from merginguriel.utils.storage import atomic, naming

SCRIPT = "merginguriel/run_nxn_evaluation.py"
MERGE = "merginguriel/run_merging_pipeline_refactored.py"
SOURCES = ("nl-NL", "de-DE", "en-US", "id-ID")


@pytest.fixture
def flags(models_root):
    return ["--base-model", "tiny", "--models-root", models_root, "--dataset-name", "mini"]


def runs(folder):
    return sorted((folder / "nxn_results").glob("nxn_eval_*"))


def by_hand(folder, target, split="test"):
    """(texts, 60) logits, each text alone through the model, in MASSIVE's order of intents."""
    model, tokenizer = loading.load_classifier(folder, "cpu", torch.float32)
    with torch.inference_mode():
        scores = [
            model(**tokenizer(text, return_tensors="pt")).logits[0].numpy()
            for text in MINI_TASK.load(target, split).texts
        ]
    order = [model.config.label2id[intent] for intent in massive.INTENTS]
    return np.stack(scores)[:, order]


def reorder_labels(folder):
    """Turn the model's outputs round; by name it says the same."""
    from safetensors.numpy import load_file, save_file

    config = json.loads((folder / "config.json").read_text())
    names = [config["id2label"][str(index)] for index in range(60)][::-1]
    config["id2label"] = dict(enumerate(names))
    config["label2id"] = {name: index for index, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][::-1])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_every_cell_against_one_text_at_a_time(run, source_copies, tmp_path):
    reorder_labels(source_copies / "tiny_massive_k_de-DE")
    done = run(
        SCRIPT,
        "-v",
        "--base-model",
        "tiny",
        "--dataset-name",
        "mini",
        "--locales",
        "nl-NL",
        "de-DE,id-ID",
        "--targets",
        "af-ZA,de-DE",
        "--max-workers",
        2,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = runs(tmp_path)
    header, *rows = csv.reader((folder / "evaluation_matrix.csv").read_text().splitlines())
    assert header == ["", "af-ZA", "de-DE"] and [row[0] for row in rows] == ["nl-NL", "de-DE", "id-ID"]
    kept = nxn_logits.open_logits(folder)
    assert (kept.sources, kept.targets, kept.split) == (("nl-NL", "de-DE", "id-ID"), ("af-ZA", "de-DE"), "test")
    # The expectation is float32 arithmetic; an intent that is as good within the tolerance may be predicted instead.
    assert f"torch.{kept.precision}" == str(devices.evaluation_dtype(devices.default_device()))
    tolerance = {"float32": 2e-3, "bfloat16": 5e-3}[kept.precision]
    accuracies = {}
    for source, *row in rows:
        for target, cell in zip(header[1:], row):
            split = MINI_TASK.load(target, "test")
            expected = by_hand(source_copies / f"tiny_massive_k_{source}", target)
            logits = kept.logits(source, target)
            assert logits.dtype == np.float16 and logits == pytest.approx(expected, abs=tolerance)
            assert kept.ids(target).tolist() == split.ids and kept.labels(target).tolist() == split.labels
            accuracies[source, target] = float(cell)
            assert float(cell) == np.mean(logits.argmax(-1) == kept.labels(target))
            if kept.precision == "float32":
                assert float(cell) == np.mean(expected.argmax(-1) == split.labels)
            predicted = np.take_along_axis(expected, logits.argmax(-1)[:, None], -1)[:, 0]
            assert (expected.max(-1) - predicted <= 2 * tolerance).all()
            result = atomic.read_json(folder / f"{source}_on_{target}/results.json")
            assert result["performance"]["accuracy"] == float(cell)
            assert result["settings"]["precision"] == result["environment"]["dtype"] == kept.precision
            assert {path.name for path in (folder / f"{source}_on_{target}").iterdir()} == {"results.json"}
    summary = atomic.read_json(folder / "evaluation_summary.json")
    assert (summary["total_evaluations"], summary["successful_evaluations"], summary["failed_evaluations"]) == (6, 6, 0)
    values = list(accuracies.values())
    assert summary["matrix_stats"] == pytest.approx(
        {
            "mean_accuracy": np.mean(values),
            "median_accuracy": np.median(values),
            "std_accuracy": np.std(values),
            "min_accuracy": min(values),
            "max_accuracy": max(values),
        }
    )
    own = accuracies.pop(("de-DE", "de-DE"))
    assert summary["own_language_mean_accuracy"] == own
    assert summary["zero_shot_mean_accuracy"] == pytest.approx(np.mean(list(accuracies.values())))
    best = max(accuracies, key=lambda cell: (cell[1] == "af-ZA", accuracies[cell]))
    assert summary["best_zero_shot_source"]["af-ZA"] == {"source": best[0], "accuracy": accuracies[best]}
    assert (folder / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    lines = done.stderr.splitlines()
    assert [sum(line.startswith(f"{source}: ") for line in lines) for source in kept.sources] == [1, 1, 1]
    before = cells(tmp_path)
    (folder / "evaluation_summary.json").unlink()  # as if killed while the last files were written
    (folder / "evaluation_matrix.csv").unlink()
    with pytest.raises(InputError, match="no finished N×N"):
        nxn_logits.open_logits(folder)
    again = nxn.prepare(
        nxn.NxnPlan(
            {source: source_copies / f"tiny_massive_k_{source}" for source in kept.sources},
            kept.targets,
            "test",
            tmp_path / "nxn_results",
            NxnContext(MINI_TASK, tmp_path / "tokens"),
        )
    )

    def evaluate():
        work_off(again.jobs(), LocalBackend(1), context=again.plan.items)
        assert nxn_summary.gather(again)

    assert again.folder == folder and not again.missing() and not again.is_whole
    evaluate()
    assert again.is_whole and cells(tmp_path) == before and (folder / "evaluation_matrix.csv").is_file()
    # A damaged cell, removed as its message says.
    cell = folder / "nl-NL_on_af-ZA/results.json"
    cell.write_text("{")
    with pytest.raises(InputError, match="remove it and run again"):
        again.matrix()
    cell.unlink()
    evaluate()
    assert again.is_whole and not again.failures and again.matrix().values[0, 0] == float(rows[0][1])
    assert (tmp_path / kept.paths()["nl-NL"]).samefile(source_copies / "tiny_massive_k_nl-NL")
    assert "mean accuracy, zero-shot" in done.stdout and str(folder.relative_to(tmp_path)) in done.stdout


def test_all_targets_of_a_source_at_once(models_root, tmp_path, monkeypatch):
    """As a GPU scores them: the same but for rounding; where a cell was lost, it comes back with the same bytes."""
    sources = {source: models_root / f"tiny_massive_k_{source}" for source in SOURCES[:2]}

    def cells_of(name):
        context = NxnContext(MINI_TASK, tmp_path / name / "tokens")
        run = nxn.begin(nxn.prepare(nxn.NxnPlan(sources, mini.LOCALES, "test", tmp_path / name, context)))
        assert not work_off(run.jobs(), LocalBackend(1), context=context).failures
        return {file.parent.name: file for file in run.folder.glob("*/logits.npy")}

    one_by_one = cells_of("one")
    monkeypatch.setattr(nxn_job, "AT_ONCE", ("cpu",))
    forwards, score = [], nxn_job.scoring.batch_logits
    monkeypatch.setattr(nxn_job.scoring, "batch_logits", lambda *given: forwards.append(1) or score(*given))
    at_once = cells_of("all")
    assert len(forwards) == len(sources) and len(at_once) == len(one_by_one) == 24
    for cell, file in one_by_one.items():
        assert np.load(at_once[cell]) == pytest.approx(np.load(file), abs=0.01), cell
    before = {cell: file.read_bytes() for cell, file in at_once.items()}
    for lost in ("nl-NL_on_af-ZA", "nl-NL_on_sw-KE"):
        shutil.rmtree(at_once[lost].parent)
    assert {cell: file.read_bytes() for cell, file in cells_of("all").items()} == before


def test_a_gpus_workers_find_the_tokens_of_all_texts(models_root, tmp_path, monkeypatch):
    sources = {source: models_root / f"tiny_massive_k_{source}" for source in SOURCES[:2]}
    context = NxnContext(MINI_TASK, tmp_path / "tokens")
    plan = nxn.NxnPlan(sources, mini.LOCALES, "test", tmp_path, context)

    def kept():
        return {file: file.stat().st_mtime_ns for file in (tmp_path / "tokens").glob("*")}

    nxn.prepare(plan, keep_tokens=True)
    assert not kept()  # a worker on a CPU wants those of one target first
    monkeypatch.setattr(nxn_job, "AT_ONCE", ("cpu",))
    nxn.prepare(nxn.NxnPlan({"nl-NL": tmp_path}, mini.LOCALES, "test", tmp_path, context), keep_tokens=True)
    assert not kept()  # what is no model has no tokens, and that is told of its cells
    run = nxn.begin(nxn.prepare(plan, keep_tokens=True))
    before = kept()
    assert len(before) == len(mini.LOCALES)
    # Our models have positions for fewer than 128 tokens, which no text here has.
    monkeypatch.setattr(nxn_job.scoring, "longest_input", lambda model, wanted: wanted)
    monkeypatch.setattr(loading, "load_tokenizer", lambda path: pytest.fail("tokenised again"))
    assert not work_off(run.jobs(), LocalBackend(1), context=context).failures and kept() == before


@pytest.mark.parametrize("error", [RuntimeError("no unk_id"), OverflowError("too large"), InputError("damaged")])
def test_what_a_tokenizer_raises_early_is_left_to_the_workers(models_root, tmp_path, monkeypatch, error):
    context = NxnContext(MINI_TASK, tmp_path / "tokens")
    plan = nxn.NxnPlan({"nl-NL": models_root / "tiny_massive_k_nl-NL"}, mini.LOCALES, "test", tmp_path, context)
    monkeypatch.setattr(nxn_job, "AT_ONCE", ("cpu",))

    def fail(path):
        raise error

    monkeypatch.setattr(loading, "load_tokenizer", fail)
    run = nxn.prepare(plan, keep_tokens=True)
    assert not run.failures and not (tmp_path / "tokens").exists()
    error.__context__ = KeyboardInterrupt()  # what a library said when it tidied up after Ctrl+C
    with pytest.raises(KeyboardInterrupt):
        nxn.prepare(plan, keep_tokens=True)


def wait_for_cells(tmp_path, count, process):
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("nxn_results/*/[!.]*_on_*/results.json"))) < count:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)


def wait_until_buried(tmp_path):
    """The workers of a killed command end with it, and are processes until the system has seen to it: a second here."""
    deadline = time.monotonic() + 20
    for left in tmp_path.rglob(".*.partial-*"):
        while atomic._is_running(int(left.name.split("-")[-2])):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def cells(tmp_path):
    return {path: path.stat().st_mtime_ns for path in tmp_path.glob("nxn_results/*/[!.]*_on_*/results.json")}


def test_killed_and_interrupted_runs_go_on(begin, run, flags, tmp_path):
    # All twelve locales, so that there is something left to do, and time to stop it.
    flags = [*flags, "--targets", *mini.LOCALES]
    slowly = renaming("_on_", "time.sleep(0.06)")
    process = begin(SCRIPT, *flags, "--max-workers", 2, first=slowly)
    wait_for_cells(tmp_path, 3, process)
    process.kill()
    process.end()
    wait_until_buried(tmp_path)
    first = cells(tmp_path)
    assert 3 <= len(first) < 40 and not list(tmp_path.glob("nxn_results/*/evaluation_matrix.csv"))
    time.sleep(0.5)
    assert cells(tmp_path) == first  # the workers died with their parent

    process = begin(SCRIPT, *flags, "--max-workers", 2, first=slowly)
    wait_for_cells(tmp_path, len(first) + 3, process)
    process.kill(signal.SIGINT, group=True)
    stopped = time.monotonic()
    done = process.end(20)
    assert done.returncode == 130 and time.monotonic() - stopped < 5, done.stderr
    assert "run the same command again" in done.stderr and "Traceback" not in done.stderr
    second = cells(tmp_path)
    assert second.items() > first.items() and len(second) < 48

    (folder,) = runs(tmp_path)
    (folder / ".logits.dead").mkdir()
    done = run(SCRIPT, *flags)
    assert done.returncode == 0, done.stderr
    third = cells(tmp_path)
    assert third.items() > second.items() and len(third) == 48
    kept = nxn_logits.open_logits(folder)
    matrix = transfer.read_csv(folder / "evaluation_matrix.csv")
    assert set(matrix.sources) == set(SOURCES) and matrix.targets == mini.LOCALES
    for row, source in enumerate(matrix.sources):
        for column, target in enumerate(matrix.targets):
            assert matrix.values[row, column] == np.mean(kept.logits(source, target).argmax(-1) == kept.labels(target))
    assert not list(tmp_path.rglob("logits.npy")) and not list(tmp_path.rglob("*partial*"))
    assert not (folder / ".logits.dead").exists()

    (folder / "heatmap.png").unlink()  # as if it had been killed before that
    again = run(SCRIPT, *flags)
    assert again.returncode == 0 and "already evaluated" in again.stdout and cells(tmp_path) == third
    assert (folder / "heatmap.png").is_file()
    # Other settings are another run, and so is a wish for one.
    for more in (["--split", "validation"], ["--anew"]):
        other = run(SCRIPT, *flags, *more, "--dry-run")
        assert "48 to do" in other.stdout and folder.name not in other.stdout


def test_a_damaged_model_fails_alone_and_its_repair_fills_its_row(run, source_copies, tmp_path):
    weights = source_copies / "tiny_massive_k_en-US/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    # A folder that can be read and hashed but not loaded: no tokenizer.
    tokenizer = source_copies / "tiny_massive_k_id-ID/tokenizer.json"
    tokenizer.rename(tmp_path / "tokenizer.json")
    flags = ["--base-model", "tiny", "--dataset-name", "mini", "--targets", "nl-NL,de-DE"]
    done = run(SCRIPT, *flags, "--max-workers", 2)
    assert done.returncode == 1, done.stderr
    (folder,) = runs(tmp_path)
    matrix = transfer.read_csv(folder / "evaluation_matrix.csv")
    measured = dict(zip(matrix.sources, ~np.isnan(matrix.values).any(axis=1)))
    assert measured == {"nl-NL": True, "de-DE": True, "en-US": False, "id-ID": False}
    assert re.search(r"^en-US,,$", (folder / "evaluation_matrix.csv").read_text(), re.MULTILINE)
    summary = atomic.read_json(folder / "evaluation_summary.json")
    assert summary["failed_evaluations"] == 4 and set(summary["failures"]) == {"en-US", "id-ID"}
    assert "failed: en-US: " in done.stderr and "tokenizer" in summary["failures"]["id-ID"]
    before = cells(tmp_path)

    weights.write_bytes(whole)
    kept_logits = folder / "logits.safetensors"
    kept_logits.rename(tmp_path / "logits")
    lost = run(SCRIPT, *flags)
    assert lost.returncode == 2 and "any more; evaluate again" in lost.stderr and "Traceback" not in lost.stderr
    (tmp_path / "logits").rename(kept_logits)
    (tmp_path / "tokenizer.json").rename(tokenizer)
    again = run(SCRIPT, *flags)
    assert again.returncode == 0, again.stderr
    assert runs(tmp_path) == [folder] and cells(tmp_path).items() > before.items()
    assert not np.isnan(transfer.read_csv(folder / "evaluation_matrix.csv").values).any()
    assert nxn_logits.open_logits(folder).logits("en-US", "nl-NL").shape == (144, 60)
    assert nxn_logits.open_logits(folder).logits("nl-NL", "nl-NL").shape == (144, 60)


def test_what_is_no_model_fails_alone(run, source_copies, tmp_path):
    """A checkpoint of a training, whose vocabulary is cut, and a tokenizer with a token without a row."""
    checkpoint, grown = (source_copies / f"tiny_massive_k_{locale}" for locale in ("en-US", "id-ID"))
    for folder, rows in ((checkpoint, 9), (grown, -1)):
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith("word_embeddings.weight"))
        weights[name] = weights[name][:rows].clone()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config = atomic.read_json(folder / "config.json")
        atomic.write_json(folder / "config.json", {**config, "vocab_size": len(weights[name])})
    (checkpoint / "optimizer.pt").touch()
    done = run(SCRIPT, "--base-model", "tiny", "--dataset-name", "mini", "--targets", "nl-NL")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (folder,) = runs(tmp_path)
    failures = atomic.read_json(folder / "evaluation_summary.json")["failures"]
    assert "is a checkpoint of a training" in failures["en-US"] and "copy the tokenizer" in failures["id-ID"]
    matrix = transfer.read_csv(folder / "evaluation_matrix.csv")
    assert [source for source, row in zip(matrix.sources, matrix.values) if not np.isnan(row).any()] == [
        "de-DE",
        "nl-NL",
    ]


def test_a_source_whose_process_dies_fails_alone(begin, flags, tmp_path):
    deadly = renaming("en-US_on_", "os.kill(os.getpid(), 9)")
    done = begin(SCRIPT, *flags, "--max-workers", 2, "--targets", "nl-NL", first=deadly).end()
    assert done.returncode == 1 and "en-US_on_nl-NL: failed, its process ended with exit code -9" in done.stderr, (
        done.stderr
    )
    (folder,) = runs(tmp_path)
    assert atomic.read_json(folder / "evaluation_summary.json")["successful_evaluations"] == 3


def test_list_and_dry_run_and_refusals(run, refused, flags, tmp_path, models_root):
    listed = run(SCRIPT, *flags, "--list-locales")
    assert str(models_root) in listed.stdout and set(listed.stdout.splitlines()[1:]) == set(SOURCES)
    dry = run(SCRIPT, *flags, "--locales", "nl-NL", "--dry-run")
    assert "1 to do" in dry.stdout and not runs(tmp_path)
    assert "sw-KE" in refused(SCRIPT, *flags, "--locales", "nl-NL", "sw-KE")
    assert "stands twice" in refused(SCRIPT, *flags, "--locales", "nl-NL", "de-DE,nl-NL")
    assert "th-TH' in the mini corpus" in refused(SCRIPT, *flags, "--targets", "th-TH")
    assert "no models xlm-roberta-base_massive_k_<language>" in refused(SCRIPT, "--models-root", models_root)


def test_float16_keeps_the_winner():
    logits = np.array([[1.0, 1.0001, 0.5], [3.0, 2.0, 1.0], [-70.01, -70.0, -np.inf]], np.float32)
    half = nxn_logits.halved(logits)
    assert half.dtype == np.float16 and half.argmax(-1).tolist() == [1, 0, 1]
    assert logits[:2].astype(np.float16).argmax(-1).tolist() == [0, 0]
    np.testing.assert_allclose(half[:, :2], logits[:, :2], rtol=2e-3)


def test_a_source_that_is_never_right_counts_in_the_mean():
    matrix = transfer.TransferMatrix(
        ("nl-NL", "de-DE", "id-ID"), ("nl-NL", "tr-TR"), np.array([[0.9, 0.3], [0.4, 0.0], [0.0, np.nan]]), ""
    )
    lines = nxn_summary.table(matrix, "accuracy").splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["nl-NL", "0.9000", "0.4000", "de-DE", "0.2000", "over", "2"],
        ["tr-TR", "0.3000", "nl-NL", "0.1500", "over", "2"],
    ]


# Choosing sources by a matrix


def matrix_file(tmp_path, split="validation", name="nxn", models_root=None):
    """Asymmetric: by the target's column id-ID is best for nl-NL, by its row en-US is."""
    values = np.array(
        [
            [0.9, 0.2, 0.8, 0.3],  # nl-NL's model
            [0.4, 0.9, 0.2, 0.2],  # de-DE's
            [0.3, 0.2, 0.9, 0.2],  # en-US's
            [0.6, 0.2, 0.2, np.nan],
        ]
    )  # id-ID's
    matrix = transfer.TransferMatrix(SOURCES, SOURCES, values, "")
    folder = tmp_path / name
    folder.mkdir()
    matrix.to_csv(folder / "evaluation_matrix.csv")
    if split:
        found = naming.find_models(models_root, "tiny", "massive") if models_root else {}
        atomic.write_json(
            folder / "evaluation_summary.json",
            {
                "split": split,
                "models": {
                    locale: {"weights_sha256": Checkpoint(path).weights_fingerprint} for locale, path in found.items()
                },
            },
        )
    return folder


def test_a_transfer_matrix_reads_the_targets_column(tmp_path):
    folder = matrix_file(tmp_path)
    matrix = transfer.read_transfer_matrix(folder)
    assert matrix.for_target("nl-NL") == {"id-ID": 0.6, "de-DE": 0.4, "en-US": 0.3}
    assert matrix.for_target("id-ID") == {"nl-NL": 0.3, "de-DE": 0.2, "en-US": 0.2}
    assert transfer.read_transfer_matrix(folder / "evaluation_matrix.csv").fingerprint() == matrix.fingerprint()
    with pytest.raises(InputError, match="test split"):
        transfer.read_transfer_matrix(matrix_file(tmp_path, "test", "of_test"))
    with pytest.raises(InputError, match="evaluation_summary.json"):
        transfer.read_transfer_matrix(matrix_file(tmp_path, None, "unknown"))
    for damaged in ("", ",a\n", ",nl-NL\nde-DE,1.5\n", ",nl-NL\nde-DE,x\n", ",nl-NL\nde-DE,0.1\nde-DE,0.2\n"):
        (folder / "evaluation_matrix.csv").write_text(damaged)
        with pytest.raises(InputError, match="run_nxn_evaluation.py"):
            transfer.read_transfer_matrix(folder)


def test_selection_by_measured_transfer(run, refused, flags, models_root, tmp_path):
    folder = matrix_file(tmp_path, models_root=models_root)
    flags = [*flags, "--target-lang", "nl-NL", "--mode", "similarity", "--num-languages", 2]
    real = [*flags, "--selection", "real", "--nxn-matrix", folder]
    done = run(MERGE, *real, "--no-eval")
    assert done.returncode == 0, done.stderr
    # Another matrix is another setting, and so another folder.
    told = transfer.read_transfer_matrix(folder).fingerprint()[:8]
    made = tmp_path / f"merged_models/similarity_merge_nl-NL_2merged_real-{told}"
    details = atomic.read_json(made / "merge_details.json")["plan"]
    assert {source["locale"]: source["weight"] for source in details["sources"]} == pytest.approx(
        {"id-ID": 0.6, "de-DE": 0.4}
    )
    assert details["similarity"]["selection"] == "real" and details["similarity"]["matrix_split"] == "validation"
    assert details["similarity"]["matrix"] == str(folder / "evaluation_matrix.csv")
    assert details["similarity"]["matrix_sha256"] == transfer.read_transfer_matrix(folder).fingerprint()
    card = (made / "README.md").read_text()
    assert "chosen by labelled validation items of the target" in card and "took no part" not in card
    alias = run(MERGE, *flags, "--similarity-type", "real", "--nxn-matrix", folder, "--dry-run")
    assert re.findall(r"0\.\d{6}  (\S+)", alias.stdout) == ["id-ID", "de-DE"]

    assert "test split" in refused(
        MERGE, *flags, "--selection", "real", "--nxn-matrix", matrix_file(tmp_path, "test", "of_test")
    )
    assert "needs --nxn-matrix" in refused(MERGE, *flags, "--selection", "real")
    assert "contradict" in refused(MERGE, *real, "--similarity-type", "URIEL")
    assert "3 neighbours of id-ID" in refused(MERGE, *real, "--target-lang", "id-ID", "--num-languages", 4)
    summary = atomic.read_json(folder / "evaluation_summary.json")
    summary["models"]["id-ID"]["weights_sha256"] = "0" * 64  # trained again since
    atomic.write_json(folder / "evaluation_summary.json", summary)
    assert "other models of id-ID than" in refused(MERGE, *real)


def test_a_card_tells_every_use_of_the_target():
    settings = MergeSettings(
        "fisher_dataset", "nl-NL", texts=TextSettings(scope="both"), hyperparameters={"estimator": "empirical"}
    )
    plan = MergePlan(settings, MINI_TASK, "mini", (), {"selection": "real"}, None, ("nl-NL",), Path("merged"))
    card = model_card(plan)
    assert "chosen by labelled validation items of the target; it used labelled train text of the target" in card


# The picture


@pytest.mark.parametrize("locales", [("nl-NL",), mini.LOCALES, tuple(LOCALES)])
def test_heatmap(tmp_path, locales):
    from PIL import Image

    values = np.random.default_rng(0).random((len(locales), len(locales)))
    values[0] = np.nan
    plots.save(
        heatmaps.heatmap(values, locales, locales, label="accuracy", row_title="model", column_title="on"),
        tmp_path / "a.png",
    )
    picture = Image.open(tmp_path / "a.png")
    assert picture.info["dpi"][0] == pytest.approx(300, abs=0.1) and max(picture.size) < 5000


def test_families_stand_together():
    order = [mini.LOCALES[place] for place in heatmaps.by_family(mini.LOCALES)]
    assert order == [
        "af-ZA",
        "de-DE",
        "en-US",
        "nl-NL",
        "id-ID",
        "ms-MY",
        "es-ES",
        "pt-PT",
        "az-AZ",
        "tr-TR",
        "sw-KE",
        "fi-FI",
    ]
