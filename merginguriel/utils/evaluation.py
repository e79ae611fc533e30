"""Evaluate classifiers on one locale of MASSIVE and keep the result, whole or not at all."""

import csv
import functools
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils import models, records
from merginguriel.utils.massive import INTENTS, LABEL_OF, Split
from merginguriel.utils.statistics import bootstrap_interval, mcnemar, wilson_interval

log = logging.getLogger(__name__)
NUM_EXAMPLES_SHOWN = 10
RESULTS_JSON = "results.json"
PREDICTIONS = "predictions.npz"
PER_INTENT = "per_intent.csv"
CONFUSION_PLOT = "confusion.png"


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one model on one split, with what paired tests need."""

    name: str
    folder: Path | None  # where it is kept
    ids: np.ndarray  # (items,) str, in the split's order
    gold: np.ndarray  # (items,) int, index INTENTS
    predicted: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        return self.predicted == self.gold

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(int(self.correct.sum()), len(self.correct))

    @property
    def macro_f1(self) -> float:
        return macro_f1(self.predicted, self.gold)


class Classifier:
    """A model folder that says at once what it is, and is loaded when the first text is scored, then kept."""

    def __init__(self, path: Path):
        from merginguriel.utils import scoring

        self.path, self.labels = Path(path), models.read_labels(path)
        self.device = scoring.default_device()
        self.dtype = scoring.evaluation_dtype(self.device)
        self.settings = model_settings(path, self.dtype)

    @functools.cached_property
    def _model(self):
        return models.load_model(self.path, self.device, self.dtype)

    def logits(self, texts: list[str], description: str) -> np.ndarray:
        """(items, len(INTENTS)) float32, by `in_massive_order`."""
        from merginguriel.utils import scoring

        tokens = scoring.TOKENS.tokens(self.path, texts, models.longest_input(self._model, scoring.MAX_TOKENS))
        scores = scoring.logits(self._model, tokens, self._model.config.pad_token_id, description)
        return in_massive_order(scores, self.labels)


def model_settings(model_path: Path, dtype) -> dict:
    """What a model's predictions rest on: weights, tokenizer, configuration, labels, precision."""
    from auto_merge_llm.checkpoint import Checkpoint

    checkpoint = Checkpoint(model_path)
    return settings_of(checkpoint.weights_fingerprint, checkpoint.tokenizer_fingerprint, checkpoint.config,
                       models.read_labels(model_path), dtype)


def settings_of(weights: str, tokenizer: str | None, config: dict, labels: list[str], dtype) -> dict:
    """The same of a model that is no folder; `weights` and `tokenizer` are a Checkpoint's fingerprints."""
    return {"model": weights, "tokenizer": tokenizer,
            "config": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
            "labels": labels, "precision": str(dtype).removeprefix("torch.")}


def data_settings(settings: dict, split: Split) -> dict:
    """Everything that a result rests on, with its hash: what predicts, as `settings`, and on which items."""
    settings = {**settings, "locale": split.locale, "split": split.name, "data": split.fingerprint()}
    return {**settings, "hash": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()}


def model_info(model_path: Path) -> dict:
    return info_of(models.read_labels(model_path), records.read_json(Path(model_path) / "config.json"))


def info_of(labels: list[str], config: dict) -> dict:
    return {"num_labels": len(labels), "model_type": config.get("model_type"),
            "architecture": (config.get("architectures") or [None])[0], **label_maps(labels)}


def label_maps(labels) -> dict:
    return {"id2label": {str(index): label for index, label in enumerate(labels)},
            "label2id": {label: index for index, label in enumerate(labels)}}


def in_massive_order(scores: np.ndarray, labels: list[str]) -> np.ndarray:
    """(items, len(INTENTS)) from (items, len(labels)): -inf where the model lacks an intent."""
    by_intent = np.full((len(scores), len(INTENTS)), -np.inf, np.float32)
    by_intent[:, [LABEL_OF[label] for label in labels]] = scores
    return by_intent


def evaluate(classifier: Classifier, split: Split, dataset_name: str, folder: Path, *, name: str | None = None,
             overwrite: bool = False, experiment: dict | None = None, job: str | None = None,
             attachments: Mapping[str, str] | None = None) -> Evaluation:
    """Score `classifier` on `split` and keep it in `folder`; see `kept_evaluation` and `write_evaluation`."""
    settings = data_settings(classifier.settings, split)
    name = name or classifier.path.name
    kept = kept_evaluation(folder, settings, name, overwrite)
    if kept:
        return kept
    scores = classifier.logits(split.texts, f"{name} on {split.locale}")
    return write_evaluation(
        folder, split, scores.argmax(-1), logits=scores, settings=settings, name=name, overwrite=overwrite,
        dataset_name=dataset_name, model_name=str(classifier.path), model_info=model_info(classifier.path),
        experiment=experiment, job=job, attachments=attachments)


