"""Which sources take part in a merge, and with which weights.

To merge with your own weights, edit ManualWeightCalculator.WEIGHTS below, or pass --weights.
"""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import similarity, transfer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    locale: str
    path: Path
    weight: float


class ManualWeightCalculator:
    """Your own weights: locale -> share. They must sum to 1."""

    WEIGHTS = {
        "nl-NL": 0.6,
        "de-DE": 0.4,
    }

    @classmethod
    def calculate(cls, weights: Mapping[str, float] | None = None, *, normalize: bool = False) -> dict[str, float]:
        weights = dict(cls.WEIGHTS if weights is None else weights)
        total = sum(weights.values())
        if not weights or min(weights.values()) <= 0 or not total < float("inf"):
            raise InputError("weights must be positive finite numbers, one at least; "
                             "leave a locale out instead of giving it 0")
        if normalize:
            return {locale: weight / total for locale, weight in weights.items()}
        if abs(total - 1) > 1e-6:
            raise InputError(f"the weights sum to {total:.6g}, not 1; correct them or add --normalize-weights")
        return weights


class AverageCalculator:
    """Equal weights."""

    @staticmethod
    def calculate(scores: Mapping[str, float]) -> dict[str, float]:
        return {locale: 1 / len(scores) for locale in scores}


class SimilarityCalculator:
    """Weights in proportion to the similarity to the target."""

    @staticmethod
    def calculate(scores: Mapping[str, float]) -> dict[str, float]:
        total = sum(scores.values())
        return {locale: score / total for locale, score in scores.items()}


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
def similarity_matrix(options: SimilarityOptions) -> similarity.SimilarityMatrix | transfer.TransferMatrix:
    """The matrix that sources are chosen by: Sinkhorn shares, plain half cosines, or measured transfer."""
    if options.selection == "real":
        return transfer.read_transfer_matrix(options.nxn_matrix)
    if options.selection == "cosine":
        return _dense(options.matrix)
    if options.source == "sparse":
        path = options.matrix or similarity.find_matrix(similarity.SPARSE_CSV) or Path(similarity.SPARSE_CSV)
        return similarity.read_matrix(path)
    return similarity.sparsify(_dense(options.matrix), options.top_k, options.sinkhorn_iters)


def _dense(path: Path | None) -> similarity.SimilarityMatrix:
    from merginguriel.utils.locales import DEFAULT_LOCALES

    path = path or similarity.find_matrix(similarity.DENSE_CSV)
    matrix = similarity.read_matrix(path) if path else similarity.dense_matrix(DEFAULT_LOCALES)
    if any(matrix.values[i, i] == 0 for i in range(len(matrix.locales))):
        raise InputError(f"{matrix.origin} has a zero diagonal, so it is a sparse matrix; "
                         f"give --similarity-matrix a dense one")
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
        raise InputError(f"--num-languages {count}, but {matrix.origin} has {len(scores)} neighbours of {target}; "
                         f"ask for fewer or {matrix.remedy}")
    usable = [locale for locale in scores if locale in models]
    if count > len(usable):
        missing = [locale for locale in scores if locale not in models][:count - len(usable)]
        raise InputError(f"--num-languages {count}, but only {len(usable)} of {target}'s neighbours have a model"
                         f"{' (' + ', '.join(usable) + ')' if usable else ''}; train {', '.join(missing)} "
                         "or ask for fewer")
    chosen = usable[:count]
    skipped = [locale for locale in list(scores)[:list(scores).index(chosen[-1])] if locale not in models]
    if skipped:
        log.warning("warning: more similar to %s than the sources used, but without a model: %s",
                    target, ", ".join(skipped))
    return {locale: scores[locale] for locale in chosen}
