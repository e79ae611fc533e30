"""Results of adapted models in tables, sentences and commands: one variant for all targets, beside their own merge."""

import json
import shlex
import shutil

import numpy as np
import pytest
from made_results import merge_experiment, model_path, write_answers, write_merge, write_result

from merginguriel import adapt_to_target, aggregate_results
from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.ensembles.comparison import Standing, comparison_lines
from merginguriel.utils.ensembles.comparison import compare as compare_votes
from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.evaluation.statistics import mcnemar
from merginguriel.utils.flags import adapt_flags
from merginguriel.utils.report import read_data
from merginguriel.utils.report.consensus_details import consensus_details
from merginguriel.utils.report.findings import findings
from merginguriel.utils.results import collect, reproduction
from merginguriel.utils.results.comparison import compare
from merginguriel.utils.results.summary import summarise
from merginguriel.utils.storage import atomic

PAIR = {"nl-NL": 0.5, "de-DE": 0.5}
TARGETS = ("af-ZA", "da-DK")


def adaptation(target, *, adapt="vote", examples=None, **changed):
    """As a merge tells how it was adapted: texts and their hash are of the target."""
    texts = {"split": "train", "count": len(target), "fingerprint": f"hash of {target}"}
    return {**AdaptSettings(adapt=adapt, **changed).record(len(target)), "examples": examples, "texts": texts}


def by_command(target, teachers, *, start, **changed):
    """As adapt_to_target.py tells it."""
    told = adaptation(target, **changed)
    del told["examples"]
    return told | {
        "start": {"path": start, "files": {"model.safetensors": [1, hash(target)]}},
        "teachers": [{"locale": one, "path": model_path(one), "weight": 1 / len(teachers)} for one in teachers],
        "target": target,
        "seed": 42,
    }


def write_adapted(results, target, right, name, *, told=None, weights=None, **more):
    return write_merge(
        results,
        "regmean",
        target,
        weights or PAIR,
        right,
        name=f"{name}_{target}",
        adapt=told or adaptation(target),
        **more,
    )


@pytest.fixture
def adapted(results):
    """Beside what `results` has. Right of 10 on af-ZA: regmean 6, adapted 9; on da-DK regmean 8, adapted 7."""
    for target, own, right in (("af-ZA", "1111110000", "1111111110"), ("da-DK", "1111111100", "1111111000")):
        write_merge(results, "regmean", target, PAIR, own)
        write_adapted(results, target, right, "adapted")
    return results


def frame_of(folder, **options):
    return compare(collect.collect(folder, None).long, **options).frame


def test_targets_share_a_variant_and_settings_tell_them_apart(adapted):
    for number, (told, seed) in enumerate(
        [
            (adaptation("af-ZA", rounds=3), 42),
            (adaptation("af-ZA", examples=100), 42),
            (adaptation("af-ZA", learning_rate=2e-4, sharpen=1.0), 42),
            (adaptation("af-ZA", adapt="self"), 42),
            (by_command("af-ZA", ["de-DE", "nl-NL"], start="merged_models/x"), 7),
            (by_command("af-ZA", ["en-US", "nl-NL"], start="merged_models/x"), 42),
        ]
    ):
        write_adapted(adapted, "af-ZA", "1" * 10, f"more{number}", told=told, seed=seed)
    frame = frame_of(adapted)
    by_variant = frame[frame.method.str.contains("+", regex=False)].groupby("variant").locale.agg(list).to_dict()
    assert by_variant == {
        "regmean+vote_2lang": ["af-ZA", "da-DK"],
        "regmean+vote_2lang_rounds3": ["af-ZA"],
        "regmean+vote_2lang_examples100": ["af-ZA"],
        "regmean+vote_2lang_lr0.0002_sharpen1": ["af-ZA"],
        "regmean+self_2lang": ["af-ZA"],
        "regmean+vote_2lang_seed7_adapt-seed-42": ["af-ZA"],
        "regmean+vote_2lang_teachers-en-US,nl-NL": ["af-ZA"],
    }
    settings, matrix = frame.set_index("variant").settings.map(json.loads), {"matrix": "01234567"}
    rates = {"adapt-learning_rate": 2e-4, "adapt-sharpen": 1.0}
    assert settings["regmean+vote_2lang_lr0.0002_sharpen1"] == matrix | rates
    assert settings["regmean+vote_2lang_teachers-en-US,nl-NL"] == matrix | {"teachers": ["en-US", "nl-NL"]}
    # What was adapted from a merge that another command had made is the same experiment.
    write_adapted(
        adapted, "af-ZA", "0" * 10, "again", told=by_command("af-ZA", ["nl-NL", "de-DE"], start="merged_models/x")
    )
    comparison = compare(collect.collect(adapted, None).long)
    assert any("2 results of regmean+vote_2lang for af-ZA" in note for note in comparison.notes)


