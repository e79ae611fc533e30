"""The README.md of an adapted model: the texts, the teachers, that no label was read, and how well it does."""

from collections.abc import Mapping
from typing import Any

from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.evaluation.model_card import data_name, heading, measured_line, recipe_text
from merginguriel.utils.evaluation.results import Evaluation


def model_card(run: AdaptRun, record: Mapping[str, Any], evaluation: Evaluation | None = None) -> str:
    """`record`: that of the run; with an Evaluation, what was measured and on which data."""
    task, texts = run.task, record["texts"]
    parts = [
        heading(run.output.name, task, run.target, ["domain-adaptation"], evaluation, run.made_of),
        f"Classifier of task {task.name}, adapted with MergingUriel to {run.target} by {texts['count']} unlabelled "
        f"{texts['split']} texts of {data_name(task)}, in {_rounds(run.settings.rounds)}. No label of {run.target} was "
        f"read. It started from `{run.start.name}` and was taught by {_taught_by(run)}. Settings, hashes of texts and "
        "models, and losses stand in `adaptation.json`.",
    ]
    if run.teachers:
        rows = "\n".join(f"| {teacher['locale']} | {teacher['weight']:.6f} |" for teacher in record["teachers"])
        parts.append(f"| teacher | weight |\n|---|---|\n{rows}")
    if evaluation:
        parts.append(measured_line(task, run.target, evaluation))
    if run.recipe:
        parts.append(recipe_text(run.recipe))
    return "\n\n".join([*parts, ""])


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _taught_by(run: AdaptRun) -> str:
    if not run.teachers:
        return "itself"
    return f"the vote of {len(run.teachers)} models that were fine-tuned on other languages"
