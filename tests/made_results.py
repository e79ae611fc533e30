"""Results without models: folders as the toolkit writes them, every answer chosen."""

import numpy as np

from merginguriel.utils.data import massive
from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation.results import Origin, write_evaluation
from merginguriel.utils.storage import atomic, naming

ALARM, PLAY = massive.LABEL_OF["alarm_set"], massive.LABEL_OF["play_music"]


def write_result(folder, locale, right, **told):
    """A result as the toolkit writes it. `right`: a 1 for every item that is answered rightly, a 0 for every other."""
    return write_answers(folder, locale, [ALARM] * len(right), [ALARM if bit == "1" else PLAY for bit in right], **told)


def write_answers(
    folder, locale, gold, answers, *, task=massive.MINI_TASK, source=None, split="test", model="other", **told
):
    """The same of gold and predicted labels of a task. `told`: experiment, timestamp, ids of the items, logits."""
    ids = told.get("ids") or [str(item) for item in range(len(gold))]
    items = Split(locale, split, ids, ["x"] * len(gold), list(map(int, gold)), task.labels)
    settings = {"precision": "float32", "data": items.fingerprint()}
    origin = Origin(folder.name, task, str(model), {}, settings, told.get("experiment"), source=source)
    write_evaluation(folder, items, np.array(answers), origin, logits=told.get("logits"), overwrite=True)
    if timestamp := told.get("timestamp"):
        content = atomic.read_json(folder / "results.json")
        content["evaluation_info"]["timestamp"] = timestamp
        atomic.write_json(folder / "results.json", content)
    return folder


def model_path(locale, root="haryos_model"):
    return f"{root}/tiny_massive_k_{locale}"


def write_single(results, source, locale, right, *, root="haryos_model", **rest):
    name = naming.evaluation_name(f"tiny_massive_k_{source}", locale, rest.get("split", "test"))
    return write_result(results / name, locale, right, model=model_path(source, root), **rest)


def merge_experiment(mode, locale, weights, *, root="haryos_model", selection="sinkhorn", seed=42, **more):
    return {
        "mode": mode,
        "method": "linear",
        "hyperparameters": {},
        "base": None,
        "measuring": None,
        "target": locale,
        "base_model": "models/tiny",
        "num_sources": len(weights),
        "seed": seed,
        "dtype": "sources'",
        "similarity": {
            "selection": selection,
            "source": "sparse",
            "top_k": 20,
            "sinkhorn_iters": 20,
            "matrix": "m.csv",
            "matrix_sha256": "0123456789ab",
        },
        "sources": [
            {"locale": source, "path": model_path(source, root), "weight": weight} for source, weight in weights.items()
        ],
        **more,
    }


def write_merge(results, mode, locale, weights, right, *, name=None, timestamp=None, **settings):
    name = name or naming.merge_name(mode, locale, len(weights))
    return write_result(
        results / name,
        locale,
        right,
        model=f"merged_models/{name}",
        timestamp=timestamp,
        experiment=merge_experiment(mode, locale, weights, **settings),
    )


def write_old(folder, locale, correct, *, model, total=10, **info):
    """A result as the published system wrote it: no experiment, no predictions. `info`: its model_info."""
    folder.mkdir(parents=True)
    atomic.write_json(
        folder / "results.json",
        {
            "evaluation_info": {
                "timestamp": "2025-10-22T12:00:00",
                "model_name": model,
                "locale": locale,
                "massive_locale": locale,
                "dataset": "AmazonScience/massive",
                "split": "test",
            },
            "model_info": info,
            "dataset_info": {"total_examples": total},
            "performance": {
                "accuracy": correct / total,
                "correct_predictions": correct,
                "total_predictions": total,
                "error_rate": 1 - correct / total,
            },
            "examples": [],
        },
    )
    return folder
