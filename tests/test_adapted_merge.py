"""Merges that are adapted to their targets, as the pipeline and sweeps make them: rows, names, kills, nothing read."""

import json
import logging
import shutil
import signal
import time

import numpy as np
import pytest
from auto_merge_llm.checkpoint import Checkpoint
from scipy.special import softmax
from tables import whole_rows

from merginguriel import adapt_to_target, run_large_scale_experiment, run_merging_pipeline_refactored
from merginguriel.utils.data import mini
from merginguriel.utils.evaluation.predictions import read_predictions
from merginguriel.utils.storage import atomic

SWEEP = "merginguriel/run_large_scale_experiment.py"
QUICK = ["--adapt-examples", 32, "--adapt-epochs", 1, "--adapt-lr", 1e-2, "--adapt-batch-size", 8]
WORDS = "_adapt-vote_examples32_epochs1_lr0.01_batch8"
TWO = ["--num-languages", 2, "--selection", "cosine"]
ONE = ["--workers", 1, "--locales", "af-ZA"]
MERGE = [*TWO, "--mode", "average", "--target-lang", "af-ZA"]
NAME = "average_merge_af-ZA_2merged_cosine"


@pytest.fixture
def flags(models_root):
    return ["--base-model", "tiny", "--models-root", models_root, "--dataset-name", "mini"]


@pytest.fixture
def merge(said_by, flags):
    return lambda *more: said_by(run_merging_pipeline_refactored.main, *flags, *more)


@pytest.fixture
def sweep(said_by, flags):
    return lambda *more: said_by(
        run_large_scale_experiment.main, *flags, *TWO, "--workers", 1, "--locales", "af-ZA", *more
    )


