"""URIEL's vectors and their half cosine. Littell et al. 2017, aclanthology E17-2002 (data CC BY-SA 4.0)."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data import lang2vec_files
from merginguriel.utils.data.languages import Language, language
from merginguriel.utils.data.nearest_languages import nearest_of_uriel
from merginguriel.utils.similarity.matrix import SimilarityMatrix, similarities

# Feature sets without missing values, and where lang2vec keeps them.
FEATURE_TYPES = {
    "syntax_knn": ("feature_predictions.npz", "S_"),
    "phonology_knn": ("feature_predictions.npz", "P_"),
    "inventory_knn": ("feature_predictions.npz", "INV_"),
    "fam": ("family_features.npz", ""),
    "geo": ("geocoord_features.npz", ""),
}


def uriel_vectors(codes: Sequence[str], feature_type: str = "syntax_knn") -> np.ndarray:
    """URIEL features of languages by ISO 639-3 code: (languages, features), float64.

    syntax_knn: 103 binary features, missing ones predicted from the nearest languages.
    Raises InputError for an unknown feature type or code, or where lang2vec is not installed.
    """
    if feature_type not in FEATURE_TYPES:
        raise InputError(f"unknown feature type {feature_type!r}; one of {', '.join(FEATURE_TYPES)}")
    file_name, prefix = FEATURE_TYPES[feature_type]
    position, names, data = _features(_file(file_name))
    columns = [index for index, name in enumerate(names) if name.startswith(prefix)]
    unknown = [code for code in codes if code not in position]
    if unknown:
        raise InputError(f"no URIEL features for {', '.join(unknown)} in lang2vec; check the codes")
    rows = [position[code] for code in codes]
    return data[np.ix_(rows, columns)].max(axis=-1).astype(np.float64)


@functools.cache  # a sweep asks for each of its targets
def _features(file: Path) -> tuple[dict[str, int], list[str], np.ndarray]:
    """(row by ISO 639-3 code, names of features, (languages, features, origins))"""
    with np.load(file) as archive:
        position = {str(code): index for index, code in enumerate(archive["langs"])}
        return position, list(map(str, archive["feats"])), archive["data"]


def _file(name: str) -> Path:
    data = lang2vec_files.folder()
    if data is None:
        raise InputError(
            "lang2vec's features are not installed; run pip install lang2vec==1.1.2 or put a "
            "checkout at submodules/lang2vec"
        )
    return data / name


def half_cosine(vectors: np.ndarray) -> np.ndarray:
    """(1 + cos) / 2 of every pair of rows, none of them 0: (n, features) -> (n, n), diagonal exactly 1.

    Cosines are rounded to 12 decimals: languages at exactly equal similarity stay tied, whatever
    the order of summation, and the top-k cut then keeps both.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    dense = (1 + np.round(unit @ unit.T, 12)) / 2
    np.fill_diagonal(dense, 1.0)
    return dense


def dense_matrix(languages: Iterable[Language | str], feature_type: str = "syntax_knn") -> SimilarityMatrix:
    """Half cosine of languages, or of their codes, straight from URIEL; rows and columns have the codes' names.

    Two codes of one language, as of two scripts, are two rows of similarity 1. Raises InputError where URIEL lacks one.
    """
    chosen = [language(one) if isinstance(one, str) else one for one in languages]
    for one in chosen:
        if not one.iso:
            raise InputError(_lacking(one))
    vectors = uriel_vectors([one.iso for one in chosen], feature_type)
    empty = [one.code for one, row in zip(chosen, vectors) if not row.any()]
    if empty:
        raise InputError(
            f"URIEL's {feature_type} has no feature of {', '.join(empty)}, so that they are like nothing; leave them "
            "out, or choose another --feature-type"
        )
    return similarities(tuple(one.code for one in chosen), half_cosine(vectors), f"lang2vec {feature_type}")


def unknown(languages: Iterable[Language]) -> list[str]:
    """The codes of those that URIEL has no features of; InputError where lang2vec is not installed."""
    chosen = list(languages)
    with np.load(_file(FEATURE_TYPES["syntax_knn"][0])) as archive:
        known = set(map(str, archive["langs"]))
    return [one.code for one in chosen if one.iso not in known]


def _lacking(one: Language) -> str:
    near = nearest_of_uriel(one.code)
    hint = f"did you mean {' or '.join(near)}? Else " if near else ""
    return (
        f"URIEL has no language {one.code!r}{f' ({one.name})' if one.name != one.code else ''}; {hint}say under "
        "languages in the task's file which ISO 639-3 code it stands for, leave it out, or give similarities of your "
        "own by --similarity-matrix"
    )