def test_own_merge_is_the_one_of_the_same_settings(adapted):
    # Others that are nearly its own: of other weights, another seed, another selection.
    write_merge(adapted, "regmean", "af-ZA", {"nl-NL": 0.6, "de-DE": 0.4}, "1" * 10, name="w", preweight="uriel")
    write_merge(adapted, "regmean", "af-ZA", PAIR, "1" * 10, name="s", seed=7)
    write_merge(adapted, "regmean", "af-ZA", PAIR, "1" * 10, name="c", selection="cosine")
    write_merge(adapted, "regmean", "af-ZA", {"nl-NL": 0.5, "en-US": 0.5}, "1" * 10, name="o", timestamp="2020-01-01")
    comparison = compare(collect.collect(adapted, None).long)
    rows = comparison.frame.set_index(["variant", "locale"])
    own, other = rows.loc[("regmean+vote_2lang", "af-ZA")], rows.loc[("regmean+vote_2lang", "da-DK")]
    assert (own.own_merge_score, other.own_merge_score) == (0.6, 0.8)
    assert (own.vs_own_merge, other.vs_own_merge) == pytest.approx((0.3, -0.1))
    before, after = (np.array([bit == "1" for bit in bits]) for bits in ("1111110000", "1111111110"))
    assert own.p_own_merge == mcnemar(after, before) == 0.25 and own.p_own_merge_holm == 0.5
    assert rows.own_merge_score.notna().sum() == 2  # of nothing else
    summary = summarise(comparison)
    row = summary[(summary.baseline == "own_merge") & (summary.variant == "regmean+vote_2lang")].iloc[0]
    assert (row.compared, row.wins, row.ties, row.losses) == (2, 1, 0, 1) and row.mean_gain == pytest.approx(0.1)
    # No vote, and no logits to make one of: said, and no row of the summary.
    assert "vote" not in set(summary.baseline) and any(
        note.startswith("vote unknown for 2") for note in comparison.notes
    )


def test_vote_of_a_result_comes_first(adapted):
    vote = {"nl-NL": 0.5, "de-DE": 0.5}
    write_merge(adapted, "ensemble_soft", "af-ZA", vote, "1111111100", name="equal", selection="cosine")
    write_merge(adapted, "ensemble_soft", "da-DK", {"nl-NL": 0.6, "de-DE": 0.4}, "1" * 10, name="unequal")
    write_merge(adapted, "ensemble_majority", "da-DK", vote, "1" * 10, name="majority")
    write_merge(
        adapted, "ensemble_soft", "da-DK", dict.fromkeys(("nl-NL", "de-DE", "en-US"), 1 / 3), "1" * 10, name="3"
    )
    rows = frame_of(adapted).set_index(["variant", "locale"]).loc["regmean+vote_2lang"]
    assert rows.vote_score["af-ZA"] == 0.8 and np.isnan(rows.vote_score["da-DK"])
    assert rows.p_vote["af-ZA"] == 1.0


