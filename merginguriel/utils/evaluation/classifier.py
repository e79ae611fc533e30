"""A model folder scored on one split, and the result kept."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
from auto_merge_llm.checkpoint import Checkpoint

from merginguriel.utils.data.massive import INTENTS, LABEL_OF
from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation.results import (
    Evaluation,
    Origin,
    data_settings,
    info_of,
    kept_evaluation,
    write_evaluation,
)
from merginguriel.utils.models import devices, loading, model_folder, scoring
from merginguriel.utils.models.tokens import MAX_TOKENS, TOKENS
from merginguriel.utils.storage import atomic


class Classifier:
    """A model folder that says at once what it is, and is loaded when the first text is scored, then kept."""

    def __init__(self, path: Path):
        self.path, self.labels = Path(path), model_folder.read_labels(path)
        self.device = devices.default_device()
        self.dtype = devices.evaluation_dtype(self.device)
        self.settings = model_settings(path, self.dtype)

    @functools.cached_property
    def _model(self):
        return loading.load_model(self.path, self.device, self.dtype)

    def logits(self, texts: list[str], description: str) -> np.ndarray:
        """(items, len(INTENTS)) float32, by `in_massive_order`."""
        tokens = TOKENS.tokens(self.path, texts, loading.longest_input(self._model, MAX_TOKENS))
        scores = scoring.logits(self._model, tokens, self._model.config.pad_token_id, description)
        return in_massive_order(scores, self.labels)


def model_settings(model_path: Path, dtype) -> dict:
    """What a model's predictions rest on: weights, tokenizer, configuration, labels, precision."""
    checkpoint = Checkpoint(model_path)
    return settings_of(
        checkpoint.weights_fingerprint,
        checkpoint.tokenizer_fingerprint,
        checkpoint.config,
        model_folder.read_labels(model_path),
        dtype,
    )


def settings_of(weights: str, tokenizer: str | None, config: dict, labels: list[str], dtype) -> dict:
    """The same of a model that is no folder; `weights` and `tokenizer` are a Checkpoint's fingerprints."""
    return {
        "model": weights,
        "tokenizer": tokenizer,
        "config": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        "labels": labels,
        "precision": str(dtype).removeprefix("torch."),
    }


def model_info(model_path: Path) -> dict:
    return info_of(model_folder.read_labels(model_path), atomic.read_json(Path(model_path) / "config.json"))


def in_massive_order(scores: np.ndarray, labels: list[str]) -> np.ndarray:
    """(items, len(INTENTS)) from (items, len(labels)): -inf where the model lacks an intent."""
    by_intent = np.full((len(scores), len(INTENTS)), -np.inf, np.float32)
    by_intent[:, [LABEL_OF[label] for label in labels]] = scores
    return by_intent


def evaluate(
    classifier: Classifier,
    split: Split,
    dataset_name: str,
    folder: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    **told,
) -> Evaluation:
    """Score `classifier` on `split` and keep it in `folder`; see `kept_evaluation` and `write_evaluation`.

    `told`: `experiment`, `job` and `attachments` of the result's Origin.
    """
    settings = data_settings(classifier.settings, split)
    name = name or classifier.path.name
    kept = kept_evaluation(folder, settings, name, overwrite)
    if kept:
        return kept
    scores = classifier.logits(split.texts, f"{name} on {split.locale}")
    path = classifier.path
    origin = Origin(name, dataset_name, str(path), model_info(path), settings, **told)
    return write_evaluation(folder, split, scores.argmax(-1), origin, logits=scores, overwrite=overwrite)
