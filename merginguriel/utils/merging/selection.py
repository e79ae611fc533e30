"""Which sources take part in a merge: the most similar ones, by a matrix."""

import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.language_arguments import locale_tuple
from merginguriel.utils.data.languages import Language, language
from merginguriel.utils.data.split import CONSENSUS_TEXTS
from merginguriel.utils.data.task import Task
from merginguriel.utils.similarity import transfer, uriel
from merginguriel.utils.similarity.matrix import (
    DENSE_CSV,
    SPARSE_CSV,
    LanguageMatrix,
    SimilarityMatrix,
    find_matrix,
    read_matrix,
)
from merginguriel.utils.similarity.sparsify import sparsify
from merginguriel.utils.similarity.transfer import TransferMatrix
from merginguriel.utils.storage.argument_types import positive_int
from merginguriel.utils.storage.messages import some
from merginguriel.utils.storage.naming import listed
from merginguriel.utils.storage.settings import setting

log = logging.getLogger(__name__)
OF_CONSENSUS = {"matrix", "nxn_matrix", "consensus_examples"}  # the fields that it reads


@dataclass(frozen=True)
class Source:
    locale: str
    path: Path
    weight: float


@dataclass(frozen=True)
class Neighbours:
    """The languages of a task among which similarity is computed where no file has that of `target`."""

    target: str
    codes: tuple[str, ...]
    task: Task | None = None

    @property
    def languages(self) -> list[Language]:
        return self.task.neighbours(self.codes) if self.task else list(map(language, self.codes))


@dataclass(frozen=True)
class SourceSettings:
    """Which sources, and by which similarity they are chosen; see docs/similarity.md.

    `selection`: one of SELECTIONS, None for the mode's own. `matrix`, `nxn_matrix`: files to read similarity from.
    """

    num_languages: int = setting(
        5, "the N most similar languages that have a model", "--num-languages", read=positive_int, metavar="N"
    )
    sources: tuple[str, ...] | None = setting(
        None, "these languages instead", "--sources", read=locale_tuple, metavar="LOC,LOC,…"
    )
    selection: str | None = setting(
        None,
        "rank by: sinkhorn, shares which penalise hubs; cosine, plain; real, measured transfer; consensus, that of all "
        "models on unlabelled texts of the target (default: the mode's own, which is sinkhorn but in modes uriel and "
        "consensus)",
        "--selection",
        metavar="BY",
        choices=("sinkhorn", "cosine", "real", "consensus"),
    )
    nxn_matrix: Path | None = setting(
        None,
        "folder or evaluation_matrix.csv of a run of run_nxn_evaluation.py: for --selection real on validation; for "
        "consensus on train, whose logits it takes",
        "--nxn-matrix",
        read=Path,
        metavar="PATH",
    )
    consensus_examples: int = setting(
        CONSENSUS_TEXTS,
        "for consensus: how many train texts of the target, or all there are",
        "--consensus-examples",
        read=positive_int,
        metavar="N",
    )
    source: str = setting(
        "sparse",
        "sparse: the shipped Sinkhorn matrix; dense: top-k and Sinkhorn now",
        "--similarity-source",
        choices=("sparse", "dense"),
    )
    matrix: Path | None = setting(None, "another matrix file", "--similarity-matrix", read=Path, metavar="CSV")
    top_k: int = setting(
        20, "neighbours kept per row, with --similarity-source dense", "--top-k", read=positive_int, metavar="K"
    )
    sinkhorn_iters: int = setting(
        20, "Sinkhorn iterations, with --similarity-source dense", "--sinkhorn-iters", read=positive_int, metavar="N"
    )

    def __post_init__(self) -> None:
        if self.selection == "real" and self.nxn_matrix is None and not self.sources:
            raise InputError(
                "--selection real needs --nxn-matrix; measure one with run_nxn_evaluation.py --split validation"
            )

    def used(self, *, weighed: bool) -> set[str]:
        """The fields that have an effect beside the others; `weighed`: whether sources weigh by their similarity."""
        if self.sources:  # named ones weigh equally or by cosine
            return {"sources", "matrix"} if weighed else {"sources"}
        fields = {"num_languages", "sources", "selection"}
        if self.selection == "real":
            return fields | {"nxn_matrix"}
        if self.selection == "consensus":
            return fields | OF_CONSENSUS
        if self.selection == "cosine":
            return fields | {"matrix"}
        dense = {"top_k", "sinkhorn_iters"} if self.source == "dense" else set()
        return fields | {"matrix", "source"} | dense

    def with_own_matrix(self) -> "SourceSettings":
        """The same, without a matrix that is the one it would read anyway."""
        own = find_matrix(SPARSE_CSV if self.selection == "sinkhorn" and self.source == "sparse" else DENSE_CSV)
        is_own = self.matrix is not None and own is not None and self.matrix.resolve() == own.resolve()
        return replace(self, matrix=None) if is_own else self

    def words(self, default: str = "sinkhorn") -> dict[str, str]:
        """Field -> its word in a folder's name, of what has not its default; `default` is the mode's selection."""
        told = {}
        if self.sources:
            told["sources"] = f"sources-{listed(self.sources)}"
        elif self.selection == "real":
            told["selection"] = f"real-{similarity_matrix(self).fingerprint()[:8]}"
        elif self.selection not in (None, default):
            told["selection"] = str(self.selection)
        if self.source == "dense":
            told["dense"] = f"dense{self.top_k}x{self.sinkhorn_iters}"
        if self.consensus_examples != CONSENSUS_TEXTS:
            told["consensus_examples"] = f"consensus{self.consensus_examples}"
        if self.matrix:
            told["matrix"] = f"matrix-{read_matrix(self.matrix).fingerprint()[:8]}"
        return told