def test_vote_of_kept_logits(results):
    generator, gold = np.random.default_rng(0), np.arange(20)
    ids = [str(item) for item in range(20)]
    logits = {one: generator.normal(0, 1, (20, 60)) + 2.5 * np.eye(60)[gold] for one in PAIR}
    for one, said in logits.items():
        write_answers(
            results / f"alone_{one}", "th-TH", gold, said.argmax(-1), model=model_path(one), logits=said, source=one
        )
    turned = ids[::-1]  # another order of the same items
    told = {"experiment": merge_experiment("regmean", "th-TH", PAIR, adapt=adaptation("th-TH"))}
    write_answers(results / "adapted_th-TH", "th-TH", gold[::-1], gold[::-1], model="m", ids=turned, **told)
    content = atomic.read_json(results / "adapted_th-TH/results.json")
    content["settings"]["data"] = atomic.read_json(results / "alone_nl-NL/results.json")["settings"]["data"]
    atomic.write_json(results / "adapted_th-TH/results.json", content)
    exp = {one: np.exp(said.astype(np.float32).astype(float)) for one, said in logits.items()}
    mean = sum(one / one.sum(-1, keepdims=True) for one in exp.values()) / 2
    expected = mean.argmax(-1)
    row = frame_of(results).set_index("variant").loc["regmean+vote_2lang"]
    assert 0.3 < row.vote_score == (expected == gold).mean() < 1
    assert row.p_vote == mcnemar(np.ones(20, bool), expected == gold)
    assert np.isnan(frame_of(results, tests=False).set_index("variant").loc["regmean+vote_2lang"].vote_score)


def test_a_model_that_was_no_merge(results):
    for target in TARGETS:
        start = f"haryos_model/tiny_massive_LOLO_without_{target.replace('-', '_')}"
        write_result(results / f"joint_{target}", target, "1111100000", model=start)
        told = by_command(target, ["nl-NL", "de-DE"], start=start)
        experiment = {"mode": "adaptation", "target": target, "task": "massive", "task_hash": "x", "adapt": told}
        write_result(results / f"adapted_{target}", target, "1111111111", model=f"m/{target}", experiment=experiment)
        own = {**told, **adaptation(target, adapt="self"), "teachers": []}
        experiment = {**experiment, "adapt": own}
        write_result(results / f"self_{target}", target, "1111110000", model=f"m/{target}", experiment=experiment)
    frame = frame_of(results)
    rows = frame[frame.kind == "adapted"].set_index(["method", "locale"])
    assert rows.variant.nunique() == 2 and len(rows) == 4
    assert rows.loc[("adaptation+vote", "af-ZA"), "variant"] == (
        "adaptation+vote_2lang_start-tiny_massive_LOLO_without_teachers-de-DE,nl-NL"
    )
    assert rows.own_merge_score.tolist() == [0.5] * 4
    assert rows.best_source_score.dropna().tolist() == [0.7, 0.8]  # of the teachers


POOL = ("af-ZA", "da-DK", "de-DE", "nl-NL")


def all_but(target, pool=POOL):
    return [one for one in pool if one != target]


def test_all_but_the_target_is_one_choice(results):
    """Of teachers of models that were no merge and of merges, and of explicit sources."""

    def write_joint(name, target, right, teachers):
        start = f"haryos_model/tiny_massive_LOLO_without_{target.replace('-', '_')}"
        told = by_command(target, teachers, start=start)
        experiment = {"mode": "adaptation", "target": target, "task": "massive", "task_hash": "x", "adapt": told}
        write_result(results / f"{name}_{target}", target, right, model=f"m/{target}", experiment=experiment)

    def write_explicit(target, right, pool):
        weights = dict.fromkeys(all_but(target, pool), 1 / 3)
        write_merge(results, "average", target, weights, right, name=f"explicit_{target}", selection="explicit")

    for target, right in zip(("af-ZA", "da-DK", "nl-NL"), ("1111111100", "1111111000", "1111110000")):
        write_joint("joint", target, right, all_but(target))
        write_explicit(target, right, POOL)
        told = by_command(target, all_but(target), start="merged_models/x")
        write_adapted(results, target, right, "taught", told=told, weights={"de-DE": 0.5, "en-US": 0.5})
        write_merge(results, "ensemble_soft", target, dict.fromkeys(all_but(target), 1 / 3), "1111100000")
    other = ("af-ZA", "da-DK", "en-US", "id-ID")
    for target in TARGETS:  # as many of other languages, and the same ones for both targets
        write_joint("other", target, "1" * 10, all_but(target, other))
        write_joint("fixed", target, "1" * 10, ["de-DE", "en-US", "id-ID"])
    frame = frame_of(results)
    found = {variant: group.score.tolist() for variant, group in frame[frame.kind != "ensemble"].groupby("variant")}
    adapted = "adaptation+vote_3lang_start-tiny_massive_LOLO_without_teachers"
    assert found[f"{adapted}-all-but-target_teachers-among-{','.join(POOL)}"] == [0.8, 0.7, 0.6]
    assert found[f"{adapted}-all-but-target_teachers-among-{','.join(other)}"] == [1, 1]
    assert found[f"{adapted}-de-DE,en-US,id-ID"] == [1, 1]
    assert found["average_3lang_explicit"] == found["regmean+vote_2lang_teachers-all-but-target"] == [0.8, 0.7, 0.6]
    taught = frame[frame.variant == "regmean+vote_2lang_teachers-all-but-target"]
    assert taught.vote_score.tolist() == [0.5] * 3
    # Of one pool alone, the name needs no list; no command tells the model of the first target, which would teach.
    for target in TARGETS:
        shutil.rmtree(results / f"other_{target}")
    assert frame_of(results, tests=False).groupby("variant").score.mean()[f"{adapted}-all-but-target"] == (
        pytest.approx(0.7)
    )
    content = atomic.read_json(results / "joint_af-ZA/results.json")
    content["experiment"]["adapt"]["start"]["path"] = "merged_models/joint_af-ZA"
    assert reproduction.command_for(["de-DE"], content, results) is None
    assert reproduction.command_for(["en-US"], content, results) is not None


