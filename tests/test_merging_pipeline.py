"""The main job as a user runs it, and everything that it must refuse."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from auto_merge_llm.errors import InputError
from auto_merge_llm.methods import METHODS
from running import ROOT, environment, renaming
from safetensors.numpy import load_file, save_file

from merginguriel import run_merging_pipeline_refactored
from merginguriel.utils.data import massive
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.evaluation import predictions
from merginguriel.utils.evaluation.statistics import mcnemar
from merginguriel.utils.merging import bench
from merginguriel.utils.merging.record import settings_of
from merginguriel.utils.merging.selection import select_sources
from merginguriel.utils.models import devices
from merginguriel.utils.similarity import matrix
from merginguriel.utils.storage import atomic

SCRIPT = "merginguriel/run_merging_pipeline_refactored.py"
MANUAL = "merginguriel/run_merging_pipeline.py"
EVALUATE = "merginguriel/evaluate_specific_model.py"


@pytest.fixture
def flags(models_root):
    return ["--target-lang", "af-ZA", "--base-model", "tiny", "--models-root", models_root, "--dataset-name", "mini"]


def sources_in(text: str) -> dict[str, float]:
    """Locale -> weight from the output of --dry-run."""
    return {locale: float(weight) for weight, locale in re.findall(r"^  (\d\.\d{6})  (\S+)", text, re.MULTILINE)}


def weights_of(folder):
    return load_file(folder / "model.safetensors")


def assert_weighted_mean(folder, models_root, weights):
    parts = {locale: weights_of(models_root / f"tiny_massive_k_{locale}") for locale in weights}
    merged = weights_of(folder)
    assert merged.keys() == next(iter(parts.values())).keys()
    for name, values in merged.items():
        expected = sum(weight * parts[locale][name].astype(np.float64) for locale, weight in weights.items())
        np.testing.assert_allclose(values, expected, rtol=0, atol=2e-7)


# What is chosen


def test_sinkhorn_and_cosine_select_and_weigh_differently(run, flags):
    shares = matrix.read_matrix(matrix.find_matrix(matrix.SPARSE_CSV)).for_target("af-ZA")
    sinkhorn = sources_in(run(SCRIPT, *flags, "--mode", "similarity", "--num-languages", 2, "--dry-run").stdout)
    assert list(sinkhorn) == ["id-ID", "nl-NL"]
    assert sinkhorn["id-ID"] == pytest.approx(shares["id-ID"] / (shares["id-ID"] + shares["nl-NL"]), abs=1e-6)
    cosine = sources_in(
        run(SCRIPT, *flags, "--mode", "similarity", "--num-languages", 2, "--selection", "cosine", "--dry-run").stdout
    )
    assert cosine == {
        "nl-NL": pytest.approx(0.9425 / 1.8746, abs=1e-4),
        "de-DE": pytest.approx(0.9321 / 1.8746, abs=1e-4),
    }


def test_dense_with_the_same_settings_equals_sparse(run, flags):
    sparse = run(SCRIPT, *flags, "--mode", "similarity", "--num-languages", 4, "--dry-run")
    dense = run(
        SCRIPT,
        *flags,
        "--mode",
        "similarity",
        "--num-languages",
        4,
        "--similarity-source",
        "dense",
        "--top-k",
        20,
        "--sinkhorn-iters",
        20,
        "--dry-run",
    )
    assert sources_in(dense.stdout) == sources_in(sparse.stdout)


@pytest.mark.parametrize(
    "mode, extra, expected",
    [
        ("average", [], {"id-ID": 1 / 3, "nl-NL": 1 / 3, "en-US": 1 / 3}),
        ("linear", [], {"id-ID": 1 / 3, "nl-NL": 1 / 3, "en-US": 1 / 3}),
        ("uriel", [], {"nl-NL": 0.9425 / 2.7993, "de-DE": 0.9321 / 2.7993, "en-US": 0.9247 / 2.7993}),
        (
            "linear",
            ["--preweight", "uriel", "--selection", "cosine"],
            {"nl-NL": 0.9425 / 2.7993, "de-DE": 0.9321 / 2.7993, "en-US": 0.9247 / 2.7993},
        ),
    ],
)
def test_weights_of_modes(run, flags, mode, extra, expected):
    done = run(SCRIPT, *flags, "--mode", mode, "--num-languages", 3, *extra, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert sources_in(done.stdout) == pytest.approx(expected, abs=1e-4)


BASED = {"task_arithmetic", "ties", "dare", "dare_ties", "breadcrumbs", "stock", "widen", "adamerging"}


@pytest.mark.parametrize("mode", [mode for mode in METHODS if mode not in ("linear", "passthrough", "fisher")])
def test_every_method_is_a_mode(run, flags, tmp_path, mode):
    done = run(SCRIPT, *flags, "--mode", mode, "--num-languages", 3, "--no-eval")
    assert done.returncode == 0, done.stderr
    plan = atomic.read_json(tmp_path / f"merged_models/{mode}_merge_af-ZA_3merged/merge_details.json")["plan"]
    assert (plan["base"] is not None) == (mode in BASED) and plan["num_sources"] == 3


def test_hyperparameters_reach_the_method(run, flags, tmp_path, models_root):
    done = run(
        SCRIPT,
        *flags,
        "--mode",
        "task_arithmetic",
        "--form",
        "mean",
        "--scaling",
        1,
        "--weights",
        "nl-NL=0.75,de-DE=0.25",
        "--no-eval",
    )
    assert done.returncode == 0, done.stderr
    # The mean form with λ = 1 is the weighted mean.
    (folder,) = tmp_path.glob("merged_models/task_arithmetic_merge_af-ZA_2merged_weights-*_form-mean*")
    assert_weighted_mean(folder, models_root, {"nl-NL": 0.75, "de-DE": 0.25})
    still = run(SCRIPT, *flags, "--mode", "ties", "--scaling", 0, "--num-languages", 2, "--no-eval")
    assert still.returncode == 0, still.stderr
    merged, base = (
        weights_of(tmp_path / "merged_models/ties_merge_af-ZA_2merged_scaling-0.0"),
        weights_of(models_root / "init/tiny_seed42"),
    )
    assert all(np.array_equal(merged[name], base[name]) for name in base)


def test_length_goes_further_from_the_initial_checkpoint(run, refused, flags, tmp_path, models_root):
    line = [SCRIPT, *flags, "--mode", "average", "--num-languages", 2, "--no-eval"]
    done = run(*line, "--length", 1.5)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "merged_models/average_merge_af-ZA_2merged_length-1.5"
    plan = atomic.read_json(folder / "merge_details.json")["plan"]
    assert plan["length"] == 1.5 and plan["base"]["path"].endswith("init/tiny_seed42")
    assert "\nLength: 1.5\n" in (folder / "merge_details.txt").read_text()
    assert settings_of(plan).length == 1.5
    base, long = weights_of(models_root / "init/tiny_seed42"), weights_of(folder)
    parts = [weights_of(models_root / f"tiny_massive_k_{source['locale']}") for source in plan["sources"]]
    for name, values in long.items():
        origin = base[name].astype(np.float64)
        expected = origin + 1.5 * (sum(part[name].astype(np.float64) for part in parts) / 2 - origin)
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
    # A length of 1 is no length: neither in the name nor in the record, and no base is read.
    assert run(*line, "--length", 1).returncode == 0
    plan = atomic.read_json(tmp_path / "merged_models/average_merge_af-ZA_2merged/merge_details.json")["plan"]
    assert plan["base"] is None and "length" not in plan
    assert "needs the initial checkpoint" in refused(*line, "--length", 0.5, "--seed", 7)
    assert "must be between 0 and 100" in refused(*line, "--length", "nan")


def test_seed_of_dare_is_the_commands(run, flags, tmp_path, models_root):
    files, base = [], models_root / "init/tiny_seed42"
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        done = run(
            SCRIPT,
            *flags,
            "--mode",
            "dare",
            "--num-languages",
            2,
            "--no-eval",
            "--seed",
            seed,
            "--output-dir",
            name,
            "--base-checkpoint",
            base,
        )
        assert done.returncode == 0, done.stderr
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_list_modes(run):
    listed = run(SCRIPT, "--list-modes").stdout
    assert re.findall(r"^  (\S+)", listed, re.MULTILINE) == [
        "average",
        "similarity",
        "uriel",
        "consensus",
        "linear",
        "manual",
        *(name for name in METHODS if name not in ("linear", "fisher")),
        "fisher",
    ]
    assert "fisher          another name of fisher_dataset" in listed
    for mode, better in (("breadcrumbs", "--scaling 0.5"), ("dare_ties", "--density 1 --scaling 0.5")):
        assert re.search(f"^  {mode} .*\\n +\\(of one task, better: {better}\\)$", listed, re.MULTILINE)


def test_explicit_sources_are_weighed_by_cosine(run, flags):
    done = run(SCRIPT, *flags, "--mode", "similarity", "--sources", "en-US,id-ID", "--dry-run")
    assert sources_in(done.stdout) == pytest.approx({"en-US": 0.9247 / 1.7635, "id-ID": 0.8388 / 1.7635}, abs=1e-4)


def test_says_which_similar_languages_have_no_model(run, flags):
    """Of hy-AM and hu-HU, which are more similar as well, the mini corpus has no data."""
    done = run(SCRIPT, *flags, "--mode", "average", "--num-languages", 2, "--dry-run")
    assert done.returncode == 0 and "without a model" not in done.stderr


def test_of_languages_without_data_no_model_is_missed(caplog):
    names = ("a", "b", "c", "d", "e")
    alike = matrix.similarities(names, np.array([[1, 0.9, 0.8, 0.7, 0.6]] * 5), "here")
    models = {"d": Path("d"), "e": Path("e")}
    for known, missed in (((), "b, c"), (("a", "c", "d", "e"), "c"), (("a", "d", "e"), None)):
        caplog.clear()
        assert list(select_sources(alike, "a", 1, models, known)) == ["d"]
        assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ([missed] if missed else [])
    with pytest.raises(InputError, match="give --num-languages 2, or train c$"):
        select_sources(alike, "a", 4, models, ("a", "c", "d", "e"))
    with pytest.raises(InputError, match="or add data of more languages$"):
        select_sources(alike, "a", 3, models, ("a", "d", "e"))
    # All that a matrix of the models alone can give; others of the data would be in it, were they trained.
    with pytest.raises(InputError, match="only 2 of a's neighbours have a model .*, or train f, g$"):
        select_sources(alike, "a", 9, models, ("a", "d", "e", "g", "f"))


def test_dry_run_touches_nothing(run, flags, tmp_path):
    done = run(SCRIPT, *flags, "--mode", "average", "--num-languages", 2, "--dry-run")
    assert "merged_models/average_merge_af-ZA_2merged" in done.stdout and list(tmp_path.iterdir()) == []


def test_own_weights_from_flag_file_and_calculator(run, flags, tmp_path):
    (tmp_path / "w.json").write_text('{"nl-NL": 0.75, "id-ID": 0.25}')
    expected = {"nl-NL": 0.75, "id-ID": 0.25}
    for script, extra in (
        (MANUAL, ["--weights", "nl-NL=0.75,id-ID=0.25"]),
        (MANUAL, ["--weights-file", "w.json"]),
        (SCRIPT, ["--mode", "manual", "--weights", "nl-NL=3,id-ID=1", "--normalize-weights"]),
        (SCRIPT, ["--mode", "linear", "--weights", "nl-NL=0.75,id-ID=0.25"]),
    ):
        assert sources_in(run(script, *flags, *extra, "--dry-run").stdout) == expected
    assert sources_in(run(MANUAL, *flags, "--dry-run").stdout) == {"nl-NL": 0.6, "de-DE": 0.4}


# What is written


@pytest.fixture(scope="module")
def merged(models_root, tmp_path_factory, run_anywhere):
    """One finished run: (working folder, completed process)."""
    folder = tmp_path_factory.mktemp("run")
    flags = ["--mode", "similarity", "--target-lang", "af-ZA", "--num-languages", 3, "--base-model", "tiny"]
    done = run_anywhere(SCRIPT, *flags, "--models-root", models_root, "--dataset-name", "mini", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_merged_weights_are_the_weighted_mean(merged, models_root):
    output = merged[0] / "merged_models/similarity_merge_af-ZA_3merged"
    weights = {
        source["locale"]: source["weight"]
        for source in atomic.read_json(output / "merge_details.json")["plan"]["sources"]
    }
    assert list(weights) == ["id-ID", "nl-NL", "en-US"] and sum(weights.values()) == pytest.approx(1)
    assert_weighted_mean(output, models_root, weights)


def test_merged_folder_is_a_complete_model(merged):
    output = merged[0] / "merged_models/similarity_merge_af-ZA_3merged"
    details = (output / "merge_details.txt").read_text()
    assert details.startswith("Merge Mode: similarity\n")
    assert re.findall(r"^\s*- Locale:\s*(\S+)", details, re.MULTILINE) == ["id-ID", "nl-NL", "en-US"]
    config = json.loads((output / "config.json").read_text())
    assert [config["id2label"][str(index)] for index in range(60)] == list(massive.INTENTS)
    twin = atomic.read_json(output / "merge_details.json")
    assert twin["checks"]["head_evidence"] == "fingerprint"
    assert twin["checks"]["initial_head"] == config["initial_head"]
    from huggingface_hub import ModelCard

    card = ModelCard.load(output / "README.md")
    assert card.data.language == "af" and card.data.eval_results[0].metric_type == "accuracy"


def test_results_say_everything_that_the_number_rests_on(merged):
    folder = merged[0] / "results/similarity_merge_af-ZA_3merged"
    results = atomic.read_json(folder / "results.json")
    kept = predictions.read_predictions(folder / "predictions.npz")
    split = MINI_TASK.load("af-ZA", "test")
    assert kept["ids"].tolist() == split.ids and kept["labels"].tolist() == split.labels
    performance = results["performance"]
    assert performance["correct_predictions"] == int((kept["predictions"] == kept["labels"]).sum())
    assert performance["accuracy"] == performance["correct_predictions"] / len(split)
    assert performance["ci95"][0] <= performance["accuracy"] <= performance["ci95"][1]
    assert results["experiment"]["num_sources"] == 3
    assert f"torch.{results['environment']['dtype']}" == str(devices.evaluation_dtype(devices.default_device()))
    assert all(
        example["correct"] == (example["true_intent"] == example["predicted_label"]) for example in results["examples"]
    )
    assert (folder / "merge_details.txt").is_file()


def test_merged_accuracy_is_transformers_own(merged):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = merged[0] / "merged_models/similarity_merge_af-ZA_3merged"
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    split = MINI_TASK.load("af-ZA", "test")
    with torch.inference_mode():
        hits = sum(
            int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) == label
            for text, label in zip(split.texts, split.labels)
        )
    results = atomic.read_json(merged[0] / "results/similarity_merge_af-ZA_3merged/results.json")
    assert results["performance"]["correct_predictions"] == hits


def test_table_sets_the_merge_beside_its_sources(merged):
    folder, done = merged
    for locale in ("id-ID", "nl-NL", "en-US"):
        assert f"{locale} alone" in done.stdout
        assert (folder / f"results/tiny_massive_k_{locale}_af-ZA/results.json").is_file()
    assert "(best source)" in done.stdout and "similarity_merge_af-ZA_3merged" in done.stdout
    correct = {}
    for path in (folder / "results").iterdir():
        kept = predictions.read_predictions(path / "predictions.npz")
        correct[path.name] = kept["predictions"] == kept["labels"]
    best = max((name for name in correct if name.startswith("tiny")), key=lambda name: correct[name].mean())
    line = next(line for line in done.stdout.splitlines() if line.startswith("similarity_merge"))
    assert float(line.split()[-1]) == pytest.approx(
        mcnemar(correct["similarity_merge_af-ZA_3merged"], correct[best]), rel=0.06
    )


def test_done_work_is_not_repeated(merged, run):
    folder, first = merged
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = run(*first.args, folder=folder)
    assert again.returncode == 0 and again.stdout == first.stdout
    results = [f"already done: {path.relative_to(folder)}" for path in (folder / "results").iterdir()]
    assert len(results) == 4 and sorted(results) == sorted(
        line for line in again.stderr.splitlines() if line.startswith("already")
    )
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    anew = run(*first.args, "--overwrite", folder=folder)
    assert anew.returncode == 0 and anew.stdout == first.stdout and "already" not in anew.stderr


def test_missing_evaluation_is_made_up_for(run, flags, tmp_path):
    merge = [*flags, "--mode", "average", "--num-languages", 2]
    assert run(SCRIPT, *merge, "--no-eval").returncode == 0
    assert not (tmp_path / "results").exists()
    done = run(SCRIPT, *merge)
    assert done.returncode == 0 and "already merged" in done.stderr
    assert (tmp_path / "results/average_merge_af-ZA_2merged/results.json").is_file()


def test_one_source_merges_to_itself(run, flags, tmp_path, models_root):
    done = run(SCRIPT, *flags, "--mode", "average", "--num-languages", 1, "--no-baselines")
    assert done.returncode == 0, done.stderr
    merged = weights_of(tmp_path / "merged_models/average_merge_af-ZA_1merged")
    source = weights_of(models_root / "tiny_massive_k_id-ID")
    assert all(np.array_equal(merged[name], source[name]) for name in source)


def test_output_folder_dtype_and_results_folder(run, flags, tmp_path):
    done = run(
        SCRIPT,
        *flags,
        "--mode",
        "average",
        "--num-languages",
        2,
        "--output-dir",
        "here/x",
        "--dtype",
        "bfloat16",
        "--results-dir",
        "there",
        "--no-baselines",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "here/x/config.json").read_text())["dtype"] == "bfloat16"
    assert (tmp_path / "there/x/results.json").is_file()


def test_permuted_labels_are_aligned_by_name(run, flags, source_copies, tmp_path, models_root):
    path = source_copies / "tiny_massive_k_nl-NL"
    order = np.random.default_rng(3).permutation(60)
    config = json.loads((path / "config.json").read_text())
    config["id2label"] = {str(new): massive.INTENTS[old] for new, old in enumerate(order)}
    config["label2id"] = {massive.INTENTS[old]: new for new, old in enumerate(order)}
    (path / "config.json").write_text(json.dumps(config))
    tensors = weights_of(path)
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][order])
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    done = run(
        SCRIPT,
        "--mode",
        "manual",
        "--weights",
        "de-DE=0.5,nl-NL=0.5",
        "--target-lang",
        "af-ZA",
        "--base-model",
        "tiny",
        "--models-root",
        source_copies,
        "--dataset-name",
        "mini",
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("merged_models/manual_merge_af-ZA_2merged_weights-*")
    assert_weighted_mean(folder, models_root, {"nl-NL": 0.5, "de-DE": 0.5})
    # The evaluator reads outputs by name as well.
    whole = run(
        EVALUATE,
        "--base-model",
        models_root / "tiny_massive_k_nl-NL",
        "--locale",
        "nl-NL",
        "--dataset-name",
        "mini",
        "--prefix",
        "whole",
    ).stdout
    permuted = run(
        EVALUATE, "--base-model", path, "--locale", "nl-NL", "--dataset-name", "mini", "--prefix", "permuted"
    ).stdout
    assert whole.splitlines()[0] == permuted.splitlines()[0] and "accuracy" in whole


# What is refused


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--mode", "average", "--target-lang", "af-Za"], "did you mean af-ZA"),
        (["--mode", "mean"], "invalid choice"),
        (["--mode", "average", "--num-languages", "5"], "only 4 of af-ZA's neighbours have a model"),
        (["--mode", "average", "--num-languages", "30"], "neighbours of af-ZA"),
        (["--mode", "average", "--base-model", "other/none"], "train_missing_models.py"),
        (["--mode", "manual", "--weights", "nl-NL=0.6,de-DE=0.6"], "sum to 1.2, not 1"),
        (["--mode", "manual", "--weights", "nl-NL=1,de-DE=0"], "positive"),
        (["--mode", "manual", "--weights", "nl-NL=0.5,da-DK=0.5"], "da-DK"),
        (["--mode", "manual", "--weights", "nl-NL=0.5,af-ZA=0.5"], "the target af-ZA is among the sources"),
        (["--mode", "average", "--output-dir", ""], "empty"),
        (["--mode", "ties", "--density", "0", "--num-languages", "2"], "density"),
        (["--mode", "ties", "--seed", "7", "--num-languages", "2"], "--base-checkpoint"),
        (["--mode", "average", "--seed", "-1"], "at least 0"),
        (["--mode", "average", "--num-languages", "two"], "whole number"),
        (["--mode", "manual", "--weights-file", "."], "cannot use ."),
        (["--mode", "manual", "--weights", "nl-NL"], "language=weight"),
        (["--mode", "manual", "--weights-file", "absent.json"], "absent.json"),
        (["--mode", "average", "--similarity-matrix", "absent.csv"], "generate_sparse_similarity_unified"),
        (["--mode", "average", "--num-languages", "2", "--dataset-name", "./absent"], "no dataset folder"),
        (["--mode", "average", "--num-languages", "2", "--target-lang", "th-TH"], "th-TH"),
        (["--mode", "average", "--sources", "nl-NL,nl-NL"], "twice"),
        (["--mode", "average", "--num-languages", "0"], "at least 1"),
    ],
)
def test_wrong_flags(refused, flags, extra, message):
    assert message in refused(SCRIPT, *flags, *extra)


def test_a_folder_of_something_else_is_kept(run, flags, tmp_path):
    kept = tmp_path / "merged_models/average_merge_af-ZA_2merged/mine.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    merge = [*flags, "--mode", "average", "--num-languages", 2, "--no-eval"]
    done = run(SCRIPT, *merge)
    assert done.returncode == 2 and "--overwrite" in done.stderr and kept.read_text() == "mine"
    forced = run(SCRIPT, *merge, "--overwrite")
    assert forced.returncode == 2 and "nothing that this toolkit made" in forced.stderr and kept.read_text() == "mine"


def test_another_merge_is_replaced_on_demand(run, flags, tmp_path):
    out = ["--output-dir", "m/x", "--no-eval"]
    assert run(SCRIPT, *flags, "--mode", "average", "--num-languages", 2, *out).returncode == 0
    other = [*flags, "--mode", "average", "--num-languages", 3, *out]
    assert run(SCRIPT, *other).returncode == 2
    assert run(SCRIPT, *other, "--overwrite").returncode == 0
    assert atomic.read_json(tmp_path / "m/x/merge_details.json")["plan"]["num_sources"] == 3


@pytest.mark.parametrize("output", ["haryos_model", "haryos_model/tiny_massive_k_nl-NL", "."])
def test_overwrite_never_touches_a_source(refused, source_copies, output):
    error = refused(
        SCRIPT,
        "--mode",
        "average",
        "--target-lang",
        "af-ZA",
        "--base-model",
        "tiny",
        "--num-languages",
        3,
        "--no-eval",
        "--output-dir",
        output,
        "--overwrite",
    )
    assert "is a source of this merge or holds one" in error


@pytest.mark.parametrize(
    "where",
    [
        ["--results-dir", "merged_models"],
        ["--output-dir", "results/x"],
        ["--output-dir", "results/tiny_massive_k_nl-NL_af-ZA"],
        ["--output-dir", "results"],
    ],
)
def test_a_result_never_takes_the_place_of_its_model(refused, flags, where):
    error = refused(SCRIPT, *flags, "--mode", "average", "--sources", "nl-NL,de-DE", "--overwrite", *where)
    assert "would be in one folder" in error


def test_overwrite_never_touches_the_base_or_what_is_no_merge(run, flags, tmp_path, models_root):
    base = Path(shutil.copytree(models_root / "init/tiny_seed42", tmp_path / "base"))
    other = Path(shutil.copytree(models_root / "tiny_massive_k_en-US", tmp_path / "other"))
    for folder, mark in ((base, "merge_details.json"), (other, "training.json")):
        (folder / mark).write_text("{}")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/results.json").write_text("{}")
    (tmp_path / "documents/thesis.tex").write_text("mine")
    merge = [*flags, "--mode", "task_arithmetic", "--sources", "nl-NL,de-DE", "--base-checkpoint", base]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for output, said in (
        ("base", "is the base of this merge"),
        ("other", "nothing that"),
        ("documents", "nothing that"),
    ):
        done = run(SCRIPT, *merge, "--no-eval", "--overwrite", "--output-dir", output)
        assert done.returncode == 2 and said in done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_same_merge_started_twice(flags, tmp_path, monkeypatch, capsys):
    """The one that ends later finds the other's, and has its accuracies to tell."""
    monkeypatch.chdir(tmp_path)
    merge = [*map(str, flags), "--mode", "average", "--sources", "nl-NL,de-DE", "--no-baselines"]
    stream = bench._stream

    def slower(plan, prepared, output):
        if not plan.output.exists():
            monkeypatch.setattr(bench, "_stream", stream)
            assert run_merging_pipeline_refactored.main(merge) == 0
        return stream(plan, prepared, output)

    monkeypatch.setattr(bench, "_stream", slower)
    assert run_merging_pipeline_refactored.main(merge) == 0
    first, second = capsys.readouterr().out.split("merged model: ")[:2]
    assert "average_merge_af-ZA_2merged" in first and "average_merge_af-ZA_2merged" in second


