"""Whether a result folder agrees with itself: what predictions.npz holds, and what results.json says of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON

SMALL = ("ids", "labels", "predictions", "intents")


def read_answers(folder: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The predictions kept in a result folder, all arrays or SMALL and these; InputError where they cannot be right."""
    kept = read_predictions(folder / PREDICTIONS, None if names is None else dict.fromkeys((*SMALL, *names)))
    check_agreement(kept, atomic.read_json(folder / RESULTS_JSON), folder / PREDICTIONS)
    return kept


def check_counts(folder: Path, results: Mapping[str, Any]) -> None:
    """The numbers of `results`, its results.json, by the answers that are kept, if they are; InputError as above.

    Quick: ids and names are not looked at.
    """
    file = folder / PREDICTIONS
    if not file.is_file():
        return
    try:
        kept = read_predictions(file, ("labels", "predictions"))
    except InputError:  # without them a result has no paired test, and stands all the same
        return
    check_agreement(kept, results, file)


def check_agreement(kept: Mapping[str, np.ndarray], results: Mapping[str, Any], where: Path) -> None:
    """InputError, naming the file `where`, unless it has the very answers that results.json counts."""
    told, predicted, gold = results.get("performance"), kept["predictions"], kept["labels"]
    if not isinstance(told, Mapping):
        raise _contradiction(where, "the performance is no list of numbers by name")
    hits = int((predicted == gold).sum())
    found: dict[str, float] = {"total_predictions": len(gold), "correct_predictions": hits}
    found |= {name: METRICS[name](predicted, gold) for name in METRICS if told.get(name) is not None}
    for name, value in found.items():
        if told.get(name) is not None and not _is_near(told[name], value):
            raise _contradiction(where, f"{name} is {value:g} by its answers and {told[name]}")
    examples = results.get("examples") or []
    are_items = isinstance(examples, list) and len(examples) <= len(gold)
    if not are_items or not all(isinstance(example, dict) for example in examples):
        raise _contradiction(where, "the examples are none of its items")
    for item, example in enumerate(examples if "intents" in kept else ()):
        shown = {
            "example_id": str(kept["ids"][item]),
            "true_intent": str(kept["intents"][gold[item]]),
            "predicted_label": str(kept["intents"][predicted[item]]),
        }
        for name, text in shown.items():
            if example.get(name, text) != text:
                raise _contradiction(where, f"{name} of item {item + 1} is {text!r} and {example[name]!r}")


def _is_near(told: Any, value: float) -> bool:
    """Whether the number that is told, which may be anything, is `value`."""
    return type(told) in (int, float) and abs(told) < 2**63 and abs(told - value) < 1e-6


def _contradiction(where: Path, what: str) -> InputError:
    return InputError(
        f"{where} and the {RESULTS_JSON} beside it are not of one evaluation: {what}; evaluate again with --overwrite"
    )
