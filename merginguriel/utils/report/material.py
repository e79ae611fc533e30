"""What pictures and the report are made from: a folder of results, or a table of aggregate_results.py."""

import functools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import LOCALES
from merginguriel.utils.evaluation import statistics
from merginguriel.utils.merging import selection
from merginguriel.utils.results import collect
from merginguriel.utils.results.comparison import BASELINES, COMPARISON, TESTED, Comparison, compare
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.results.summary import summarise
from merginguriel.utils.results.tables import IN_FILES
from merginguriel.utils.similarity.matrix import SimilarityMatrix
from merginguriel.utils.similarity.transfer import TransferMatrix, read_csv


@dataclass(frozen=True)
class Material:
    """`comparison`, and the frame that aggregation.summarise gives of it; matrices where there are any.

    `damaged`: file -> why it was left out.
    """

    comparison: Comparison
    transfer: TransferMatrix | None = None
    similarity: SimilarityMatrix | None = None
    damaged: dict[Path, str] = field(default_factory=dict)

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        return summarise(self.comparison)

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """Variant -> its name in pictures: without what all variants share, unless two would be named alike."""
        frame = self.comparison.frame
        numbers = set(frame["num_sources"].dropna())
        shared = f"_{int(next(iter(numbers)))}lang" if len(numbers) == 1 else ""
        short = {
            variant: variant.removeprefix("ensemble_").replace(shared, "", 1) for variant in frame["variant"].unique()
        }
        taken = list(short.values())
        return {variant: name if taken.count(name) == 1 else variant for variant, name in short.items()}

    def only(self, locales: list[str]) -> "Material":
        """Of some locales; p values stay adjusted for all of them."""
        frame = self.comparison.frame
        comparison = replace(self.comparison, frame=frame[frame["locale"].isin(locales)])
        return replace(self, comparison=comparison)

    def interval(self, row: int, baseline: str) -> tuple[float, float]:
        """95 % interval of a row's gain, items resampled; NaN where they are not kept."""
        difference = self.comparison.differences.get((row, baseline))
        return (np.nan, np.nan) if difference is None else statistics.bootstrap_interval(difference)


def from_results(
    results_dir: Path,
    nxn: Path | None,
    *,
    similarity: SimilarityMatrix | None = None,
    split: str = "test",
    locales: list[str] | None = None,
    types: list[str] | None = None,
    numbers: list[int] | None = None,
) -> Material:
    """Everything under `results_dir` and `nxn`, or what is chosen of it; InputError where that is nothing."""
    collection = collect.collect(results_dir, nxn)
    known = collection.long["locale"].isin(LOCALES)
    strange = {
        Path(row.folder): f"{row.folder} is of an unknown locale, {row.locale!r}"
        for row in collection.long[~known].itertuples()
    }
    long = collect.choose(collection.long[known], split, locales, types)
    comparison = compare(_of_numbers(long, numbers))
    if comparison.frame.empty:
        raise InputError(
            f"no merge or ensemble in {results_dir} on the {split} split, of those that were asked for; "
            "run one first, or name another folder with --results-dir"
        )
    return Material(comparison, _transfer(long), similarity, collection.damaged | strange | comparison.damaged)


def _of_numbers(long: pd.DataFrame, numbers: list[int] | None) -> pd.DataFrame:
    """Without the merges and ensembles of other numbers of sources; InputError where none has one of `numbers`."""
    if numbers is None:
        return long
    combined = long["kind"].isin(("merge", "ensemble"))
    there = sorted({int(number) for number in long["num_sources"][combined].dropna()})
    missing = [number for number in numbers if number not in there]
    if missing:
        raise InputError(
            f"no results with {', '.join(map(str, missing))} sources; there are some with "
            f"{', '.join(map(str, there)) or 'none'}"
        )
    return long[~combined | long["num_sources"].isin(numbers)].reset_index(drop=True)


