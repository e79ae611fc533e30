"""A model folder scored on one split, and the result kept."""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from auto_merge_llm.checkpoint import Checkpoint

from merginguriel.utils.data.split import Split, Text
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.results import (
    Evaluation,
    Origin,
    data_settings,
    info_of,
    kept_evaluation,
    write_evaluation,
)
from merginguriel.utils.models import devices, loading, model_folder, scoring
from merginguriel.utils.models.tokens import TOKENS
from merginguriel.utils.storage import atomic


class Classifier:
    """A model folder that says at once what it is, and is loaded when the first text is scored, then kept."""

    def __init__(self, path: Path, task: Task):
        self.path, self.task, self.labels = Path(path), task, model_folder.read_labels(path, task)
        self.device = devices.default_device()
        self.dtype = devices.evaluation_dtype(self.device)
        self.settings = model_settings(path, task, self.dtype)

    @functools.cached_property
    def _model(self):
        return loading.load_model(self.path, self.device, self.dtype)

    def logits(self, texts: Sequence[Text], description: str) -> np.ndarray:
        """(items, the task's labels) float32, by `in_task_order`."""
        tokens = TOKENS.tokens(self.path, texts, loading.longest_input(self._model, self.settings["max_tokens"]))
        scores = scoring.logits(self._model, tokens, description)
        return in_task_order(scores, self.labels, self.task.labels)


def model_settings(model_path: Path, task: Task, dtype) -> dict:
    """What a model's predictions rest on: weights, tokenizer, configuration, labels, precision."""
    checkpoint = Checkpoint(model_path)
    return settings_of(
        checkpoint.weights_fingerprint,
        checkpoint.tokenizer_fingerprint,
        checkpoint.config,
        model_folder.read_labels(model_path, task),
        task,
        dtype,
    )


def settings_of(weights: str, tokenizer: str | None, config: dict, labels: list[str], task: Task, dtype) -> dict:
    """The same of a model that is no folder; `weights` and `tokenizer` are a Checkpoint's fingerprints."""
    return {
        "model": weights,
        "tokenizer": tokenizer,
        "config": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        "labels": labels,
        "max_tokens": model_folder.max_tokens(config, task),
        "precision": str(dtype).removeprefix("torch."),
    }


def model_info(model_path: Path, labels: list[str]) -> dict:
    return info_of(labels, atomic.read_json(Path(model_path) / "config.json"))


def in_task_order(scores: np.ndarray, labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(items, len(names)) from (items, len(labels)): -inf where the model lacks one of the task's labels."""
    place = {name: index for index, name in enumerate(names)}
    by_label = np.full((len(scores), len(names)), -np.inf, np.float32)
    by_label[:, [place[label] for label in labels]] = scores
    return by_label


def evaluate(
    classifier: Classifier,
    split: Split,
    folder: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    tell: Callable[[Evaluation], object] | None = None,
    **told,
) -> Evaluation:
    """Score `classifier` on `split` and keep it in `folder`; see `kept_evaluation` and `write_evaluation`.

    `tell`: what else the result is told to, such as a model's card. `told`: `experiment`, `job`, `attachments` and
    `source` of the result's Origin.
    """
    settings = data_settings(classifier.settings, split)
    name = name or classifier.path.name
    kept = kept_evaluation(folder, settings, name, overwrite)
    if kept:
        if tell is not None:
            tell(kept)
        return kept
    scores = classifier.logits(split.texts, f"{name} on {split.locale}")
    path = classifier.path
    origin = Origin(name, classifier.task, str(path), model_info(path, classifier.labels), settings, **told)
    return write_evaluation(folder, split, scores.argmax(-1), origin, logits=scores, overwrite=overwrite, tell=tell)