def kept_evaluation(folder: Path, settings: dict, name: str, overwrite: bool) -> Evaluation | None:
    """The result in `folder` if it rests on the same settings, None if one may be written there.

    Raises InputError where another result, or anything else, is in its place and `overwrite` is false.
    """
    results = folder / RESULTS_JSON
    if results.exists() and not overwrite:
        kept = records.read_json(results).get("settings")
        if isinstance(kept, dict) and kept.get("hash") == settings["hash"]:
            log.info("already evaluated: %s", results)
            return read_evaluation(folder, name)
        raise InputError(f"{folder} holds the result of another model or other weights, data or precision; use "
                         "--overwrite to replace it or choose another folder")
    records.check_replaceable(folder, overwrite)
    return None


def read_evaluation(folder: Path, name: str) -> Evaluation:
    kept = records.read_predictions(folder / PREDICTIONS)
    return Evaluation(name, folder, kept["ids"], kept["labels"], kept["predictions"])


def write_evaluation(folder: Path, split: Split, predicted: np.ndarray, *, name: str,
                     logits: np.ndarray | None = None, attachments: Mapping[str, str] | None = None,
                     overwrite: bool = False, **record) -> Evaluation:
    """Write results.json and predictions.npz, the same for whatever predicts: a model, a merge, an ensemble.

    `predicted` and `logits` index INTENTS; `attachments` are texts by file name, written beside them; `record` is
    what `results_record` needs more.
    """
    results = results_record(split, predicted, **record)
    with records.whole_folder(folder, overwrite=overwrite) as partial:
        records.write_predictions(partial / PREDICTIONS, split.ids, split.labels, predicted, INTENTS, logits)
        for file, text in (attachments or {}).items():
            records.write_text(partial / file, text)
        records.write_json(partial / RESULTS_JSON, results)
    return read_evaluation(folder, name)


def results_record(split: Split, predicted: np.ndarray, *, settings: dict, dataset_name: str, model_name: str,
                   model_info: dict, experiment: dict | None = None, job: str | None = None) -> dict:
    """The content of a results.json; `predicted` index INTENTS, `experiment` stands in it as given.

    `job` is the hash by which a list of jobs finds this result done (utils/jobs.py).
    """
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
        "job": job,
        "environment": {**records.run_environment(), "dtype": settings["precision"]},
    }


def mean_interval(evaluations: list[Evaluation]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean accuracy over these locales, items resampled by id."""
    return bootstrap_interval(aligned(evaluations))


def best_first(evaluations: list[Evaluation]) -> list[Evaluation]:
    return sorted(evaluations, key=lambda evaluation: (-evaluation.accuracy, evaluation.name))


class IntentScores(NamedTuple):
    """One intent's precision, recall and F1; NaN where there is nothing to divide by."""

    intent: str
    precision: float
    recall: float
    f1: float
    support: int


def per_intent(predicted: np.ndarray, gold: np.ndarray) -> list[IntentScores]:
    """A row for every intent that occurs among gold labels or predictions, in the order of INTENTS."""
    rows = []
    for intent in np.union1d(gold, predicted):
        hits = int(((predicted == intent) & (gold == intent)).sum())
        support, said = int((gold == intent).sum()), int((predicted == intent).sum())
        rows.append(IntentScores(INTENTS[intent], hits / said if said else float("nan"),
                                 hits / support if support else float("nan"), 2 * hits / (said + support), support))
    return rows


def write_per_intent(evaluation: Evaluation) -> None:
    """per_intent.csv into the evaluation's folder; an empty cell where there is nothing to divide by."""
    with records.beside(evaluation.folder / PER_INTENT) as partial, open(partial, "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(IntentScores._fields)
        for row in per_intent(evaluation.predicted, evaluation.gold):
            writer.writerow([row.intent, *(f"{score:.6f}" if score == score else "" for score in row[1:4]),
                             row.support])


def per_intent_table(evaluation: Evaluation) -> str:
    lines = [f"{'intent':<26}precision  recall      F1  support"]
    for row in per_intent(evaluation.predicted, evaluation.gold):
        precision, recall, f1 = (f"{score:.4f}" if score == score else "-" for score in row[1:4])
        lines.append(f"{row.intent:<26}{precision:>9}  {recall:>6}  {f1:>6}  {row.support:7}")
    return "\n".join(lines)


def draw_confusion(evaluation: Evaluation, title: str) -> None:
    from merginguriel.utils import heatmaps, plots

    picture = heatmaps.confusion_matrix(evaluation.predicted, evaluation.gold, INTENTS, title)
    plots.save(picture, evaluation.folder / CONFUSION_PLOT, dpi=150)


def macro_f1(predicted: np.ndarray, gold: np.ndarray) -> float:
    """Mean F1 over the intents that occur among gold labels or predictions."""
    return float(np.mean([row.f1 for row in per_intent(predicted, gold)]))


def aligned(evaluations: list[Evaluation]) -> np.ndarray:
    """Correctness by id, (evaluations, items) bool: a column is one id in all of them, ids in sorted order.

    Raises InputError where their ids are not the same.
    """
    ids = np.sort(evaluations[0].ids)
    for evaluation in evaluations:
        if not np.array_equal(np.sort(evaluation.ids), ids):
            raise InputError(f"{evaluation.name} and {evaluations[0].name} were evaluated on other items, so they "
                             "cannot be compared item by item; evaluate both on the same ids")
    return np.stack([evaluation.correct[np.argsort(evaluation.ids)] for evaluation in evaluations])


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
