"""The Python API: the numbers of the commands, in one call, and no file unless it is asked for."""

import gc
import inspect
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from auto_merge_llm.checkpoint import Checkpoint
from running import ROOT, environment
from tables import whole_rows

import merginguriel as mu
from merginguriel import (
    adapt_to_target,
    evaluate_specific_model,
    run_merging_pipeline_refactored,
    run_nxn_evaluation,
    uriel_ensemble_inference,
)
from merginguriel.utils.models import mini_encoder
from merginguriel.utils.storage import atomic

MERGE = {"target_lang": "af-ZA", "mode": "similarity", "num_languages": 3, "task": "mini"}


@pytest.fixture
def place(models_root, tmp_path, monkeypatch):
    """An empty working folder, in which only what a test asks for may be written; the settings of the tiny models."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return {"base_model": "tiny", "models_root": models_root}


def files():
    return sorted(path.name for path in Path().iterdir())


def flags(settings):
    """The same settings as a command has them."""
    return [token for name, value in settings.items() for token in ("--" + name.replace("_", "-"), str(value))]


def results(folder):
    return atomic.read_json(Path(folder) / "results.json")["performance"]


# The package


def test_importing_it_is_instant_and_names_are_there_when_used():
    code = (
        "import sys, merginguriel as mu\n"
        "assert not {'torch', 'transformers', 'pandas', 'numpy', 'yaml', 'auto_merge_llm'} & set(sys.modules)\n"
        "assert set(mu.__all__) <= set(dir(mu)) and 'merge' not in vars(mu)\n"
        "mu.load_task('mini'); assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    names: dict = {}
    exec("from merginguriel import *", names)
    assert {name: names[name] for name in mu.__all__} == {name: vars(mu)[name] for name in mu.__all__}
    assert len(mu.__all__) <= 17
    with pytest.raises(AttributeError, match="no attribute 'merj'"):
        mu.merj  # noqa: B018


def test_keywords_stand_in_signatures_and_help(capsys):
    shown = inspect.signature(mu.merge).parameters
    assert list(shown)[:3] == ["target_lang", "mode", "task"] and shown["num_languages"].default == 5
    assert shown["density"].default is None and shown["no_normalize_fisher"].default is False and "source" not in shown
    assert "similarity_source: sparse: the shipped" in inspect.getdoc(mu.merge)
    assert "sources" in inspect.signature(mu.nxn).parameters and "settings" not in shown
    scripts = {
        mu.adapt: adapt_to_target,
        mu.merge: run_merging_pipeline_refactored,
        mu.vote: uriel_ensemble_inference,
        mu.nxn: run_nxn_evaluation,
    }
    for function, script in scripts.items():
        with pytest.raises(SystemExit):
            script.main(["--help"])
        told = capsys.readouterr().out
        for name in inspect.signature(function).parameters:
            # The models of --source are values of sources here.
            assert "--" + name.replace("_", "-").removesuffix("s") in told, name


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_language": 3}, r"merge\(\): no flag num_language; did you mean num_languages\?"),
        ({"num_languages": 0}, r"merge\(\): argument num_languages: must be at least 1"),
        ({"mode": "averag"}, "invalid choice: 'averag'"),
        ({"no_eval": "yes"}, "a switch, and only that"),
        ({"target_lang": "af-ZX"}, "did you mean af-ZA"),
        ({"task": "mimi"}, "no task 'mimi'"),
        ({"sources": ["nl-NL", "fr-FR"]}, "fr-FR"),
        ({"sources": {"nl-NL": "no/such/place"}, "base_model": None}, "no/such/place"),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_python(place, settings, message):
    with pytest.raises(mu.InputError, match=message):
        mu.merge(**{**MERGE, **place, "mode": "average", **settings})
    assert files() == []


def test_tasks_and_sources(place, models_root):
    task = mu.load_task("mini")
    assert isinstance(task, mu.Task) and task == mu.load_task(dataset_name="mini") == mu.load_task(task)
    assert "af-ZA" in task.codes and len(task.load("af-ZA", "test")) == 144
    found = mu.list_sources("mini", **place)
    assert found == {code: models_root / f"tiny_massive_k_{code}" for code in ("de-DE", "en-US", "id-ID", "nl-NL")}
    given = {"nl-NL": found["de-DE"], "fi-FI": str(found["id-ID"])}
    assert mu.list_sources(task, sources=given) == {"fi-FI": found["id-ID"], "nl-NL": found["de-DE"]}
    # A task that no name or file means.
    own = replace(task, name="own", origin="")
    with pytest.raises(mu.InputError, match="no models tiny_own_k_"):
        mu.list_sources(own, **place)


# The numbers of the commands


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "similarity", "num_languages": 3},
        {"mode": "ties", "num_languages": 2, "density": 0.4, "selection": "cosine", "dtype": "float16"},
        {"mode": "regmean", "num_languages": 2, "num_examples": 20, "data_mode": "sources"},
        {"mode": "task_arithmetic", "num_languages": 2, "scaling": 0.5, "base_checkpoint": "base"},
        {"mode": "manual", "weights": "nl-NL=0.7,de-DE=0.3"},
    ],
    ids=lambda settings: settings["mode"],
)
def test_a_merge_is_that_of_the_command(place, tmp_path, settings):
    if "base_checkpoint" in settings:
        base = shutil.copytree(place["models_root"] / "init/tiny_seed42", tmp_path / "base")
        settings = {**settings, "base_checkpoint": base}
    shared = {"target_lang": "af-ZA", "task": "mini", **place}
    command = [*flags({**shared, **settings}), "--output-dir", "../merged", "--results-dir", "../results"]
    assert run_merging_pipeline_refactored.main(command) == 0
    if settings["mode"] == "manual":
        settings = {"mode": "manual", "weights": {"nl-NL": 0.7, "de-DE": 0.3}}
    found = mu.merge(**shared, **settings)
    assert files() == []
    folder = tmp_path / "merged"
    assert found.fingerprint == Checkpoint(folder).weights_fingerprint
    told, plan = results(tmp_path / "results/merged"), atomic.read_json(folder / "merge_details.json")["plan"]
    assert (found.accuracy, found.macro_f1, list(found.interval)) == (told["accuracy"], told["macro_f1"], told["ci95"])
    assert found.weights == {source["locale"]: source["weight"] for source in plan["sources"]}
    assert [source.path for source in found.sources] == [Path(source["path"]) for source in plan["sources"]]
    for language, own in found.alone.items():
        assert own.accuracy == results(tmp_path / f"results/tiny_massive_k_{language}_af-ZA")["accuracy"]
    kept = np.load(tmp_path / "results/merged/predictions.npz")
    assert found.predictions == [str(kept["intents"][label]) for label in kept["predictions"]]
    # What it saves is the command's folder, so that the command finds its work done.
    assert found.save("../again") == Path("../again") and files() == []
    saved = atomic.read_json(tmp_path / "again/merge_details.json")["plan"]
    assert saved == plan and Checkpoint(tmp_path / "again").weights_fingerprint == found.fingerprint
    assert f"{found.accuracy:.4f}" in (tmp_path / "again/README.md").read_text()
    with pytest.raises(mu.InputError, match="exists already"):
        found.save("../again")
    with pytest.raises(mu.InputError, match="is a source of this merge"):
        found.save(found.sources[0].path, overwrite=True)


def test_a_merge_tells_its_items_and_its_table(place):
    found = mu.merge(**MERGE, **place)
    table = found.to_pandas()
    assert list(table.columns) == ["id", "text", "label", "prediction", "correct"] and len(table) == 144
    assert table.correct.mean() == found.accuracy and list(table.prediction) == found.predictions
    assert found.table().count("\n") == 4 and "best source" in found.table()
    assert [own.accuracy for own in found.alone.values()] == sorted(
        (own.accuracy for own in found.alone.values()), reverse=True
    )
    best = next(iter(found.alone.values()))
    assert f"{found.result.p_value(best):.2g}" == found.table().split()[-1] and best.folder is None
    assert repr(found) == f"<similarity of {', '.join(found.weights)} for af-ZA: accuracy {found.accuracy:.4f}>"
    labels = found.result.per_label()
    assert labels.f1.mean() == pytest.approx(found.macro_f1) and labels.support.sum() == 144


def test_what_is_asked_for_is_written_and_used_again(place, tmp_path):
    found = mu.merge(**MERGE, **place, output_dir="m", results_dir=Path("r"), no_baselines=True)
    assert files() == ["m", "r"] and found.alone == {} and found.result.folder == Path("r/m")
    assert results("r/m")["accuracy"] == found.accuracy
    again = mu.merge(**MERGE, **place, output_dir="m", results_dir="r")
    assert again.fingerprint == found.fingerprint == Checkpoint("m").weights_fingerprint
    with pytest.raises(mu.InputError, match="exists already and is not this merge"):
        mu.merge(**{**MERGE, "num_languages": 2}, **place, output_dir="m")


def test_a_merge_without_items_of_its_target(place):
    found = mu.merge(**MERGE, **place, no_eval=True)
    assert "accuracy" not in repr(found)
    with pytest.raises(mu.InputError, match="no_eval"):
        found.accuracy  # noqa: B018
    whole = mu.merge(**MERGE, **place)
    assert found.fingerprint == whole.fingerprint
    assert mu.evaluate(found, "af-ZA").accuracy == whole.accuracy and files() == []
    folder = found.save("saved")
    assert mu.evaluate(folder, "sw-KE", task="mini").predictions == mu.evaluate(found, "sw-KE").predictions


def test_models_of_your_own(place, models_root):
    own = {"nl-NL": models_root / "tiny_massive_k_de-DE", "fi-FI": models_root / "tiny_massive_k_id-ID"}
    found = mu.merge(target_lang="af-ZA", mode="average", task="mini", sources=own)
    assert found.weights == {"nl-NL": 0.5, "fi-FI": 0.5}
    named = mu.merge(target_lang="af-ZA", mode="average", task="mini", sources=["de-DE", "id-ID"], **place)
    assert found.fingerprint == named.fingerprint


def test_an_evaluation_is_that_of_the_command(place, models_root, tmp_path):
    model = models_root / "tiny_massive_k_nl-NL"
    command = ["--base-model", model, "--locale", "de-DE", "sw-KE", "--task", "mini", "--results-dir", "../results"]
    assert evaluate_specific_model.main(list(map(str, command))) == 0
    told = {code: results(tmp_path / f"results/{model.name}_{code}") for code in ("de-DE", "sw-KE")}
    one = mu.evaluate(model, "de-DE", task="mini")
    assert (one.accuracy, one.macro_f1, one.score) == (*[told["de-DE"][name] for name in ("accuracy", "macro_f1")],) + (
        told["de-DE"]["accuracy"],
    )
    assert len(one) == 144 and one.language == "de-DE" and one.split == "test"
    both = mu.evaluate(str(model), ["de-DE", "sw-KE"], task="mini")
    assert both["de-DE"].predictions == one.predictions == both.predictions["de-DE"]
    assert both.accuracy == pytest.approx(np.mean([row["accuracy"] for row in told.values()]))
    low, high = both.interval
    assert low <= both.accuracy <= high
    assert both.to_pandas().loc["sw-KE", "accuracy"] == told["sw-KE"]["accuracy"]
    assert mu.evaluate(model, "de-DE", task="mini", split="validation").split == "validation"
    assert files() == []
    assert mu.evaluate(model, "de-DE", task="mini", results_dir="r").folder == Path(f"r/{model.name}_de-DE")


def test_a_vote_is_that_of_the_command(place, tmp_path):
    shared = {"target_lang": "af-ZA", "num_languages": 3, "task": "mini", **place}
    command = [*flags(shared), "--voting-method", "all", "--results-dir", "../results"]
    assert uriel_ensemble_inference.main(command) == 0
    found = mu.vote(**shared, voting_method="soft")
    assert files() == [] and found.logits.shape == (3, 144, 60)
    for method in ("majority", "weighted_majority", "soft", "uriel_logits"):
        kept = np.load(tmp_path / f"results/ensemble_{method}_af-ZA_3lang/predictions.npz")
        assert found.by(method).predictions == [str(kept["intents"][label]) for label in kept["predictions"]]
    assert found.accuracy == results(tmp_path / "results/ensemble_soft_af-ZA_3lang")["accuracy"]
    assert found.by("soft").predictions == found.predictions and len(found.to_pandas()) == 144
    assert list(found.weights) == ["id-ID", "nl-NL", "en-US"] and found.table().count("\n") == 4
    for language, own in found.alone.items():
        assert own.accuracy == results(tmp_path / f"results/tiny_massive_k_{language}_af-ZA")["accuracy"]
    with pytest.raises(mu.InputError, match="invalid choice: 'all'"):
        mu.vote(**shared, voting_method="all")


def test_an_nxn_is_that_of_the_command_and_chooses_sources(place, tmp_path):
    shared = {"task": "mini", "split": "validation", **place}
    languages = ["nl-NL", "de-DE"]
    command = [*flags(shared), "--locales", *languages, "--targets", *languages, "af-ZA", "--results-dir", "../nxn"]
    assert run_nxn_evaluation.main(command) == 0
    (run,) = (tmp_path / "nxn").glob("nxn_eval_*")
    found = mu.nxn(**shared, locales=languages, targets=[*languages, "af-ZA"])
    assert files() == [] and found.folder is None and found["de-DE", "af-ZA"].folder is None
    rows = [line.split(",") for line in (run / "evaluation_matrix.csv").read_text().splitlines()]
    assert (*rows[0][1:],) == found.targets and [row[0] for row in rows[1:]] == list(found.sources)
    np.testing.assert_array_equal(np.array([row[1:] for row in rows[1:]], float), found.matrix)
    summary = json.loads((run / "evaluation_summary.json").read_text())
    assert found.zero_shot == summary["zero_shot_mean_accuracy"]
    assert found.own_language == summary["own_language_mean_accuracy"]
    cell = found["de-DE", "af-ZA"]
    assert cell.accuracy == found.to_pandas().loc["de-DE", "af-ZA"]
    assert (
        cell.predictions
        == mu.evaluate(
            place["models_root"] / "tiny_massive_k_de-DE", "af-ZA", task="mini", split="validation"
        ).predictions
    )
    with pytest.raises(mu.InputError, match="no model tiny_massive_k_fi-FI"):
        mu.nxn(**shared, locales=["fi-FI"])
    kept = mu.nxn(**shared, locales=languages, targets=[*languages, "af-ZA"], results_dir="../nxn")
    assert kept.folder == Path("../nxn") / run.name and kept["de-DE", "af-ZA"].predictions == cell.predictions
    ranked = kept.for_target("af-ZA")
    if not ranked:  # other versions of torch draw other models
        pytest.skip("these random models are right of nothing on af-ZA")
    merge = {**MERGE, "num_languages": len(ranked)}
    chosen = mu.merge(**merge, **place, selection="real", nxn_matrix=kept.folder, no_eval=True)
    assert list(chosen.weights) == list(ranked) == ["nl-NL"]


def test_similarity_is_what_merges_read(place):
    codes = mu.load_task("mini").codes
    dense = mu.Similarity.of(codes)
    assert dense.languages == tuple(codes) and np.diag(dense.to_pandas()).tolist() == [1.0] * len(codes)
    file = dense.sparse(k=5, iterations=50).save("sparse.csv")
    read = mu.Similarity.read(file)
    np.testing.assert_array_equal(read.matrix, dense.sparse(5, 50).matrix)
    found = mu.merge(**MERGE, **place, similarity_matrix=file, no_eval=True)
    there = mu.list_sources("mini", **place)
    chosen = dict([(code, share) for code, share in read.for_target("af-ZA").items() if code in there][:3])
    assert found.weights == pytest.approx({code: share / sum(chosen.values()) for code, share in chosen.items()})
    assert mu.Similarity.default().for_target("af-ZA") and "49 languages" in repr(mu.Similarity.default())


# Adaptation

ADAPT = {"adapt_examples": 32, "adapt_epochs": 1, "adapt_lr": 0.01, "adapt_batch_size": 8}


def test_an_adapted_merge_is_that_of_the_commands(place, tmp_path):
    """Merged and adapted in memory, from a folder, and by the two commands: one model, and the same answers."""
    merged = mu.merge(**MERGE, **place)
    found = mu.adapt(merged, **ADAPT)
    assert files() == [] and found.folder.is_dir()
    merge = [*flags({**MERGE, **place}), "--output-dir", "../merged", "--no-eval"]
    assert run_merging_pipeline_refactored.main(merge) == 0
    command = [*flags({"target_lang": "af-ZA", "task": "mini", **ADAPT}), "--model", "../merged"]
    command += ["--output-dir", "../adapted", "--results-dir", "../results"]
    assert adapt_to_target.main(command) == 0
    told, kept = results(tmp_path / "results/adapted"), np.load(tmp_path / "results/adapted/predictions.npz")
    assert found.fingerprint == Checkpoint(tmp_path / "adapted").weights_fingerprint != merged.fingerprint
    assert (found.accuracy, list(found.interval)) == (told["accuracy"], told["ci95"])
    assert found.predictions == [str(kept["intents"][label]) for label in kept["predictions"]]
    assert found.before.predictions == merged.predictions
    assert found.weights == dict.fromkeys(sorted(merged.weights), pytest.approx(1 / 3))
    assert {code: one.predictions for code, one in found.alone.items()} == {
        code: one.predictions for code, one in merged.alone.items()
    }
    # The vote: that of the same sources, by the command that votes.
    vote = mu.vote("af-ZA", "soft", task="mini", sources=list(merged.weights), preweight="equal", **place)
    assert found.vote.accuracy == pytest.approx(vote.accuracy, abs=1 / 144) and found.vote.folder is None
    rounds = atomic.read_json(tmp_path / "adapted/adaptation.json")["rounds"]
    assert [(one["losses"], one["agreement"]) for one in found.rounds] == [
        (one["losses"], one["agreement"]) for one in rounds
    ]
    assert len(found.to_pandas()) == 144 and whole_rows(found.table())[-1].split()[1] == f"{found.accuracy:.4f}"
    assert repr(found) == f"<{merged.plan.output.name} adapted to af-ZA: accuracy {found.accuracy:.4f}>"
    # From the command's folder, in its words: it is known again, and nothing is made anew.
    again = {"output_dir": "../adapted", "results_dir": "../results", "task": "mini", **ADAPT}
    written = (tmp_path / "adapted/model.safetensors").stat().st_mtime_ns
    same = mu.adapt("../merged", "af-ZA", **again)
    assert same.fingerprint == found.fingerprint and same.result.folder == Path("../results/adapted")
    assert (tmp_path / "adapted/model.safetensors").stat().st_mtime_ns == written and files() == []


def test_an_adapted_model_is_saved_evaluated_and_gone_with_its_object(place, models_root):
    merged = mu.merge(**MERGE, **place, no_eval=True)
    found = mu.adapt(merged, **ADAPT, adapt="self", no_eval=True)
    assert found.weights == {} and found.before is found.vote is None and "accuracy" not in repr(found)
    with pytest.raises(mu.InputError, match="no_eval"):
        found.accuracy  # noqa: B018
    folder = found.save("saved")
    assert Checkpoint(folder).weights_fingerprint == found.fingerprint
    assert "# saved" in (folder / "README.md").read_text() and files() == ["saved"]
    with pytest.raises(mu.InputError, match="exists already"):
        found.save("saved")
    with pytest.raises(mu.InputError, match="is or holds"):
        mu.adapt(folder, "af-ZA", task="mini", adapt="self", **ADAPT, no_eval=True).save(folder, overwrite=True)
    of_object = mu.evaluate(found, "sw-KE").predictions
    assert of_object == mu.evaluate(folder, "sw-KE", task="mini").predictions
    held = found.folder
    del found
    gc.collect()
    assert not held.exists() and not held.parent.exists()


def test_a_merge_in_memory_is_known_again_by_its_bytes(place):
    merged = mu.merge(**MERGE, **place, no_eval=True)
    there = {"output_dir": "adapted", "results_dir": "results", "no_baselines": True, **ADAPT}
    first = mu.adapt(merged, **there)
    written = Path("adapted/model.safetensors").stat().st_mtime_ns
    again = mu.adapt(mu.merge(**MERGE, **place, no_eval=True), **there)
    assert Path("adapted/model.safetensors").stat().st_mtime_ns == written and again.before is None
    assert again.predictions == first.predictions and files() == ["adapted", "results"]
    start = atomic.read_json(Path("adapted/adaptation.json"))["run"]["start"]
    assert start == {"name": merged.plan.output.name, "weights_sha256": merged.fingerprint}
    other = mu.merge(**{**MERGE, "num_languages": 2}, **place, no_eval=True)
    with pytest.raises(mu.InputError, match="is not this adaptation"):
        mu.adapt(other, **there)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"adapt_round": 3}, r"adapt\(\): no flag adapt_round; did you mean adapt_rounds\?"),
        ({"adapt": "votes"}, "invalid choice: 'votes'"),
        ({"target_lang": None}, "the following arguments are required: target_lang"),
        ({}, "no teachers for af-ZA"),
        ({"teachers": ["af-ZA", "nl-NL"]}, "no model tiny_massive_k_af-ZA"),
        ({"adapt": "self", "adapt_tf32": True}, "needs a GPU"),
    ],
)
def test_what_cannot_be_adapted(place, models_root, settings, message):
    of_store = place if "teachers" in settings and "adapt" not in settings else {}
    with pytest.raises(mu.InputError, match=message):
        mu.adapt(
            models_root / "tiny_massive_k_id-ID",
            **{"target_lang": "af-ZA", "task": "mini", "no_eval": True, **of_store, **settings},
        )
    assert files() == []


# Pages


def test_the_readme_runs(place, models_root):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    for language in ("nl-NL", "de-DE", "en-US", "id-ID"):
        shutil.copytree(models_root / f"tiny_massive_k_{language}", f"haryos_model/mini_massive_k_{language}")
    exec(block.replace('"massive"', '"mini"').replace("fr-FR", "af-ZA"), {})  # it has no French
    assert files() == ["errors.csv", "haryos_model", "merged_models"]


def test_the_page_names_what_there_is():
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    for name in set(mu.__all__) - {"__version__"}:
        assert re.search(rf"`{name}\b", page), name
    for row in re.findall(r"^\| `.*", page, re.MULTILINE):
        kind = re.search(r"\| `(\w+)`: (.*?) \|", row)
        for name in re.findall(r"`(\w+)(?:\(.*?\))?`", kind[2]) if kind else ():
            assert hasattr(getattr(mu, kind[1]), name) or name in getattr(mu, kind[1]).__dataclass_fields__, name


# The notebook


def test_the_notebook_runs_in_one_process(tmp_path, monkeypatch, capsys):
    notebook = json.loads((ROOT / "docs/python.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5 and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    monkeypatch.setattr(mini_encoder, "PRETRAIN_STEPS", 25)  # a weaker base, in seconds
    names: dict = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), "docs/python.ipynb", "exec"), names)
    assert "no flag densty; did you mean density?" in capsys.readouterr().out
    # Chance is 1/12.
    assert names["merged"].accuracy > 0.25 and names["transfer"].own_language > 0.5
    assert names["adapted"].before.predictions == names["merged"].predictions != names["adapted"].predictions
    assert (tmp_path / "demo/merged_in_python/model.safetensors").is_file() and files() == []
