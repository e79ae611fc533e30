"""Matrices of how alike languages are, as CSV files."""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import check_locale
from merginguriel.utils.storage.atomic import write_text

SPARSE_CSV = "sparsed_language_similarity_matrix_unified.csv"
DENSE_CSV = "language_similarity_matrix_unified.csv"
PROJECT_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class SimilarityMatrix:
    """How alike languages are. `values` is (n, n): row = target language, column = source language.

    A transfer matrix, as run_nxn_evaluation.py writes it, is the other way round: transfer.TransferMatrix.
    """

    remedy: ClassVar[str] = "build a matrix with a larger --k"
    locales: tuple[str, ...]
    values: np.ndarray
    origin: str

    def for_target(self, target: str) -> dict[str, float]:
        """Source -> similarity for one target, most similar first, zeros and the target left out."""
        check_locale(target, self.locales, self.origin)
        row = self.values[self.locales.index(target)]
        scores = {locale: float(score) for locale, score in zip(self.locales, row) if locale != target and score > 0}
        return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))

    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.locales, self.values.tolist())).encode()).hexdigest()

    def to_csv(self, path: Path) -> None:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["", *self.locales])
        for locale, row in zip(self.locales, self.values):
            writer.writerow([locale, *(repr(float(value)) for value in row)])
        write_text(path, out.getvalue())


def read_matrix(path: Path) -> SimilarityMatrix:
    """Read a CSV with locales as index and columns; InputError where it is not square, finite and unique."""
    try:
        with open(path, newline="", encoding="utf-8") as lines:
            header, *rows = [row for row in csv.reader(lines) if row]
    except FileNotFoundError:
        raise InputError(
            f"no similarity matrix {path}; make it with python merginguriel/generate_sparse_similarity_unified.py"
        ) from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path} is no CSV matrix; make it again with generate_sparse_similarity_unified.py") from None
    columns, index = header[1:], [row[0] for row in rows]
    if columns != index:
        raise InputError(f"{path}: its rows and columns are not the same locales in the same order")
    twice = sorted({locale for locale in index if index.count(locale) > 1})
    if twice:
        raise InputError(f"{path}: {', '.join(twice)} stands twice; every locale must be unique")
    try:
        values = np.array([[float(cell) for cell in row[1:]] for row in rows])
    except ValueError:
        raise InputError(f"{path}: a cell is not a number") from None
    if values.shape != (len(index), len(index)) or not np.isfinite(values).all() or (values < 0).any():
        raise InputError(f"{path}: not a square matrix of finite numbers >= 0")
    return SimilarityMatrix(tuple(index), values, str(path))


def find_matrix(name: str) -> Path | None:
    """`name` in the working directory, else the one that the project ships."""
    return next((path for path in (Path(name), PROJECT_ROOT / name) if path.is_file()), None)
