"""Sources chosen and weighed by consensus, as commands do it."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest
import torch

from merginguriel import run_merging_pipeline_refactored
from merginguriel.utils.data import mini
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.evaluation.classifier import Classifier
from merginguriel.utils.merging import plan
from merginguriel.utils.models import devices
from merginguriel.utils.results import reproduction
from merginguriel.utils.similarity.consensus import agree
from merginguriel.utils.similarity.matrix import SimilarityMatrix

MERGE = "merginguriel/run_merging_pipeline_refactored.py"
VOTE = "merginguriel/uriel_ensemble_inference.py"
SWEEP = "merginguriel/run_large_scale_experiment.py"
TURNS = "merginguriel/run_iterative_training.py"
NXN = "merginguriel/run_nxn_evaluation.py"
SOURCES = ("nl-NL", "de-DE", "en-US", "id-ID")


@pytest.fixture
def flags(source_copies):
    return ["--base-model", "tiny", "--models-root", source_copies, "--dataset-name", "mini"]


def chosen(text: str) -> dict[str, float]:
    return {locale: float(weight) for weight, locale in re.findall(r"^  (\d\.\d{6})  (\S+)", text, re.MULTILINE)}


def test_weights_are_those_of_the_consensus_and_are_kept(run, flags, source_copies, tmp_path):
    merge = [MERGE, *flags, "--target-lang", "af-ZA", "--mode", "consensus", "--num-languages", 3]
    done = run(*merge, "--no-eval", "--output-dir", "merged")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "merged/merge_details.json").read_text())["plan"]
    texts = MINI_TASK.texts("af-ZA", "train")
    paths = {path.name[-5:]: path for path in sorted(source_copies.glob("tiny_massive_k_*"))}
    logits = np.stack([Classifier(path, MINI_TASK).logits(texts.texts, "") for path in paths.values()])
    probabilities = np.exp(logits.astype(np.float16).astype(float))
    probabilities /= probabilities.sum(-1, keepdims=True)
    cosines = [told["similarity"]["consensus"][source]["cosine"] for source in paths]
    expected = dict(zip(paths, agree(probabilities, np.array(cosines)).weight))
    best = sorted(expected, key=lambda source: -expected[source])[:3]
    weights = {source["locale"]: source["weight"] for source in told["sources"]}
    assert list(weights) == best
    for source in best:
        assert weights[source] == pytest.approx(expected[source] / sum(expected[one] for one in best), abs=1e-4)
    assert told["similarity"]["texts"]["fingerprint"] == texts.fingerprint()
    assert "consensus on 348 unlabelled train texts" in (tmp_path / "merged/README.md").read_text()
    # What the models said is there, so that they are not asked again; another model is.
    kept = {file: file.stat().st_mtime_ns for file in source_copies.glob(".texts/*/*/logits.npy")}
    assert len(kept) == 4
    (paths["nl-NL"] / "model.safetensors").touch()
    again = run(*merge, "--dry-run")
    assert again.returncode == 0, again.stderr
    assert chosen(again.stdout) == pytest.approx(weights, abs=1e-6)
    anew = [file for file, moment in kept.items() if file.stat().st_mtime_ns != moment]
    assert [file.parts[-3] for file in anew] == ["tiny_massive_k_nl-NL"]


def test_labels_are_never_read(run, flags, tmp_path):
    for locale in ("af-ZA", *mini.LOCALES):
        rows = mini.records(locale)
        if locale == "af-ZA":
            rows = [{**row, "intent": "no such label"} if row["partition"] == "train" else row for row in rows]
        file = tmp_path / "data" / f"{locale}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = [MERGE, *flags, "--target-lang", "af-ZA", "--mode", "consensus", "--num-languages", 3, "--dry-run"]
    of_mini = run(*line).stdout
    poisoned = run(*line, "--dataset-name", "data")
    assert poisoned.returncode == 0, poisoned.stderr
    assert chosen(poisoned.stdout) == chosen(of_mini) != {}


def test_an_nxn_on_the_same_texts_is_taken(run, flags, source_copies, tmp_path, refused):
    line = [MERGE, *flags, "--target-lang", "nl-NL", "--mode", "regmean", "--preweight", "consensus"]
    line += ["--selection", "consensus", "--num-languages", 2, "--consensus-examples", 100, "--dry-run"]
    asked = run(*line)
    assert "_consensus100_" in asked.stdout.splitlines()[-1] and len(chosen(asked.stdout)) == 2
    run(NXN, *flags, "--split", "train", "--max-items", 50, "--targets", "nl-NL")
    (nxn,) = (tmp_path / "nxn_results").glob("nxn_eval_*")
    few = refused(*line, "--nxn-matrix", nxn)
    assert "not all 100 texts of nl-NL" in few
    shutil.rmtree(source_copies / ".texts")
    run(NXN, *flags, "--split", "train", "--max-items", 100, "--targets", "nl-NL", "--results-dir", "drawn")
    (nxn,) = (tmp_path / "drawn").glob("nxn_eval_*")
    taken = run(*line, "--nxn-matrix", nxn)
    assert taken.stdout == asked.stdout
    assert not (source_copies / ".texts").exists()
    run(NXN, *flags, "--split", "validation", "--targets", "nl-NL", "--results-dir", "judged")
    (nxn,) = (tmp_path / "judged").glob("nxn_eval_*")
    assert "on the validation split, and consensus reads train" in refused(*line, "--nxn-matrix", nxn)


def test_a_sweep_and_votes_choose_as_the_merge(run, flags, tmp_path):
    merge = [MERGE, *flags, "--target-lang", "af-ZA", "--mode", "average", "--selection", "consensus"]
    sources = list(chosen(run(*merge, "--num-languages", 2, "--dry-run").stdout))
    sweep = [SWEEP, *flags, "--locales", "af-ZA", "--modes", "average", "--selection", "consensus", "--workers", 1]
    swept = run(*sweep, "--num-languages", 2)
    assert swept.returncode == 0, swept.stderr
    told = json.loads((tmp_path / "results/average_merge_af-ZA_2merged_consensus/results.json").read_text())
    assert [source["locale"] for source in told["experiment"]["sources"]] == sources
    vote = [VOTE, *flags, "--target-lang", "af-ZA", "--selection", "consensus", "--num-languages", 2, "--dry-run"]
    assert list(chosen(run(*vote).stdout)) == sources


def write_task(folder, codes, without_train=()):
    """The mini corpus with other codes for its locales, as a task of its own."""
    (folder / "data").mkdir()
    for code, locale in codes.items():
        rows = [{**row, "locale": code} for row in mini.records(locale)]
        rows = [row for row in rows if row["partition"] != "train" or code not in without_train]
        (folder / "data" / f"{code}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"name": "massive", "data": "data", "text": "utt", "label": "intent", "labels": MINI_TASK.labels}
    (folder / "task.yaml").write_text(json.dumps(settings))


def test_an_nxn_is_taken_for_the_texts_that_it_tells(run, flags, tmp_path, refused):
    write_task(tmp_path, {one: one for one in SOURCES})
    own = [*flags[:-2], "--task", "task.yaml"]
    nxn = [NXN, *own, "--split", "train", "--targets", "nl-NL"]
    assert run(*nxn).returncode == 0
    (folder,) = (tmp_path / "nxn_results").glob("nxn_eval_*")
    told, logits = folder / "run.json", (folder / "logits.safetensors").stat().st_mtime_ns
    line = [MERGE, *own, "--target-lang", "nl-NL", "--mode", "consensus", "--num-languages", 2, "--dry-run"]
    line += ["--nxn-matrix", folder]
    taken = run(*line)
    assert taken.returncode == 0, taken.stderr
    whole = json.loads(told.read_text())
    told.write_text(json.dumps({name: value for name, value in whole.items() if name != "texts"}))
    assert "an earlier version made it; repeat its run_nxn_evaluation.py command" in refused(*line)
    assert run(*nxn).returncode == 0 and json.loads(told.read_text()) == whole
    assert (folder / "logits.safetensors").stat().st_mtime_ns == logits
    assert run(*line).stdout == taken.stdout
    data = tmp_path / "data/nl-NL.jsonl"
    first, *others = data.read_text().splitlines(keepends=True)
    row = json.loads(first)
    assert row["partition"] == "train"
    data.write_text(json.dumps({**row, "utt": "iets anders"}) + "\n" + "".join(others))
    assert "was measured on other texts of nl-NL" in refused(*line)
    data.write_text(json.dumps({**row, "intent": "no label"}) + "\n" + "".join(others))
    assert run(*line).stdout == taken.stdout


@pytest.mark.parametrize(
    "how",
    [
        ["--mode", "consensus", "--num-languages", 2],
        ["--mode", "ties", "--num-languages", 2, "--selection", "cosine", "--preweight", "consensus"],
        ["--mode", "ties", "--sources", "de-DE,id-ID", "--preweight", "consensus"],
    ],
)
def test_a_printed_command_reads_what_was_read(run, said_by, flags, source_copies, tmp_path, monkeypatch, how):
    """An N×N and cosines of a file, which change what is chosen; other targets do without the N×N."""
    codes = ("af-ZA", *SOURCES)
    cosines = np.random.default_rng(1).random((5, 5))
    SimilarityMatrix(codes, codes, cosines + cosines.T + 2 * np.eye(5), "").to_csv(tmp_path / "own.csv")
    run(NXN, *flags, "--split", "train", "--max-items", 100, "--targets", "af-ZA")
    (nxn,) = (tmp_path / "nxn_results").glob("nxn_eval_*")
    plans, plan_merge = [], plan.plan_merge
    monkeypatch.setattr(
        plan, "plan_merge", lambda *given, **more: plans.append(plan_merge(*given, **more)) or plans[-1]
    )
    line = [*how, *flags, "--target-lang", "af-ZA", "--consensus-examples", 100, "--dry-run"]
    main = run_merging_pipeline_refactored.main
    assert said_by(main, *line, "--nxn-matrix", nxn, "--similarity-matrix", "own.csv")[0] == 0
    result = {"experiment": plans[0].record(), "evaluation_info": {"dataset": "mini", "locale": "af-ZA"}}
    python, script, *again = shlex.split(reproduction.command_of(result))
    assert said_by(main, *again, "--dry-run")[0] == 0 and str(nxn) in again and not (source_copies / ".texts").exists()
    assert plans[1] == plans[0]
    of_others = reproduction.command_for(["nl-NL"], result, tmp_path)
    if "--sources" in how:
        assert of_others is None  # a sweep takes no named sources
    else:
        assert "--similarity-matrix own.csv --" in of_others and "--nxn-matrix" not in of_others
        assert f"--nxn-matrix {nxn} " in reproduction.command_for(["af-ZA"], result, tmp_path)
    shutil.rmtree(nxn)
    python, script, *again = shlex.split(reproduction.command_of(result))
    assert said_by(main, *again, "--dry-run")[0] == 0
    assert [source.locale for source in plans[2].sources] == [source.locale for source in plans[0].sources]
    assert [source.weight for source in plans[2].sources] == pytest.approx([one.weight for one in plans[0].sources])


def test_languages_that_uriel_lacks_are_left_to_the_consensus(run, flags, tmp_path):
    write_task(tmp_path, {"qqq": "af-ZA", **{one: one for one in SOURCES}})
    line = [MERGE, *flags[:-2], "--task", "task.yaml", "--target-lang", "qqq", "--mode", "consensus", "--dry-run"]
    done = run(*line, "--num-languages", 3)
    assert done.returncode == 0, done.stderr
    assert "URIEL does not know qqq; the consensus chooses alone" in done.stderr
    assert len(chosen(done.stdout)) == 3


def test_all_models_have_a_say_whichever_are_named(run, flags, tmp_path):
    write_task(tmp_path, {"swa": "af-ZA", **{one: one for one in SOURCES}})
    line = [MERGE, *flags[:-2], "--task", "task.yaml", "--target-lang", "swa", "--mode", "consensus", "--dry-run"]
    every = run(*line, "--num-languages", 4)
    named = run(*line, "--sources", "nl-NL,de-DE")
    assert every.returncode == named.returncode == 0, named.stderr
    whole, two = chosen(every.stdout), chosen(named.stdout)
    assert two["nl-NL"] / two["de-DE"] == pytest.approx(whole["nl-NL"] / whole["de-DE"], rel=1e-4)


def test_a_target_without_texts_or_a_model_that_cannot_speak_fails_alone(run, flags, source_copies, tmp_path):
    write_task(tmp_path, {"af-ZA": "af-ZA", "fi-FI": "fi-FI", **{one: one for one in SOURCES}}, ["fi-FI"])
    sweep = [SWEEP, *flags[:-2], "--task", "task.yaml", "--modes", "average", "--num-languages", 2, "--workers", 1]
    sweep += ["--locales", "af-ZA,fi-FI", "--selection", "sinkhorn", "consensus"]
    adapted = run(*sweep[:-3], "--adapt", "vote", "--adapt-epochs", 1, "--adapt-rounds", 1, "--results-dir", "adapted")
    assert adapted.returncode == 1 and "failed: average_merge_fi-FI_2merged_adapt-vote" in adapted.stderr, (
        adapted.stderr
    )
    assert (tmp_path / "adapted/average_merge_fi-FI_2merged").is_dir()  # which needs no texts
    swept = run(*sweep)
    assert swept.returncode == 1 and "Traceback" not in swept.stderr, swept.stderr
    results = tmp_path / "results"
    name = "average_merge_{}_2merged{}"
    assert (results / name.format("af-ZA", "_consensus")).is_dir() and (results / name.format("fi-FI", "")).is_dir()
    failed = [line for line in swept.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1 and "fi-FI_2merged_consensus: no train in " in failed[0]
    weights = source_copies / "tiny_massive_k_de-DE/model.safetensors"  # no neighbour
    weights.write_bytes(weights.read_bytes()[:1000])
    broken = run(*sweep, "--results-dir", "broken")
    assert broken.returncode == 1 and "Traceback" not in broken.stderr, broken.stderr
    assert (tmp_path / "broken" / name.format("af-ZA", "")).is_dir()
    assert "average_merge_af-ZA_2merged_consensus: de-DE on texts of af-ZA: " in broken.stderr


def test_what_was_said_and_is_damaged_is_said_again(run, flags, source_copies):
    line = [MERGE, *flags, "--target-lang", "af-ZA", "--mode", "consensus", "--num-languages", 4, "--dry-run"]
    first = run(*line).stdout
    logits = sorted(source_copies.glob(".texts/*/*/logits.npy"))
    logits[0].write_bytes(b"")
    logits[1].write_bytes(logits[1].read_bytes()[:-2000])
    np.save(logits[2], np.load(logits[3])[:7])
    logits[3].with_name("texts.json").write_text("[]")
    again = run(*line)
    assert again.returncode == 0 and again.stdout == first, again.stderr


def test_each_precision_keeps_what_was_said(said_by, flags, source_copies, monkeypatch):
    line = [*flags, "--target-lang", "af-ZA", "--mode", "consensus", "--num-languages", 4, "--dry-run"]
    moments = []
    for dtype in (torch.float32, torch.bfloat16, torch.float32, torch.bfloat16):
        monkeypatch.setattr(devices, "evaluation_dtype", lambda device, dtype=dtype: dtype)
        assert said_by(run_merging_pipeline_refactored.main, *line)[0] == 0
        moments.append({file: file.stat().st_mtime_ns for file in source_copies.glob(".texts/*/*/logits.npy")})
    assert [len(one) for one in moments] == [4, 8, 8, 8]
    assert moments[0].items() <= moments[1].items() and moments[1] == moments[2] == moments[3]


def test_in_turns_the_weights_are_those_of_the_models_by_then(run, flags, refused, tmp_path, tiny_base):
    line = [TURNS, "--model-name-or-path", tiny_base, "--models-root", "models", "--dataset-name", "mini"]
    line += ["--target-lang", "af-ZA", "--mode", "consensus", "--max-epochs", 2, "--max-train-samples", 32]
    assert "--selection consensus needs models" in refused(*line, "--num-languages", 2)
    assert "--nxn-matrix is of other models" in refused(*line, "--locales", "nl-NL,id-ID", "--nxn-matrix", "nxn")
    write_task(tmp_path, {one: one for one in ("af-ZA", *SOURCES)}, ["af-ZA"])
    own = [*line, "--dataset-name", "data"]
    wordless = run(*own, "--locales", "nl-NL,id-ID")
    assert wordless.returncode == 2 and "error: no train in " in wordless.stderr and "af-ZA" in wordless.stderr
    done = run(*line, "--locales", "nl-NL,id-ID")
    assert done.returncode == 0, done.stderr
    history = json.loads(next(tmp_path.rglob("merge_history.json")).read_text())
    merges = history["merge_history"]
    assert [set(merge["weights"]) for merge in merges] == [{"nl-NL", "id-ID"}] * len(merges)
    # The plan was made before there was anything to ask; each merge has asked its own models.
    details = [json.loads(file.read_text())["plan"]["similarity"] for file in tmp_path.rglob("merge_details.json")]
    assert details and all(set(told["consensus"]) == {"nl-NL", "id-ID"} for told in details)


def test_a_choice_without_models_or_texts_is_refused(refused, flags, source_copies):
    line = [MERGE, *flags, "--mode", "consensus"]
    shutil.rmtree(source_copies / "tiny_massive_k_de-DE")
    for locale in ("en-US", "id-ID"):
        shutil.rmtree(source_copies / f"tiny_massive_k_{locale}")
    assert "no models but nl-NL's own" in refused(*line, "--target-lang", "nl-NL")
