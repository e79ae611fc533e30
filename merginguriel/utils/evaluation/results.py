"""One result: accuracy of one model on one split, written whole, and read again."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation import predictions
from merginguriel.utils.evaluation.agreement import read_answers
from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS, measure_all
from merginguriel.utils.evaluation.predictions import PREDICTIONS
from merginguriel.utils.evaluation.statistics import wilson_interval
from merginguriel.utils.storage import atomic, environment
from merginguriel.utils.storage.made_folders import RESULT
from merginguriel.utils.storage.naming import RESULTS_JSON

log = logging.getLogger(__name__)
NUM_EXAMPLES_SHOWN = 10


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one model on one split, with what paired tests need."""

    name: str
    folder: Path  # where it is kept
    ids: np.ndarray  # (items,) str, in the split's order
    gold: np.ndarray  # (items,) int, index label_names
    predicted: np.ndarray
    label_names: tuple[str, ...]
    metric: str = ACCURACY  # the task's, by which models are ranked

    @property
    def score(self) -> float:
        return METRICS[self.metric](self.predicted, self.gold)

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
        return METRICS["macro_f1"](self.predicted, self.gold)


@dataclass(frozen=True)
class Origin:
    """What a result tells beside its numbers: who answered, on which data, and in which experiment.

    `settings`: what the answers rest on, by `data_settings`. `job`: the hash by which a list of jobs finds the result
    done (utils/jobs). `attachments`: texts by file name, written beside the result. `source`: the language of a model
    of one language.
    """

    name: str
    task: Task
    model_name: str
    model_info: dict
    settings: dict
    experiment: dict | None = None
    job: str | None = None
    attachments: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None


def data_settings(settings: dict, split: Split) -> dict:
    """Everything that a result rests on, with its hash: what predicts, as `settings`, and on which items."""
    settings = {**settings, "locale": split.locale, "split": split.name, "data": split.fingerprint()}
    return {**settings, "hash": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()}


def info_of(labels: list[str], config: dict) -> dict:
    architectures = config.get("architectures")
    named = [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list) else []
    return {
        "num_labels": len(labels),
        "model_type": config.get("model_type"),
        "architecture": named[0] if named else None,
        **label_maps(labels),
    }


def label_maps(labels) -> dict:
    return {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def kept_evaluation(folder: Path, settings: dict, name: str, overwrite: bool) -> Evaluation | None:
    """The result in `folder` if it rests on the same settings, None if one may be written there.

    Raises InputError where another result, or anything else, is in its place and `overwrite` is false.
    """
    results = folder / RESULTS_JSON
    if results.exists() and not overwrite:
        kept = atomic.read_json(results).get("settings")
        if isinstance(kept, dict) and kept.get("hash") == settings["hash"]:
            log.info("already evaluated: %s", results)
            return read_evaluation(folder, name)
        raise InputError(
            f"{folder} holds the result of another model or other weights, data or precision; use "
            "--overwrite to replace it or choose another folder"
        )
    atomic.check_replaceable(folder, RESULT, overwrite)
    return None


def read_evaluation(folder: Path, name: str) -> Evaluation:
    kept = read_answers(folder)
    label_names, metric = tuple(map(str, kept["intents"])), metric_in(atomic.read_json(folder / RESULTS_JSON))
    return Evaluation(name, folder, kept["ids"], kept["labels"], kept["predictions"], label_names, metric)


def metric_in(results: Mapping) -> str:
    """The metric of a result's task; an older one is of accuracy."""
    return results["performance"].get("metric", ACCURACY)


def write_evaluation(
    folder: Path,
    split: Split,
    predicted: np.ndarray,
    origin: Origin,
    *,
    logits: np.ndarray | None = None,
    overwrite: bool = False,
    tell: Callable[[Evaluation], object] | None = None,
) -> Evaluation:
    """Write results.json and predictions.npz, the same for whatever predicts: a model, a merge, an ensemble.

    A result of the same settings that has come into its place meanwhile is kept. `tell` hears of the result before it
    is in its place: there it marks all that its job does as done.
    `predicted` (items,) and `logits` (items, labels) index the split's label names.
    """
    results = results_record(split, predicted, origin)
    try:
        with atomic.whole_folder(folder, RESULT, overwrite=overwrite) as partial:
            predictions.write_predictions(
                partial / PREDICTIONS, split.ids, split.labels, predicted, split.label_names, logits
            )
            for file, text in origin.attachments.items():
                atomic.write_text(partial / file, text)
            atomic.write_json(partial / RESULTS_JSON, results)
            if tell is not None:
                tell(read_evaluation(partial, origin.name))
    except atomic.PlaceTakenError:
        # The same command may have been started twice.
        kept = kept_evaluation(folder, origin.settings, origin.name, overwrite)
        if kept is None:
            raise
        return kept
    return read_evaluation(folder, origin.name)


def results_record(split: Split, predicted: np.ndarray, origin: Origin) -> dict:
    """The content of a results.json; `predicted` (items,) index the split's label names."""
    gold = np.array(split.labels)
    correct, names = predicted == gold, split.label_names
    hits, total = int(correct.sum()), len(split)
    # In the order in which people look for it; the maps of labels and the items are long.
    return {
        "performance": {
            **measure_all(predicted, gold),
            "metric": origin.task.metric,
            "correct_predictions": hits,
            "total_predictions": total,
            "error_rate": 1 - hits / total,
            "ci95": list(wilson_interval(hits, total)),
            "ci_method": "Wilson",
        },
        "evaluation_info": {
            "timestamp": environment.utc_now(),
            "model_name": origin.model_name,
            "locale": split.locale,
            "massive_locale": split.locale,
            "dataset": origin.task.data,
            "task": origin.task.name,
            "task_origin": origin.task.origin,
            "task_hash": origin.task.model_hash,
            "source": origin.source,
            "languages": _own_codes(origin, split.locale),
            "split": split.name,
        },
        "experiment": origin.experiment or {},
        "settings": origin.settings,
        "job": origin.job,
        "environment": {**environment.run_environment(), "dtype": origin.settings["precision"]},
        "model_info": origin.model_info,
        "dataset_info": {
            "total_examples": total,
            "unique_intents": len(set(split.labels)),
            "intent_labels": sorted({names[label] for label in split.labels}),
        },
        "examples": [
            {
                "example_id": split.ids[item],
                "text": split.texts[item],
                "true_intent": names[gold[item]],
                "predicted_label": names[predicted[item]],
                "predicted_class": int(predicted[item]),
                "correct": bool(correct[item]),
            }
            for item in range(min(NUM_EXAMPLES_SHOWN, total))
        ],
    }


def _own_codes(origin: Origin, locale: str) -> dict[str, str]:
    """Code -> ISO 639-3 of the languages in a result, those for which the task tells one."""
    told = origin.experiment or {}
    codes = {locale, origin.source, told.get("source"), *(one["locale"] for one in told.get("sources") or ())}
    return {code: iso for code, iso in origin.task.own_codes.items() if code in codes}


def score_in(folder: Path) -> float | None:
    """The result in `folder` by its task's metric; None where there is none."""
    if not (folder / RESULTS_JSON).is_file():
        return None
    results = atomic.read_json(folder / RESULTS_JSON)
    return results["performance"][metric_in(results)]
