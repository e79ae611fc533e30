"""The files of the package lang2vec: which languages URIEL knows, and their families. Data CC BY-SA 4.0."""

import functools
import sys
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[3]
# Glottolog's largest families hold most of a corpus, so that a picture would have one group: they are told by these
# branches, the first that a language descends from, and under the names that the table of MASSIVE's languages has.
# Every other language is told by its whole family.
BRANCHES = {
    "Germanic": "Germanic",
    "Italic": "Romance",
    "Slavic": "Slavic",
    "Eastern Baltic": "Baltic",
    "Celtic": "Celtic",
    "Indo-Aryan": "Indo-Aryan",
    "Iranian": "Iranian",
    "Graeco-Phrygian": "Hellenic",
    "Albanian": "Albanian",
    "Armenian": "Armenian",
    "Semitic": "Semitic",
    "Berber": "Berber",
    "Cushitic": "Cushitic",
    "Chadic": "Chadic",
    "Narrow Bantu": "Bantu",
    "Sinitic": "Sinitic",
    "Sino-Tibetan": "Tibeto-Burman",
    "Tai-Kadai": "Kra-Dai",
}
# Kinds of languages, which Glottolog lists beside its families: their members are not related.
NO_FAMILIES = frozenset(
    "Artificial Language|Mixed Language|Pidgin|Sign Language|Speech Register|Unattested|Unclassifiable".split("|")
)


def folder() -> Path | None:
    """Where its arrays are, in a checkout first; None where lang2vec is not installed."""
    # Not imported: that takes seconds and breaks with setuptools >= 82. Nor asked where it would be imported from: for
    # a command in an environment's bin/ that is lang2vec's own command there, lang2vec.py.
    roots = [PROJECT_ROOT / "submodules/lang2vec", *map(Path, sys.path)]
    folders = (root / "lang2vec/data" for root in roots)
    return next((data for data in folders if (data / "feature_predictions.npz").is_file()), None)


@functools.cache
def codes() -> frozenset[str]:
    """ISO 639-3 codes of the languages that URIEL has; none where lang2vec is not installed."""
    import numpy as np

    data = folder()
    if data is None:
        return frozenset()
    with np.load(data / "feature_predictions.npz") as archive:
        return frozenset(archive["langs"].tolist())


@functools.cache
def families() -> dict[str, str]:
    """ISO 639-3 code -> branch or family. Languages of which URIEL has none, isolates among them, are left out."""
    import numpy as np

    data = folder()
    if data is None:
        return {}
    with np.load(data / "family_features.npz") as archive:
        names = [name.removeprefix("F_") for name in archive["feats"].tolist()]
        languages = archive["langs"].tolist()
        member = archive["data"][:, :, 0] > 0  # (languages, groups), those of every depth
    # The group of a language that most other languages are in too is the outermost one.
    outermost_first = np.argsort(-member.sum(axis=0), kind="stable").tolist()
    order = dict.fromkeys([*map(names.index, BRANCHES), *outermost_first])
    rank = {group: place for place, group in enumerate(order)}
    found: dict[str, str] = {}
    for row, group in sorted(zip(*member.nonzero()), key=lambda pair: -rank[pair[1]]):
        found[languages[row]] = names[group]  # the first in order is written last
    return {code: BRANCHES.get(name, name) for code, name in found.items() if name not in NO_FAMILIES}
