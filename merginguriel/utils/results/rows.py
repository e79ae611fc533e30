"""One results.json as one row of a table: what was evaluated, how well, and what the number rests on.

What a result is stands in its "experiment". Older results have none: model, merge_details.txt and folder's name tell.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.massive import MASSIVE
from merginguriel.utils.evaluation.agreement import check_counts
from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS
from merginguriel.utils.evaluation.results import metric_in
from merginguriel.utils.evaluation.statistics import wilson_interval
from merginguriel.utils.results.column_types import check_types
from merginguriel.utils.results.identity import COMPARED, identified, kept_merge_details
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON

# Of every row, in this order. None where a result does not tell.
COLUMNS = {
    "kind": "merge, ensemble, adapted (a model that was no merge before), native (the target's own model), source "
    "(another locale's), joint (one model of many locales), nxn (a cell of an N×N, native or not) or other",
    "variant": "short name of everything that tells experiments apart but the locale: similarity_5lang_cosine",
    "method": "mode of a merge, and how it was adapted (regmean+vote), ensemble_{vote} of an ensemble, else the kind",
    "locale": "whose items were evaluated",
    "target": "whom a merge or an ensemble was made for; elsewhere the locale",
    "num_sources": "how many sources took part, all of them",
    "selection": "sinkhorn, cosine, real, consensus, explicit or manual",
    "include_target": "whether the target's own model is among the sources",
    "seed": "of the sources' initial checkpoint and of what was drawn",
    "base_model": "its name without folders",
    "models_root": "folder of the sources, or of the model; several have : between them",
    "settings": "JSON: what else tells experiments apart, without what has its default",
    "split": "train, validation or test",
    "metric": "the task's, by which everything is ranked",
    "score": "by this metric",
    "accuracy": "share of items, 0 to 1",
    "correct": "items",
    "total": "items",
    "ci_low": "95 % Wilson interval of the accuracy",
    "ci_high": "95 % Wilson interval of the accuracy",
    **{name: f"the {metric.meaning}" for name, metric in METRICS.items() if name != ACCURACY},
    "source": "locale of a single model",
    "sources": "JSON: locale -> weight, in the order of the merge",
    "model": "path or name, as recorded",
    "folder": "where the result is; of a cell that only a matrix has, the matrix",
    "subfolder": "between the results' root and the folder",
    "timestamp": "of the evaluation, UTC",
    "merge_timestamp": "of the merge, UTC",
    "task": "its name",
    "task_hash": "of its labels and number of texts",
    "task_origin": "its name, or the file that tells it",
    "languages": "JSON: code -> ISO 639-3 of the result's languages, where the task tells one",
    "dataset": "where its data are",
    "data": "fingerprint of the items",
    "precision": "of the evaluation",
    "git_commit": "of the toolkit",
    "merginguriel": "version",
    "python": "version",
    "torch": "version",
    "transformers": "version",
    "device": "of the evaluation",
}
VERSIONS = ("git_commit", "merginguriel", "python", "torch", "transformers", "device")


# What values of another kind than our own raise while a result is read.
ODD = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, OSError)


def find_results(root: Path) -> Iterator[Path]:
    """Every folder under `root` with a results.json, sorted; what is half-written is hidden and left out."""
    with os.scandir(root) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if any(entry.name == RESULTS_JSON for entry in entries):
        yield Path(root)
        return
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            yield from find_results(Path(entry.path))


def read_row(folder: Path, root: Path) -> dict:
    """The row of the result in `folder`, under `root`; InputError where it is damaged."""
    content = atomic.read_json(folder / RESULTS_JSON)
    place = folder.relative_to(root).parent
    try:
        row = _measured(content)
        check_counts(folder, content)
        row |= identified(content, folder, row["split"])
        row.setdefault("target", row["locale"])
        if row["kind"] in COMPARED and row["merge_timestamp"] is None:
            row["merge_timestamp"] = kept_merge_details(folder).get("timestamp")
        row |= {"folder": str(folder), "subfolder": "" if place == Path(".") else str(place)}
        check_types(row)
    except ODD as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"{folder / RESULTS_JSON} is no result: {str(reason)[:200]}; remove it and evaluate again"
        ) from None
    return {name: row.get(name) for name in COLUMNS}


def _measured(content: dict) -> dict:
    info, performance = content["evaluation_info"], content["performance"]
    environment, settings = content.get("environment") or {}, content.get("settings") or {}
    accuracy, total = float(performance["accuracy"]), performance.get("total_predictions")
    correct = performance.get("correct_predictions")
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy {accuracy} is not between 0 and 1")
    if total is not None and correct is not None and (total <= 0 or abs(correct / total - accuracy) > 1e-6):
        raise ValueError(f"accuracy {accuracy} is not {correct} of {total} items")
    interval = performance.get("ci95")
    if interval is None and total and correct is not None:
        interval = wilson_interval(correct, total)
    low, high = interval or (None, None)
    if interval and not 0 <= interval[0] <= accuracy <= interval[1] <= 1:
        raise ValueError(f"accuracy {accuracy} is not in its interval from {low} to {high}")
    split, metric, task = info.get("split") or "test", metric_in(content), info.get("task") or MASSIVE.name
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is none of {', '.join(METRICS)}")
    return {
        "metric": metric,
        "score": float(performance[metric]),
        "accuracy": accuracy,
        "correct": correct,
        "total": total,
        "ci_low": low,
        "ci_high": high,
        **{name: performance.get(name) for name in METRICS if name != ACCURACY},
        "locale": info["locale"],
        "split": "validation" if split == "dev" else split,
        "model": info["model_name"],
        "timestamp": info.get("timestamp"),
        "task": task,
        "task_hash": info.get("task_hash") or (MASSIVE.model_hash if task == MASSIVE.name else None),
        "task_origin": info.get("task_origin") or MASSIVE.origin,
        "languages": json.dumps(languages) if (languages := info.get("languages")) else None,
        "dataset": info.get("dataset"),
        "data": settings.get("data"),
        "precision": environment.get("dtype"),
        **{name: environment.get(name) for name in VERSIONS},
    }
