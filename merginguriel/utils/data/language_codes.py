"""What the code of a language tells by itself: its ISO 639-3 codes, name and script, by the library langcodes.

Read are BCP 47 (af-ZA, zh-Hant-TW), ISO 639-1 (af), ISO 639-3 (afr) and FLORES (quy_Latn).
"""

import functools

from merginguriel.utils.data import lang2vec_files
from merginguriel.utils.data.massive_languages import LOCALES

# Undetermined, multiple, uncoded, none.
NO_LANGUAGES = frozenset({"und", "mul", "mis", "zxx"})
# ISO 15924 scripts that the table of MASSIVE's languages names otherwise than Unicode does.
SCRIPTS = {"Beng": "Bengali", "Hans": "Han", "Hant": "Han", "Kore": "Hangul", "Mymr": "Burmese"}


@functools.cache
def isos(code: str) -> tuple[str, ...]:
    """ISO 639-3 codes that `code` may be known by, the nearest first; none where it is the code of no language.

    First as it is written, then as BCP 47 writes it today (mo -> ron), then the macrolanguage (lvs -> lav). A tag with
    an unknown script or region is none: nl-NX is an error of typing, and en_formal a name of somebody's own.
    """
    import langcodes
    from langcodes.data_dicts import MACROLANGUAGES

    first, *rest = code.replace("_", "-").lower().split("-")
    if not 2 <= len(first) <= 3 or first in NO_LANGUAGES:
        return ()
    # Codes that ISO has withdrawn since (eml), but URIEL has, stand as en would.
    retired = first in lang2vec_files.codes() and langcodes.tag_is_valid("-".join(["en", *rest]))
    if not retired and not langcodes.tag_is_valid(code):
        return ()
    subtags = [_written(code), langcodes.get(code).language or ""]
    subtags += [MACROLANGUAGES.get(subtag, "") for subtag in subtags]
    return tuple(dict.fromkeys(alpha3(subtag) for subtag in subtags if subtag))


def _written(code: str) -> str:
    """The subtag of the language as it is written, with a langcodes that would rather write another."""
    import langcodes

    tag = langcodes.get(code, normalize=False)
    return (tag.extlangs or [tag.language or ""])[-1]


def alpha3(subtag: str) -> str:
    """ISO 639-3 of a subtag of BCP 47, which has two letters where there are such."""
    from langcodes.data_dicts import LANGUAGE_ALPHA3

    return LANGUAGE_ALPHA3.get(subtag, subtag)


@functools.cache
def macrolanguage_of_standard(code: str) -> str:
    """ISO 639-3 of the macrolanguage whose usual member `code` is (ara of arb_Arab, not of ary_Arab); "" of others."""
    from langcodes.data_dicts import NORMALIZED_MACROLANGUAGES

    return alpha3(NORMALIZED_MACROLANGUAGES.get(_written(code), "")) if isos(code) else ""


@functools.cache
def _project_names() -> dict[str, str]:
    """ISO 639-3 code -> the name that pictures of MASSIVE have; not of zho, whose two locales are named by script."""
    codes = [locale.uriel for locale in LOCALES.values()]
    return {locale.uriel: locale.language for locale in LOCALES.values() if codes.count(locale.uriel) == 1}


@functools.cache
def name(code: str) -> str:
    """In English; the code itself where it is the code of no language."""
    import langcodes

    known = isos(code)
    if not known:
        return code
    if known[0] in _project_names():
        return _project_names()[known[0]]
    # As it is written, since BCP 47 calls Dari Persian; where that has no name (hau, for ha) as it is written today.
    names = [langcodes.Language.make(language=_written(code)).language_name(), langcodes.get(code).language_name()]
    found = next((told for told in names if not told.startswith("Unknown language")), known[0])
    return found.removesuffix(" (individual language)")


@functools.cache
def script(code: str) -> str:
    """In English: the one in the code, else the one that the language is mostly written in; "" where none is known."""
    import langcodes
    from langcodes.data_dicts import LIKELY_SUBTAGS

    if not isos(code):
        return ""
    tag = langcodes.get(code)
    if not tag.script and tag.language not in LIKELY_SUBTAGS:
        return ""
    tag = tag.maximize()
    return SCRIPTS.get(tag.script or "", tag.script_name())
