"""Cards are read far from here: they tell the task's metric, and no place of this machine."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from merginguriel.utils.adaptation import model_card as of_adapted
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.massive import MASSIVE
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.flags.config import parse_with_config
from merginguriel.utils.flags.merge_command import build_parser
from merginguriel.utils.flags.merge_flags import add_mode
from merginguriel.utils.merging import model_card as of_merge
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.selection import Source, SourceSettings
from merginguriel.utils.merging.settings import MergeSettings

GOLD, SAID = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
ACCURACY, MACRO_F1 = 3 / 4, (6 / 7 + 0) / 2  # by hand


def merged(task: Task, evaluation: Evaluation) -> str:
    plan = MergePlan(MergeSettings("average", "af"), task, "mini", (), {"selection": "manual"}, None, (), Path("m"))
    return of_merge.model_card(plan, evaluation)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """The Hub's cache, with cards of two models: of one the licence is told."""
    for name, card in (("me--german", "---\nlicense: mit\n---\n# German\n"), ("me--base", "# A base\n")):
        snapshot = tmp_path / f"hub/models--{name}/snapshots/{'0' * 40}"
        snapshot.mkdir(parents=True)
        (snapshot / "README.md").write_text(card)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs/main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot_of(hub: Path, name: str) -> Path:
    return hub / f"models--{name}/snapshots/{'0' * 40}"


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


def test_sources_are_linked_and_the_licence_is_theirs(hub, tmp_path):
    task = Task("moods", "mini", ("text",), "mood", ("a", "b"), (("af", None),))
    sources = (Source("de", snapshot_of(hub, "me--german"), 0.75), Source("nl", tmp_path / "models/dutch", 0.25))
    plan = MergePlan(
        MergeSettings("average", "af"), task, "me/base", sources, {"selection": "manual"}, None, (), Path("m")
    )
    text = of_merge.model_card(plan)
    assert "| de | [me/german](https://huggingface.co/me/german) | 0.750000 |\n| nl | dutch | 0.250000 |" in text
    data = ModelCard(text).data
    assert data.base_model == ["me/german"] and data.license == "mit"
    without = ModelCard(of_merge.model_card(replace(plan, sources=sources[1:]))).data
    assert without.base_model == ["me/base"] and without.license is None


def test_its_settings_are_those_of_its_command(tmp_path):
    """The recipe as it stands, given to the parser as a line and as a file, asks for the very same merge."""
    task = replace(MASSIVE, data=str(tmp_path))
    sources = tuple(Source(locale, Path(f"/far/away/{locale}"), 0.5) for locale in ("nl-NL", "de-DE"))
    choice = SourceSettings(selection="consensus", num_languages=2)
    settings = MergeSettings(
        "ties", "af-ZA", choice, hyperparameters={"density": 0.3}, adaptation=AdaptSettings("vote")
    )
    plan = MergePlan(settings, task, "mini", sources, {"selection": "manual"}, None, (), Path("m"))
    text = of_merge.model_card(plan)
    assert "/far" not in text and str(tmp_path.parent) not in text
    [line, file] = re.findall(r"```(?:bash|yaml)\n(.*?)```", text, re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(file)
    program, name, *arguments = shlex.split(line)
    assert (program, name) == ("merginguriel", "merge")
    by_line, by_file = (
        vars(parse_with_config(add_mode_to(build_parser("x", "")), told))
        for told in (arguments, ["--config", str(tmp_path / "recipe.yaml")])
    )
    for told in (by_line, by_file):
        del told["command"], told["config"], told["tokens"], told["parser"]
    by_file["explicit"].discard("config")
    assert by_file == by_line and by_line["density"] == 0.3 and by_line["adapt"] == "vote"
    assert by_line["given"] == [("nl-NL", "nl-NL"), ("de-DE", "de-DE")]


def add_mode_to(parser):
    add_mode(parser, required=True)
    return parser
