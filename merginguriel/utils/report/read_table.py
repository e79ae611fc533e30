"""The data of a report from a results_comprehensive table of aggregate_results.py, which has no items."""

import re
from pathlib import Path

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import LOCALES
from merginguriel.utils.report.report_data import ReportData, of_numbers
from merginguriel.utils.results.baselines import BASELINES
from merginguriel.utils.results.comparison import COMPARISON, Comparison
from merginguriel.utils.results.csv_tables import OF_VARIANT_COMPREHENSIVE
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.similarity.matrix import SimilarityMatrix
from merginguriel.utils.similarity.transfer import read_csv

_GAIN = "_vs_best_source"


def comprehensive_files(folder: Path) -> list[Path]:
    """Every results_comprehensive_<time>.csv in it, the newest first by the time in their names."""
    return sorted(folder.glob("results_comprehensive_[0-9]*.csv"), key=lambda path: path.name, reverse=True)


def from_csv(
    path: Path,
    matrix: Path | None = None,
    *,
    similarity: SimilarityMatrix | None = None,
    locales: list[str] | None = None,
    types: list[str] | None = None,
    numbers: list[int] | None = None,
) -> ReportData:
    """What is chosen of a table, without intervals and intents. `matrix`: of an N×N.

    InputError where it is no such file, or has nothing of what is chosen.
    """
    table = _read(path)
    variants = [column.removesuffix(_GAIN) for column in table if column.endswith(_GAIN)]
    if "locale" not in table or not variants or not set(variants) <= set(table) or set(table["locale"]) - set(LOCALES):
        raise InputError(
            f"{path} is no results_comprehensive table: it needs a locale in each row, and of each method "
            f"the accuracy and the gain, <method>{_GAIN}; make it with aggregate_results.py"
        )
    long = pd.concat([_rows_of(table, variant) for variant in variants], ignore_index=True)
    if locales:
        long = long[long["locale"].isin(locales)]
    if types:
        missing = sorted({*types} - {*long["method"], *long["variant"], "baseline"})
        if missing:
            raise InputError(f"{path} has no result of {', '.join(missing)}; there are some of {', '.join(variants)}")
        long = long[long["method"].isin(types) | long["variant"].isin(types)]
    frame = of_numbers(long, numbers).reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{path} has no result of those that were asked for; check --locales and --experiment-types")
    return ReportData(Comparison(frame, [], {}, {}), read_csv(matrix) if matrix else None, similarity)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"no file {path}; see --list-csv for those that are there") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path} is no CSV table; make it again with aggregate_results.py") from None


def _rows_of(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    """The rows that `compare` gave of a variant, as far as its columns tell."""
    found = re.match(r"(.+?)_(\d+)lang", variant)
    rows = pd.DataFrame(
        {
            "locale": table["locale"],
            "variant": variant,
            "accuracy": table[variant],
            "method": found[1] if found else variant,
            "num_sources": int(found[2]) if found else None,
            "kind": "ensemble" if variant.startswith("ensemble_") else "merge",
            **{name: table.get(f"{variant}_{title}") for title, name in OF_VARIANT_COMPREHENSIVE.items()},
        }
    )
    for name in BASELINES:
        rows[f"{name}_accuracy"] = rows["accuracy"] - rows[f"vs_{name}"].astype(float)
    rows = rows[rows["accuracy"].notna()].reindex(columns=[*COLUMNS, *COMPARISON])
    numeric = [name for name in COMPARISON if name.startswith(("vs_", "p_")) or name.endswith("accuracy")]
    return rows.astype(dict.fromkeys(numeric, float))
