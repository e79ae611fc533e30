"""What the model cards of merged and of adapted models share: the Hub's metadata, and how well the model does."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from merginguriel.utils.data.task import MINI, Task
from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS
from merginguriel.utils.evaluation.results import Evaluation

MODEL_CARD = "README.md"


def heading(
    name: str,
    task: Task,
    target: str,
    tags: Sequence[str],
    evaluation: Evaluation | None,
    base_model: str | None = None,
) -> str:
    """The metadata of a model for `target`, and its title."""
    data = ModelCardData(
        language=dict(task.languages).get(target) or re.split("[-_]", target)[0],
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=base_model,
        model_name=name,
        tags=[*tags, "merginguriel", task.name],
        eval_results=_measured(task, target, evaluation) if evaluation else None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n# {name}"


def data_name(task: Task) -> str:
    """The task's data as others know them: a Hub id as it is, of what lies here the name without its path."""
    place = Path(task.data).expanduser()
    return f"local/{place.name}" if task.data != MINI and place.exists() else task.data


def measured_line(task: Task, target: str, evaluation: Evaluation) -> str:
    """The task's metric, and accuracy with its interval."""
    low, high = evaluation.interval
    accuracy = (
        f"accuracy on {target}, {data_name(task)}: {evaluation.accuracy:.4f} "
        f"(95 % Wilson interval {low:.4f} to {high:.4f}, {len(evaluation.correct)} items)."
    )
    if evaluation.metric == ACCURACY:
        return f"Test {accuracy}"
    return f"Test {METRICS[evaluation.metric].title}: {evaluation.score:.4f}; {accuracy}"


def _measured(task: Task, target: str, evaluation: Evaluation) -> list[EvalResult]:
    """By the task's metric first."""
    metrics = [METRICS[name] for name in dict.fromkeys((evaluation.metric, ACCURACY))]
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=data_name(task),
            dataset_name=data_name(task),
            dataset_config=target,
            dataset_split="test",
            metric_type=metric.hub_id,
            metric_name=metric.title,
            metric_value=metric(evaluation.predicted, evaluation.gold),
        )
        for metric in metrics
    ]
