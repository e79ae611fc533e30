"""The data of a report from a folder of results, and the similarity of languages that is set beside them."""

import logging
from pathlib import Path

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import LOCALES
from merginguriel.utils.merging import selection
from merginguriel.utils.report.report_data import ReportData, of_numbers
from merginguriel.utils.results import collect
from merginguriel.utils.results.comparison import compare
from merginguriel.utils.similarity.matrix import SimilarityMatrix
from merginguriel.utils.similarity.transfer import TransferMatrix

log = logging.getLogger(__name__)


def from_results(
    results_dir: Path,
    nxn: Path | None,
    *,
    similarity: SimilarityMatrix | None = None,
    split: str = "test",
    locales: list[str] | None = None,
    types: list[str] | None = None,
    numbers: list[int] | None = None,
) -> ReportData:
    """Everything under `results_dir` and `nxn`, or what is chosen of it; InputError where that is nothing."""
    collection = collect.collect(results_dir, nxn)
    known = collection.long["locale"].isin(LOCALES)
    strange = {
        Path(row.folder): f"{row.folder} is of an unknown locale, {row.locale!r}"
        for row in collection.long[~known].itertuples()
    }
    long = collect.choose(collection.long[known], split, locales, types)
    comparison = compare(of_numbers(long, numbers))
    if comparison.frame.empty:
        raise InputError(
            f"no merge or ensemble in {results_dir} on the {split} split, of those that were asked for; "
            "run one first, or name another folder with --results-dir"
        )
    return ReportData(comparison, _transfer(long), similarity, collection.damaged | strange | comparison.damaged)


def _transfer(long: pd.DataFrame) -> TransferMatrix | None:
    """Accuracy of every single model on every locale that it was measured on; of the models of one folder, the most."""
    singles = long[long["source"].notna()]
    if singles.empty:
        return None
    pools = singles.groupby(["base_model", "models_root"], dropna=False)
    _, pool = max(pools, key=lambda one: len(one[1]))
    # Of several results the newest counts.
    pool = pool.sort_values("timestamp", na_position="first").drop_duplicates(["source", "locale"], keep="last")
    table = pool[pool["source"].isin(LOCALES)].pivot(index="source", columns="locale", values="accuracy")
    return TransferMatrix(tuple(table.index), tuple(table.columns), table.to_numpy(float), "results")


def read_similarity(path: Path | None) -> SimilarityMatrix | None:
    """Plain similarity of languages, of `path` or of URIEL; None, and a warning, where lang2vec cannot tell it."""
    try:
        return selection.similarity_matrix(selection.SimilarityOptions("cosine", matrix=path))
    except InputError as error:
        if path:
            raise
        log.warning("warning: similarity is not drawn: %s", error)
        return None