def _real(settings: SourceSettings, among: Neighbours | None) -> TransferMatrix:
    assert settings.nxn_matrix is not None, "refused before, where a selection needs it"
    return transfer.read_transfer_matrix(settings.nxn_matrix)


def kept_matrix(settings: SourceSettings, name: str, among: Neighbours | None) -> SimilarityMatrix | None:
    """The matrix that was asked for, else the file of this name where it has the target."""
    if settings.matrix:
        return read_matrix(settings.matrix)
    path = find_matrix(name)
    kept = read_matrix(path) if path else None
    return kept if kept and (among is None or among.target in kept.targets) else None


def _cosine(settings: SourceSettings, among: Neighbours | None) -> SimilarityMatrix:
    matrix = kept_matrix(settings, DENSE_CSV, among) or uriel.dense_matrix(among.languages if among else ())
    if any(matrix.values[i, i] == 0 for i in range(len(matrix.targets))):
        raise InputError(
            f"{matrix.origin} has a zero diagonal, so it is a sparse matrix; give --similarity-matrix a dense one"
        )
    return matrix


def _sinkhorn(settings: SourceSettings, among: Neighbours | None) -> SimilarityMatrix:
    sparse = kept_matrix(settings, SPARSE_CSV, among) if settings.source == "sparse" else None
    return sparse or sparsify(_cosine(settings, among), settings.top_k, settings.sinkhorn_iters)


# Name -> the matrix that it ranks sources by, of a file or of URIEL; merging/consensus.py makes that of the consensus.
# A new way to choose sources is a function and a line here, and a choice of --selection above.
SELECTIONS: dict[str, Callable[[SourceSettings, Neighbours | None], LanguageMatrix]] = {
    "sinkhorn": _sinkhorn,
    "cosine": _cosine,
    "real": _real,
}


def similarity_matrix(settings: SourceSettings, among: Neighbours = Neighbours("", ())) -> LanguageMatrix:
    """The matrix that sources are chosen by: of a file, or of URIEL, `among` those languages."""
    return _kept_matrix(replace(settings, num_languages=1, sources=None), among)


@functools.cache  # the many merges of a sweep share it
def _kept_matrix(settings: SourceSettings, among: Neighbours | None) -> LanguageMatrix:
    return SELECTIONS[settings.selection or "sinkhorn"](settings, among)


def scores_of(matrix: LanguageMatrix, target: str, locales: Sequence[str]) -> dict[str, float]:
    """The similarity of given sources to `target`; InputError where the matrix has none of one of them."""
    scores = matrix.for_target(target)
    unknown = [locale for locale in locales if locale not in scores and locale != target]
    if unknown:
        raise InputError(f"{', '.join(unknown)} not in {matrix.origin}; build a matrix that has it")
    return {locale: scores.get(locale, 0.0) for locale in locales}


def select_sources(
    matrix: LanguageMatrix, target: str, count: int, models: Mapping[str, Path], known: Collection[str] = ()
) -> dict[str, float]:
    """The `count` locales most similar to `target` that have a model, with their similarity, best first.

    `known`: the languages that there are data of, empty where nobody knows; of others no model is missed. Raises
    InputError where the matrix or the models cannot give so many.
    """
    scores = matrix.for_target(target)
    chosen = check_count(matrix, target, count, models, known)[:count]
    better = list(scores)[: list(scores).index(chosen[-1])]
    skipped = [locale for locale in better if locale not in models and (locale in known or not known)]
    if skipped:
        log.warning("warning: more similar to %s than the sources used, but without a model: %s", target, some(skipped))
    return {locale: scores[locale] for locale in chosen}


def check_count(
    matrix: LanguageMatrix, target: str, count: int, models: Mapping[str, Path], known: Collection[str] = ()
) -> list[str]:
    """The locales with a similarity to `target` and a model, best first; InputError where they are fewer than `count`.

    `known`: as of `select_sources`.
    """
    scores = matrix.for_target(target)
    usable = [locale for locale in scores if locale in models]
    fewer = f"give --num-languages {len(usable)}, or " if usable else ""
    # Of similarities a matrix with more neighbours each may tell more, if it has the languages at all.
    could_tell_more = isinstance(matrix, TransferMatrix) or count < len(matrix.sources)
    if len(scores) < count and could_tell_more:
        raise InputError(
            f"--num-languages {count}, but {matrix.origin} has {len(scores)} neighbours of {target}, "
            f"{len(usable)} of them with a model; {fewer}{matrix.remedy}"
        )
    if count > len(usable):
        untrained = [locale for locale in scores if not known or locale in known] + sorted({*known} - {target, *scores})
        missing = ", ".join([locale for locale in untrained if locale not in models][: count - len(usable)])
        raise InputError(
            f"--num-languages {count}, but only {len(usable)} of {target}'s neighbours have a model"
            f"{' (' + ', '.join(usable) + ')' if usable else ''}; {fewer}"
            f"{f'train {missing}' if missing else 'add data of more languages'}"
        )
    return usable
