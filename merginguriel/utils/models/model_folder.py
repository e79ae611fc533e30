"""A folder of a classifier: whether it is whole, what its outputs mean, which files decide what it answers."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.heads import check_is_classifier
from auto_merge_llm.tokenizer_files import tokenizer_files
from auto_merge_llm.weight_files import weight_files

from merginguriel.utils.data.task import Task
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.progress import over

TRAINING_JSON = "training.json"  # the mark of a finished training
TASK = "merginguriel_task"  # the key of config.json that `tell_task` fills


class WeightHashes(dict[str, str]):
    """Locale -> sha256 of its model's weights, read when first asked for."""

    def __init__(self, models: Mapping[str, Path]):
        super().__init__()
        self._models = models

    def __missing__(self, locale: str) -> str:
        self[locale] = Checkpoint(self._models[locale]).weights_fingerprint
        return self[locale]

    def read(self, locales: Iterable[str]) -> None:
        """Those of several models side by side. A model that cannot be read raises where it is asked for."""

        def try_to(locale: str) -> None:
            with contextlib.suppress(InputError, OSError):
                self[locale]

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            list(over(pool.map(try_to, locales), "fingerprints", len(self._models)))


def is_whole(folder: Path) -> bool:
    """Whether a training run has finished here and its weights can be opened."""
    if not (folder / TRAINING_JSON).is_file():
        return False
    try:
        Checkpoint(folder)
    except InputError:
        return False
    return True


def tell_task(config: Any, task: Task, max_tokens: int) -> None:
    """Write into a model's configuration the task that it is trained on, and where its texts are cut."""
    setattr(config, TASK, {"name": task.name, "hash": task.model_hash, "max_tokens": max_tokens})


def read_labels(path: Path, task: Task) -> list[str]:
    """The label of every output of a classifier folder; InputError where it is of another task, by name or by hash.

    A model that tells no task, an older or a foreign one, is known by its labels alone. It may lack some of them.
    """
    checkpoint = Checkpoint(path)
    check_is_classifier(checkpoint)
    _check(path, checkpoint.labels, checkpoint.config, task)
    return list(checkpoint.labels)


def check_task(path: Path, task: Task) -> None:
    """The same by config.json alone, before any work is planned; what cannot be read is told when it is opened."""
    file = Path(path) / "config.json"
    config = atomic.read_json(file) if file.is_file() else {}
    labels = config.get("id2label")
    _check(path, labels.values() if isinstance(labels, dict) else (), config, task)


def _check(path: Path, labels: Iterable[str], config: Mapping[str, Any], task: Task) -> None:
    known = set(task.labels)
    unknown = [name for name in labels if not isinstance(name, str) or name not in known]
    told = _told(path, config)
    if unknown:
        whose = f"it is a model of task {told.get('name')}; " if told.get("name") not in (None, task.name) else ""
        raise InputError(
            f"{path}: its label {unknown[0]!r} is none of the {len(known)} of task {task.name}; {whose}give --task the "
            "one that it was trained on, or correct id2label and label2id in its config.json"
        )
    if told and told.get("hash") != task.model_hash:
        raise InputError(
            f"{path} was trained on task {told.get('name')} of other labels or number of texts than {task.name} has; "
            "give --task the one that it was trained on"
        )


def _told(path: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `tell_task` has written, {} where it has not; InputError where that was changed by hand."""
    told = config.get(TASK) or {}
    tokens = told.get("max_tokens") if isinstance(told, dict) else ""
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise InputError(
            f"{Path(path) / 'config.json'}: {TASK} is not what training has written; copy the model's own config.json "
            "again"
        )
    return told


def max_tokens(config: Mapping[str, Any], task: Task) -> int:
    """Where a model's texts are cut: as in its training where its configuration tells, else as the task says.

    The configuration is one that `read_labels` has read.
    """
    return (config.get(TASK) or {}).get("max_tokens") or task.max_tokens


def files_of(folder: Path) -> dict[str, list[int]]:
    """Size and time of a model's weights, configuration and tokenizer, by name: enough to see that it was replaced."""
    others = [folder / "config.json", *tokenizer_files(folder)]
    return {
        path.name: [path.stat().st_size, path.stat().st_mtime_ns]
        for path in (*weight_files(folder), *filter(Path.is_file, others))
    }


def bytes_of(folder: Path) -> int:
    """The size of these files."""
    return sum(size for size, _ in files_of(folder).values())
