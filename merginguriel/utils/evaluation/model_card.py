"""What the model cards of merged and of adapted models share: the Hub's metadata, and how well the model does."""

import re
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCardData

from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.results import Evaluation

MODEL_CARD = "README.md"


def heading(
    name: str,
    task: Task,
    target: str,
    data_name: str,
    tags: Sequence[str],
    evaluation: Evaluation | None,
    base_model: str | None = None,
) -> str:
    """The metadata of a model for `target`, and its title; `data_name`: of the task's data, as others know them."""
    data = ModelCardData(
        language=dict(task.languages).get(target) or re.split("[-_]", target)[0],
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=base_model,
        model_name=name,
        tags=[*tags, "merginguriel", task.name],
        eval_results=[_measured(target, data_name, evaluation)] if evaluation else None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n# {name}"


def measured_line(target: str, data_name: str, evaluation: Evaluation) -> str:
    low, high = evaluation.interval
    return (
        f"Test accuracy on {target}, {data_name}: {evaluation.accuracy:.4f} "
        f"(95 % Wilson interval {low:.4f} to {high:.4f}, {len(evaluation.correct)} items)."
    )


def _measured(target: str, data_name: str, evaluation: Evaluation) -> EvalResult:
    return EvalResult(
        task_type="text-classification",
        dataset_type=data_name,
        dataset_name=data_name,
        dataset_config=target,
        dataset_split="test",
        metric_type="accuracy",
        metric_value=evaluation.accuracy,
    )
