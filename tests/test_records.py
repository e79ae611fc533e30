"""Files that others read: layouts, names, and that they appear whole or not at all."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from auto_merge_llm.errors import InputError
from running import environment

from merginguriel.utils.data.massive import MASSIVE
from merginguriel.utils.evaluation import predictions
from merginguriel.utils.merging import details
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import atomic, naming
from merginguriel.utils.storage.made_folders import ADAPTED, ANSWERS, MERGED, RESULT, TRAINED

KINDS = (RESULT, MERGED, ADAPTED, TRAINED, ANSWERS)


def test_merge_details_layout():
    text = details.merge_details(
        mode="similarity",
        base_model="xlm-roberta-base",
        target="af-ZA",
        timestamp="2025-10-22T10:45:54.123456",
        sources=[Source("id-ID", Path("m/id"), 0.3343), Source("hy-AM", Path("m/hy"), 0.6657)],
    )
    assert (
        text
        == """\
Merge Mode: similarity
Timestamp (UTC): 2025-10-22T10:45:54.123456

Base Model (for architecture): xlm-roberta-base
Target Language: af-ZA

--- Merged Models and Weights ---
1. Model: m/id
   - Language: id-ID
   - Locale: id-ID
   - Weight: 0.334300 (33.43% of total)
2. Model: m/hy
   - Language: hy-AM
   - Locale: hy-AM
   - Weight: 0.665700 (66.57% of total)

