"""All results in one table: every results.json, and every cell of N×N runs."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS
from merginguriel.utils.results import identity
from merginguriel.utils.results.baselines import SINGLE
from merginguriel.utils.results.rows import COLUMNS, find_results, read_row
from merginguriel.utils.similarity import transfer
from merginguriel.utils.storage import atomic, naming

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collection:
    """`long`: a row a result, columns of result_rows.COLUMNS. `damaged`: file -> why it was left out."""

    long: pd.DataFrame
    damaged: dict[Path, str]


# Collecting


def collect(results_root: Path = naming.RESULTS_ROOT, nxn: Path | None = naming.NXN_ROOT) -> Collection:
    """Every results.json under `results_root`, and every cell under `nxn`: a folder of runs, one run or its matrix.

    InputError where `results_root` or `nxn` does not exist.
    """
    rows, damaged = [], {}

    def read(folders, root):
        for folder in folders:
            log.debug("reading %s", folder)
            try:
                rows.append(read_row(folder, root))
            except InputError as error:
                damaged[folder / naming.RESULTS_JSON] = str(error)

    if not results_root.is_dir():
        raise InputError(f"no folder {results_root}; run merges first, or name it with --results-dir")
    read(find_results(results_root), results_root)
    for matrix in _matrices(nxn):
        read(find_results(matrix.parent), matrix.parent)
        try:
            rows += _rows_of_matrix(
                matrix,
                {
                    (row["source"], row["locale"])
                    for row in rows
                    if row["kind"] == "nxn" and Path(row["folder"]).parent == matrix.parent
                },
            )
        except InputError as error:
            damaged[matrix] = str(error)
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


def _rows_of_matrix(matrix: Path, known: set[tuple[str, str]]) -> list[dict]:
    """Rows of the cells that have no results.json: of older runs, and of those whose folders were removed."""
    if not matrix.is_file():
        return []
    measured, summary = transfer.read_csv(matrix), matrix.with_name(transfer.SUMMARY_JSON)
    content = atomic.read_json(summary) if summary.is_file() else {}
    split = SPLITS.get(content.get("split", "test"))
    models = content.get("models", {})
    rows = []
    for source, values in zip(measured.sources, measured.values):
        model = Path(models.get(source, {}).get("path", source))
        found = naming.parse_model(model.name)
        for target, accuracy in zip(measured.targets, values):
            if not np.isnan(accuracy) and (source, target) not in known:
                rows.append(
                    {
                        "kind": "nxn",
                        "variant": "nxn",
                        "method": "nxn",
                        "locale": target,
                        "target": target,
                        "num_sources": 1,
                        "source": source,
                        "accuracy": float(accuracy),
                        "settings": "{}",
                        "split": "validation" if split == "dev" else split,
                        "model": str(model),
                        "folder": str(matrix),
                        "subfolder": "",
                        "base_model": found[0] if found else None,
                        "models_root": str(model.parent) if found else None,
                        "timestamp": content.get("timestamp"),
                        "dataset": content.get("dataset"),
                        "precision": content.get("precision"),
                        "data": content.get("data_sha256", {}).get(target),
                        **content.get("environment", {}),
                    }
                )
    return [{name: row.get(name) for name in COLUMNS} for row in rows]


def choose(
    long: pd.DataFrame, split: str, locales: list[str] | None = None, types: list[str] | None = None
) -> pd.DataFrame:
    """The rows of one split, of some locales, and of some methods or variants (baseline: the native models).

    Single models stay, as baselines are made of them. InputError where a type has no result, or nothing is left.
    """
    rows = long[long.split == split]
    if locales:
        rows = rows[rows.locale.isin(locales)]
    if types:
        wanted = {{"baseline": "native"}.get(name, name) for name in types}
        known = {*rows.method, *rows.variant, "native"}  # which only a note says that it is missing
        if wanted - known:
            there = sorted({*rows.method[rows.kind != "nxn"]})
            raise InputError(
                f"no result of {', '.join(sorted(wanted - known))} on the {split} split; there are some "
                f"of {', '.join(there)}"
            )
        rows = rows[rows.method.isin(wanted) | rows.variant.isin(wanted) | rows.kind.isin(SINGLE)]
    if rows.empty:
        raise InputError(
            f"no results of the {split} split{' for these locales' if locales else ''}; check "
            "--results-dir, --split and --locales"
        )
    return rows.reset_index(drop=True)
