"""Language similarity: URIEL vectors -> half cosine -> top-k -> Sinkhorn.

URIEL: Littell et al. 2017, aclanthology E17-2002 (data CC BY-SA 4.0). Sinkhorn & Knopp 1967.
"""

import csv
import hashlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.locales import LOCALES, check_locale
from merginguriel.utils.records import write_text

SPARSE_CSV = "sparsed_language_similarity_matrix_unified.csv"
DENSE_CSV = "language_similarity_matrix_unified.csv"
PROJECT_ROOT = Path(__file__).resolve().parents[2]
SINKHORN_EPSILON = 1e-9


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
        scores = {locale: float(score) for locale, score in zip(self.locales, row)
                  if locale != target and score > 0}
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
        raise InputError(f"no similarity matrix {path}; make it with "
                         "python merginguriel/generate_sparse_similarity_unified.py") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path} is no CSV matrix; make it again with "
                         "generate_sparse_similarity_unified.py") from None
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


# Feature sets without missing values, and where lang2vec keeps them.
FEATURE_TYPES = {
    "syntax_knn": ("feature_predictions.npz", "S_"),
    "phonology_knn": ("feature_predictions.npz", "P_"),
    "inventory_knn": ("feature_predictions.npz", "INV_"),
    "fam": ("family_features.npz", ""),
    "geo": ("geocoord_features.npz", ""),
}


def uriel_vectors(codes: list[str], feature_type: str = "syntax_knn") -> np.ndarray:
    """URIEL features of languages by ISO 639-3 code: (languages, features), float64.

    syntax_knn: 103 binary features, missing ones predicted from the nearest languages.
    Raises InputError for an unknown feature type or code, or where lang2vec is not installed.
    """
    if feature_type not in FEATURE_TYPES:
        raise InputError(f"unknown feature type {feature_type!r}; one of {', '.join(FEATURE_TYPES)}")
    file_name, prefix = FEATURE_TYPES[feature_type]
    with np.load(_lang2vec_data() / file_name) as archive:
        position = {str(code): index for index, code in enumerate(archive["langs"])}
        columns = [index for index, name in enumerate(archive["feats"]) if str(name).startswith(prefix)]
        unknown = [code for code in codes if code not in position]
        if unknown:
            raise InputError(f"no URIEL features for {', '.join(unknown)} in lang2vec; check the codes")
        rows = [position[code] for code in codes]
        return archive["data"][np.ix_(rows, columns)].max(axis=-1).astype(np.float64)


def _lang2vec_data() -> Path:
    roots = [PROJECT_ROOT / "submodules/lang2vec/lang2vec"]
    # find_spec, not import: importing lang2vec takes seconds and breaks with setuptools >= 82.
    spec = importlib.util.find_spec("lang2vec")
    if spec and spec.submodule_search_locations:
        roots += [Path(location) for location in spec.submodule_search_locations]
    for root in roots:
        if (root / "data" / "feature_predictions.npz").is_file():
            return root / "data"
    raise InputError("lang2vec's features are not installed; run pip install lang2vec==1.1.2 or put a "
                     "checkout at submodules/lang2vec")


def half_cosine(vectors: np.ndarray) -> np.ndarray:
    """(1 + cos) / 2 of every pair of rows: (n, features) -> (n, n), diagonal exactly 1.

    Cosines are rounded to 12 decimals: languages at exactly equal similarity stay tied, whatever
    the order of summation, and the top-k cut then keeps both.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise InputError(f"{int((norms == 0).sum())} of the languages have no feature at all in this set, so no "
                         "cosine; choose another --feature-type")
    unit = vectors / norms
    dense = (1 + np.round(unit @ unit.T, 12)) / 2
    np.fill_diagonal(dense, 1.0)
    return dense


def top_k(dense: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest off-diagonal entries of each row, ties at the cut included; zero the rest."""
    off_diagonal = dense.copy()
    np.fill_diagonal(off_diagonal, 0.0)
    k = min(k, len(dense) - 1)
    cut = np.sort(off_diagonal, axis=1)[:, -k, None]
    return np.where(off_diagonal >= cut, off_diagonal, 0.0)


def sinkhorn(matrix: np.ndarray, iterations: int) -> np.ndarray:
    """`iterations` times divide rows, then columns, by their sums: columns end at 1, rows near it."""
    for _ in range(iterations):
        matrix = matrix / (matrix.sum(axis=1, keepdims=True) + SINKHORN_EPSILON)
        matrix = matrix / (matrix.sum(axis=0, keepdims=True) + SINKHORN_EPSILON)
    return matrix


def row_error(matrix: np.ndarray) -> float:
    """How far the worst row sum is from 1 (columns are exact after a Sinkhorn iteration)."""
    return float(np.abs(matrix.sum(axis=1) - 1).max())


def has_doubly_stochastic_limit(matrix: np.ndarray) -> bool:
    """Whether Sinkhorn iterations can reach row and column sums of 1.

    They do where the matrix has support, a positive entry in every row and column at once, which is
    a perfect matching (Sinkhorn & Knopp 1967). A hub that everybody keeps as neighbour breaks it.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    return int((maximum_bipartite_matching(csr_array(matrix > 0)) >= 0).sum()) == len(matrix)


def dense_matrix(locales, feature_type: str = "syntax_knn") -> SimilarityMatrix:
    """Half-cosine similarity of locales straight from URIEL."""
    for locale in locales:
        check_locale(locale)
    vectors = uriel_vectors([LOCALES[locale].uriel for locale in locales], feature_type)
    return SimilarityMatrix(tuple(locales), half_cosine(vectors), f"lang2vec {feature_type}")


def sparsify(dense: SimilarityMatrix, k: int, iterations: int) -> SimilarityMatrix:
    """top-k, then Sinkhorn."""
    return SimilarityMatrix(dense.locales, sinkhorn(top_k(dense.values, k), iterations),
                            f"{dense.origin}, top {k}, Sinkhorn {iterations}")


def find_matrix(name: str) -> Path | None:
    """`name` in the working directory, else the one that the project ships."""
    return next((path for path in (Path(name), PROJECT_ROOT / name) if path.is_file()), None)
