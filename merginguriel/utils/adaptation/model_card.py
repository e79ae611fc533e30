"""The README.md of an adapted model: the texts, the teachers, that no label was read, and the accuracy once known."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.evaluation.results import Evaluation

MODEL_CARD = "README.md"


def model_card(run: AdaptRun, record: Mapping[str, Any], evaluation: Evaluation | None = None) -> str:
    """`record`: that of the run; with an Evaluation, what was measured and on which data."""
    task, texts = run.task, record["texts"]
    data_name = f"local/{Path(task.data).name}" if Path(task.data).exists() else task.data
    measured = [_measured(run, data_name, evaluation)] if evaluation else None
    data = ModelCardData(
        language=dict(task.languages).get(run.target) or re.split("[-_]", run.target)[0],
        library_name="transformers",
        pipeline_tag="text-classification",
        model_name=run.output.name,
        tags=["domain-adaptation", "merginguriel", task.name],
        eval_results=measured,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---\n\n# {run.output.name}",
        f"Classifier of task {task.name}, adapted with MergingUriel to {run.target} by {texts['count']} unlabelled "
        f"{texts['split']} texts of {data_name}, in {run.settings.rounds} rounds. No label of {run.target} was read. "
        f"It started from `{run.start.name}` and was taught by {_taught_by(run)}. Settings, hashes of texts and "
        "models, and losses stand in `adaptation.json`.",
    ]
    if run.teachers:
        rows = "\n".join(f"| {teacher['locale']} | {teacher['weight']:.6f} |" for teacher in record["teachers"])
        parts.append(f"| teacher | weight |\n|---|---|\n{rows}")
    if evaluation:
        low, high = evaluation.interval
        parts.append(
            f"Test accuracy on {run.target}, {data_name}: {evaluation.accuracy:.4f} (95 % Wilson interval {low:.4f} to "
            f"{high:.4f}, {len(evaluation.correct)} items)."
        )
    return "\n\n".join([*parts, ""])


def _taught_by(run: AdaptRun) -> str:
    if not run.teachers:
        return "itself"
    return f"the vote of {len(run.teachers)} models that were fine-tuned on other languages"


def _measured(run: AdaptRun, data_name: str, evaluation: Evaluation) -> EvalResult:
    return EvalResult(
        task_type="text-classification",
        dataset_type=data_name,
        dataset_name=data_name,
        dataset_config=run.target,
        dataset_split="test",
        metric_type="accuracy",
        metric_value=evaluation.accuracy,
    )
