"""Evaluate a model folder on one locale of MASSIVE and keep the result, whole or not at all."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils import models, records
from merginguriel.utils.massive import INTENTS, LABEL_OF, Split
from merginguriel.utils.statistics import mcnemar, wilson_interval

log = logging.getLogger(__name__)
NUM_EXAMPLES_SHOWN = 10


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one model on one split, with what paired tests need."""

    name: str
    folder: Path
    correct: np.ndarray  # (items,) bool, in the split's order
    macro_f1: float

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(int(self.correct.sum()), len(self.correct))


def evaluate_folder(model_path: Path, split: Split, dataset_name: str, folder: Path, *,
                    name: str | None = None, overwrite: bool = False, experiment: dict | None = None,
                    attachments: tuple[Path, ...] = ()) -> Evaluation:
    """Score `model_path` on `split` and write `folder`/results.json and predictions.npz.

    A result that rests on the same weights, data and precision is read, not computed again;
    another result in its place is refused without `overwrite` (InputError). `experiment` stands in
    results.json as given; `attachments` are copied beside it.
    """
    from merginguriel.utils import scoring

    device = scoring.default_device()
    dtype = scoring.evaluation_dtype(device)
    labels = models.read_labels(model_path)
    settings = data_settings(model_settings(model_path, dtype), split)
    name = name or Path(model_path).name
    results = folder / "results.json"
    if results.exists() and not overwrite:
        kept = records.read_json(results).get("settings")
        if isinstance(kept, dict) and kept.get("hash") == settings["hash"]:
            log.info("already evaluated: %s", results)
            return read_evaluation(folder, name)
        raise InputError(f"{folder} holds the result of another model, other data or another precision; use "
                         "--overwrite to replace it or choose another folder")
    records.check_replaceable(folder, overwrite)
    model, tokenizer = models.load_classifier(model_path, device, dtype)
    token_ids = scoring.tokenise(tokenizer, split.texts, models.longest_input(model, scoring.MAX_TOKENS))
    scores = scoring.logits(model, token_ids, tokenizer.pad_token_id, f"{name} on {split.locale}")
    by_intent = in_massive_order(scores, labels)
    gold = np.array(split.labels)

    with records.whole_folder(folder, overwrite=overwrite) as partial:
        records.write_predictions(partial / "predictions.npz", split.ids, gold, by_intent, INTENTS)
        for attachment in attachments:
            (partial / attachment.name).write_bytes(attachment.read_bytes())
        records.write_json(partial / "results.json", results_record(
            split, by_intent.argmax(-1), settings=settings, dataset_name=dataset_name, model_name=str(model_path),
            model_info=model_info(model_path), experiment=experiment))
    return read_evaluation(folder, name)


def model_settings(model_path: Path, dtype) -> dict:
    """What a model's predictions rest on: weights, tokenizer, configuration, labels, precision."""
    from auto_merge_llm.checkpoint import Checkpoint

    checkpoint = Checkpoint(model_path)
    return {"model": checkpoint.weights_fingerprint, "tokenizer": checkpoint.tokenizer_fingerprint,
            "config": hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode()).hexdigest(),
            "labels": models.read_labels(model_path), "precision": str(dtype).removeprefix("torch.")}


def data_settings(settings: dict, split: Split) -> dict:
    """Everything that a result rests on, with its hash: what predicts, as `settings`, and on which items."""
    settings = {**settings, "locale": split.locale, "split": split.name, "data": split.fingerprint()}
    return {**settings, "hash": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()}


def model_info(model_path: Path) -> dict:
    labels, config = models.read_labels(model_path), records.read_json(Path(model_path) / "config.json")
    return {"num_labels": len(labels), "model_type": config.get("model_type"),
            "architecture": (config.get("architectures") or [None])[0],
            "id2label": {str(index): label for index, label in enumerate(labels)},
            "label2id": {label: index for index, label in enumerate(labels)}}


def in_massive_order(scores: np.ndarray, labels: list[str]) -> np.ndarray:
    """(items, len(INTENTS)) from (items, len(labels)): -inf where the model lacks an intent."""
    by_intent = np.full((len(scores), len(INTENTS)), -np.inf, np.float32)
    by_intent[:, [LABEL_OF[label] for label in labels]] = scores
    return by_intent


def read_evaluation(folder: Path, name: str) -> Evaluation:
    kept = records.read_predictions(folder / "predictions.npz")
    performance = records.read_json(folder / "results.json")["performance"]
    return Evaluation(name, folder, kept["predictions"] == kept["labels"], performance["macro_f1"])


def macro_f1(predicted: np.ndarray, gold: np.ndarray) -> float:
    """Mean F1 over the intents that occur among gold labels or predictions."""
    scores = []
    for intent in np.union1d(gold, predicted):
        hits = int(((predicted == intent) & (gold == intent)).sum())
        scores.append(2 * hits / int((predicted == intent).sum() + (gold == intent).sum()))
    return float(np.mean(scores))


def results_record(split: Split, predicted: np.ndarray, *, settings: dict, dataset_name: str, model_name: str,
                   model_info: dict, experiment: dict | None = None) -> dict:
    """The content of a results.json; `predicted` index INTENTS."""
    gold = np.array(split.labels)
    correct = predicted == gold
    hits, total = int(correct.sum()), len(split)
    return {
        "evaluation_info": {"timestamp": records.utc_now(), "model_name": model_name,
                            "locale": split.locale, "massive_locale": split.locale,
                            "dataset": dataset_name, "split": split.name},
        "model_info": model_info,
        "dataset_info": {"total_examples": total, "unique_intents": len(set(split.labels)),
                         "intent_labels": sorted({INTENTS[label] for label in split.labels})},
        "performance": {"accuracy": hits / total, "correct_predictions": hits, "total_predictions": total,
                        "error_rate": 1 - hits / total, "macro_f1": macro_f1(predicted, gold),
                        "ci95": list(wilson_interval(hits, total)), "ci_method": "Wilson"},
        "examples": [{"example_id": split.ids[item], "text": split.texts[item],
                      "true_intent": INTENTS[gold[item]], "predicted_label": INTENTS[predicted[item]],
                      "predicted_class": int(predicted[item]), "correct": bool(correct[item])}
                     for item in range(min(NUM_EXAMPLES_SHOWN, total))],
        "experiment": experiment or {},
        "settings": settings,
        "environment": {**records.run_environment(), "dtype": settings["precision"]},
    }


def comparison_table(evaluations: list[Evaluation], reference: Evaluation | None = None) -> str:
    """One line a model: accuracy, 95 % Wilson interval, and exact McNemar p against `reference`."""
    width = max(len("model"), *(len(evaluation.name) for evaluation in evaluations))
    lines = [f"{'model':<{width}}  accuracy  95 % interval   p vs best source".rstrip() if reference else
             f"{'model':<{width}}  accuracy  95 % interval"]
    for evaluation in evaluations:
        low, high = evaluation.interval
        line = f"{evaluation.name:<{width}}  {evaluation.accuracy:8.4f}  [{low:.3f}, {high:.3f}]"
        if reference is evaluation:
            line += "  (best source)"
        elif reference:
            line += f"  {mcnemar(evaluation.correct, reference.correct):.2g}"
        lines.append(line)
    return "\n".join(lines)
