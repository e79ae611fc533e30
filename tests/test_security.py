"""What is never executed or followed, as far as no other test shows it; docs/security.md names them all."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from auto_merge_llm.errors import InputError
from made_results import write_merge, write_single

from merginguriel import aggregate_results, evaluate_specific_model, report, run_merging_pipeline_refactored
from merginguriel.utils.data.task_file import read_task_file
from merginguriel.utils.evaluation.predictions import read_predictions
from merginguriel.utils.storage import atomic, made_folders

SCRIPT = "<script>alert(1)</script>"


class Payload:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark):
        self._mark = str(mark)

    def __reduce__(self):
        return open, (self._mark, "w")


def test_a_pickle_in_predictions_is_never_loaded(tmp_path):
    mark = tmp_path / "ran"
    holder = np.empty(1, object)
    holder[0] = Payload(mark)
    file = tmp_path / "predictions.npz"
    np.savez(file, ids=holder, labels=np.zeros(1, np.int16))
    with pytest.raises(InputError, match="damaged"):
        read_predictions(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ids.npy", pickle.dumps(Payload(mark)))
    with pytest.raises(InputError, match="damaged"):
        read_predictions(file, ["ids"])
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))  # noqa: S301, or nothing would have been tried
    assert mark.exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/object/new:os.system"])
def test_yaml_makes_no_objects(tmp_path, said_by, tag):
    """A task and a file of flags."""
    command = f"{tag} ['touch {tmp_path / 'ran'}']\n"
    file = tmp_path / "task.yaml"
    file.write_text(f"name: {command}data: .\ntext: a\nlabel: b\nlabels: [x, y]\n")
    with pytest.raises(InputError):
        read_task_file(file)
    flags = tmp_path / "flags.yaml"
    flags.write_text(f"mode: {command}")
    code, _, err = said_by(run_merging_pipeline_refactored.main, "--mode", "average", "--config", flags)
    assert code == 2 and err.count("error: ") == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../outside", "a/b", "/tmp/outside", ".."])
def test_names_are_no_paths(tmp_path, said_by, name):
    model = ["--base-model", tmp_path / "model", "--locale", "af-ZA", "--task", "mini"]
    code, _, err = said_by(evaluate_specific_model.main, *model, "--prefix", name)
    assert code == 2 and "is not a plain name" in err
    (tmp_path / "results").mkdir()
    code, _, err = said_by(aggregate_results.main, "--output-prefix", name)  # to which a word is added
    assert code == 2 and (name == ".." or "is not a plain name" in err)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_link_is_never_replaced_nor_what_it_leads_to(tmp_path):
    """Even with --overwrite, and though it leads to a result."""
    behind = tmp_path / "behind"
    behind.mkdir()
    (behind / "results.json").write_text("{}")
    (behind / "notes.txt").write_text("mine")
    (tmp_path / "results").symlink_to(behind)
    with pytest.raises(InputError), atomic.whole_folder(tmp_path / "results", made_folders.RESULT, overwrite=True):
        raise AssertionError("begun")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(InputError), atomic.whole_folder(tmp_path / "dangling", made_folders.RESULT):
        raise AssertionError("begun")
    assert (behind / "notes.txt").read_text() == "mine" and (tmp_path / "results").is_symlink()


def test_a_page_shows_names_and_runs_none(tmp_path, said_by):
    """Of models, labels, texts, settings and the title, wherever a result tells them."""
    results = tmp_path / "results"
    write_single(results, "nl-NL", "af-ZA", "1100", root=SCRIPT.replace("/", "_"))
    write_single(results, "af-ZA", "af-ZA", "1110")
    write_merge(results, "average", "af-ZA", {"nl-NL": 1.0}, "1101")

    def infected(value):
        """Every text but those that are read as codes gets a script behind it."""
        if isinstance(value, dict):
            return {key: value[key] if key in kept else infected(value[key]) for key in value}
        if isinstance(value, list):
            return list(map(infected, value))
        return value + SCRIPT if isinstance(value, str) else value

    kept = {"locale", "massive_locale", "split", "mode", "method", "target", "timestamp", "task", "task_hash", "metric"}
    kept |= {"selection", "data", "source", "examples", "id2label", "intent_labels", "labels", "path"}
    for file in results.glob("*/results.json"):
        file.write_text(json.dumps(infected(json.loads(file.read_text()))))
    code, _, err = said_by(report.main, "--title", SCRIPT)
    assert code == 0, err
    page = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_the_package_calls_nothing_that_runs_data():
    """Scripts of data sets, text as code, pickles but of its own jobs, a shell."""
    import ast

    from running import ROOT

    runs = {"load_dataset", "eval", "exec", "os.system", "pickle.load", "pickle.loads", "torch.load"}
    found = set()
    for folder in ("merginguriel", "submodules"):
        for file in (ROOT / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call):
                    name, said = ast.unparse(call.func), ast.unparse(call)
                    assert "shell=True" not in said and "allow_pickle=True" not in said, file
                    assert name != "torch.load" or "weights_only=True" in said, file
                    found |= {(file.name, name)} if name in runs or name.endswith(".load_dataset") else set()
    assert {place for place in found if place[1] != "torch.load"} == {("ray_backend.py", "pickle.loads")}