def test_command_selects_them_and_names_near_misses(adapted, tmp_path, capsys):
    flags = ["--results-dir", str(adapted), "--nxn-results-dir", str(tmp_path), "--output-dir", str(tmp_path)]
    assert aggregate_results.main([*flags, "--experiment-types", "regmean+vote"]) == 0
    out = capsys.readouterr().out
    # Its own merge was not asked for, and is its baseline all the same.
    assert "regmean+vote_2lang: 50.0% win rate vs own merge (1/2), +10.0 points on average" in out
    assert "regmean_2lang:" not in out
    (table,) = tmp_path.glob("results_comparison_*.csv")
    head = table.read_text().splitlines()[0]
    assert "regmean+vote_2lang_vs_own_merge" in head and "average" not in head
    (report,) = tmp_path.glob("results_report_*.md")
    assert "### vs own merge: the model before it was adapted" in report.read_text()
    assert aggregate_results.main([*flags, "--experiment-types", "regmean+votes"]) == 2
    assert "did you mean regmean+vote" in capsys.readouterr().err


def test_it_is_a_sentence_of_the_report(adapted):
    write_merge(adapted, "ensemble_soft", "af-ZA", PAIR, "1111111000", name="v")
    write_merge(adapted, "ensemble_soft", "da-DK", PAIR, "1111111000", name="w")
    found = read_data.from_results(adapted, None, types=["regmean+vote"])
    told = dict(findings(found.comparison.frame, found.summary, found.titles))
    parts = told["Adapted without labels, regmean+vote:"].split("; above ")
    assert parts[0].startswith("above what it was before on 1 of 2 targets, mean +10.0 points (95 % interval ")
    assert parts[1].startswith("the vote of its sources on 1 of 2 targets, mean +10.0 points")
    assert parts[2].startswith("the best of its sources on 1 of 2 targets, mean +5.0 points")


def test_details_of_a_consensus(results):
    experiment = merge_experiment("average", "af-ZA", PAIR, selection="consensus")
    experiment["similarity"] |= {
        "texts": {"count": 100},
        "uriel_deserves": 0.25,
        "consensus": {
            "nl-NL": {"accuracy": 0.5, "cosine": None, "score": -1.0},
            "<b>": {"accuracy": 0.75, "cosine": 0.5, "score": 1.0},
        },
    }
    folder = write_result(results / "x", "af-ZA", "1" * 10, experiment=experiment)
    row = {"selection": "consensus", "method": "average", "settings": "{}", "folder": str(folder)}
    shown = consensus_details("af-ZA", [{**row, "selection": "cosine", "folder": "not read"}, row])
    assert "the consensus of 2 models on 100 unlabelled texts" in shown and "0.25" in shown
    assert shown.index("&lt;b&gt;") < shown.index("nl-NL") and "<b>" not in shown and "0.7500" in shown
    assert consensus_details("af-ZA", [{**row, "selection": "cosine"}]) == ""