def moments(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def weights(folder):
    return Checkpoint(folder).weights_fingerprint


def test_the_pipeline_adapts_its_merge(merge, said_by, tmp_path, caplog):
    code, out, err = merge(*MERGE, *QUICK, "--adapt", "vote")
    assert code == 0, err
    rows = {line.split("  ")[0]: line.split() for line in whole_rows(out)}
    score = {
        name: atomic.read_json(tmp_path / "results" / name / "results.json")["performance"]["accuracy"]
        for name in (NAME, NAME + WORDS)
    }
    for name, value in score.items():
        assert rows[name][1] == f"{value:.4f}"
    # The vote of both sources alone, from the logits that they have kept.
    kept = [
        read_predictions(tmp_path / f"results/tiny_massive_k_{code}_af-ZA/predictions.npz")
        for code in ("de-DE", "nl-NL")
    ]
    voted = sum(softmax(one["logits"].astype(np.float64), -1) for one in kept).argmax(-1)
    (vote,) = (row for name, row in rows.items() if name.startswith("vote of 2 "))
    assert f"{(voted == kept[0]['labels']).mean():.4f}" in vote
    assert f"merged model: merged_models/{NAME}\nadapted model: merged_models/{NAME}{WORDS}\n" in out
    folder = tmp_path / "merged_models" / (NAME + WORDS)
    card = (folder / "README.md").read_text()
    assert "32 unlabelled train texts" in card and "No label of af-ZA was read" in card
    assert f"Test accuracy on af-ZA, mini: {score[NAME + WORDS]:.4f}" in card
    told = atomic.read_json(tmp_path / f"results/{NAME}{WORDS}/results.json")["experiment"]
    assert told["mode"] == "average" and told["adapt"]["texts"]["count"] == 32
    # The same again does nothing, and the command for any model makes the same of the merge.
    before = moments(folder)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert merge(*MERGE, *QUICK, "--adapt", "vote")[:2] == (0, out)
    assert moments(folder) == before and "loss" not in caplog.text
    model = ["--model", folder.with_name(NAME), "--target-lang", "af-ZA", "--task", "mini", "--output-dir", "other"]
    assert said_by(adapt_to_target.main, *model, *QUICK, "--no-eval")[0] == 0
    assert weights(tmp_path / "other") == weights(folder) != weights(folder.with_name(NAME))


def test_without_evaluation_to_a_place_of_its_own(merge, tmp_path):
    shown = merge(*MERGE, "--adapt", "vote", "--adapt-rounds", 3, "--dry-run")[1]
    assert "adapt   vote, 348 unlabelled train texts, 3 rounds of 50 passes, rate 3e-05" in shown
    assert shown.splitlines()[-1] == f"output  merged_models/{NAME}_adapt-vote_rounds3" and not list(tmp_path.iterdir())
    code, out, err = merge(*MERGE, *QUICK, "--adapt", "self", "--no-eval", "--output-dir", "own/model")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == sorted(["model", NAME])
    assert [path.name for path in tmp_path.iterdir()] == ["own"] and "adapted model: own/model" in out
    assert atomic.read_json(tmp_path / "own/model/adaptation.json")["run"]["teachers"] == []


def test_a_sweep_has_adapted_modes(sweep, tmp_path, merge):
    code, out, err = sweep("--modes", "regmean", "regmean+vote", *QUICK, "--num-examples", 20)
    assert code == 0, err
    words = "_cosine_text-num_examples-20"
    name = f"regmean_merge_af-ZA_2merged{words}"
    found = {path.parent.name for path in tmp_path.glob("results/*/results.json") if "merge" in path.parent.name}
    assert found == {name, name + WORDS}
    lines = {line.split()[0]: line.split() for line in whole_rows(out) if line.startswith("regmean")}
    for one in found:
        accuracy = atomic.read_json(tmp_path / "results" / one / "results.json")["performance"]["accuracy"]
        assert lines[one.replace("_af-ZA", "")][2] == f"{accuracy:.4f}"
    # No model is left, nor what was made on the way.
    assert not (tmp_path / "merged_models").exists() and not list(tmp_path.rglob("*.safetensors"))
    left = [path for path in tmp_path.rglob("*") if ".adapt" in path.name]
    assert left == []
    # --adapt adds the same job to every mode; what is done is known, and by the pipeline too.
    code, out, _ = sweep("--modes", "regmean", "--adapt", "vote", *QUICK, "--num-examples", 20)
    assert code == 0 and "0 done, 4 done before" in out
    final = atomic.read_json(tmp_path / "results/experiment_final_results.json")
    assert final["detailed_results"] == {"af-ZA": {"regmean": True, "regmean+vote": True}}
    kept = read_predictions(tmp_path / "results" / (name + WORDS) / "predictions.npz", ["logits"])["logits"]
    one = ["--mode", "regmean", "--target-lang", "af-ZA", *TWO, "--num-examples", 20, "--adapt", "vote", *QUICK]
    assert merge(*one, "--results-dir", "single")[0] == 0
    single = read_predictions(tmp_path / "single" / (name + WORDS) / "predictions.npz", ["logits"])["logits"]
    np.testing.assert_array_equal(kept, single)


def test_models_are_kept_if_asked(sweep, tmp_path, merge):
    assert sweep("--modes", "average+vote", *QUICK, "--keep-merged")[0] == 0
    kept = {path.name: weights(path) for path in (tmp_path / "merged_models").iterdir()}
    assert kept.keys() == {NAME, NAME + WORDS}
    before = moments(tmp_path / "merged_models" / (NAME + WORDS))
    assert merge(*MERGE, *QUICK, "--adapt", "vote")[0] == 0
    assert kept == {path.name: weights(path) for path in (tmp_path / "merged_models").iterdir()}
    after = moments(tmp_path / "merged_models" / (NAME + WORDS))
    assert {file for file in before if after[file] != before[file]} <= {
        next(f for f in before if f.name == "README.md")
    }


def test_what_other_sources_have_left_is_replaced(said_by, flags, tmp_path, source_copies):
    """In a place for the time being at once, in one of its own on demand."""
    given = [*flags[:2], "--models-root", source_copies, *flags[4:], *TWO, *ONE, "--modes", "average+vote", *QUICK]
    assert said_by(run_large_scale_experiment.main, *given, "--keep-merged")[0] == 0
    made = {name: tmp_path / "merged_models" / name for name in (NAME, NAME + WORDS)}
    left = tmp_path / f"swept/.{NAME}{WORDS}.adapted"
    for name, folder in made.items():
        shutil.copytree(folder, left / name)
    before = [(folder / "model.safetensors").stat().st_mtime_ns for folder in made.values()]
    (source_copies / "tiny_massive_k_nl-NL/model.safetensors").touch()  # another model, as far as its files tell
    assert said_by(run_large_scale_experiment.main, *given, "--results-dir", "swept")[0] == 0
    assert (tmp_path / "swept" / (NAME + WORDS)).is_dir() and not left.exists()
    assert said_by(run_large_scale_experiment.main, *given, "--keep-merged")[0] == 1
    assert said_by(run_large_scale_experiment.main, *given, "--keep-merged", "--overwrite")[0] == 0
    after = [(folder / "model.safetensors").stat().st_mtime_ns for folder in made.values()]
    assert all(new > old for new, old in zip(after, before))
    assert "0 done, 3 done before" in said_by(run_large_scale_experiment.main, *given, "--keep-merged")[1]
    assert [(folder / "model.safetensors").stat().st_mtime_ns for folder in made.values()] == after


def test_wrong_modes(sweep, merge, tmp_path):
    for call, more, message in (
        (sweep, ["--modes", "regmean+vot"], "unknown mode 'regmean+vot'; did you mean regmean+vote?"),
        (sweep, ["--modes", "baseline+vote"], "unknown mode 'baseline+vote'"),
        (merge, [*MERGE, "--adapt", "votes"], "invalid choice: 'votes'"),
    ):
        code, _, err = call(*more)
        assert code == 2 and message in err and len(err.splitlines()) == 1, err
    assert list(tmp_path.iterdir()) == []


def test_labels_of_the_target_are_never_read(said_by, flags, tmp_path):
    data, made = [*flags[:-1], "data"], {}
    (tmp_path / "data").mkdir()
    for kind in ("true", "poisoned"):
        for locale in mini.LOCALES:
            rows = mini.records(locale)
            if locale == "af-ZA" and kind == "poisoned":
                rows = [{**row, "intent": "no such label"} if row["partition"] == "train" else row for row in rows]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / "data" / f"{locale}.jsonl").write_text(text, encoding="utf-8")
        more = [*MERGE, "--adapt", "vote", *QUICK, "--output-dir", f"{kind}/model", "--results-dir", f"{kind}/results"]
        code, _, err = said_by(run_merging_pipeline_refactored.main, *data, *more)
        assert code == 0, err
        logits = read_predictions(tmp_path / kind / "results/model/predictions.npz", ["logits"])["logits"]
        made[kind] = weights(tmp_path / kind / "model"), logits.tobytes()
    assert made["poisoned"] == made["true"]


