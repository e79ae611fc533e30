"""URIEL's vectors and their half cosine. Littell et al. 2017, aclanthology E17-2002 (data CC BY-SA 4.0)."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import Language
from merginguriel.utils.similarity.matrix import PROJECT_ROOT, SimilarityMatrix, similarities

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
    raise InputError(
        "lang2vec's features are not installed; run pip install lang2vec==1.1.2 or put a "
        "checkout at submodules/lang2vec"
    )


def half_cosine(vectors: np.ndarray) -> np.ndarray:
    """(1 + cos) / 2 of every pair of rows: (n, features) -> (n, n), diagonal exactly 1.

    Cosines are rounded to 12 decimals: languages at exactly equal similarity stay tied, whatever
    the order of summation, and the top-k cut then keeps both.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise InputError(
            f"{int((norms == 0).sum())} of the languages have no feature at all in this set, so no "
            "cosine; choose another --feature-type"
        )
    unit = vectors / norms
    dense = (1 + np.round(unit @ unit.T, 12)) / 2
    np.fill_diagonal(dense, 1.0)
    return dense


def dense_matrix(languages: Sequence[Language], feature_type: str = "syntax_knn") -> SimilarityMatrix:
    """Half-cosine similarity of languages straight from URIEL."""
    vectors = uriel_vectors([language.iso for language in languages], feature_type)
    return similarities(
        tuple(language.code for language in languages), half_cosine(vectors), f"lang2vec {feature_type}"
    )
