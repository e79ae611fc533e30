"""Where the data of a report comes from: a folder of results, or a table that aggregate_results.py made of one."""

import re
from pathlib import Path

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import is_code
from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS
from merginguriel.utils.report.language_data import told_codes
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results import collect
from merginguriel.utils.results.baselines import EVERY
from merginguriel.utils.results.choice import choose, in_own_names, of_types
from merginguriel.utils.results.comparison import COMPARISON, Comparison, compare
from merginguriel.utils.results.csv_tables import of_variant_comprehensive
from merginguriel.utils.results.identity import COMPARED
from merginguriel.utils.results.pairs import Pairs
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.similarity.matrix import LanguageMatrix
from merginguriel.utils.similarity.transfer import TransferMatrix, read_csv

_GAIN = "_vs_best_source"


def from_results(
    results_dir: Path,
    nxn: Path | None,
    *,
    similarity: LanguageMatrix | None = None,
    split: str = "test",
    locales: list[str] | None = None,
    types: list[str] | None = None,
    numbers: list[int] | None = None,
    task: str | None = None,
) -> ReportData:
    """Everything under `results_dir` and `nxn`, or what is chosen of it.

    InputError where that is nothing, or of several tasks.
    """
    collection = collect.collect(results_dir, nxn)
    known = collection.long["locale"].map(is_code).astype(bool)
    strange = {
        Path(row.folder): f"{row.folder} is of {row.locale!r}, which is no language code"
        for row in collection.long[~known].itertuples()
    }
    among = choose(collection.long[known], split, locales, task=task)
    long = of_types(among, types) if types else among
    comparison = compare(_of_numbers(long, numbers), among=among)
    if comparison.frame.empty:
        raise InputError(
            f"no merge or ensemble in {results_dir} on the {split} split, of those that were asked for; "
            "run one first, or name another folder with --results-dir"
        )
    damaged = collection.damaged | strange | comparison.damaged
    return ReportData(comparison, _transfer(long), similarity, damaged, told_codes(long))


def _transfer(long: pd.DataFrame) -> TransferMatrix | None:
    """Score of every single model on every locale that it was measured on; of the models of one folder, the most."""
    singles = long[long["source"].notna()]
    if singles.empty:
        return None
    pools = singles.groupby(["base_model", "models_root"], dropna=False)
    _, pool = max(pools, key=lambda one: len(one[1]))
    # Of several results the newest counts.
    pool = pool.sort_values("timestamp", na_position="first").drop_duplicates(["source", "locale"], keep="last")
    table = pool[pool["source"].map(is_code)].pivot(index="source", columns="locale", values="score")
    return TransferMatrix(tuple(table.index), tuple(table.columns), table.to_numpy(float), "results")


def _of_numbers(long: pd.DataFrame, numbers: list[int] | None) -> pd.DataFrame:
    """Without the merges and ensembles of other numbers of sources; InputError where none has one of `numbers`."""
    if numbers is None:
        return long
    combined = long["kind"].isin(COMPARED)
    there = sorted({int(number) for number in long["num_sources"][combined].dropna()})
    missing = [number for number in numbers if number not in there]
    if missing:
        raise InputError(
            f"no results with {', '.join(map(str, missing))} sources; there are some with "
            f"{', '.join(map(str, there)) or 'none'}"
        )
    return long[~combined | long["num_sources"].isin(numbers)].reset_index(drop=True)


def comprehensive_files(folder: Path) -> list[Path]:
    """Every results_comprehensive_<time>.csv in it, the newest first by the time in their names."""
    return sorted(folder.glob("results_comprehensive_[0-9]*.csv"), key=lambda path: path.name, reverse=True)


def from_csv(
    path: Path,
    matrix: Path | None = None,
    *,
    similarity: LanguageMatrix | None = None,
    locales: list[str] | None = None,
    types: list[str] | None = None,
    numbers: list[int] | None = None,
) -> ReportData:
    """What is chosen of a table, without intervals and intents. `matrix`: of an N×N.

    InputError where it is no such file, or has nothing of what is chosen.
    """
    table = _read(path)
    metric = str(table["metric"].iloc[0]) if "metric" in table and len(table) else ACCURACY
    variants = [column.removesuffix(_GAIN) for column in table if column.endswith(_GAIN)]
    if (
        not variants
        or not {"locale", *variants} <= set(table)
        or not table["locale"].map(is_code).all()
        or metric not in METRICS
    ):
        raise InputError(
            f"{path} is no results_comprehensive table: it needs a locale in each row, and of each method "
            f"the score and the gain, <method>{_GAIN}; make it with aggregate_results.py"
        )
    long = pd.concat([_rows_of(table, variant, metric) for variant in variants], ignore_index=True)
    if locales:
        long = long[long["locale"].isin(locales)]
    if types:
        types = in_own_names(types, {*long["method"], *long["variant"]})
        missing = sorted({*types} - {*long["method"], *long["variant"], "baseline"})
        if missing:
            raise InputError(f"{path} has no result of {', '.join(missing)}; there are some of {', '.join(variants)}")
        long = long[long["method"].isin(types) | long["variant"].isin(types)]
    frame = _of_numbers(long, numbers).reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{path} has no result of those that were asked for; check --locales and --experiment-types")
    return ReportData(Comparison(frame, [], {}, Pairs(metric)), read_csv(matrix) if matrix else None, similarity)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"no file {path}; see --list-csv for those that are there") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path} is no CSV table; make it again with aggregate_results.py") from None


def _rows_of(table: pd.DataFrame, variant: str, metric: str) -> pd.DataFrame:
    """The rows that `compare` gave of a variant, as far as its columns tell."""
    found = re.match(r"(.+?)_(\d+)lang", variant)
    rows = pd.DataFrame(
        {
            "locale": table["locale"],
            "variant": variant,
            "metric": metric,
            "score": table[variant],
            metric: table[variant],
            "method": found[1] if found else variant,
            "num_sources": int(found[2]) if found else None,
            "kind": "ensemble" if variant.startswith("ensemble_") else "merge",
            **{name: table.get(f"{variant}_{title}") for title, name in of_variant_comprehensive(metric).items()},
        }
    )
    for name in EVERY:
        rows[f"{name}_score"] = rows["score"] - rows[f"vs_{name}"].astype(float)
    rows = rows[rows["score"].notna()].reindex(columns=[*COLUMNS, *COMPARISON])
    numeric = [name for name in COMPARISON if name.startswith(("vs_", "p_")) or name.endswith("score")]
    return rows.astype(dict.fromkeys(numeric, float))
