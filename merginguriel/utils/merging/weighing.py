"""The sources of a merge with their shares, and how they were chosen."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from merginguriel.utils.data.task import Task
from merginguriel.utils.merging.calculators import AverageCalculator, ManualWeightCalculator, SimilarityCalculator
from merginguriel.utils.merging.consensus import ConsensusMatrix, Polls
from merginguriel.utils.merging.selection import (
    Neighbours,
    SourceSettings,
    scores_of,
    select_sources,
    similarity_matrix,
)
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.similarity.matrix import LanguageMatrix
from merginguriel.utils.similarity.transfer import TransferMatrix


def weigh(
    settings: MergeSettings, task: Task, available: Mapping[str, Path], weights_sha256: Mapping[str, str], polls: Polls
) -> tuple[dict[str, float], dict[str, Any]]:
    """(language -> share, the record of how they were chosen). InputError where they cannot be chosen as asked."""
    if settings.weighs_by_hand:
        shares = ManualWeightCalculator.calculate(settings.weights, normalize=settings.normalize)
        return shares, {"selection": "manual"}
    sources, target, choice = settings.choice.sources, settings.target, settings.selection
    if sources and not settings.weighs_by_similarity:
        return AverageCalculator.calculate(dict.fromkeys(sources, 1.0)), {"selection": "explicit"}
    among = Neighbours(target, tuple(sorted({target, *(sources or available)})), task)
    read: dict[str, LanguageMatrix] = {}

    def matrix_of(selection: str) -> LanguageMatrix:
        if selection not in read:
            chosen = replace(choice, selection=selection)
            of_polls = selection == "consensus"
            read[selection] = polls.matrix(target, chosen, among) if of_polls else similarity_matrix(chosen, among)
        return read[selection]

    # A Sinkhorn row gives 0 to all but the target's neighbours, so explicit sources weigh by cosine.
    selection = "cosine" if sources else str(choice.selection)
    weighing = "consensus" if settings.weighs_by_consensus else "cosine" if settings.mode == "uriel" else selection
    if sources:
        scores = scores_of(matrix_of(weighing), target, sources)
    else:
        scores = select_sources(matrix_of(selection), target, choice.num_languages, available, task.codes)
        if weighing != selection:
            scores = scores_of(matrix_of(weighing), target, list(scores))
    calculator = SimilarityCalculator if settings.weighs_by_similarity else AverageCalculator
    record = {
        "selection": "explicit" if sources else selection,
        **_record(choice, read[weighing if sources else selection]),
    }
    for matrix in read.values():
        if isinstance(matrix, ConsensusMatrix):
            record |= matrix.told
        if isinstance(matrix, TransferMatrix):
            matrix.check_models({locale: weights_sha256[locale] for locale in scores})
    return calculator.calculate(scores), record


def _record(choice: SourceSettings, matrix: LanguageMatrix) -> dict[str, Any]:
    told = {
        "source": choice.source,
        "top_k": choice.top_k,
        "sinkhorn_iters": choice.sinkhorn_iters,
        "matrix": matrix.origin,
        "matrix_sha256": matrix.fingerprint(),
    }
    if isinstance(matrix, TransferMatrix):
        told |= {"matrix_split": matrix.split}
    return told