def _transfer(long: pd.DataFrame) -> TransferMatrix | None:
    """Accuracy of every single model on every locale that it was measured on; of the models of one folder, the most."""
    singles = long[long["source"].notna()]
    if singles.empty:
        return None
    pools = singles.groupby(["base_model", "models_root"], dropna=False)
    _, pool = max(pools, key=lambda one: len(one[1]))
    # Of several results the newest counts.
    table = (
        pool.sort_values("timestamp", na_position="first")
        .drop_duplicates(["source", "locale"], keep="last")
        .pivot(index="source", columns="locale", values="accuracy")
    )
    known = [source for source in table.index if source in LOCALES]
    return TransferMatrix(tuple(known), tuple(table.columns), table.loc[known].to_numpy(float), "results")


def dense_similarity(path: Path | None = None) -> SimilarityMatrix:
    """Plain similarity of languages, of `path` or of URIEL; InputError where lang2vec is not there to tell it."""
    return selection.similarity_matrix(selection.SimilarityOptions("cosine", matrix=path))


# Tables of aggregate_results.py


def comprehensive_files(folder: Path, prefix: str = "results") -> list[Path]:
    """Its results_comprehensive_<time>.csv, the newest first by the time in their names."""
    return sorted(folder.glob(f"{prefix}_comprehensive_[0-9]*.csv"), key=lambda path: path.name, reverse=True)


def from_csv(
    path: Path,
    matrix: Path | None = None,
    *,
    similarity: SimilarityMatrix | None = None,
    locales: list[str] | None = None,
    types: list[str] | None = None,
    numbers: list[int] | None = None,
) -> Material:
    """Of a results_comprehensive file, which has no items: without intervals and intents. `matrix`: of an N×N.

    InputError where it is no such file, or has nothing of what is chosen.
    """
    try:
        table = pd.read_csv(path)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"no file {path}; see --list-csv for those that are there") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path} is no CSV table; make it again with aggregate_results.py") from None
    suffix = "_vs_best_source"
    variants = [column.removesuffix(suffix) for column in table if column.endswith(suffix)]
    if "locale" not in table or not variants or not set(variants) <= set(table) or set(table["locale"]) - set(LOCALES):
        raise InputError(
            f"{path} is no results_comprehensive table: it needs a locale in each row, and of each method "
            f"the accuracy and the gain, <method>{suffix}; make it with aggregate_results.py"
        )
    long = pd.concat([_rows_of(table, variant) for variant in variants], ignore_index=True)
    if locales:
        long = long[long["locale"].isin(locales)]
    if types:
        missing = sorted({*types} - {*long["method"], *long["variant"], "baseline"})
        if missing:
            raise InputError(f"{path} has no result of {', '.join(missing)}; there are some of {', '.join(variants)}")
        long = long[long["method"].isin(types) | long["variant"].isin(types)]
    frame = _of_numbers(long, numbers).reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{path} has no result of those that were asked for; check --locales and --experiment-types")
    return Material(Comparison(frame, [], {}, {}), read_csv(matrix) if matrix else None, similarity)


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
        }
    )
    for name in BASELINES:
        column = {"native": "improvement"}.get(name, f"vs_{IN_FILES[name]}")
        rows[f"vs_{name}"] = table.get(f"{variant}_{column}")
        rows[f"{name}_accuracy"] = rows["accuracy"] - rows[f"vs_{name}"].astype(float)
    rows["best_source"] = table.get(f"{variant}_best_source")
    for name in TESTED:
        rows[f"p_{name}_holm"] = table.get(f"{variant}_p_{IN_FILES[name]}_holm")
    rows = rows[rows["accuracy"].notna()].reindex(columns=[*COLUMNS, *COMPARISON])
    numeric = [name for name in COMPARISON if name.startswith(("vs_", "p_")) or name.endswith("accuracy")]
    return rows.astype(dict.fromkeys(numeric, float))