Total Weight: 1.000000
"""
    )


def test_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(RuntimeError):
        with atomic.whole_folder(target) as partial:
            (partial / "a").write_text("1")
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic.whole_folder(target) as partial:
        (partial / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"


def test_folder_is_replaced_only_on_demand_and_only_by_a_whole_one(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "predictions.npz").write_text("kept")
    with pytest.raises(InputError, match="nothing that this toolkit made as a result"):
        with atomic.whole_folder(target, RESULT, overwrite=True):
            pass
    (target / "results.json").write_text("{}")
    with pytest.raises(InputError, match="--overwrite"):
        with atomic.whole_folder(target, RESULT):
            pass
    with pytest.raises(RuntimeError):
        with atomic.whole_folder(target, RESULT, overwrite=True):
            raise RuntimeError
    assert (target / "predictions.npz").read_text() == "kept"
    with atomic.whole_folder(target, RESULT, overwrite=True) as partial:
        (partial / "new").write_text("")
    assert [path.name for path in target.iterdir()] == ["new"] and [target] == list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.purpose)
def test_a_folder_is_replaced_only_by_one_of_its_kind_and_not_with_what_is_somebody_elses(tmp_path, kind):
    target = tmp_path / "out"
    for other in KINDS:
        target.mkdir()
        for name in (*other.marks, *(["model.safetensors", "config.json"] if "config.json" in other.files else [])):
            (target / name).write_text("{}")
        if other is kind:
            for mine in ("notes.docx", ".git", "results.json.bak"):
                (target / mine).write_text("mine")
                with pytest.raises(InputError, match=f"holds more than {kind.purpose}, {mine} for one"):
                    atomic.check_replaceable(target, kind, True)
                (target / mine).unlink()
            (target / "nested").mkdir()
            with pytest.raises(InputError, match="nested for one"):
                atomic.check_replaceable(target, kind, True)
            (target / "nested").rmdir()
            (target / f".config.json.partial-{platform.node()}-1-x_1").write_text("left by a kill")
            atomic.check_replaceable(target, kind, True)
        else:
            with pytest.raises(InputError, match="is not replaced"):
                atomic.check_replaceable(target, kind, True)
        shutil.rmtree(target)


def test_who_was_quicker_is_not_replaced(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(InputError, match="exists already"):
        with atomic.whole_folder(target, RESULT) as partial:
            (partial / "results.json").write_text("mine")
            target.mkdir()
            (target / "results.json").write_text("theirs")
    assert (target / "results.json").read_text() == "theirs" and [target] == list(tmp_path.iterdir())


def test_what_a_kill_leaves_of_one_file_goes_with_the_next(tmp_path):
    file = tmp_path / "measurements" / "fisher.safetensors"
    kill = "import os, sys\nfrom pathlib import Path\nfrom merginguriel.utils.storage import atomic\n"
    kill += "with atomic.beside(Path(sys.argv[1])) as partial:\n    partial.write_text('half')\n    os._exit(9)"
    subprocess.run([sys.executable, "-c", kill, file], check=False, env=environment())
    (left,) = file.parent.iterdir()
    assert left.name.startswith(".fisher") and left.read_text() == "half"
    atomic.write_text(file.with_name("another"), "whole")
    assert [path.name for path in file.parent.iterdir()] == ["another"]


def test_models_and_results_lie_apart(tmp_path):
    for result in ("m", "m/x", "."):
        with pytest.raises(InputError, match="would be in one folder"):
            atomic.check_apart(tmp_path / "m", [tmp_path / "r", tmp_path / result])
    atomic.check_apart(tmp_path / "m", [tmp_path / "r/m", tmp_path / "mm"])


def test_leftovers_of_killed_runs_are_removed_but_not_those_of_running_ones(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    for process in (dead.pid, os.getpid()):
        (tmp_path / f".out.partial-{platform.node()}-{process}-x_1").mkdir()
    with atomic.whole_folder(tmp_path / "out"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"out", f".out.partial-{platform.node()}-{os.getpid()}-x_1"}


def test_a_failure_leaves_no_parents_behind(tmp_path):
    with pytest.raises(RuntimeError):
        with atomic.whole_folder(tmp_path / "a/b/out"):
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_predictions_come_back(tmp_path):
    logits = np.array([[0.1, 2, -1], [3, 1e-8, -np.inf]], np.float32)
    predictions.write_predictions(tmp_path / "p.npz", ["10", "11"], [1, 2], [1, 0], ("a", "b", "c"), logits)
    kept = predictions.read_predictions(tmp_path / "p.npz")
    assert kept["ids"].tolist() == ["10", "11"] and kept["labels"].tolist() == [1, 2]
    assert kept["predictions"].tolist() == [1, 0] and np.array_equal(kept["logits"], logits)
    (tmp_path / "p.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:50])
    with pytest.raises(InputError, match="damaged"):
        predictions.read_predictions(tmp_path / "p.npz")


def test_model_names():
    assert naming.model_name("FacebookAI/xlm-roberta-large", "massive", "af-ZA") == "xlm-roberta-large_massive_k_af-ZA"
    assert naming.model_name("models/me5/", "massive", "af-ZA") == "me5_massive_k_af-ZA"
    assert naming.training_run_name("xlm-roberta-base", "massive", ["af-ZA"], 5e-5, 15) == (
        "xlm-roberta-base_massive_af-ZA_lr5e-5_ep15"
    )
    assert naming.training_run_name("a/b", "massive", ["fr-FR", "de-DE", "es-ES", "it-IT"], 1e-4, 3.0) == (
        "b_massive_4langs-fr-FR_lr1e-4_ep3"
    )


def test_only_whole_names_are_models(tmp_path):
    for name in (
        "base_massive_k_af-ZA",
        "base_massive_k_af-ZA.training",
        ".base_massive_k_nl-NL.partial-x",
        "base_massive_k_afrikaans",
        "other_massive_k_de-DE",
    ):
        (tmp_path / name).mkdir()
    assert list(naming.find_models(tmp_path, "org/base", "massive")) == ["af-ZA", "afrikaans"]
    assert list(ModelStore("org/base", MASSIVE, tmp_path).find()) == ["af-ZA"]


def test_merge_details_tell_what_was_asked():
    told = {"Preweight": "uriel", "Fisher Data Mode": "both", "Examples": "20 (af-ZA 10, nl-NL 10)"}
    text = details.merge_details(
        mode="fisher_dataset",
        base_model="b",
        target="af-ZA",
        timestamp="now",
        sources=[Source("nl-NL", Path("m/nl"), 1.0)],
        settings=told,
    )
    assert [line for line in text.splitlines() if line.partition(": ")[0] in told] == [
        "Preweight: uriel",
        "Fisher Data Mode: both",
        "Examples: 20 (af-ZA 10, nl-NL 10)",
    ]
    assert details.read_merge_details(text)["sources"] == [{"path": "m/nl", "locale": "nl-NL", "weight": 1.0}]
