"""Tables of results whose every number is worked out by hand: fair baselines, tests, gaps, old names, damage."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import merge_experiment, model_path, write_merge, write_old, write_result, write_single
from running import ROOT, environment

from merginguriel import aggregate_results
from merginguriel.utils.data import older_names
from merginguriel.utils.evaluation.predictions import read_predictions
from merginguriel.utils.evaluation.statistics import mcnemar, paired_bootstrap
from merginguriel.utils.jobs import ledger
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.outcome import Outcome
from merginguriel.utils.results import collect, csv_tables, reproduction, text_tables
from merginguriel.utils.results.baselines import BASELINES
from merginguriel.utils.results.choice import choose
from merginguriel.utils.results.comparison import COMPARISON, compare
from merginguriel.utils.results.csv_tables import Aggregate
from merginguriel.utils.results.files import WORDS, write
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.results.summary import SUMMARY, summarise
from merginguriel.utils.storage import atomic

SCRIPT = "merginguriel/aggregate_results.py"
ITEMS = 10


def compared(folder, nxn=None, **options):
    return compare(collect.collect(folder, nxn).long, **options)


def row_of(frame, variant, locale):
    rows = frame[(frame.variant == variant) & (frame.locale == locale)]
    assert len(rows) == 1
    return rows.iloc[0]


# Rows and their baselines


def test_baselines_of_every_row(results):
    comparison = compared(results)
    frame = comparison.frame
    assert list(frame.columns) == [*COLUMNS, *COMPARISON] and len(frame) == 3
    assert not comparison.notes
    row = row_of(frame, "similarity_2lang", "af-ZA")
    assert (row.accuracy, row.correct, row.total) == (0.8, 8, 10)
    assert (row.best_source, row.best_source_score) == ("nl-NL", 0.7)
    # Not its own model, which is better, nor one of its sources: en-US.
    assert (row.best_zero_shot, row.best_zero_shot_score, row.num_zero_shot) == ("en-US", 0.8, 4)
    assert row.avg_zero_shot_score == pytest.approx((7 + 6 + 8 + 5) / 40) and row.native_score == 0.9
    assert [row[f"vs_{name}"] for name in BASELINES] == pytest.approx([0.1, 0, 0.15, -0.1])
    assert json.loads(row.sources) == {"nl-NL": 0.6, "de-DE": 0.4} and row.base_model == "tiny"
    row = row_of(frame, "similarity_2lang", "da-DK")
    assert [row.best_source, row.best_zero_shot] == ["de-DE", "de-DE"]
    assert [row[f"vs_{name}"] for name in BASELINES] == pytest.approx([0, 0, 0.8 - 0.5, 0])
    row = row_of(frame, "average_3lang", "af-ZA")
    assert row.best_source == "en-US" and row.vs_best_source == pytest.approx(-0.2)


def test_paired_tests_and_holm(results):
    write_merge(results, "ties", "af-ZA", {"da-DK": 1.0}, "1111111111")
    frame = compared(results).frame
    p = {(row.variant, row.locale): row for row in frame.itertuples()}
    # similarity, af-ZA against nl-NL: one item more, none less. da-DK against de-DE: two more, two less.
    assert p["similarity_2lang", "af-ZA"].p_best_source == 1 == p["similarity_2lang", "da-DK"].p_best_source
    # average against en-US: two less, none more: 2 / 2^2. ties against da-DK: five more: 2 / 2^5.
    assert p["average_3lang", "af-ZA"].p_best_source == pytest.approx(0.5)
    assert p["ties_1lang", "af-ZA"].p_best_source == pytest.approx(1 / 16)
    # Holm over the four tests against best sources: 4 / 16, 3 * 0.5 at most 1, 1, 1.
    assert [
        p[key].p_best_source_holm
        for key in (("ties_1lang", "af-ZA"), ("average_3lang", "af-ZA"), ("similarity_2lang", "af-ZA"))
    ] == pytest.approx([0.25, 1, 1])
    # Against the native model: similarity one less on af-ZA, average three less, ties one more; da-DK two and two.
    assert [p[key].p_native for key in sorted(p)] == pytest.approx([0.25, 1, 1, 1])
    # Without tests, and without baselines, nothing else changes.
    plain = compared(results, tests=False).frame
    assert plain.p_best_source.isna().all() and plain.vs_native.equals(frame.vs_native)
    bare = compared(results, baselines=False).frame
    assert bare.best_source_score.isna().all() and bare.accuracy.equals(frame.accuracy)


def test_summary_of_variants(results):
    summary = summarise(compared(results))
    assert list(summary.columns) == list(SUMMARY)
    assert list(summary.variant[::4]) == ["similarity_2lang", "average_3lang"]  # two locales before one
    by = {(row.variant, row.baseline): row for row in summary.itertuples()}
    row = by["similarity_2lang", "best_source"]
    assert (row.locales, row.mean_score, row.std_score, row.compared) == (2, pytest.approx(0.8), 0, 2)
    assert (row.wins, row.ties, row.losses, row.win_rate) == (1, 1, 0, 0.5)
    assert (row.baseline_score, row.mean_gain) == (pytest.approx(0.75), pytest.approx(0.05))
    # Wilson's interval of 1 of 2, from its formula.
    z = 1.959963984540054
    centre, half = (0.5 + z * z / 4) / (1 + z * z / 2), z / (1 + z * z / 2) * np.sqrt(0.25 / 2 + z * z / 16)
    assert (row.win_low, row.win_high) == pytest.approx((centre - half, centre + half))
    bits = [
        np.array([[int(bit) for bit in text] for text in texts], bool)
        for texts in (["1111111010", "0011111111"], ["1111111000", "1111111100"])
    ]
    assert (row.gain_low, row.gain_high) == paired_bootstrap(*bits)
    assert row.p_wilcoxon == 1  # one locale with a difference
    row = by["similarity_2lang", "avg_zero_shot"]
    assert (row.wins, row.mean_gain, row.p_wilcoxon, row.p_wilcoxon_holm) == (2, pytest.approx(0.225), 0.5, 0.5)
    assert np.isnan(row.gain_low) and np.isnan(by["average_3lang", "best_source"].p_wilcoxon)
    assert by["average_3lang", "native"].losses == 1 and by["average_3lang", "native"].mean_gain == pytest.approx(-0.3)


def test_experiments_are_never_mixed(results):
    sources = {"nl-NL": 0.6, "de-DE": 0.4}

    def write(name, mode="similarity", **settings):
        write_merge(results / name, mode, "af-ZA", sources, "1111111111", **settings)

    write("cosine", selection="cosine")
    write("seed", seed=7)
    write("target", include_target=True)
    write("elsewhere", root="other_models")
    write_merge(results, "similarity", "da-DK", sources, "1111111111", root=Path("haryos_model").resolve())
    write("scaled", "ties", hyperparameters={"scaling": 0.5})
    write("told", "ties", hyperparameters={"scaling": 1.0, "density": 0.2, "scope": "model"})
    write("untold", "ties")
    write_result(
        results / "dev/similarity_merge_af-ZA_2merged",
        "af-ZA",
        "10",
        split="validation",
        experiment=merge_experiment("similarity", "af-ZA", sources),
    )
    comparison = compared(results)
    assert set(comparison.frame.variant[comparison.frame.method != "average"]) == {
        "similarity_2lang_models_root-haryos_model",
        "similarity_2lang_models_root-other_models",
        "similarity_2lang_cosine",
        "similarity_2lang_seed7",
        "similarity_2lang_inctar",
        "similarity_2lang_validation",
        "ties_2lang_uriel_scaling-0.5",
        "ties_2lang_uriel",
    }
    # Defaults that are told and defaults that are not are one: an exact duplicate.
    [note] = [note for note in comparison.notes if note.startswith("2 results of")]
    assert note.startswith("2 results of ties_2lang_uriel for af-ZA: ")
    # Sources elsewhere are other models, which nobody has evaluated; validation items are other items.
    row = row_of(comparison.frame, "similarity_2lang_models_root-other_models", "af-ZA")
    assert np.isnan(row.best_source_score) and row.num_zero_shot == 0
    assert np.isnan(row_of(comparison.frame, "similarity_2lang_validation", "af-ZA").best_zero_shot_score)


def test_target_among_the_sources(results):
    write_merge(results, "ties", "af-ZA", {"af-ZA": 0.5, "nl-NL": 0.5}, "1111111111")
    row = row_of(compared(results).frame, "ties_2lang_inctar", "af-ZA")
    assert row.include_target and (row.best_source, row.best_source_score) == ("af-ZA", 0.9)
    assert row.best_zero_shot == "en-US"


def test_iterative_runs(results):
    for locale, merges in (("af-ZA", [2, 4]), ("da-DK", [2, 3, 4])):
        write_merge(
            results,
            "iterative_average",
            locale,
            {"nl-NL": 0.5, "de-DE": 0.5},
            "1111111110",
            root=f"iterative/{locale}/epoch_4",
            iterative={
                "merges": merges,
                "mode": "average",
                "target": locale,
                "num_languages": 2,
                "weights": None,
                "merge_frequency": 2,
                "adaptive": False,
                "convergence_threshold": 1e-4,
                "similarity": {},
                "training": {"num_train_epochs": 4, "locales": [], "learning_rate": 5e-5, "seed": 42},
            },
        )
    frame = compared(results).frame
    rows = frame[frame.method == "iterative_average"]
    assert set(rows.variant) == {"iterative_average_2lang_merge_frequency-2"} and len(rows) == 2
    assert list(rows.best_source) == ["nl-NL", "de-DE"] and list(rows.best_zero_shot) == ["en-US", "de-DE"]
    assert "iterative" not in json.loads(rows.settings.iloc[0])
    assert reproduction.command_of(atomic.read_json(Path(rows.folder.iloc[0]) / "results.json")) is None


def test_newest_of_duplicates_counts_and_is_named(results):
    old = write_merge(
        results / "a", "similarity", "af-ZA", {"nl-NL": 0.6, "de-DE": 0.4}, "1" * 10, timestamp="2020-01-01T00:00:00"
    )
    comparison = compared(results)
    assert row_of(comparison.frame, "similarity_2lang", "af-ZA").accuracy == 0.8
    assert len(collect.collect(results, None).long) == 14
    [note] = comparison.notes
    new = results / "similarity_merge_af-ZA_2merged"
    assert note == f"2 results of similarity_2lang for af-ZA: {new} counts, the newest; not {old}"


# Gaps


def test_missing_sources_leave_the_best_unknown(results):
    shutil.rmtree(results / "tiny_massive_k_de-DE_af-ZA")
    shutil.rmtree(results / "tiny_massive_k_da-DK_da-DK")
    comparison = compared(results)
    row = row_of(comparison.frame, "similarity_2lang", "af-ZA")
    assert row.best_source is None or row.best_source != row.best_source
    assert np.isnan(row.vs_best_source) and row.best_zero_shot == "en-US" and row.num_zero_shot == 3
    text = "\n".join(comparison.notes)
    assert "best source unknown for 2 results, not measured: de-DE on af-ZA" in text
    assert "no result of the native model of da-DK" in text and "over 3 to 4 models" in text
    by = {(row.variant, row.baseline): row for row in summarise(comparison).itertuples()}
    assert (by["similarity_2lang", "best_source"].locales, by["similarity_2lang", "best_source"].compared) == (2, 1)
    assert by["average_3lang", "best_source"].compared == 0 and np.isnan(by["average_3lang", "best_source"].win_rate)


def test_predictions_of_other_items_are_not_paired(results):
    write_single(results, "nl-NL", "af-ZA", "1111111000", ids=[f"other{item}" for item in range(ITEMS)])
    comparison = compared(results)
    row = row_of(comparison.frame, "similarity_2lang", "af-ZA")
    # Other items are other data: no baseline at all.
    assert np.isnan(row.best_source_score)
    (results / "tiny_massive_k_de-DE_da-DK/predictions.npz").unlink()
    comparison = compared(results)
    row = row_of(comparison.frame, "similarity_2lang", "da-DK")
    assert row.best_source_score == 0.8 and np.isnan(row.p_best_source)
    assert any("no paired test: predictions are not kept" in note for note in comparison.notes)


def test_missing_jobs_of_sweeps_and_gaps_between_variants(run, results, tmp_path):
    def job(name, settings):
        return Job("merge", name, "af-ZA", results / name, {"rests on": settings})

    names = ("similarity_merge_af-ZA_2merged", "ties_merge_af-ZA_2merged", "ties_merge_da-DK_2merged")
    content = atomic.read_json(results / f"{names[0]}/results.json")
    atomic.write_json(results / f"{names[0]}/results.json", {**content, "job": "another"})
    before = job("tiny_massive_k_nl-NL_da-DK", "whatever there is")
    both = [("python merginguriel/x.py --before", [before]), ("python merginguriel/x.py --all", map(job, names, "xyz"))]
    for command, jobs in both:
        kept = ledger.Ledger(results, command, list(jobs), {"baseline_af-ZA": "no model"})
        kept.end(Outcome(failures={names[2]: "no base"}))
    undone = {jobs.command: jobs for jobs in ledger.undone(results)[0]}
    assert undone["python merginguriel/x.py --all"].missing == {
        "similarity_merge_af-ZA_2merged": "its result was made with other settings",
        "ties_merge_af-ZA_2merged": "",
        "ties_merge_da-DK_2merged": "no base",
        "baseline_af-ZA": "no model",
    }
    # The other list in the folder keeps its own.
    assert undone["python merginguriel/x.py --before"].missing == {"baseline_af-ZA": "no model"}
    # Lists of earlier versions have hashes alone.
    older = results / "experiment_jobs_older.json"
    atomic.write_json(older, {"command": "older", "jobs": {names[0]: "x", "similarity_merge_da-DK_2merged": None}})
    (found,) = [jobs for jobs in ledger.undone(results)[0] if jobs.command == "older"]
    assert found.missing == {names[0]: "its result was made with other settings"} and found.total == 2
    older.unlink()
    done = run(SCRIPT, "--show-missing", "--no-tests", "--locales", "af-ZA", "da-DK", "th-TH")
    assert done.returncode == 0, done.stderr
    missing = done.stdout.split("Missing:\n")[1]
    assert "4 of 4 jobs of\n  python merginguriel/x.py --all\n    similarity_merge_af-ZA_2merged: " in missing
    assert "    ties_merge_af-ZA_2merged\n    ties_merge_da-DK_2merged: no base\n" in missing
    script, flags = (
        f"python {ROOT}/merginguriel/run_large_scale_experiment.py",
        "--dataset-name mini --base-model models/tiny",
    )
    last = "--similarity-matrix m.csv\n"
    assert missing.endswith(
        "average_3lang has no result for da-DK, th-TH\n"
        f"  {script} --modes average --locales da-DK th-TH {flags} --num-languages 3 {last}"
        "similarity_2lang has no result for th-TH\n"
        f"  {script} --modes similarity --locales th-TH {flags} --num-languages 2 {last}"
    )
    for file in results.glob("experiment_jobs*"):
        file.write_text("{}")
    whole = run(SCRIPT, "--show-missing", "--no-tests", "--experiment-types", "similarity")
    assert whole.stdout.endswith("Missing:\nnothing\n") and whole.returncode == 1
    assert whole.stderr.count(".json is no list of jobs; remove it") == 2


# N×N


@pytest.fixture
def nxn(results):
    """A run whose cells are those of `results` on af-ZA, with one source more; its matrix has a cell more than that."""
    run = results.parent / "nxn_results/nxn_eval_20260101_120000"
    cells = {"nl-NL": "1111111000", "de-DE": "0000111111", "fr-FR": "1111111110"}
    for source, right in cells.items():
        write_result(
            run / f"{source}_on_af-ZA",
            "af-ZA",
            right,
            model=model_path(source),
            experiment={"source": source, "target": "af-ZA"},
        )
    (run / "evaluation_matrix.csv").write_text(
        ",af-ZA\n" + "".join(f"{source},{right.count('1') / 10}\n" for source, right in cells.items()) + "it-IT,1.0\n"
    )
    atomic.write_json(
        run / "evaluation_summary.json",
        {"split": "test", "models": {"it-IT": {"path": model_path("it-IT")}}, "timestamp": "2026-01-01T12:00:00"},
    )
    return run


def test_nxn_adds_models_and_agrees(results, nxn):
    for given in (nxn.parent, nxn, nxn / "evaluation_matrix.csv"):
        comparison = compared(results, given)
        row = row_of(comparison.frame, "similarity_2lang", "af-ZA")
        assert (row.best_zero_shot, row.best_zero_shot_score, row.num_zero_shot) == ("it-IT", 1.0, 6)
        assert row.avg_zero_shot_score == pytest.approx((7 + 6 + 8 + 5 + 9 + 10) / 60)
        assert row.best_source == "nl-NL" and not any("disagree" in note for note in comparison.notes)
    long = collect.collect(results, nxn.parent).long
    assert sorted(long.source[long.kind == "nxn"]) == ["de-DE", "fr-FR", "it-IT", "nl-NL"]


def test_results_that_disagree_are_said(results, nxn):
    write_result(
        nxn / "nl-NL_on_af-ZA",
        "af-ZA",
        "1111111111",
        model=model_path("nl-NL"),
        experiment={"source": "nl-NL", "target": "af-ZA"},
    )
    comparison = compared(results, nxn)
    assert row_of(comparison.frame, "similarity_2lang", "af-ZA").best_source_score == 0.7
    [note] = [note for note in comparison.notes if "disagree" in note]
    assert note.startswith("1 results of single models disagree: nl-NL on af-ZA is 0.7000 in ") and "1.0000 in" in note


def test_validation_matrix_is_no_baseline_of_test_results(results, nxn):
    summary = atomic.read_json(nxn / "evaluation_summary.json")
    atomic.write_json(nxn / "evaluation_summary.json", {**summary, "split": "validation"})
    assert row_of(compared(results, nxn).frame, "similarity_2lang", "af-ZA").best_zero_shot == "fr-FR"


def test_a_real_sweep_and_a_real_nxn(run, models_root, tmp_path):
    flags = ["--dataset-name", "mini", "--base-model", "tiny", "--models-root", models_root]
    done = run(
        "merginguriel/run_large_scale_experiment.py",
        *flags,
        "--modes",
        "average",
        "--locales",
        "af-ZA",
        "--num-languages",
        2,
    )
    assert done.returncode == 0, done.stderr
    done = run("merginguriel/run_nxn_evaluation.py", *flags, "--targets", "af-ZA")
    assert done.returncode == 0, done.stderr
    # The command that it gives makes what is missing.
    result = tmp_path / "results/average_merge_af-ZA_2merged/results.json"
    kept = atomic.read_json(result)
    shutil.rmtree(result.parent)
    [undone], _ = ledger.undone(tmp_path / "results")
    assert undone.missing == {"average_merge_af-ZA_2merged": ""} and undone.total == 3
    program, *again = shlex.split(undone.command)
    assert run(program, *again).returncode == 0 and atomic.read_json(result)["job"] == kept["job"]
    [undone], _ = ledger.undone(tmp_path / "results")
    assert not undone.missing

    comparison = compared(tmp_path / "results", tmp_path / "nxn_results")
    row = row_of(comparison.frame, "average_2lang", "af-ZA")
    assert row.num_zero_shot == 4 and not any("disagree" in note for note in comparison.notes)
    assert row.merge_timestamp and not np.isnan(row.p_best_zero_shot)
    kept = [
        read_predictions(tmp_path / f"results/{name}/predictions.npz")
        for name in ("average_merge_af-ZA_2merged", f"tiny_massive_k_{row.best_source}_af-ZA")
    ]
    right = [predictions["predictions"] == predictions["labels"] for predictions in kept]
    assert row.p_best_source == mcnemar(*right)
    # The N×N alone, by its logits and another way to the models, gives the same.
    for folder in (tmp_path / "results").glob("tiny_massive_k_*"):
        shutil.rmtree(folder)
    alone = compared(tmp_path / "results", tmp_path / "nxn_results")
    for name in COMPARISON:
        assert alone.frame[name].equals(comparison.frame[name]), name
    for key, pair in comparison.pairs.answers.items():
        assert all(
            map(np.array_equal, (one.correct for one in alone.pairs.answers[key]), (one.correct for one in pair))
        )


# Older results

DETAILS = """Merge Mode: Similarity
Timestamp (UTC): 2025-10-22T10:45:54.123456

