"""Matrices of how alike languages are, as CSV files."""

import csv
import functools
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.lang2vec_files import PROJECT_ROOT
from merginguriel.utils.data.languages import check_locale
from merginguriel.utils.storage.atomic import write_text
from merginguriel.utils.storage.csv_cells import cell

SPARSE_CSV = "sparsed_language_similarity_matrix_unified.csv"
DENSE_CSV = "language_similarity_matrix_unified.csv"


@dataclass(frozen=True)
class LanguageMatrix:
    """What each source language is worth to each target. `values` is (sources, targets); NaN is unknown."""

    remedy: ClassVar[str]  # what gives a target more sources
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    values: np.ndarray
    origin: str

    def for_target(self, target: str) -> dict[str, float]:
        """Source -> value for one target, best first; without the target, zeros and what is unknown."""
        check_locale(target, self.targets, self.origin)
        column = self.values[:, self.targets.index(target)]
        # NaN is not above 0 either.
        scores = {name: float(score) for name, score in zip(self.sources, column) if name != target and score > 0}
        return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))

    @property
    def own_language(self) -> np.ndarray:
        """(sources, targets) bool: whether they are the same."""
        return np.array([[source == target for target in self.targets] for source in self.sources])

    def in_file(self) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
        """((names of rows, names of columns), cells), or ((names of both,), cells), as its CSV has them."""
        return (self.sources, self.targets), self.values

    def fingerprint(self) -> str:
        return self._fingerprint

    @functools.cached_property  # the name and the record of every merge tell it
    def _fingerprint(self) -> str:
        names, cells = self.in_file()
        return hashlib.sha256(repr((*names, cells.tolist())).encode()).hexdigest()

    def to_csv(self, path: Path) -> None:
        """First column unnamed; an unknown cell is empty."""
        names, cells = self.in_file()
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["", *map(cell, names[-1])])
        for name, row in zip(names[0], cells):
            writer.writerow([cell(name), *("" if np.isnan(value) else repr(float(value)) for value in row)])
        write_text(path, out.getvalue())


class SimilarityMatrix(LanguageMatrix):
    """How alike languages are. In its file a row is a target, and a column a source."""

    remedy = "build a matrix with a larger --k"

    def in_file(self) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
        return (self.targets,), self.values.T


def similarities(locales: tuple[str, ...], by_target: np.ndarray, origin: str) -> SimilarityMatrix:
    """Of languages to each other; `by_target` is (targets, sources)."""
    return SimilarityMatrix(locales, locales, by_target.T, origin)


def read_table(path: Path, what: str, remedy: str) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """(names of rows, names of columns, cells) of a CSV file with names in its first row and column; empty is NaN.

    Raises InputError where it is none, or where a name stands twice.
    """
    try:
        with open(path, newline="", encoding="utf-8") as lines:
            header, *rows = [row for row in csv.reader(lines) if row]
    except FileNotFoundError:
        raise InputError(f"no {what} {path}; {remedy}") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path} is no CSV matrix; {remedy}") from None
    names = tuple(row[0] for row in rows), tuple(header[1:])
    for side in names:
        twice = sorted({name for name in side if side.count(name) > 1})
        if twice:
            raise InputError(f"{path}: {', '.join(twice)} stands twice, and every language may once; {remedy}")
    try:
        cells = np.array([[float(cell or "nan") for cell in row[1:]] for row in rows], ndmin=2)
    except ValueError:
        raise InputError(f"{path}: a cell is not a number, or a row too short; {remedy}") from None
    if cells.shape != tuple(map(len, names)):
        raise InputError(f"{path}: {len(names[0])} rows and {len(names[1])} columns, but not a cell for each; {remedy}")
    return *names, cells


def read_matrix(path: Path) -> SimilarityMatrix:
    """Read a CSV with locales as index and columns; InputError where it is not square, finite and unique."""
    remedy = "make it with python merginguriel/generate_sparse_similarity_unified.py"
    rows, columns, cells = read_table(path, "similarity matrix", remedy)
    if rows != columns:
        raise InputError(f"{path}: its rows and columns are not the same locales in the same order; {remedy}")
    if not np.isfinite(cells).all() or (cells < 0).any():
        raise InputError(f"{path}: not a matrix of finite numbers >= 0; {remedy}")
    return similarities(rows, cells, str(path))


def find_matrix(name: str) -> Path | None:
    """`name` in the working directory, else the one that the project ships, in a checkout or in the package."""
    places = (Path(name), PROJECT_ROOT / name, PROJECT_ROOT / "merginguriel" / name)
    return next((path for path in places if path.is_file()), None)
