"""All results in one table: every results.json, and every cell of N×N runs."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS
from merginguriel.utils.data.task import DEFAULT_TASK
from merginguriel.utils.evaluation.metrics import ACCURACY
from merginguriel.utils.results import identity
from merginguriel.utils.results.column_types import check_types
from merginguriel.utils.results.rows import COLUMNS, ODD, find_results, read_row
from merginguriel.utils.similarity import transfer
from merginguriel.utils.storage import atomic, naming, progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collection:
    """`long`: a row a result, columns of rows.COLUMNS. `damaged`: file -> why it was left out."""

    long: pd.DataFrame
    damaged: dict[Path, str]


def collect(
    results_root: Path = naming.RESULTS_ROOT, nxn: Path | None = naming.NXN_ROOT, said: int = logging.DEBUG
) -> Collection:
    """Every results.json under `results_root`, and every cell under `nxn`: a folder of runs, one run or its matrix.

    `said`: the level at which the matrices that are read are named. InputError where `results_root` or `nxn` does not
    exist.
    """
    rows, damaged = [], {}

    def read(root: Path) -> None:
        folders = list(find_results(root))
        for folder in progress.over(folders, f"reading results of {root}", len(folders)):
            log.debug("reading %s", folder)
            try:
                rows.append(read_row(folder, root))
            except InputError as error:
                damaged[folder / naming.RESULTS_JSON] = str(error)

    if not results_root.is_dir():
        raise InputError(f"no folder {results_root}; run merges first, or name it with --results-dir")
    read(results_root)
    for matrix in _matrices(nxn):
        read(matrix.parent)
        cells = [row for row in rows if row["kind"] == "nxn" and Path(row["folder"]).parent == matrix.parent]
        try:
            rows += _other_cells(matrix, {(row["source"], row["locale"]) for row in cells}, said)
        except InputError as error:
            damaged[matrix] = str(error)
        except ODD as error:
            damaged[matrix] = f"{matrix.with_name(transfer.SUMMARY_JSON)} is no summary of an N×N: {error}"
    identity.tell_apart(rows)
    long = pd.DataFrame(rows, columns=list(COLUMNS))
    return Collection(long.astype({name: "Int64" for name in ("num_sources", "seed", "correct", "total")}), damaged)


def _matrices(nxn: Path | None) -> list[Path]:
    """Where the matrix of every run is, or would be."""
    if nxn is None:
        return []
    if nxn.is_file():
        return [nxn]
    if (nxn / transfer.MATRIX_CSV).is_file() or (nxn / transfer.RUN_JSON).is_file():
        return [nxn / transfer.MATRIX_CSV]
    return [run / transfer.MATRIX_CSV for run in sorted(nxn.glob("*")) if run.is_dir() and run.name[0] != "."]


def _other_cells(matrix: Path, known: set[tuple[str, str]], said: int) -> Iterator[dict]:
    """Rows of the cells that have no results.json: of older runs, and of those whose folders were removed."""
    if not matrix.is_file():
        return
    log.log(said, "Loading evaluation matrix: %s", matrix)
    measured, summary = transfer.read_csv(matrix), matrix.with_name(transfer.SUMMARY_JSON)
    log.log(said, "Loaded evaluation matrix with shape %s", measured.values.shape)
    content = atomic.read_json(summary) if summary.is_file() else {}
    split = SPLITS.get(content.get("split", "test"), "")
    of_run = {
        "split": "validation" if split == "dev" else split,
        "folder": str(matrix),
        "subfolder": "",
        **{name: content.get(name) for name in ("timestamp", "dataset", "precision", "task_hash")},
        "task": content.get("task") or DEFAULT_TASK,
        "metric": content.get("metric") or ACCURACY,
        **content.get("environment", {}),
    }
    for source, values in zip(measured.sources, measured.values):
        model = str(Path(content.get("models", {}).get(source, {}).get("path", source)))
        # What the cell's results.json would tell.
        told = {"evaluation_info": {"model_name": model}, "experiment": {"source": source}}
        of_source = of_run | identity.identified(told, matrix.parent, split) | {"model": model}
        for target, score in zip(measured.targets, values.tolist()):
            if not np.isnan(score) and (source, target) not in known:
                row = of_source | {"locale": target, "target": target, "score": score, of_run["metric"]: score}
                row["data"] = content.get("data_sha256", {}).get(target)
                check_types(row)
                yield {name: row.get(name) for name in COLUMNS}