Base Model (for architecture): xlm-roberta-base
Target Language: af-ZA

--- Merged Models and Weights ---
1. Model: haryos_model/xlm-roberta-base_massive_k_nl-NL
   - Language: nl-NL
   - Locale: nl-NL
   - Weight: 0.600000 (60.00% of total)
2. Model: haryoaw/xlm-roberta-base_massive_k_de-DE
   - Subfolder: alpha_0.5_de-DE_epoch-9
   - Language: de-DE
   - Locale: de-DE
   - Weight: 0.400000 (40.00% of total)

Total Weight: 1.000000
"""


def test_older_names(tmp_path):
    results, model = tmp_path / "results", "haryos_model/xlm-roberta-base_massive_k_"
    merged = write_old(results / "similarity_merge_af-ZA", "af-ZA", 8, model="merged_models/gone")
    (merged / "merge_details.txt").write_text(DETAILS)
    write_old(results / "task_arithmetic_4lang_sq-AL", "sq-AL", 5, model="merged_models/gone")
    write_old(results / "fisher_dataset_merge_th-TH_3merged", "th-TH", 4, model="merged_models/gone")
    write_old(
        results / "ensemble_uriel_logits_sq-AL",
        "sq-AL",
        6,
        model="x",
        num_models=2,
        model_names=[model + "nl-NL", model + "de-DE"],
        similarity_weights=[0.7, 0.3],
    )
    write_old(results / "ensemble_majority_sq-AL_4lang", "sq-AL", 6, model="x")
    write_old(results / "baseline_af-ZA", "af-ZA", 9, model=model + "af-ZA")
    write_old(results / "xlm-roberta-base_massive_k_nl-NL_af-ZA", "af-ZA", 7, model=model + "nl-NL")
    matrix = tmp_path / "old.csv"
    matrix.write_text(",af-ZA,sq-AL\nde-DE,0.65,0.4\nnl-NL,0.7,\n")
    collection = collect.collect(results, matrix)
    assert not collection.damaged
    rows = {row.variant: row for row in collection.long.itertuples() if row.kind in ("merge", "ensemble")}
    assert {name: (row.locale, row.method) for name, row in rows.items()} == {
        "similarity_2lang": ("af-ZA", "similarity"),
        "task_arithmetic_4lang": ("sq-AL", "task_arithmetic"),
        "fisher_dataset_3lang": ("th-TH", "fisher_dataset"),
        "ensemble_uriel_logits_2lang": ("sq-AL", "ensemble_uriel_logits"),
        "ensemble_majority_4lang": ("sq-AL", "ensemble_majority"),
    }
    row = rows["similarity_2lang"]
    assert json.loads(row.sources) == {"nl-NL": 0.6, "de-DE": 0.4} and row.base_model == "xlm-roberta-base"
    assert row.merge_timestamp == "2025-10-22T10:45:54.123456" and row.ci_low == pytest.approx(0.49, abs=0.001)
    comparison = compare(collection.long)
    row = row_of(comparison.frame, "similarity_2lang", "af-ZA")
    assert [row.best_source, row.best_source_score, row.native_score] == ["nl-NL", 0.7, 0.9]
    row = row_of(comparison.frame, "ensemble_uriel_logits_2lang", "sq-AL")
    assert np.isnan(row.best_source_score) and row.best_zero_shot == "de-DE"
    assert any("nl-NL on sq-AL" in note for note in comparison.notes)
    assert any("3 results that do not tell their sources" in note for note in comparison.notes)


@pytest.mark.parametrize(
    "name, parsed",
    [
        ("similarity_merge_af-ZA", ("similarity", "af-ZA", None)),
        ("similarity_4lang_af-ZA", ("similarity", "af-ZA", 4)),
        ("task_arithmetic_merge_af-ZA_4merged", ("task_arithmetic", "af-ZA", 4)),
        ("similarity_merge_af-ZA_4merged_cosine", ("similarity", "af-ZA", 4)),
        ("ensemble_soft_af-ZA_validation_100items_4lang", ("ensemble_soft", "af-ZA", 4)),
        ("ensemble_uriel_logits_af-ZA", ("ensemble_uriel_logits", "af-ZA", None)),
        ("baseline_af-ZA", ("baseline", "af-ZA", None)),
        ("xlm-roberta-base_massive_k_af-ZA_nl-NL", None),
        ("af-ZA", None),
    ],
)
def test_names_of_results(name, parsed):
    assert older_names.parse_result(name) == parsed


# The files


def read_csv(file):
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


def generated(done, kind):
    [line] = [line for line in done.stdout.splitlines() if line.startswith(f"  {kind}_filename: ")]
    return line.split(": ", 1)[1]


def test_command_writes_its_files(run, results, tmp_path):
    done = run(SCRIPT, "--output-prefix", "mine", "--export", "csv", "--tables", "latex", "markdown")
    assert done.returncode == 0, done.stderr
    assert "  similarity_2lang: 2 experiments, mean accuracy = 0.8000" in done.stdout
    assert "  similarity_2lang: 50.0% win rate vs best source (1/2), +5.0 points on average" in done.stdout
    told = done.stdout.split("Files generated:\n")[1].splitlines()
    files = [line.split("_filename: ")[0].strip() for line in told[::2]]
    assert files[0] == "gains" and told[1].strip().startswith("open this first")
    assert [line.strip() for line in told[1::2]] == [WORDS[what] for what in files]
    gains = read_csv(tmp_path / generated(done, "gains"))
    assert [(row["target"], row["variant"], row["score"]) for row in gains] == [
        ("af-ZA", "similarity_2lang", "0.8"),
        ("af-ZA", "average_3lang", "0.6"),
        ("da-DK", "similarity_2lang", "0.8"),
    ]
    assert gains[0]["best_source"] == "nl-NL" and float(gains[0]["vs_best_source"]) == pytest.approx(0.1)
    raw = read_csv(tmp_path / generated(done, "raw"))
    assert list(raw[0])[:21] == [
        "locale",
        "experiment_type",
        "experiment_variant",
        "folder_name",
        "accuracy",
        "correct_predictions",
        "total_predictions",
        "error_rate",
        "model_name",
        "subfolder",
        "timestamp",
        "target_lang",
        "source_languages",
        "weights",
        "merge_mode",
        "num_languages",
        "merge_timestamp",
        "best_source_accuracy",
        "best_source_language",
        "best_overall_accuracy",
        "best_overall_language",
    ]
    assert len(raw) == 13
    row = next(row for row in raw if row["folder_name"] == "similarity_merge_af-ZA_2merged")
    assert (row["accuracy"], row["source_languages"]) == ("0.8", '["nl-NL", "de-DE"]')
    assert float(row["error_rate"]) == pytest.approx(0.2) and row["best_overall_language"] == "en-US"
    assert {row["experiment_type"] for row in raw} == {"baseline", "source", "similarity", "average"}

    table = read_csv(tmp_path / generated(done, "comparison"))
    assert list(table[0]) == [
        "locale",
        "baseline",
        "average_3lang",
        "similarity_2lang",
        "best_source_accuracy",
        "best_overall_accuracy",
        *(
            f"{variant}_{title}"
            for title in ("improvement", "vs_best_source", "vs_best_overall")
            for variant in ("average_3lang", "similarity_2lang")
        ),
    ]
    assert [row["locale"] for row in table] == ["af-ZA", "da-DK"]
    af, da = (
        {name: float(value) if value else None for name, value in row.items() if name != "locale"} for row in table
    )
    assert af == {
        name: pytest.approx(value)
        for name, value in {
            "baseline": 0.9,
            "average_3lang": 0.6,
            "similarity_2lang": 0.8,
            "best_source_accuracy": 0.8,
            "best_overall_accuracy": 0.8,
            "average_3lang_improvement": -0.3,
            "similarity_2lang_improvement": -0.1,
            "average_3lang_vs_best_source": -0.2,
            "similarity_2lang_vs_best_source": 0.1,
            "average_3lang_vs_best_overall": -0.2,
            "similarity_2lang_vs_best_overall": 0,
        }.items()
    }
    assert da["average_3lang"] is da["average_3lang_improvement"] is None and da["similarity_2lang_improvement"] == 0
    wide = read_csv(tmp_path / generated(done, "comprehensive"))
    assert set(table[0]) < set(wide[0]) and wide[0]["similarity_2lang_best_source"] == "nl-NL"
    assert float(wide[1]["similarity_2lang_vs_avg_zero_shot"]) == pytest.approx(0.3)

    summary = atomic.read_json(tmp_path / generated(done, "summary"))
    assert summary["similarity_2lang"] == {
        "count": 2,
        "mean_accuracy": pytest.approx(0.8),
        "std_accuracy": 0,
        "min_accuracy": 0.8,
        "max_accuracy": 0.8,
    }
    assert summary["average_3lang"]["std_accuracy"] is None
    assert summary["baseline_native_accuracy"]["mean_accuracy"] == pytest.approx(0.85)
    assert summary["baseline_best_source_accuracy"]["mean_accuracy"] == pytest.approx(0.8)
    wins = atomic.read_json(tmp_path / generated(done, "win_analysis"))["similarity_2lang"]
    assert [
        wins[f"vs_{name}_{what}"]
        for name in ("native", "best_source", "best_overall", "avg_zero_shot")
        for what in ("wins", "ties", "total")
    ] == [0, 1, 2, 1, 1, 2, 0, 2, 2, 2, 0, 2]
    assert wins["avg_improvement_vs_native"] == pytest.approx(-0.05) and wins["avg_improvement_vs_native_ci95"][0] < 0

    report = (tmp_path / generated(done, "markdown")).read_text()
    for section in (
        "Executive Summary",
        "Summary Statistics",
        "Baseline Performance",
        "Win Rate Analysis",
        "Detailed Comparison Results",
        "Methodology",
    ):
        assert f"\n## {section}\n" in report
    assert "Highest mean accuracy among the 1 with most locales (2): similarity_2lang, 0.8000. This describes" in report
    assert "| similarity_2lang | 1/2 | 50.0 % | 9 to 91 % | 1 | +5.0 (" in report
    latex = (tmp_path / generated(done, "latex")).read_text()
    assert r"similarity\_2lang & 2 & 0.8000 & +5.0 (" in latex and latex.count(r"\bottomrule") == 2
    assert "| similarity_2lang | 2 | 0.8000 | +5.0 (" in (tmp_path / generated(done, "markdown_tables")).read_text()
    exported = read_csv(tmp_path / generated(done, "export"))
    assert list(exported[0]) == list(COLUMNS) and len(exported) == 13


def test_the_table_to_open_first_fits_a_screen(results):
    """With all baselines, of adapted models too."""
    comparison = compared(results)
    frame = comparison.frame.assign(vs_own_merge=0.1, vs_vote=0.1)
    full = csv_tables.gains(Aggregate(comparison.frame, replace(comparison, frame=frame), summarise(comparison)))
    assert {"vs_vote", "p_vote_holm", "vs_native", "p_best_zero_shot_holm"} < set(full) and len(full.columns) <= 25
    bare = csv_tables.gains(Aggregate(comparison.frame, comparison, summarise(comparison), with_baselines=False))
    assert not [name for name in bare if name.startswith(("vs_", "p_", "best_"))]


def test_it_is_light(results):
    """Of torch nothing is needed, though hyper-parameters are compared with the defaults of their methods."""
    merge = next(path for path in results.rglob("results.json") if "similarity" in str(path))
    content = atomic.read_json(merge)
    content["experiment"] |= {"mode": "regmean", "hyperparameters": {"alpha": 0.9, "ridge": 1e-6}}
    atomic.write_json(merge, content)
    code = (
        "import sys; from merginguriel import aggregate_results\n"
        "assert aggregate_results.main(['--format', 'csv']) == 0\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=results.parent, env=environment(), text=True, capture_output=True, check=False
    )
    assert done.returncode == 0 and "regmean_2lang" in done.stdout, done.stderr


def test_its_lines_and_the_newest_name_of_a_mode(results, tmp_path, monkeypatch, capsys, caplog):
    """The lines that its documentation has always shown; and fisher, as the mode is called everywhere else too."""
    monkeypatch.chdir(tmp_path)
    write_merge(results, "fisher_dataset", "af-ZA", {"nl-NL": 0.5, "de-DE": 0.5}, "1111111000")
    matrix = tmp_path / "evaluation_matrix.csv"
    matrix.write_text(",af-ZA\nid-ID,0.5\n")
    flags = ["--evaluation-matrix", str(matrix), "--experiment-types", "similarity", "fisher"]
    with caplog.at_level("INFO"):
        assert aggregate_results.main(flags) == 0
    said = [line for record in caplog.records for line in record.getMessage().splitlines()]
    wanted = [
        "Aggregating experiment results...",
        f"Loading evaluation matrix: {matrix}",
        "Loaded evaluation matrix with shape (1, 1)",
        "Creating comparison table...",
        "Generating summary statistics...",
        "Analyzing win rates...",
    ]
    assert [line for line in said if line in wanted] == wanted
    assert any(re.fullmatch(r"Processing \d+ experiment results", line) for line in said)
    printed = capsys.readouterr().out
    assert "fisher_dataset_2lang: 1 experiments" in printed
    files = re.findall(r"^  (\w+)_filename: ", printed, re.MULTILINE)
    assert files == ["gains", "raw", "comparison", "comprehensive", "summary", "win_analysis", "markdown"]


def test_command_filters_and_names_damage(run, results, nxn, tmp_path):
    (results / "tiny_massive_k_nl-NL_da-DK/results.json").write_text('{"performance"')
    atomic.write_json(results / "tiny_massive_k_de-DE_da-DK/results.json", {"evaluation_info": {}})
    (results / "similarity_merge_af-ZA_2merged/predictions.npz").write_bytes(b"PK")
    write_old(results / "baseline_da-DK", "da-DK", 11, model="x")  # 11 of 10
    done = run(SCRIPT, "--locales", "af-ZA,da-DK", "--experiment-types", "similarity", "baseline", "--format", "csv")
    assert done.returncode == 1
    left_out = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 4 and "Traceback" not in done.stderr
    for text in (
        "nl-NL_da-DK/results.json is no JSON object",
        "de-DE_da-DK/results.json is no result: it has no 'p",
        "similarity_merge_af-ZA_2merged/predictions.npz is damaged",
        "accuracy 1.1 is not between 0 and 1",
    ):
        assert any(text in line for line in left_out), (text, left_out)
    [table] = tmp_path.glob("results_comparison_*.csv")
    rows = read_csv(table)
    assert list(rows[0])[:3] == ["locale", "baseline", "similarity_2lang"] and len(list(tmp_path.glob("*.csv"))) == 4
    # Its N×N has the best model, and its damaged predictions do not keep it from the table.
    assert (rows[0]["similarity_2lang"], rows[0]["best_overall_accuracy"]) == ("0.8", "1.0")
    assert rows[1]["best_source_accuracy"] == ""


def test_baseline_is_no_type_that_can_be_missing(results):
    for folder in (results / "tiny_massive_k_af-ZA_af-ZA", results / "tiny_massive_k_da-DK_da-DK"):
        shutil.rmtree(folder)
    chosen = choose(collect.collect(results, None).long, "test", None, ["similarity", "baseline"])
    assert set(chosen.method) == {"similarity", "source"}


def test_types_have_their_other_names(results):
    write_merge(results, "fisher_dataset", "af-ZA", {"nl-NL": 0.5, "de-DE": 0.5}, "1111111100")
    chosen = choose(collect.collect(results, None).long, "test", None, ["fisher"])
    assert set(chosen.method) == {"fisher_dataset", "source", "native"}


def test_refusals(results, tmp_path, monkeypatch, capsys):
    def refused(*flags):
        assert aggregate_results.main(flags) == 2 and sorted(tmp_path.iterdir()) == [results]
        return capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    assert "no result of slerp on the test split; there are some of average, native" in refused(
        "--experiment-types", "slerp"
    )
    assert "no folder nowhere" in refused("--results-dir", "nowhere")
    assert "no folder nowhere" in refused("--nxn-results-dir", "nowhere")
    assert "no file x.csv" in refused("--evaluation-matrix", "x.csv")
    for merge in [*results.glob("similarity_*"), *results.glob("average_*")]:
        shutil.rmtree(merge)
    assert "no merges or ensembles to make --tables of" in refused("--tables", "latex")
    assert "no results of the validation split" in refused("--split", "validation")


def test_text_tables():
    assert text_tables.markdown(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
    assert text_tables.latex(["a", "b"], [["x_1 & 50%", "−1"]], "c", "tab:c").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{c}",
        r"\label{tab:c}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a & b \\",
        r"\midrule",
        r"x\_1 \& 50\% & $-$1 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_documentation_has_every_column():
    text = (ROOT / "docs/aggregation.md").read_text()
    for columns in (COLUMNS, COMPARISON, SUMMARY):
        assert "\n".join(f"| `{name}` | {meaning} |" for name, meaning in columns.items()) in text


def test_parquet_is_the_same_table(results, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    long = collect.collect(results, None).long
    comparison = compare(long)
    made = Aggregate(long, comparison, summarise(comparison))
    files = write(made, tmp_path, "x", formats=[], export="parquet")
    again = pandas.read_parquet(files["export"])
    pandas.testing.assert_frame_equal(again, long, check_dtype=False)
