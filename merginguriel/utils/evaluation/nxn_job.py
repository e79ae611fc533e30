"""The job of one cell of an N×N: a source model on a target locale."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.classifier import in_task_order, model_info
from merginguriel.utils.evaluation.evaluation_job import EvaluationContext, check_precision
from merginguriel.utils.evaluation.nxn_logits import CELL_LOGITS, halved
from merginguriel.utils.evaluation.results import Origin, data_settings, results_record
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.models import devices, loading, scoring
from merginguriel.utils.models.model_folder import max_tokens, read_labels
from merginguriel.utils.models.tokens import TokenCache
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.interrupts import is_interrupt
from merginguriel.utils.storage.made_folders import RESULT
from merginguriel.utils.storage.naming import RESULTS_JSON

AT_ONCE = ("cuda",)  # devices that score all targets of a source at once


class NxnContext(EvaluationContext):
    """What all cells share: items, and in each process their tokens on the device; `tokens` keeps the former."""

    def __init__(self, task: Task, tokens: Path):
        super().__init__(task)
        self._folder = tokens

    @functools.cached_property  # of each process
    def inputs(self) -> scoring.BatchCache:
        return scoring.BatchCache(TokenCache(self._folder))

    def keep_tokens(self, model: Path, splits: Iterable[Split]) -> None:
        """Tokenise while a GPU's workers begin to load, which want the tokens of all texts before they score any.

        As `model` does; most have the same tokenizer. What is missing the workers make: of another tokenizer, or of
        texts that end where a model has no more positions. What goes wrong they say, of the model's cells alone.
        """
        if devices.default_device() not in AT_ONCE:
            return
        cache = TokenCache(self._folder)
        try:
            read_labels(model, self.task)
            longest = max_tokens(atomic.read_json(model / "config.json"), self.task)
            for split in splits:
                cache.tokens(model, split.texts, longest)
        except Exception as error:  # tokenizers raise anything
            if is_interrupt(error):
                raise KeyboardInterrupt from error


def is_done(job: Job) -> bool:
    # A run's folder holds cells of its models and data alone.
    return (job.folder / RESULTS_JSON).is_file()


def run(job: Job, shared: dict[str, Any]) -> str:
    context, path, settings = shared["context"], job.options["model"], job.settings
    check_precision(settings["precision"])
    model, labels, info = _model(path, context.task, shared)
    split = context.split(settings["target"], settings["split"], job.options["draws"][settings["target"]])
    by_label = in_task_order(_scores(model, job, shared), labels, context.task.labels)
    told = {"source": job.group, "target": split.locale}
    origin = Origin(job.name, context.task, str(path), info, data_settings(settings["model"], split), told, job.hash)
    result = results_record(split, by_label.argmax(-1), origin)
    # What may stand there is a cell without a result.
    with atomic.whole_folder(job.folder, RESULT, overwrite=True) as partial:
        np.save(partial / CELL_LOGITS, halved(by_label))
        atomic.write_json(partial / RESULTS_JSON, result)
    accuracies = shared.setdefault("accuracies", {})
    accuracies[split.locale] = result["performance"][context.task.metric]
    return _row(job.group, accuracies) if split.locale == [*job.options["draws"]][-1] else ""


def _scores(model: Any, job: Job, shared: dict[str, Any]) -> np.ndarray:
    """Logits (items, the model's labels) of the job's target.

    All at once there are texts enough of each length for large batches without padding. Cells that were done before are
    scored with the others again, so that these get the same bytes.
    """
    context, settings = shared["context"], job.settings
    scores: dict[str, np.ndarray] = shared.setdefault("scores", {})
    if settings["target"] not in scores:
        draws = job.options["draws"]
        targets = [*draws] if model.device.type in AT_ONCE else [settings["target"]]
        texts = [context.split(target, settings["split"], draws[target]).texts for target in targets]
        batches = context.inputs.batches(job.options["model"], model, texts, settings["model"]["max_tokens"])
        found = scoring.batch_logits(model, batches, job.name.replace("_", " "))
        scores.update(zip(targets, np.split(found, np.cumsum([len(some) for some in texts])[:-1])))
    return scores.pop(settings["target"])


def _model(path: Path, task: Task, shared: dict[str, Any]) -> tuple[Any, list[str], dict[str, Any]]:
    """The source's model, its labels and what is said of it; a model that failed once fails all its cells."""
    if "failed" in shared:
        raise InputError(shared["failed"])
    if "model" not in shared:
        device = devices.default_device()
        try:
            loaded = loading.load_model(path, device, devices.evaluation_dtype(device))
            labels = read_labels(path, task)
            shared["model"] = loaded, labels, model_info(path, labels)
        except InputError as error:
            shared["failed"] = str(error)
            raise
    return shared["model"]


def _row(source: str, accuracies: dict[str, float]) -> str:
    """What is said of a source when its last cell is done."""
    others = [accuracy for target, accuracy in accuracies.items() if target != source]
    parts = [f"{accuracies[source]:.4f} on its own language"] if source in accuracies else []
    parts += [f"{np.mean(others):.4f} on average over {len(others)} others"] if others else []
    return ", ".join(parts)
