"""What is read from a result folder agrees with itself, or is not read."""

import json
import shutil

import numpy as np
import pytest
from auto_merge_llm.errors import InputError
from made_results import ALARM, PLAY, write_answers

from merginguriel import aggregate_results
from merginguriel.utils.evaluation.agreement import read_answers
from merginguriel.utils.evaluation.results import read_evaluation
from merginguriel.utils.results.collect import collect
from merginguriel.utils.storage import atomic


@pytest.fixture
def folder(tmp_path):
    """Of four items three are right; logits are kept."""
    answers = [ALARM, PLAY, ALARM, PLAY]
    logits = np.zeros((4, 60), np.float32)
    logits[range(4), answers] = 1
    return write_answers(tmp_path / "results/model_af-ZA", "af-ZA", [ALARM, PLAY, ALARM, ALARM], answers, logits=logits)


def rewrite(folder, **changed):
    """Other arrays in predictions.npz; None takes one away."""
    with np.load(folder / "predictions.npz") as arrays:
        kept = {name: arrays[name] for name in arrays} | changed
    np.savez(folder / "predictions.npz", **{name: values for name, values in kept.items() if values is not None})


def swapped(names):
    names = names.copy()
    names[[ALARM, PLAY]] = names[[PLAY, ALARM]]
    return names


def test_what_was_written_is_read(folder):
    assert read_evaluation(folder, "model").accuracy == 0.75
    assert set(read_answers(folder, ())) == {"ids", "labels", "predictions", "intents"}
    assert read_answers(folder)["logits"].shape == (4, 60)


CONTRADICTIONS = {
    "predictions": (lambda kept: {"predictions": kept["predictions"][[1, 1, 0, 0]], "logits": None}, "predicted_label"),
    "accuracy": (
        lambda kept: {"predictions": kept["labels"], "logits": None},
        "correct_predictions is 4 by its answers",
    ),
    "gold": (lambda kept: {"labels": kept["predictions"]}, "correct_predictions is 4"),
    "fewer items": (
        lambda kept: {name: kept[name][:3] for name in kept if name != "intents"},
        "total_predictions is 3",
    ),
    "order of ids": (lambda kept: {"ids": kept["ids"][::-1]}, "example_id of item 1 is '3' and '0'"),
    "order of labels": (lambda kept: {"intents": swapped(kept["intents"])}, "true_intent of item 1 is 'play_music'"),
    "length": (lambda kept: {"labels": kept["labels"][:3]}, "different numbers of items"),
    "nothing": (lambda kept: {name: kept[name][:0] for name in kept if name != "intents"}, "or of none"),
    "shape": (lambda kept: {"labels": kept["labels"][:, None]}, "labels has the shape"),
    "type": (lambda kept: {"predictions": kept["predictions"].astype(float)}, "predictions has the shape"),
    "labels outside": (lambda kept: {"labels": kept["labels"] + 60}, "labels are of other than its 60 labels"),
    "one id twice": (lambda kept: {"ids": np.array(["0", "0", "1", "2"])}, "an id stands twice"),
    "logits": (lambda kept: {"logits": -kept["logits"]}, "not those of its logits"),
    "columns of logits": (lambda kept: {"logits": kept["logits"][:, :59]}, "logits are of other than"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(folder, case):
    change, said = CONTRADICTIONS[case]
    with np.load(folder / "predictions.npz") as arrays:
        rewrite(folder, **change(dict(arrays)))
    with pytest.raises(InputError) as caught:
        read_evaluation(folder, "model")
    assert said in str(caught.value) and str(folder / "predictions.npz") in str(caught.value)


@pytest.mark.parametrize("name, value", [("accuracy", 0.5), ("correct_predictions", 2), ("macro_f1", 0.1)])
def test_a_results_json_that_was_changed(folder, name, value):
    content = atomic.read_json(folder / "results.json")
    content["performance"][name] = value
    (folder / "results.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"{name} is .* by its answers and {value}"):
        read_evaluation(folder, "model")


def test_tables_leave_out_results_that_contradict_themselves(results, monkeypatch, capsys):
    """Predictions of another folder, of the same items: without a look, a gain and a p value of neither."""
    merge, other = results / "similarity_merge_af-ZA_2merged", results / "tiny_massive_k_de-DE_af-ZA"
    shutil.copy(other / "predictions.npz", merge / "predictions.npz")
    found = collect(results, None)
    assert list(found.damaged) == [merge / "results.json"] and str(merge) not in set(found.long.folder)
    monkeypatch.chdir(results.parent)
    assert aggregate_results.main(["--format", "csv"]) == 1
    assert "are not of one evaluation: correct_predictions is 6 by its answers and 8" in capsys.readouterr().err


def test_an_interval_without_its_accuracy(folder):
    content = atomic.read_json(folder / "results.json")
    content["performance"]["ci95"] = [0.8, 0.9]
    (folder / "results.json").write_text(json.dumps(content))
    (reason,) = collect(folder.parent, None).damaged.values()
    assert "accuracy 0.75 is not in its interval from 0.8 to 0.9" in reason