def test_a_killed_sweep_ends_with_the_same_bytes(begin, run, tmp_path, flags):
    command = [SWEEP, *flags, "--num-languages", 2, "--locales", "af-ZA", "--modes", "average", "average+vote"]
    command += ["--workers", 1, "--adapt-lr", 1e-2, "--adapt-batch-size", 16, "--adapt-epochs", 2]
    name = "average_merge_af-ZA_2merged_adapt-vote_epochs2_lr0.01_batch16"
    whole = run(*command, "--results-dir", "whole")
    assert whole.returncode == 0, whole.stderr
    broken = begin(*command, "--results-dir", "broken")
    deadline, first = time.monotonic() + 120, tmp_path / f"broken/.{name}.adapted/{name}.adapting/round1.npz"
    while not first.exists():
        assert time.monotonic() < deadline and broken.poll() is None
        time.sleep(0.005)
    broken.kill(group=True)
    assert broken.end().returncode == -signal.SIGKILL and not (tmp_path / "broken" / name).exists()
    again = run(*command, "--results-dir", "broken")
    assert again.returncode == 0, again.stderr
    assert "1 done, 3 done before" in again.stdout
    results = [tmp_path / folder / name for folder in ("whole", "broken")]
    files = [sorted(file.name for file in result.iterdir()) for result in results]
    assert files[0] == files[1]
    ours, theirs = (np.load(result / "predictions.npz") for result in results)
    for part in ours.files:
        np.testing.assert_array_equal(ours[part], theirs[part], part)
    told = [atomic.read_json(result / "results.json") for result in results]
    assert told[0]["settings"] == told[1]["settings"] and told[0]["performance"] == told[1]["performance"]
    assert not list((tmp_path / "broken").glob(".*.adapted"))