def test_a_result_of_something_else_is_found_before_merging(refused, flags, tmp_path):
    (tmp_path / "results/average_merge_af-ZA_2merged").mkdir(parents=True)
    error = refused(SCRIPT, *flags, "--mode", "average", "--num-languages", 2)
    assert "results/average_merge_af-ZA_2merged exists already" in error


def damage(path, what):
    weights = path / "model.safetensors"
    if what == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "no weights":
        weights.unlink()
    elif what == "no config":
        (path / "config.json").unlink()
    elif what == "half config":
        (path / "config.json").write_text('{"model_type": "xlm')
    elif what in ("nan", "inf"):
        tensors = weights_of(path)
        tensors["roberta.encoder.layer.0.output.dense.weight"][3, 3] = float(what)
        save_file(tensors, weights, metadata={"format": "pt"})
    elif what == "shape":
        tensors = weights_of(path)
        tensors["roberta.encoder.layer.0.intermediate.dense.weight"] = np.zeros((7, 16), np.float32)
        save_file(tensors, weights, metadata={"format": "pt"})
    elif what == "no tokenizer":
        for file in path.glob("tokenizer*"):
            file.unlink()
    elif what == "vocabulary":
        text = (path / "tokenizer.json").read_text()
        (path / "tokenizer.json").write_text(text.replace('"jazz"', '"jizz"'))
    else:
        config = json.loads((path / "config.json").read_text())
        if what == "labels":
            del config["label2id"][config["id2label"]["0"]]
            config["id2label"]["0"], config["label2id"]["something_else"] = "something_else", 0
        elif what == "head":
            config["initial_head"] = "0" * 64
        elif what == "architecture":
            config["hidden_size"] = 32
        (path / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "what, message",
    [
        ("truncated", "copy"),
        ("no weights", "model.safetensors"),
        ("no config", "config.json"),
        ("half config", "config.json"),
        ("nan", "NaN"),
        ("inf", "infinite"),
        ("shape", "shapes"),
        ("vocabulary", "different tokenizers"),
        ("labels", "label"),
        ("head", "initial head"),
        ("architecture", "hidden_size"),
    ],
)
def test_damaged_or_foreign_sources(refused, source_copies, what, message):
    damage(source_copies / "tiny_massive_k_nl-NL", what)
    error = refused(
        SCRIPT,
        "--mode",
        "average",
        "--target-lang",
        "af-ZA",
        "--base-model",
        "tiny",
        "--num-languages",
        3,
        "--dataset-name",
        "mini",
    )
    assert message in error and "nl-NL" in error


