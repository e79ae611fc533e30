"""Cards are read far from here: they tell the task's metric, and no place of this machine."""

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from merginguriel.utils.adaptation import model_card as of_adapted
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.merging import model_card as of_merge
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.settings import MergeSettings

GOLD, SAID = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
ACCURACY, MACRO_F1 = 3 / 4, (6 / 7 + 0) / 2  # by hand


def merged(task: Task, evaluation: Evaluation) -> str:
    plan = MergePlan(MergeSettings("average", "af"), task, "mini", (), {"selection": "manual"}, None, (), Path("m"))
    return of_merge.model_card(plan, evaluation)


def adapted(task: Task, evaluation: Evaluation) -> str:
    run = AdaptRun(task, "af", Path("start"), (), AdaptSettings("self"), 42, Path("m"))
    return of_adapted.model_card(run, {"texts": {"count": 7, "split": "train"}}, evaluation)


@pytest.mark.parametrize("card_of", [merged, adapted])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
@pytest.mark.parametrize("is_file", [True, False])
def test_it_tells_the_tasks_metric_and_no_path(tmp_path, card_of, metric, is_file):
    data = tmp_path / "moods.csv"
    data.touch() if is_file else data.mkdir()
    task = Task("moods", str(data), ("text",), "mood", ("a", "b"), (("af", None),), metric=metric)
    evaluation = Evaluation("m", tmp_path, np.array(list("wxyz")), GOLD, SAID, task.labels, metric)
    text = card_of(task, evaluation)
    assert str(tmp_path) not in text and "local/moods.csv: 0.7500 (95 % Wilson" in text
    results = ModelCard(text).data.eval_results
    assert {(one.dataset_type, one.dataset_name) for one in results} == {("local/moods.csv", "local/moods.csv")}
    told = {one.metric_type: one.metric_value for one in results}
    if metric == "accuracy":
        assert told == {"accuracy": ACCURACY} and "F1" not in text
    else:
        assert list(told) == ["f1", "accuracy"] and told == pytest.approx({"f1": MACRO_F1, "accuracy": ACCURACY})
        assert f"Test macro-F1: {MACRO_F1:.4f}; accuracy on af" in text


@pytest.mark.parametrize("name", ["AmazonScience/massive", "mini"])
def test_a_name_that_others_know_stands_as_it_is(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").touch()  # the shipped corpus all the same
    task = Task("moods", name, ("text",), "mood", ("a", "b"))
    evaluation = Evaluation("m", tmp_path, np.array(list("wxyz")), GOLD, SAID, task.labels)
    assert f"on af, {name}: " in merged(task, evaluation)
