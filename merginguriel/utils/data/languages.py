"""Languages by any code: MASSIVE's locales as the project defines them, all others by langcodes and lang2vec."""

import contextlib
import csv
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import lang2vec_files, language_codes
from merginguriel.utils.data.massive_languages import LOCALES
from merginguriel.utils.data.nearest_languages import nearest, nearest_of_uriel
from merginguriel.utils.storage.naming import LANGUAGE

_MOST_LISTED = 60
_FAMILIES = {locale.uriel: locale.family for locale in LOCALES.values()}


@dataclass(frozen=True)
class Language:
    """`code`: as the user writes it. `iso`: the ISO 639-3 code by which URIEL has it, "" where it has not.

    `name` and `script` in English; a code that is nothing known is its own name, and its script "".
    """

    code: str
    iso: str
    name: str
    script: str

    @property
    def family(self) -> str:
        """The branch or family by which pictures group languages, "" where none is known."""
        if not self.iso:
            return ""
        known = (self.iso, *language_codes.isos(self.iso))  # of a language without one (twi) the macrolanguage's (aka)
        told = (_FAMILIES.get(iso) or lang2vec_files.families().get(iso) for iso in known)
        return next(filter(None, told), "")

    @property
    def stands_in(self) -> bool:
        """Whether `iso` is of another code, as of the macrolanguage, because URIEL has none of this one."""
        return self.iso in language_codes.isos(self.code)[1:]

    def related(self, other: "Language") -> bool:
        """Whether both are known to be of one family, or are one language."""
        return bool(self.iso) and (self.iso == other.iso or self.family == other.family != "")


_OWN: ContextVar[Mapping[str, str]] = ContextVar("own codes", default=MappingProxyType({}))


@contextlib.contextmanager
def own_codes(isos: Mapping[str, str]) -> Iterator[None]:
    """Inside, `language` knows these codes by their ISO 639-3, where URIEL has that.

    For pictures and tables, which are made of codes alone.
    """
    before = _OWN.set({code: iso for code, iso in isos.items() if _is_known(code, iso)})
    try:
        yield
    finally:
        _OWN.reset(before)


def language(code: str, iso: str | None = None) -> Language:
    """The language of a `code`: BCP 47, ISO 639-1 or 639-3, FLORES, or a name of one's own.

    `iso` tells which language a name of one's own stands for. Raises InputError where URIEL has none by it.
    """
    return _language(code, iso or _OWN.get().get(code))


def _is_known(code: str, iso: str) -> bool:
    try:
        return bool(_language(code, iso).iso)
    except InputError:
        return False


@functools.cache
def _language(code: str, iso: str | None) -> Language:
    if iso is None and code in LOCALES:
        locale = LOCALES[code]
        return Language(code, locale.uriel, locale.language, locale.script)
    told = code if iso is None else iso
    known, isos = lang2vec_files.codes(), language_codes.isos(told)
    # Without lang2vec a code is taken at its word; what needs URIEL's numbers refuses then.
    found = next((one for one in isos if one in known or not known), "")
    if iso is not None and not found:
        near = nearest_of_uriel(iso)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"{iso!r}, which {code} stands for, is no code of a language that URIEL has{hint}")
    return Language(code, found, language_codes.name(told), language_codes.script(code) or language_codes.script(told))


def is_code(text: object) -> bool:
    """Whether it can be the code of a language, known or of one's own."""
    return isinstance(text, str) and re.fullmatch(LANGUAGE, text) is not None


def check_locale(locale: str, known: Collection[str], where: str) -> str:
    """Return `locale`; raise InputError naming the nearest of `known` if it is not one of them."""
    if locale in known:
        return locale
    near, listed = nearest(locale, known), sorted(known)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif len(listed) <= _MOST_LISTED:
        hint = f"known: {', '.join(listed)}"
    else:
        hint = f"there are {len(listed)}, from {listed[0]} to {listed[-1]}"
    raise InputError(f"unknown locale {locale!r} in {where}; {hint}")


def read_list(file: Path, flag: str) -> list[str]:
    """Codes of a CSV's column ``locale`` or ``language``, or of a list, one a line, numbered as in ``1→af-ZA`` or not.

    Raises InputError, naming the `flag`, where the file is missing, has none, or has one twice or what is no code.
    """
    what = f"give {flag} a CSV with a column 'locale' or 'language', or a list"
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"no file {file}; {what}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text in UTF-8; {what}") from None
    header = [name.strip() for name in next(csv.reader(lines[:1]), [])]
    column = next((header.index(name) for name in ("locale", "language") if name in header), None)
    if column is not None:
        names = [row[column] for row in csv.reader(lines[1:]) if len(row) > column]
    elif len(header) > 1:
        raise InputError(f"{file} has no column 'locale' or 'language': it has {', '.join(header)}")
    else:
        names = [re.sub(r"^\s*\d+\s*(→|\t|[.:)])", "", line) for line in lines]
    codes = [name.strip() for name in names if name.strip()]
    for code in codes:
        if not is_code(code):
            raise InputError(f"{file}: {code!r} is no language code, as in af-ZA, sw or quy_Latn")
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice or not codes:
        raise InputError(f"{file}: {', '.join(twice)} stands twice" if twice else f"{file} has no locale")
    return codes
