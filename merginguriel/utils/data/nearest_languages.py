"""What somebody may have meant by a code that is not there."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable

from merginguriel.utils.data import lang2vec_files, language_codes
from merginguriel.utils.data.language_codes import isos
from merginguriel.utils.data.massive_languages import LOCALES

MOST = 3  # that a message names
_ALIKE = 0.8  # difflib's ratio, above which a word counts as mistyped
# In names of languages, but telling none apart.
_IDLE_WORDS = frozenset("language languages family old northern southern eastern western central".split())


def nearest(text: str, known: Collection[str]) -> list[str]:
    """At most MOST of `known` that `text` may mean: the same spelled otherwise, the same language, one of that name.

    By letters alone only what is the code of no language, since codes of strangers look alike: hat_Latn is no hau_Latn.
    """
    means = _of_language(text, known) if isos(text) else _of_text(text, known)
    same = [code for code in known if _folded(code) == _folded(text)]
    return next(filter(None, [same, *means]), [])[:MOST]


def _folded(code: str) -> str:
    return code.lower().replace("_", "-")


def _of_language(text: str, known: Collection[str]) -> Iterable[list[str]]:
    """That language, then the usual one of a macrolanguage (arb_Arab for ar), then any that share one."""
    mine = isos(text)
    yield [code for code in known if isos(code)[:1] == mine[:1]]
    yield [code for code in known if language_codes.macrolanguage_of_standard(code) == mine[0]]
    yield [code for code in known if set(mine) & set(isos(code))]


def _of_text(text: str, known: Collection[str]) -> Iterable[list[str]]:
    """A known language with an unknown region or script (nl-NX), then a name (Dutch), also mistyped, then letters."""
    mine = isos(_folded(text).split("-")[0])
    yield [code for code in known if mine and isos(code)[:1] == mine[:1]]
    names = {code: language_codes.name(code).casefold() for code in known}
    yield [code for code, name in names.items() if name == text.casefold()]
    close = difflib.get_close_matches(text.casefold(), names.values(), n=1, cutoff=_ALIKE)
    yield [code for code, name in names.items() if name in close]
    folded = {_folded(code): code for code in known}
    yield [folded[one] for one in difflib.get_close_matches(_folded(text), folded, n=MOST, cutoff=_ALIKE)]


def nearest_of_uriel(code: str) -> list[str]:
    """At most MOST languages that URIEL has, each as `hye (Armenian)`, for a code of which it has none.

    Those whose name or family has the rarest words of the wanted name (Western Armenian: Armenian), languages that are
    often written first; for what is no language's code or name those of MASSIVE's locales that it may mean.
    """
    from langcodes.data_dicts import LIKELY_SUBTAGS

    if not isos(code):
        locales = nearest(code, LOCALES)
        if locales:
            return locales
    wanted, families = _words(language_codes.name(code)), lang2vec_files.families()
    names = {iso: language_codes.name(iso) for iso in sorted(lang2vec_files.codes()) if isos(iso)}
    words = {iso: _words(f"{name} {families.get(iso, '')}") for iso, name in names.items()}
    frequency = Counter(word for found in words.values() for word in found)
    scores = {
        iso: sum(1 / frequency[word] for word in wanted & found)
        for iso, found in words.items()
        if ("sign" in found) == ("sign" in wanted)
    }
    best = max(scores.values(), default=0)
    alike = [iso for iso, score in scores.items() if score == best > 0]
    written = {language_codes.alpha3(tag) for tag in LIKELY_SUBTAGS}
    alike.sort(key=lambda iso: (iso not in written, len(words[iso]), names[iso]))
    return [f"{iso} ({names[iso]})" for iso in alike[:MOST]]


def _words(name: str) -> set[str]:
    """Those that tell languages apart."""
    return set(re.findall(r"\w+", name.casefold())) - _IDLE_WORDS
