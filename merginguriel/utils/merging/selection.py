"""Which sources take part in a merge: the most similar ones, by a matrix."""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.similarity import sparsify, transfer, uriel
from merginguriel.utils.similarity.matrix import DENSE_CSV, SPARSE_CSV, SimilarityMatrix, find_matrix, read_matrix

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    locale: str
    path: Path
    weight: float


@dataclass(frozen=True)
class SimilarityOptions:
    """Where similarities come from; see docs/similarity.md."""

    selection: str = "sinkhorn"
    source: str = "sparse"
    top_k: int = 20
    sinkhorn_iters: int = 20
    matrix: Path | None = None
    nxn_matrix: Path | None = None


@functools.cache  # the many merges of a sweep share it
def similarity_matrix(options: SimilarityOptions) -> SimilarityMatrix | transfer.TransferMatrix:
    """The matrix that sources are chosen by: Sinkhorn shares, plain half cosines, or measured transfer."""
    if options.selection == "real":
        return transfer.read_transfer_matrix(options.nxn_matrix)
    if options.selection == "cosine":
        return _dense(options.matrix)
    if options.source == "sparse":
        path = options.matrix or find_matrix(SPARSE_CSV) or Path(SPARSE_CSV)
        return read_matrix(path)
    return sparsify.sparsify(_dense(options.matrix), options.top_k, options.sinkhorn_iters)


def _dense(path: Path | None) -> SimilarityMatrix:
    from merginguriel.utils.data.languages import DEFAULT_LOCALES

    path = path or find_matrix(DENSE_CSV)
    matrix = read_matrix(path) if path else uriel.dense_matrix(DEFAULT_LOCALES)
    if any(matrix.values[i, i] == 0 for i in range(len(matrix.locales))):
        raise InputError(
            f"{matrix.origin} has a zero diagonal, so it is a sparse matrix; give --similarity-matrix a dense one"
        )
    return matrix


def scores_of(matrix, target: str, locales: list[str]) -> dict[str, float]:
    """The similarity of given sources to `target`; InputError where the matrix has none of one of them."""
    scores = matrix.for_target(target)
    unknown = [locale for locale in locales if locale not in scores and locale != target]
    if unknown:
        raise InputError(f"{', '.join(unknown)} not in {matrix.origin}; build a matrix that has it")
    return {locale: scores.get(locale, 0.0) for locale in locales}


def select_sources(matrix, target: str, count: int, models: Mapping[str, Path]) -> dict[str, float]:
    """The `count` locales most similar to `target` that have a model, with their similarity, best first.

    Raises InputError where the matrix or the models cannot give so many.
    """
    scores = matrix.for_target(target)
    if count > len(scores):
        raise InputError(
            f"--num-languages {count}, but {matrix.origin} has {len(scores)} neighbours of {target}; "
            f"ask for fewer or {matrix.remedy}"
        )
    usable = [locale for locale in scores if locale in models]
    if count > len(usable):
        missing = [locale for locale in scores if locale not in models][: count - len(usable)]
        raise InputError(
            f"--num-languages {count}, but only {len(usable)} of {target}'s neighbours have a model"
            f"{' (' + ', '.join(usable) + ')' if usable else ''}; train {', '.join(missing)} "
            "or ask for fewer"
        )
    chosen = usable[:count]
    skipped = [locale for locale in list(scores)[: list(scores).index(chosen[-1])] if locale not in models]
    if skipped:
        log.warning(
            "warning: more similar to %s than the sources used, but without a model: %s", target, ", ".join(skipped)
        )
    return {locale: scores[locale] for locale in chosen}