def test_sources_whose_texts_were_cut_differently_are_told(run, source_copies):
    file = source_copies / "tiny_massive_k_nl-NL/config.json"
    config = json.loads(file.read_text())
    config["merginguriel_task"]["max_tokens"] = 64
    file.write_text(json.dumps(config))
    merge = [
        "--mode",
        "average",
        "--target-lang",
        "af-ZA",
        "--base-model",
        "tiny",
        "--dataset-name",
        "mini",
        "--dry-run",
    ]
    assert "cut at 64 and 128 tokens" in run(SCRIPT, *merge, "--sources", "nl-NL,de-DE").stderr
    assert "cut at" not in run(SCRIPT, *merge, "--sources", "en-US,de-DE").stderr


def test_mismatched_heads_can_be_allowed(run, source_copies):
    damage(source_copies / "tiny_massive_k_nl-NL", "head")
    done = run(
        SCRIPT,
        "--mode",
        "average",
        "--target-lang",
        "af-ZA",
        "--base-model",
        "tiny",
        "--num-languages",
        3,
        "--dataset-name",
        "mini",
        "--no-eval",
        "--allow-mismatched-heads",
    )
    assert done.returncode == 0 and "0.648 to 0.486" in done.stderr


def test_no_space_left(begin, flags, tmp_path):
    # A limit on the size of files stands in for a full disk: the write fails in the middle either way.
    full = (
        "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    )
    done = begin(SCRIPT, *flags, "--mode", "average", "--num-languages", 2, first=full).end()
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# What an interruption leaves


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
@pytest.mark.parametrize("reached", ["merged_models/.average*", "merged_models/average*", "results/tiny*"])
def test_interrupted_run_can_be_repeated(begin, run, flags, tmp_path, sent, code, reached):
    merge = [*flags, "--mode", "average", "--num-languages", 3]
    process = begin(SCRIPT, *merge, first=renaming("af-ZA", "time.sleep(1)"))
    while process.poll() is None and not list(tmp_path.glob(reached)):
        time.sleep(0.001)
    process.kill(sent)
    start = time.monotonic()
    ended = process.end(60)
    assert time.monotonic() - start < 10 and ended.returncode == code
    if code == 130:
        assert "run the same command again" in ended.stderr and "Traceback" not in ended.stderr
    for path in tmp_path.glob("merged_models/average*"):
        assert (path / "merge_details.json").is_file()
    done = run(SCRIPT, *merge)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/average_merge_af-ZA_3merged/predictions.npz").is_file()


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_interrupted_while_it_imports(flags, tmp_path, sent, code):
    # What is imported is told on stderr.
    command = [sys.executable, "-X", "importtime", str(ROOT / SCRIPT), *map(str, flags), "--mode", "average"]
    command += ["--num-languages", "3"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert any(" torch." in line for line in process.stderr)
    process.send_signal(sent)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code and list(tmp_path.iterdir()) == []
    if code == 130:
        assert "run the same command again" in errors and "Traceback" not in errors


# evaluate_specific_model.py


def test_evaluate_and_refuse_another_models_result(run, models_root):
    def evaluate(locale, *extra):
        return run(
            EVALUATE,
            "--base-model",
            models_root / f"tiny_massive_k_{locale}",
            "--locale",
            "de-DE",
            "--dataset-name",
            "mini",
            "--prefix",
            "single_eval",
            *extra,
        )

    first = evaluate("nl-NL")
    assert re.match(
        r"de-DE test accuracy 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\], macro-F1 0\.\d{4}, 144 items\n"
        r"results/single_eval_de-DE/results.json",
        first.stdout,
    ), first.stderr
    assert evaluate("nl-NL").stdout == first.stdout
    other = evaluate("en-US")
    assert other.returncode == 2 and "--overwrite" in other.stderr
    assert evaluate("en-US", "--overwrite").returncode == 0


@pytest.mark.parametrize(
    "what, message",
    [
        ("labels", "id2label"),
        ("truncated", "copy"),
        ("no config", "config.json"),
        ("no weights", "copy"),
        ("nan", "NaN"),
        ("no tokenizer", "tokenizer"),
    ],
)
def test_evaluate_refuses_damaged_models(refused, source_copies, what, message):
    path = source_copies / "tiny_massive_k_nl-NL"
    damage(path, what)
    assert message in refused(EVALUATE, "--base-model", path, "--locale", "de-DE", "--dataset-name", "mini")
