"""What the model cards of merged and of adapted models share: the Hub's metadata, how well it does, how it was made."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData, try_to_load_from_cache

from merginguriel.utils.data.task import MINI, Task
from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.models.hub import hub_id_of, is_hub_id

MODEL_CARD = "README.md"


def heading(
    name: str, task: Task, target: str, tags: Sequence[str], evaluation: Evaluation | None, made_of: Sequence[str] = ()
) -> str:
    """The metadata of a model for `target`, and its title. `made_of`: models, of which those of the Hub are linked."""
    known = [model for model in made_of if model != MINI and not Path(model).exists()]
    data = ModelCardData(
        language=dict(task.languages).get(target) or re.split("[-_]", target)[0],
        library_name="transformers",
        pipeline_tag="text-classification",
        license=next(filter(None, map(licence_of, made_of)), None),
        base_model=known or None,
        model_name=name,
        tags=[*tags, "merginguriel", task.name],
        eval_results=_measured(task, target, evaluation) if evaluation else None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n# {name}"


def licence_of(model: str) -> str | None:
    """The licence that the card of a model tells, in its folder or in the Hub's cache; None where there is no card."""
    kept = Path(model) / MODEL_CARD
    if not kept.is_file() and is_hub_id(model):
        kept = Path(try_to_load_from_cache(model, MODEL_CARD) or kept)
    if model == MINI or not kept.is_file():
        return None
    return ModelCard.load(kept, ignore_metadata_errors=True).data.license


def link(model: Path) -> str:
    """A model of the Hub, which lies in its cache, by its page; another one by the name of its folder."""
    hub_id = hub_id_of(model)
    return f"[{hub_id}](https://huggingface.co/{hub_id})" if hub_id else model.name


def recipe_text(command: Sequence[str]) -> str:
    """How to make the model again: `command`, the arguments of merginguriel, as a line and as its settings in YAML.

    Places of this machine mean nothing elsewhere: of an absolute path the name alone is told.
    """
    name, *arguments = map(_without_place, command)
    settings: dict[str, list[str | int | float]] = {}
    for token in arguments:
        if token.startswith("--"):
            values = settings.setdefault(token[2:].replace("-", "_"), [])
        else:
            values.append(_number(token))
    plain = {flag: (values[0] if len(values) == 1 else values) if values else True for flag, values in settings.items()}
    return (
        f"Made by\n\n```bash\n{shlex.join(['merginguriel', name, *arguments])}\n```\n\n"
        f"or by these settings, `merginguriel {name} --config recipe.yaml`:\n\n"
        f"```yaml\n{yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)}```"
    )


def _without_place(token: str) -> str:
    before, equals, path = token.rpartition("=")
    return before + equals + (Path(path).name if Path(path).is_absolute() else path)


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


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