# Making it again


def test_an_adapted_merge_is_told_by_its_command():
    experiment = merge_experiment(
        "regmean", "af-ZA", PAIR, adapt=adaptation("af-ZA", rounds=3, examples=100), length=1.5
    )
    experiment["similarity"] |= {"selection": "consensus", "matrix": "the consensus", "consensus_examples": 500}
    info = {"locale": "af-ZA", "model_name": "x"}
    assert reproduction.command_of({"experiment": experiment, "evaluation_info": info}) == (
        "merginguriel merge --mode regmean --target-lang af-ZA --base-model "
        "models/tiny --num-languages 2 --selection consensus --consensus-examples 500 --length 1.5 --adapt vote "
        "--adapt-examples 100 --adapt-rounds 3"
    )


@pytest.mark.parametrize("teachers", [[], ["--source", "nl-NL={root}/tiny_massive_k_nl-NL"]])
def test_a_model_adapted_by_command_is_told_by_it(models_root, tmp_path, monkeypatch, capsys, teachers):
    runs, plan_run = [], adapt_flags.plan_run
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapt_flags, "plan_run", lambda *given: runs.append(plan_run(*given)) or runs[-1])
    start = tmp_path / "merged_models/x_merge_af-ZA"
    start.mkdir(parents=True)
    for file in (models_root / "tiny_massive_k_id-ID").iterdir():
        (start / file.name).symlink_to(file)
    experiment = merge_experiment("average", "af-ZA", {"de-DE": 1.0}, root=str(models_root))
    atomic.write_json(start / "merge_details.json", {"plan": experiment})
    flags = ["--model", str(start), "--target-lang", "af-ZA", "--dataset-name", "mini", "--adapt-rounds", "1"]
    flags += ["--adapt-examples", "10", "--seed", "3", *(one.format(root=models_root) for one in teachers), "--dry-run"]
    assert adapt_to_target.main(flags) == 0, capsys.readouterr().err
    told = {**runs[0].record(), "examples": 10}
    content = {"experiment": {**experiment, "adapt": told}, "evaluation_info": {"dataset": "mini", "locale": "af-ZA"}}
    program, name, *again = shlex.split(reproduction.command_of(content))
    assert (program, name) == ("merginguriel", "adapt")
    assert adapt_to_target.main([*again, "--dry-run"]) == 0, capsys.readouterr().err
    assert runs[1] == runs[0] and ("--source" in again) == bool(teachers)


# Means over targets of votes


def test_votes_over_targets_by_another_metric():
    gold = np.array([0] * 8 + [1] * 4)
    answers = {
        "best": [np.zeros(12, int), np.array([0] * 9 + [1] * 3)],
        "soft": [np.array([0] * 6 + [1] * 6), np.array([0] * 7 + [1] * 5)],
    }
    ids = np.array([f"{item:02}" for item in range(12)])

    def made(said, turn):
        order = np.roll(np.arange(12), turn)  # the items in any order
        return Evaluation("x", None, ids[order], gold[order], said[order], ("a", "b"), "macro_f1")

    found = [
        Standing(str(turn), [made(answers["best"][turn], turn)], {"soft": made(answers["soft"][turn], turn + 1)})
        for turn in (0, 1)
    ]
    (row,) = compare_votes(found)
    f1 = METRICS["macro_f1"]
    score = {name: np.mean([f1(said, gold) for said in both]) for name, both in answers.items()}
    assert row.metric == "macro_f1" and row.score == pytest.approx(score["soft"])
    assert row.difference == pytest.approx(score["soft"] - score["best"]) and row.difference > 0.1
    # An oracle of its own: items drawn one by one.
    generator, gains = np.random.default_rng(1), []
    for _ in range(3000):
        drawn = generator.integers(12, size=12)
        one, other = (np.mean([f1(said[drawn], gold[drawn]) for said in answers[name]]) for name in ("soft", "best"))
        gains.append(one - other)
    assert row.interval == pytest.approx(tuple(np.percentile(gains, [2.5, 97.5])), abs=0.03)
    assert "macro_f1" in comparison_lines([row], 2).splitlines()[0]
