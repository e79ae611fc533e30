"""What a finished training leaves beside the model: its metrics, and what it rests on, by which it is found again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merginguriel.utils.models.model_folder import TRAINING_JSON, is_whole
from merginguriel.utils.storage import atomic, environment
from merginguriel.utils.training.items import Item, load
from merginguriel.utils.training.settings import TrainingRun, TrainingSteps

METRICS_JSON = "all_results.json"


def write_reports(
    folder: Path, metrics: dict[str, Any], run: TrainingRun, start: Path, splits: Mapping[str, list[Item]]
) -> None:
    """`start`: the initial checkpoint; `splits`: all items that were read."""
    for prefix in ("train", "eval", "predict"):
        part = {name: value for name, value in metrics.items() if name.startswith(f"{prefix}_")}
        if part:
            atomic.write_json(folder / f"{prefix}_results.json", part)
    atomic.write_json(folder / METRICS_JSON, metrics)
    record = {
        "settings": run.record,
        "data": _fingerprints(splits),
        "initial_checkpoint": str(start),
        "finished": environment.utc_now(),
        "environment": environment.run_environment(),
    }
    atomic.write_json(folder / TRAINING_JSON, record)


def metrics_of(run: TrainingRun, steps: TrainingSteps) -> dict[str, Any] | None:
    """The metrics of the whole model in `run.output_dir` that this very run with these steps has made; None of another.

    A model that tells no data, as those of earlier versions, is another.
    """
    if not is_whole(run.output_dir):
        return None
    told = atomic.read_json(run.output_dir / TRAINING_JSON)
    data = told.get("data")
    if not (isinstance(data, dict) and data.keys() == set(steps.splits) and run.is_told_by(told.get("settings"))):
        return None
    if data != _fingerprints(load(run, {split: run.settings.limits[split] for split in steps.splits})):
        return None
    return atomic.read_json(run.output_dir / METRICS_JSON)


def _fingerprints(splits: Mapping[str, list[Item]]) -> dict[str, str]:
    """Split -> sha256 of its items."""
    return {
        split: hashlib.sha256(json.dumps(items, ensure_ascii=False).encode()).hexdigest()
        for split, items in splits.items()
    }
