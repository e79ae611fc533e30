"""Ensembles as a user runs them, from models and from kept N×N logits, and what they must refuse."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from auto_merge_llm.errors import InputError
from running import renaming
from tables import whole_rows

from merginguriel import run_large_scale_ensemble_experiments, run_nxn_evaluation, uriel_ensemble_inference
from merginguriel.utils.data import mini
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.ensembles.comparison import compare
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.evaluation import classifier, comparison, nxn_logits
from merginguriel.utils.evaluation.predictions import read_predictions
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.evaluation.statistics import holm, mcnemar, paired_bootstrap, wilcoxon
from merginguriel.utils.models import loading
from merginguriel.utils.storage import atomic

SCRIPT = "merginguriel/uriel_ensemble_inference.py"
SWEEP = "merginguriel/run_large_scale_ensemble_experiments.py"
MERGE = "merginguriel/run_merging_pipeline_refactored.py"
NAME = "ensemble_{}_af-ZA_3lang"


@pytest.fixture(scope="module")
def voted(models_root, tmp_path_factory, run_anywhere):
    """One finished run of all votes: (working folder, command line, completed process)."""
    folder = tmp_path_factory.mktemp("voted")
    command = [SCRIPT, *flags(models_root, "--target-lang", "af-ZA", "--num-languages", 3, "--voting-method", "all")]
    done = run_anywhere(*command, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, command, done


def kept(folder, name):
    return read_predictions(folder / "results" / name / "predictions.npz")


def weights_in(folder, method="soft"):
    experiment = atomic.read_json(folder / "results" / NAME.format(method) / "results.json")["experiment"]
    return {source["locale"]: source["weight"] for source in experiment["sources"]}


# From models


def test_sources_and_weights_are_a_merges(voted, run, models_root):
    merge = run(
        MERGE,
        "--mode",
        "similarity",
        "--target-lang",
        "af-ZA",
        "--base-model",
        "tiny",
        "--models-root",
        models_root,
        "--dataset-name",
        "mini",
        "--num-languages",
        3,
        "--dry-run",
    )
    expected = {
        locale: float(weight) for weight, locale in re.findall(r"^  (\d\.\d{6})  (\S+)", merge.stdout, re.MULTILINE)
    }
    assert weights_in(voted[0]) == pytest.approx(expected, abs=1e-6) and len(expected) == 3


@pytest.mark.parametrize("method", VOTES)
def test_votes_are_of_the_sources_kept_logits(voted, method):
    weights = weights_in(voted[0], method)
    stacked = np.stack([kept(voted[0], f"tiny_massive_k_{locale}_af-ZA")["logits"] for locale in weights])
    result = kept(voted[0], NAME.format(method))
    share = np.array(list(weights.values()))
    by_hand = {
        "uriel_logits": np.einsum("s,sic->ic", share, stacked),
        "soft": np.einsum("s,sic->ic", share, np.exp(stacked) / np.exp(stacked).sum(-1, keepdims=True)),
        "weighted_majority": sum(weight * np.eye(60)[logits.argmax(-1)] for weight, logits in zip(share, stacked)),
    }
    if method in by_hand:
        assert np.array_equal(result["predictions"], by_hand[method].argmax(-1))
    else:
        votes = stacked.argmax(-1)
        agreed = np.where((votes[1] == votes[2]), votes[1], votes[0])  # the heaviest is first and decides else
        assert np.array_equal(result["predictions"], agreed)
    split = MINI_TASK.load("af-ZA", "test")
    assert result["ids"].tolist() == split.ids and result["labels"].tolist() == split.labels


def test_results_have_the_schema_of_a_models(voted):
    ours = atomic.read_json(voted[0] / "results" / NAME.format("soft") / "results.json")
    models = atomic.read_json(voted[0] / "results/tiny_massive_k_nl-NL_af-ZA/results.json")
    for block, content in models.items():
        if block == "examples":
            assert content[0].keys() == ours[block][0].keys()
        elif block not in ("settings", "experiment", "job"):
            assert content.keys() <= ours[block].keys(), block
    assert ours["performance"]["total_predictions"] == 144 and ours["experiment"]["num_sources"] == 3
    assert ours["experiment"]["mode"] == "ensemble_soft"
    details = (voted[0] / "results" / NAME.format("soft") / "merge_details.txt").read_text()
    assert details.startswith("Merge Mode: ensemble_soft\n")
    assert re.findall(r"- Locale: (\S+)", details) == list(weights_in(voted[0]))


def test_table_sets_votes_beside_sources(voted):
    folder, _, done = voted
    alone = re.findall(r"^(\S+) alone", done.stdout, re.MULTILINE)
    assert sorted(alone) == sorted(weights_in(folder)) and done.stdout.count("(best source)") == 1

    def correct(name):
        return kept(folder, name)["predictions"] == kept(folder, name)["labels"]

    for method in VOTES:
        line = next(line for line in whole_rows(done.stdout) if line.startswith(NAME.format(method) + " "))
        p = mcnemar(correct(NAME.format(method)), correct(f"tiny_massive_k_{alone[0]}_af-ZA"))
        assert float(line.split()[-1]) == pytest.approx(p, rel=0.06)


def test_nothing_is_scored_twice(voted, run, tmp_path):
    folder, command, first = voted
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    again = run(*command, folder=folder)
    assert again.returncode == 0 and again.stdout == first.stdout and again.stderr.count("already evaluated") == 7
    # Other weights are other votes, the sources kept.
    copy = shutil.copytree(folder, tmp_path / "copy")
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*.*")}
    done = run(*command, "--preweight", "equal", folder=copy)
    assert done.returncode == 0, done.stderr
    soft = atomic.read_json(copy / "results" / f"{NAME.format('soft')}_equal" / "results.json")
    assert soft["model_info"]["similarity_weights"] == pytest.approx([1 / 3] * 3)
    assert times.items() <= {path: path.stat().st_mtime_ns for path in copy.rglob("*.*")}.items()


def flags(models_root, *extra):
    return [
        str(flag) for flag in ("--base-model", "tiny", "--models-root", models_root, "--dataset-name", "mini", *extra)
    ]


def test_sweep_loads_each_source_once_and_goes_on_after_an_interruption(models_root, tmp_path, monkeypatch, capsys):
    """Two sources on three targets are six pairs; the fifth is interrupted."""
    monkeypatch.chdir(tmp_path)
    loaded, scored, interruptions = [], [], [KeyboardInterrupt]
    load, score = loading.load_model, classifier.Classifier.logits

    def counting_load(path, *rest):
        loaded.append(path.name[-5:])
        return load(path, *rest)

    def counting_score(self, texts, description):
        if len(scored) == 4 and interruptions:
            raise interruptions.pop()
        scored.append(description)
        return score(self, texts, description)

    monkeypatch.setattr(loading, "load_model", counting_load)
    monkeypatch.setattr(classifier.Classifier, "logits", counting_score)
    sweep = flags(
        models_root,
        "--target-languages",
        "af-ZA,id-ID",
        "en-US",
        "--sources",
        "nl-NL,de-DE",
        "--voting-methods",
        "soft",
        "majority",
    )
    done = dict.fromkeys(["soft", "majority"], True)
    assert run_large_scale_ensemble_experiments.main(sweep) == 130
    assert loaded == ["de-DE", "nl-NL"] and len(scored) == 4
    progress = tmp_path / "results/ensemble_experiment_progress.json"
    assert atomic.read_json(progress)["results"] == {} and atomic.read_json(progress)["done_jobs"] == 4
    assert run_large_scale_ensemble_experiments.main(sweep) == 0
    assert loaded == ["de-DE", "nl-NL", "nl-NL"] and len(scored) == len(set(scored)) == 6

    out = capsys.readouterr().out
    assert "mean over 3 targets" in out
    progress = atomic.read_json(progress)
    assert progress["results"] == {"af-ZA": done, "id-ID": done, "en-US": done}
    assert (progress["total_locales"], progress["processed_locales"]) == (3, 3)


def test_sweep_names_failures_and_does_the_rest(run, models_root, tmp_path):
    done = run(
        SWEEP,
        *flags(
            models_root,
            "--num-languages",
            3,
            "--target-languages",
            "sw-KE",
            "af-ZA",
            "nl-NL",
            "--start-from",
            1,
            "--voting-methods",
            "soft",
            "--num-examples",
            40,
        ),
    )
    assert done.returncode == 1 and re.findall(r"^failed: (\S+):", done.stderr, re.MULTILINE) == ["nl-NL"]
    final = atomic.read_json(tmp_path / "results/ensemble_experiment_final_results.json")
    assert final["detailed_results"] == {"af-ZA": {"soft": True}}
    assert final["summary"]["mode_success_counts"] == {"soft": 1} and final["config"]["num_examples"] == 40
    assert "only 2 of nl-NL's neighbours" in final["failures"]["nl-NL"]
    assert len(kept(tmp_path, "ensemble_soft_af-ZA_40items_3lang")["ids"]) == 40


def test_killed_run_can_be_repeated(begin, run, models_root, tmp_path):
    vote = flags(models_root, "--target-lang", "af-ZA", "--num-languages", 4, "--voting-method", "all")
    process = begin(SCRIPT, *vote, first=renaming("af-ZA", "time.sleep(0.1)"))
    start = time.monotonic()
    while not list(tmp_path.glob("results/tiny*")) and time.monotonic() - start < 60:
        time.sleep(0.002)
    process.kill()
    assert process.end().returncode == -signal.SIGKILL  # it had more to do
    done = run(SCRIPT, *vote)
    assert done.returncode == 0, done.stderr
    assert len([path for path in tmp_path.glob("results/*") if not path.name.startswith(".")]) == 8
    assert list(tmp_path.glob("results/.*")) == []


def test_lists(run, models_root):
    listed = run(SWEEP, *flags(models_root, "--list-locales")).stdout
    assert listed.startswith("  0. de-DE\n  1. en-US\n") and "Total: 4 locales" in listed
    votes = run(SWEEP, "--list-voting-methods").stdout
    assert [line.split()[0] for line in votes.splitlines()] == list(VOTES)


@pytest.mark.parametrize(
    "script, extra, message",
    [
        (SCRIPT, [], "--target-lang"),
        (SCRIPT, ["--target-lang", "af-ZA", "--voting-method", "mean"], "invalid choice"),
        (SCRIPT, ["--target-lang", "af-ZA", "--sources", "nl-NL,af-ZA"], "the target af-ZA is among the sources"),
        (SCRIPT, ["--target-lang", "af-ZA", "--sources", "nl-NL,da-DK"], "da-DK"),
        (SCRIPT, ["--target-lang", "af-ZA", "--num-examples", 145, "--num-languages", 2], "has 144; ask for fewer"),
        (SCRIPT, ["--target-lang", "af-ZA", "--num-languages", 5], "only 4 of af-ZA's neighbours"),
        (
            SCRIPT,
            ["--target-lang", "af-ZA", "--selection", "real", "--nxn-matrix", "nxn", "--split", "validation"],
            "must not be judged",
        ),
        (SWEEP, ["--start-from", 4], "no targets: 4 found"),
        (SWEEP, ["--start-from", -1], "at least 0"),
        (SWEEP, ["--target-languages", "af-ZA,nl-NL", "af-ZA"], "twice"),
    ],
)
def test_wrong_flags(refused, models_root, script, extra, message):
    assert message in refused(script, *flags(models_root), *extra)


# From kept N×N logits


class KeptMatrix:
    """What utils/nxn_logits.py gives: logits of sources on targets, here random but far better than chance."""

    sources, targets, split, precision = ("nl-NL", "de-DE", "id-ID"), ("af-ZA", "nl-NL", "tr-TR"), "test", "float32"
    weights_sha256 = dict.fromkeys(sources, "0")

    def paths(self):
        return {source: Path("elsewhere") / f"mini_massive_k_{source}" for source in self.sources}

    def __init__(self):
        self._splits = {locale: MINI_TASK.load(locale, "test") for locale in self.targets}
        self.data_sha256 = {locale: split.of(split.ids[::-1]).fingerprint() for locale, split in self._splits.items()}

    def ids(self, target):
        return np.array(self._splits[target].ids[::-1])

    def labels(self, target):
        return np.array(self._splits[target].labels[::-1])

    def logits(self, source, target):
        generator = np.random.default_rng(self.sources.index(source) + 10 * self.targets.index(target))
        gold = self.labels(target)
        logits = generator.normal(0, 1, (len(gold), 60))
        logits[np.arange(len(gold)), gold] += 2.2
        return logits.astype(np.float16)


@pytest.fixture
def matrix(monkeypatch, tmp_path):
    """Opened by --nxn-dir kept; no model is anywhere."""
    monkeypatch.chdir(tmp_path)
    matrix = KeptMatrix()
    monkeypatch.setattr(nxn_logits, "open_logits", lambda folder: matrix)
    return matrix


MINI = ["--nxn-dir", "kept", "--dataset-name", "mini", "--num-languages", "2", "--selection", "cosine"]


def test_ensemble_from_kept_logits(matrix, tmp_path, capsys):
    assert uriel_ensemble_inference.main(["--target-lang", "af-ZA", "--voting-method", "uriel_logits", *MINI]) == 0
    result = kept(tmp_path, "ensemble_uriel_logits_af-ZA_2lang_cosine")
    weights = atomic.read_json(tmp_path / "results/ensemble_uriel_logits_af-ZA_2lang_cosine/results.json")[
        "model_info"
    ]["similarity_weights"]
    expected = sum(
        weight * matrix.logits(locale, "af-ZA").astype(float) for locale, weight in zip(("nl-NL", "de-DE"), weights)
    ).argmax(-1)[::-1]
    assert np.array_equal(result["predictions"], expected)
    out = capsys.readouterr().out
    alone = (matrix.logits("nl-NL", "af-ZA").argmax(-1) == matrix.labels("af-ZA")).mean()
    assert f"{alone:.4f}" in next(line for line in out.splitlines() if line.startswith("nl-NL alone"))
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["ensemble_uriel_logits_af-ZA_2lang_cosine"]
    details = (tmp_path / "results/ensemble_uriel_logits_af-ZA_2lang_cosine/merge_details.txt").read_text()
    assert "1. Model: elsewhere/mini_massive_k_nl-NL\n" in details


def test_sweep_from_kept_logits_compares_over_targets(matrix, tmp_path, capsys):
    # nl-NL as a target has de-DE and id-ID for sources; tr-TR's best are among the three as well.
    assert run_large_scale_ensemble_experiments.main(MINI) == 0
    out = capsys.readouterr().out
    final = atomic.read_json(tmp_path / "results/ensemble_experiment_final_results.json")
    rows = {row["method"]: row for row in final["vs_best_source"]}
    assert list(rows) == list(VOTES)

    def correct(target, predictions):
        return (np.asarray(predictions) == matrix.labels(target)[::-1])[np.argsort(matrix.ids(target)[::-1])]

    best, votes = [], {method: [] for method in VOTES}
    for target in matrix.targets:
        sources = atomic.read_json(tmp_path / f"results/ensemble_soft_{target}_2lang_cosine/results.json")[
            "experiment"
        ]["sources"]
        best.append(
            max(
                (correct(target, matrix.logits(source["locale"], target).argmax(-1)[::-1]) for source in sources),
                key=lambda hits: hits.mean(),
            )
        )
        for method in VOTES:
            votes[method].append(
                correct(target, kept(tmp_path, f"ensemble_{method}_{target}_2lang_cosine")["predictions"])
            )
    best = np.array(best)
    p_values = [wilcoxon(np.mean(vote, 1), best.mean(1)) for vote in votes.values()]
    for (method, vote), p_value, adjusted in zip(votes.items(), p_values, holm(p_values)):
        row = rows[method]
        assert row["difference"] == pytest.approx(np.mean(vote) - best.mean())
        assert row["interval"] == pytest.approx(paired_bootstrap(np.array(vote), best))
        assert (row["p_value"], row["adjusted"]) == pytest.approx((p_value, adjusted))
        assert f"{row['accuracy']:.4f}" in out
    assert run_large_scale_ensemble_experiments.main([*MINI, "--list-locales"]) == 0
    assert "  2. tr-TR\nTotal: 3 locales from kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    "extra, change, message",
    [
        (["--target-lang", "af-ZA", "--split", "validation"], {}, "--split test"),
        (["--target-lang", "fi-FI"], {}, "no fi-FI among the targets"),
        (["--target-lang", "af-ZA", "--base-model", "xlm-roberta-large"], {}, "not xlm-roberta-large"),
        (["--target-lang", "af-ZA"], {"labels": lambda target: np.zeros(144, int)}, "other items"),
        (["--target-lang", "af-ZA"], {"ids": lambda target: np.arange(9000, 9144).astype(str)}, "other items"),
    ],
)
def test_kept_logits_that_do_not_fit_are_refused(matrix, monkeypatch, tmp_path, capsys, extra, change, message):
    for name, value in change.items():
        monkeypatch.setattr(matrix, name, value)
    assert uriel_ensemble_inference.main([*MINI, *extra]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error and not (tmp_path / "results").exists()


def test_kept_logits_of_texts_that_have_changed_are_refused(said_by, models_root, tmp_path):
    """Under the same ids and labels; a draw of other items is no way around it, and the old texts serve as before."""
    (tmp_path / "data").mkdir()

    def write(end=""):
        rows = mini.records("af-ZA")
        changed = next(row for row in rows if row["partition"] == "test")
        changed["utt"] += end
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data/af-ZA.jsonl").write_text(lines, encoding="utf-8")

    def voted(*draw):
        return said_by(uriel_ensemble_inference.main, *vote, "--nxn-dir", folder, *draw)

    write()
    data = [*flags(models_root)[:-1], "data"]
    nxn = ["--targets", "af-ZA", "--locales", "nl-NL,de-DE", "--results-dir", "nxn"]
    assert said_by(run_nxn_evaluation.main, *data, *nxn)[0] == 0
    (folder,) = (tmp_path / "nxn").glob("nxn_eval_*")
    vote = ["--target-lang", "af-ZA", "--sources", "nl-NL,de-DE", "--preweight", "equal", *data]
    assert voted()[0] == 0
    write(" nie")
    for draw in ([], ["--num-examples", 10]):
        code, _, error = voted(*draw)
        assert code == 2 and "error: the N×N logits of af-ZA are of other texts under the ids" in error
    write()
    assert voted("--num-examples", 10)[0] == 0


def test_kept_logits_and_models_elect_alike(voted, run, models_root, tmp_path):
    """The same ensemble from a real N×N run, whose sources are chosen by a validation run."""
    nxn = [*flags(models_root), "--targets", "af-ZA"]
    for split in ("test", "validation"):
        assert run("merginguriel/run_nxn_evaluation.py", *nxn, "--split", split, "--results-dir", split).returncode == 0
    test, validation = (next((tmp_path / split).glob("nxn_eval_*")) for split in ("test", "validation"))
    # Base model and data are told by the N×N.
    vote = ["--target-lang", "af-ZA", "--voting-method", "all", "--nxn-dir", test]
    done = run(SCRIPT, *vote, "--num-languages", 3)
    assert done.returncode == 0, done.stderr
    for method in VOTES:
        ours, models = kept(tmp_path, NAME.format(method)), kept(voted[0], NAME.format(method))
        # Logits were rounded to float16, which an item of two equally good intents may feel.
        assert (ours["predictions"] != models["predictions"]).sum() <= 1
    assert not list(tmp_path.glob("results/tiny*"))
    real = run(SCRIPT, *vote, "--num-languages", 1, "--selection", "real", "--nxn-matrix", validation)
    assert real.returncode == 0, real.stderr
    matrix = atomic.read_json(validation / "evaluation_summary.json")
    (made,) = tmp_path.glob("results/ensemble_soft_af-ZA_1lang_real-*")
    chosen = atomic.read_json(made / "results.json")["experiment"]
    assert chosen["similarity"]["selection"] == "real" and chosen["similarity"]["matrix_split"] == "validation"
    assert chosen["sources"][0]["locale"] == matrix["best_zero_shot_source"]["af-ZA"]["source"]
    wrong = run(SCRIPT, *vote, "--selection", "real", "--nxn-matrix", test, "--num-languages", 2)
    assert wrong.returncode == 2 and "must not be chosen" in wrong.stderr
    matrix["models"][chosen["sources"][0]["locale"]]["weights_sha256"] = "0" * 64
    atomic.write_json(validation / "evaluation_summary.json", matrix)
    wrong = run(SCRIPT, *vote, "--num-languages", 1, "--selection", "real", "--nxn-matrix", validation)
    assert wrong.returncode == 2 and "other models of" in wrong.stderr


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--base-model", "org/large"], "models of tiny, not of org/large; leave --base-model out"),
        (["--task", "topics.yaml"], "is an N×N evaluation of task massive, and --task leads to topics"),
    ],
)
def test_what_contradicts_the_nxn_is_refused(tmp_path, said_by, flags, message):
    told = {"task": "massive", "dataset": "mini", "models": {"nl-NL": {"path": "m/tiny_massive_k_nl-NL"}}}
    atomic.write_json(tmp_path / "nxn/evaluation_summary.json", told)
    topics = {"name": "topics", "data": ".", "text": "utt", "label": "intent", "labels": ["a", "b"]}
    atomic.write_json(tmp_path / "topics.yaml", topics)
    code, _, error = said_by(uriel_ensemble_inference.main, "--target-lang", "af-ZA", "--nxn-dir", "nxn", *flags)
    assert code == 2 and message in error and len(error.splitlines()) == 1


# Pieces


def test_draws_are_the_same_ids_in_every_locale():
    drawn = [MINI_TASK.load(locale, "test").draw(30, 7) for locale in ("af-ZA", "tr-TR")]
    assert drawn[0].ids == drawn[1].ids and len(drawn[0]) == 30
    whole = MINI_TASK.load("af-ZA", "test")
    place = {id_: item for item, id_ in enumerate(whole.ids)}
    assert drawn[0].ids == sorted(drawn[0].ids, key=place.get) != whole.ids[:30]
    assert drawn[0].texts == [whole.texts[place[id_]] for id_ in drawn[0].ids]
    assert drawn[0].ids != whole.draw(30, 8).ids


def test_items_are_aligned_by_id():
    def made(name, ids, right):
        return Evaluation(name, None, np.array(ids), np.zeros(3, int), 1 - np.array(right), ("a", "b"))

    a, b = made("a", ["7", "8", "9"], [1, 0, 0]), made("b", ["9", "7", "8"], [1, 1, 0])
    assert comparison.aligned([a, b]).tolist() == [[True, False, False], [True, False, True]]
    with pytest.raises(InputError, match="other items"):
        comparison.aligned([a, made("c", ["7", "8", "10"], [1, 1, 1])])


def test_no_comparison_without_votes():
    assert compare([]) == []
