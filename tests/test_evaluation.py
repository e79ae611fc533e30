"""One model on several locales as a user evaluates it: loaded once, every intent, a picture."""

import csv
import json
import struct

import numpy as np
import pytest
from auto_merge_llm.errors import InputError

from merginguriel import evaluate_specific_model
from merginguriel.utils.data import massive
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.evaluation import classifier, predictions
from merginguriel.utils.evaluation.classifier import Classifier
from merginguriel.utils.evaluation.statistics import bootstrap_interval
from merginguriel.utils.models import loading
from merginguriel.utils.report import heatmaps
from merginguriel.utils.storage import atomic


@pytest.fixture
def evaluate(models_root, tmp_path, monkeypatch, capsys):
    """evaluate(*flags) -> (exit code, stdout), in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*flags):
        code = evaluate_specific_model.main(
            ["--base-model", str(models_root / "tiny_massive_k_nl-NL"), "--dataset-name", "mini", *flags]
        )
        return code, capsys.readouterr().out

    return call


def test_several_locales_with_one_load(evaluate, tmp_path, monkeypatch):
    loaded, load = [], loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda *args: loaded.append(args) or load(*args))
    code, out = evaluate("--locale", "de-DE,af-ZA", "nl-NL", "--prefix", "x", "--per-intent")
    assert code == 0 and len(loaded) == 1
    correct = []
    for locale in ("de-DE", "af-ZA", "nl-NL"):
        folder = tmp_path / f"results/x_{locale}"
        kept = predictions.read_predictions(folder / "predictions.npz")
        right, gold, said = kept["predictions"] == kept["labels"], kept["labels"], kept["predictions"]
        correct.append(right)
        assert f"{locale} test accuracy {right.mean():.4f} [" in out
        with open(folder / "per_intent.csv", newline="") as lines:
            rows = {row["intent"]: row for row in csv.DictReader(lines)}
        assert list(rows) == [massive.INTENTS[index] for index in np.union1d(gold, said)]
        for intent, row in rows.items():
            index = massive.LABEL_OF[intent]
            assert int(row["support"]) == (gold == index).sum()
            for name, among in (("precision", said == index), ("recall", gold == index)):
                assert row[name] == (f"{right[among].mean():.6f}" if among.any() else "")
            assert row["intent"] in out
        performance = atomic.read_json(folder / "results.json")["performance"]
        assert performance["macro_f1"] == pytest.approx(np.mean([float(row["f1"]) for row in rows.values()]), abs=1e-6)
    low, high = bootstrap_interval(np.array(correct))
    assert out.endswith(f"mean of 3 locales {np.mean(correct):.4f} [{low:.4f}, {high:.4f}], items resampled by id\n")
    # All kept: nothing is loaded, and what is missing beside a result is made up for.
    (tmp_path / "results/x_de-DE/per_intent.csv").unlink()
    assert evaluate("--locale", "de-DE,af-ZA", "nl-NL", "--prefix", "x", "--per-intent") == (0, out)
    assert len(loaded) == 1 and (tmp_path / "results/x_de-DE/per_intent.csv").is_file()


def test_locales_of_other_items_have_a_mean_without_interval(evaluate, tmp_path):
    for locale, ids in (("de-DE", "12"), ("nl-NL", "13")):
        rows = [{"id": id_, "partition": "test", "intent": "alarm_set", "utt": "x"} for id_ in ids]
        (tmp_path / f"{locale}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out = evaluate("--locale", "de-DE,nl-NL", "--dataset-name", str(tmp_path))
    assert code == 0 and "do not share their ids" in out.splitlines()[-1]


def test_confusion_plot(evaluate, tmp_path):
    code, _ = evaluate("--locale", "de-DE", "--confusion-plot")
    picture = (tmp_path / "results/tiny_massive_k_nl-NL_de-DE/confusion.png").read_bytes()
    width, height = struct.unpack(">II", picture[16:24])
    assert code == 0 and picture.startswith(b"\x89PNG") and min(width, height) > 600


def test_confusion_matrix_counts(monkeypatch):
    from matplotlib.axes import Axes

    drawn, show, write = {}, Axes.imshow, Axes.text
    monkeypatch.setattr(
        Axes, "imshow", lambda self, values, **rest: (drawn.update(shares=values), show(self, values, **rest))[1]
    )
    monkeypatch.setattr(
        Axes,
        "text",
        lambda self, x, y, text, **rest: (drawn.update({(y, x): text}), write(self, x, y, text, **rest))[1],
    )
    gold, predicted = np.array([0, 0, 0, 2, 2]), np.array([0, 2, 2, 2, 5])
    heatmaps.confusion_matrix(predicted, gold, ["b_x", "unused", "a_y", "", "", "c"], "title")
    # Ordered a_y, b_x, c; nobody's gold is c.
    np.testing.assert_allclose(drawn.pop("shares"), [[1 / 2, 0, 1 / 2], [2 / 3, 1 / 3, 0], [0, 0, 0]])
    assert drawn == {(0, 0): 1, (0, 2): 1, (1, 0): 2, (1, 1): 1}


def test_a_missing_locale_is_found_before_the_model_is_loaded(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "load_model", None)
    assert evaluate("--locale", "de-DE", "th-TH")[0] == 2
    assert evaluate("--locale", "de-DE", "--prefix", "../x")[0] == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["the same", "another", "no space"])
def test_what_another_process_has_just_written(models_root, tmp_path, monkeypatch, what):
    """Kept where it is the same; nothing else that goes wrong by then is taken for that."""
    split, folder = MINI_TASK.load("af-ZA", "test"), tmp_path / "result"
    one, other = (Classifier(models_root / f"tiny_massive_k_{code}", MINI_TASK) for code in ("nl-NL", "de-DE"))
    score = one.logits

    def meanwhile(*asked):
        monkeypatch.setattr(one, "logits", score)
        classifier.evaluate(other if what == "another" else one, split, folder)
        if what == "no space":
            monkeypatch.setattr(classifier, "write_evaluation", no_space)
        return score(*asked)

    def no_space(*asked, **told):
        raise InputError("no space is left")

    monkeypatch.setattr(one, "logits", meanwhile)
    if what == "the same":
        assert (classifier.evaluate(one, split, folder).predicted == score(split.texts, "").argmax(-1)).all()
    else:
        with pytest.raises(InputError, match="no space" if what == "no space" else "the result of another model"):
            classifier.evaluate(one, split, folder)
