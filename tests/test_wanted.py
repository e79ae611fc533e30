"""What is missing is said at once, before torch is loaded, with the command that makes it."""

import json
import subprocess
import sys

import pytest
from auto_merge_llm.errors import InputError
from running import environment

from merginguriel.utils.data.massive import MASSIVE, MINI_TASK
from merginguriel.utils.merging import wanted
from merginguriel.utils.models.store import ModelStore

HEAVY = {"torch", "transformers", "datasets", "pandas", "matplotlib"}
MINI = ["--dataset-name", "mini"]
AVERAGE = ["--mode", "average"]


def told(module: str, flags: list[str], folder) -> tuple[str, set[str]]:
    """(what the command refuses its flags with, the heavy packages that it has loaded by then)"""
    code = (
        f"import json, sys; from merginguriel import {module} as command\n"
        f"assert command.main({flags!r}) == 2; print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


MISSING = {
    "merge": ("run_merging_pipeline_refactored", [*AVERAGE, "--target-lang", "fr-FR"], "no models xlm-roberta-base"),
    "merge by hand": ("run_merging_pipeline", ["--target-lang", "af-ZA", *MINI], "no models mini_massive"),
    "its sources": (
        "run_merging_pipeline_refactored",
        [*AVERAGE, *MINI, "--target-lang", "af-ZA", "--sources", "nl-NL,de-DE"],
        "--locales nl-NL de-DE",
    ),
    "source": (
        "run_merging_pipeline_refactored",
        [*AVERAGE, "--target-lang", "fr-FR", "--source", "es-ES=../models x"],
        "error: no folder ../models x, ",
    ),
    "sweep": ("run_large_scale_experiment", ["--locales", "af-ZA", *MINI], "no models mini_massive"),
    "nxn": ("run_nxn_evaluation", MINI, "no models mini_massive"),
    "ensemble": ("uriel_ensemble_inference", ["--target-lang", "af-ZA", *MINI], "no models mini_massive"),
    "kept logits": (
        "uriel_ensemble_inference",
        ["--target-lang", "af-ZA", *MINI, "--nxn-dir", "none"],
        "no finished N×N evaluation in none",
    ),
    "ensemble-sweep": (
        "run_large_scale_ensemble_experiments",
        ["--target-languages", "af-ZA", *MINI],
        "no models mini_massive",
    ),
    "adapt": ("adapt_to_target", ["--model", "absent", "--target-lang", "af-ZA", *MINI], "no model folder absent"),
    "evaluate": ("evaluate_specific_model", ["--base-model", "absent", "--locale", "af-ZA"], "no model folder absent"),
    "report": ("report", [], "no folder results"),
    "aggregate": ("aggregate_results", [], "no folder results"),
}


@pytest.mark.parametrize("name", MISSING)
def test_it_is_said_before_torch_is_loaded(tmp_path, name):
    module, flags, message = MISSING[name]
    said, loaded = told(module, flags, tmp_path)
    assert message in said and said.count("\n") == 1 and not loaded
    assert not list(tmp_path.iterdir())


def test_too_few_models(tmp_path):
    for locale in ("nl-NL", "es-ES"):
        folder = tmp_path / f"haryos_model/mini_massive_k_{locale}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    flags = [*AVERAGE, *MINI, "--target-lang", "af-ZA", "--num-languages", "4"]
    said, loaded = told("run_merging_pipeline_refactored", flags, tmp_path)
    # Of the languages that are missed, those that mini has.
    assert "only 2 of af-ZA's neighbours have a model (nl-NL, es-ES)" in said and not loaded
    missed = said.split("or train ")[1].strip().split(", ")
    assert len(missed) == 2 and set(missed) <= set(MINI_TASK.codes) - {"af-ZA", "nl-NL", "es-ES"}


def test_models_of_another_base_are_named(tmp_path):
    (tmp_path / "mini_massive_k_nl-NL").mkdir()
    (tmp_path / "other_topics_k_nl-NL").mkdir()
    with pytest.raises(InputError, match=r"; give --base-model mini, of which there are models, or train nl-NL with "):
        wanted.available(ModelStore("xlm-roberta-base", MINI_TASK, tmp_path), ["af-ZA"], 1)


@pytest.mark.parametrize("target", MINI_TASK.codes[:3])
def test_no_target_is_advised_as_its_own_source(target):
    advised = wanted.nearest(MINI_TASK, [target], 3)
    assert len(advised) == 3 and target not in advised and set(advised) < set(MINI_TASK.codes)


def test_the_advice_is_the_targets_neighbours():
    assert wanted.nearest(MINI_TASK, ["af-ZA"], 2) == ["nl-NL", "de-DE"]
    assert set(wanted.nearest(MASSIVE, ["fr-FR"], 5)) & {"it-IT", "es-ES", "pt-PT", "ca-ES", "ro-RO"}
    several = wanted.nearest(MINI_TASK, ["af-ZA", "ms-MY"], 1)
    assert several[0] == "nl-NL" and several[1] == "id-ID"


def test_the_advised_line_names_the_store(tmp_path):
    store = ModelStore("mini", MINI_TASK, tmp_path / "my models")
    with pytest.raises(InputError) as caught:
        wanted.available(store, ["af-ZA"], 2)
    line = f"--base-model mini --dataset-name mini --models-root '{tmp_path / 'my models'}' --locales nl-NL de-DE"
    assert str(caught.value).endswith(f"train_missing_models.py {line}")
