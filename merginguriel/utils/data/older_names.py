"""Names of folders from before results and models told themselves what they are; all of them are of MASSIVE."""

import re

from merginguriel.utils.data.massive_languages import LOCALES
from merginguriel.utils.storage import naming

_LOCALE = f"(?:{'|'.join(LOCALES)})"


def parse_training_run(name: str) -> tuple[str, str] | None:
    """(base model, locale) of a run of one locale, e.g. xlm-roberta-base_massive_af-ZA_lr5e-05_ep15_compile."""
    match = re.fullmatch(rf"(.+)_massive_({_LOCALE})_lr\d(?:\.\d+)?e-?\d+_ep[\d.]+(?:_compile)?", name)
    return (match[1], match[2]) if match else None


def parse_model(name: str) -> tuple[str, str] | None:
    """(base model, language) of the model of one language, wherever it was trained."""
    found = naming.parse_model(name)
    return (found[0], found[2]) if found else parse_training_run(name)


def parse_result(name: str) -> tuple[str, str, int | None] | None:
    """(mode, locale, number of sources) of a result of a merge, an ensemble or a baseline; None for what is unsaid.

    All the patterns that results have had: similarity_merge_af-ZA, similarity_4lang_af-ZA,
    similarity_merge_af-ZA_4merged, ensemble_soft_af-ZA, ensemble_soft_af-ZA_4lang, baseline_af-ZA.
    """
    for pattern in (
        rf"(?P<mode>.+?)_merge_(?P<locale>{_LOCALE})(?:_(?P<number>\d+)merged)?(?:_.+)?",
        rf"(?P<mode>.+?)_(?P<number>\d+)lang_(?P<locale>{_LOCALE})(?:_.+)?",
        rf"(?P<mode>ensemble_.+?)_(?P<locale>{_LOCALE})(?:_.*?(?P<number>\d+)lang)?(?:_.+)?",
        rf"(?P<mode>baseline)_(?P<locale>{_LOCALE})(?P<number>)",
    ):
        if match := re.fullmatch(pattern, name):
            return match["mode"], match["locale"], int(match["number"]) if match["number"] else None
    return None
