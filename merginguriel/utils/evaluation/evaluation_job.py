"""The job of evaluating one model on one language, and what such jobs share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.classifier import Classifier, evaluate
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.models import devices
from merginguriel.utils.models.model_folder import files_of
from merginguriel.utils.storage import naming


@dataclass(frozen=True)
class ResultsOutput:
    """Where results go. `overwrite`: what else stands in a place is replaced."""

    results_root: Path
    overwrite: bool = False

    def alone(self, model: Path, language: str | None, target: str) -> Path:
        """The folder of one model's own result on the target; `language` None: it is of several."""
        name = naming.source_name(language, model) if language else model.name
        return self.results_root / naming.evaluation_name(name, target)


class EvaluationContext:
    """The items of a task, each split read once for all processes, and models, loaded when they are scored."""

    def __init__(self, task: Task):
        self.task = task
        self._splits: dict[tuple, Split] = {}

    def split(self, locale: str, name: str, draw: tuple[int, int] | None = None) -> Split:
        """`draw`: only so many items, by that seed."""
        key = locale, name, draw
        if key not in self._splits:
            split = self.task.load(locale, name)
            self._splits[key] = split.draw(*draw) if draw else split
        return self._splits[key]

    def classifier(self, path: Path, shared: dict[str, Any]) -> Any:
        """One model in memory: ask for all languages of a model before the next model."""
        kept = shared.get("classifier")
        if kept is None or kept.path != path:
            shared.pop("classifier", None)
            shared["classifier"] = Classifier(path, self.task)
        return shared["classifier"]

    def done_with(self, path: Path, shared: dict[str, Any]) -> None:
        """The model in `path` is not needed again."""


def precision_on(device: str) -> str:
    """The name of the precision in which a `device` scores."""
    return str(devices.evaluation_dtype(device)).removeprefix("torch.")


def evaluation_job(
    folder: Path, model: Path, split: Split, precision: str, *, group: str, overwrite: bool, **more: Any
) -> Job:
    """`model` alone on `split`, into `folder`.

    `more`: `draw`, as EvaluationContext has it, `source`, the model's own language, and `label` of the job.
    """
    settings = {
        "model": str(model),
        "files": files_of(model),
        "locale": split.locale,
        "split": split.name,
        "data": split.fingerprint(),
        "precision": precision,
    }
    options = {"model": model, "draw": more.get("draw"), "overwrite": overwrite, "locale": split.locale}
    options |= {"num_items": len(split), "source": more.get("source")}
    return Job("evaluation", folder.name, group, folder, settings, options, label=more.get("label"))


def run(job: Job, shared: dict[str, Any]) -> str:
    context, options, settings = shared["context"], job.options, job.settings
    check_precision(settings["precision"])
    result = evaluate(
        context.classifier(options["model"], shared),
        context.split(settings["locale"], settings["split"], options["draw"]),
        job.folder,
        name=job.name,
        overwrite=options["overwrite"],
        job=job.hash,
        source=options["source"],
    )
    if options["source"] == settings["locale"]:
        context.done_with(options["model"], shared)  # the target's own model is no source
    return f"{result.accuracy:.4f}"


def check_precision(planned: str) -> None:
    """InputError where this machine scores otherwise than the one that planned the jobs."""
    precision = precision_on(devices.default_device())
    if precision != planned:
        raise InputError(
            f"this worker evaluates in {precision} and the jobs were planned for {planned}: give all jobs GPUs, or none"
        )
