"""What an N×N run leaves: the matrix, all logits in one file, and the summary."""

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from auto_merge_llm.safetensors_writer import SafetensorsWriter

from merginguriel.utils.evaluation.nxn import Run
from merginguriel.utils.evaluation.nxn_logits import CELL_LOGITS, LOGITS, Logits
from merginguriel.utils.similarity.transfer import MATRIX_CSV, SUMMARY_JSON, TransferMatrix
from merginguriel.utils.storage import atomic, environment
from merginguriel.utils.storage.locks import locked


def gather(run: Run, draw: Callable[[TransferMatrix], None] = lambda matrix: None) -> TransferMatrix | None:
    """Write matrix, logits and, last, the summary, and `draw` the matrix meanwhile, in a thread of its own.

    None, and nothing written, while cells are left to other processes.
    """
    if any(source not in run.failures for source in run.missing()):
        return None
    with locked(run.folder / ".lock"), ThreadPoolExecutor(1) as pool:
        matrix = run.matrix()
        matrix.to_csv(run.folder / MATRIX_CSV)
        drawn = pool.submit(draw, matrix)
        _gather_logits(run)
        atomic.write_json(run.folder / SUMMARY_JSON, _summary(run, matrix))
        drawn.result()
    return matrix


def _gather_logits(run: Run) -> None:
    """Put all cells' logits, ids and gold labels into one file; the cells' own go once it is whole."""
    pairs = [(source, target) for source in run.plan.sources for target in run.plan.targets]
    cells = {f"{source}/{target}": run.cell(source, target) / CELL_LOGITS for source, target in pairs}
    new = {name: file for name, file in cells.items() if file.is_file()}
    done = [f"{source}/{target}" for source, target in pairs if run.is_done(source, target)]
    for left in run.folder.glob(".logits.*"):  # by a run that was killed here
        shutil.rmtree(left)
    if new:
        splits = {target: run.plan.items_of(target) for target in run.plan.targets}
        small = {}
        for target, split in splits.items():
            small[f"labels/{target}"] = torch.tensor(split.labels, dtype=torch.int16)
            small[f"ids/{target}"] = torch.frombuffer(bytearray("\n".join(split.ids).encode()), dtype=torch.uint8)
        kept = Logits(run.folder) if len(new) < len(done) else None
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            name: ((len(splits[name.split("/")[1]]), len(run.plan.items.task.labels)), torch.float16) for name in done
        }
        shapes |= {name: (tuple(values.shape), values.dtype) for name, values in small.items()}
        with tempfile.TemporaryDirectory(prefix=".logits.", dir=run.folder) as partial:
            with SafetensorsWriter(Path(partial), shapes) as writer:
                for name, values in small.items():
                    writer.write(name, 0, values)
                for name in done:
                    logits = kept.logits(*name.split("/")) if kept and name not in new else np.load(new[name])
                    writer.write(name, 0, torch.from_numpy(logits))
                writer.commit()
            os.replace(writer.files[0], run.folder / LOGITS)
    for file in new.values():
        file.unlink()


def _summary(run: Run, matrix: TransferMatrix) -> dict[str, Any]:
    own, values = matrix.own_language, matrix.values
    measured = values[~np.isnan(values)]
    statistics: dict[str, Callable[[np.ndarray], float]] = {
        "mean": np.mean,
        "median": np.median,
        "std": np.std,
        "min": np.min,
        "max": np.max,
    }
    best = {}
    for target in matrix.targets:
        for source, accuracy in list(matrix.for_target(target).items())[:1]:
            best[target] = {"source": source, "accuracy": accuracy}
    return {
        "timestamp": environment.utc_now(),
        "locales": list(matrix.sources),
        "targets": list(matrix.targets),
        "split": run.plan.split,
        "dataset": run.plan.items.task.data,
        **run.plan.items.task.record(),
        "task_origin": run.plan.items.task.origin,
        "metric": run.plan.items.task.metric,
        "precision": run.settings["precision"],
        "total_evaluations": values.size,
        "successful_evaluations": len(measured),
        "failed_evaluations": int(np.isnan(values).sum()),
        "failures": run.failures,
        "matrix_stats": {
            f"{name}_accuracy": float(function(measured)) if len(measured) else None
            for name, function in statistics.items()
        },
        "own_language_mean_accuracy": _mean(values[own]),
        "zero_shot_mean_accuracy": _mean(values[~own]),
        "best_zero_shot_source": best,
        "models": {
            source: {"path": str(path), "weights_sha256": (run.settings["sources"][source] or {}).get("model")}
            for source, path in run.plan.sources.items()
        },
        "data_sha256": run.settings["data"],
        "environment": environment.run_environment(),
    }


def what_is_left(run: Run) -> str:
    """For a dry run: how many cells, where, and of each source."""
    plan, missing = run.plan, run.missing()
    lines = [plan.describe(), f"{sum(map(len, missing.values()))} to do, in {run.folder}"]
    return "\n".join(
        [
            *lines,
            *(
                f"  {source}  {path}  {run.failures.get(source) or f'{len(missing.get(source, []))} to do'}"
                for source, path in plan.sources.items()
            ),
        ]
    )


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None


def table(matrix: TransferMatrix, metric: str) -> str:
    """A line a target: the `metric` of its own model, of the best other one, and of all others on average."""
    lines = ["target    own model  best other          mean of others"]
    for target, is_own, column in zip(matrix.targets, matrix.own_language.T, matrix.values.T):
        own, mean, count = _mean(column[is_own]), _mean(column[~is_own]), (~np.isnan(column[~is_own])).sum()
        ranked = list(matrix.for_target(target).items())
        best = "  ".join(f"{accuracy:.4f}  {source}" for source, accuracy in ranked[:1])
        lines.append(
            f"{target:<8}{'' if own is None else f'{own:.4f}':>11}  {best:<18}  "
            f"{'' if mean is None else f'{mean:.4f} over {count}'}".rstrip()
        )
    for name, chosen in (("own language", matrix.own_language), ("zero-shot", ~matrix.own_language)):
        values = matrix.values[chosen]
        if not np.isnan(values).all():
            lines.append(f"mean {metric}, {name}: {_mean(values):.4f} over {int((~np.isnan(values)).sum())} cells")
    return "\n".join(lines)
