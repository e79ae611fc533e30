"""What is known of the languages of results: which those are that a task calls by codes of its own, and how alike."""

import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import language, own_codes
from merginguriel.utils.data.task_file import task_named
from merginguriel.utils.merging import selection
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.formatting import some
from merginguriel.utils.similarity import uriel
from merginguriel.utils.similarity.matrix import DENSE_CSV, LanguageMatrix, find_matrix, read_matrix

log = logging.getLogger(__name__)


def told_codes(long: pd.DataFrame) -> dict[str, str]:
    """Code -> ISO 639-3, as results tell it; of older ones, where they do not, as the task's file does."""
    told: dict[str, str] = {}
    for origin in long["task_origin"].dropna().unique():
        if Path(origin).is_file():
            with contextlib.suppress(InputError):  # whatever became of it since
                told |= task_named(origin).own_codes
    for languages in long["languages"].dropna().unique():
        told |= json.loads(languages)
    return told


def with_similarity(data: ReportData, path: Path | None) -> ReportData:
    """The same with the similarity of its languages, of a file or of URIEL."""
    codes = set(data.frame["locale"]) | set(data.transfer.sources if data.transfer else ())
    with own_codes(data.own_codes):
        return replace(data, similarity=read_similarity(path, sorted(codes)))


def read_similarity(path: Path | None, codes: Sequence[str]) -> LanguageMatrix | None:
    """Plain similarity of languages: of `path`, of the shipped matrix where it has them all, else of URIEL.

    Without those that URIEL has not; None where it has none, or is not installed. A warning says so.
    """
    shipped = find_matrix(DENSE_CSV)
    file = path or (shipped if shipped and set(codes) <= set(read_matrix(shipped).targets) else None)
    if file:
        return selection.similarity_matrix(selection.SourceSettings(selection="cosine", matrix=file))
    languages = [language(code) for code in codes]
    unknown = [one.code for one in languages if not one.iso]
    if unknown:
        log.warning(
            "warning: similarity is drawn without %s: URIEL has no language of that code, nor of the ISO 639-3 code "
            "that the task of the results may tell for it",
            some(unknown),
        )
    try:
        return uriel.dense_matrix(one for one in languages if one.iso) if len(unknown) < len(languages) else None
    except InputError as error:
        log.warning("warning: similarity is not drawn: %s", error)
        return None
