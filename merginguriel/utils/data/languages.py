"""The 52 MASSIVE locales as data: URIEL code, language, family, script.

URIEL codes are the ones whose lang2vec vectors the project is defined on. Six of them
(ara, aze, fas, lav, msa, swa) are ISO 639-3 macrolanguages: lang2vec also knows their
individual languages, with other vectors, so replacing a code changes every result.
"""

import csv
import re
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from auto_merge_llm.errors import InputError


class Locale(NamedTuple):
    uriel: str
    language: str
    family: str
    script: str


LOCALES = {
    "af-ZA": Locale("afr", "Afrikaans", "Germanic", "Latin"),
    "am-ET": Locale("amh", "Amharic", "Semitic", "Ethiopic"),
    "ar-SA": Locale("ara", "Arabic", "Semitic", "Arabic"),
    "az-AZ": Locale("aze", "Azerbaijani", "Turkic", "Latin"),
    "bn-BD": Locale("ben", "Bengali", "Indo-Aryan", "Bengali"),
    "ca-ES": Locale("cat", "Catalan", "Romance", "Latin"),
    "cy-GB": Locale("cym", "Welsh", "Celtic", "Latin"),
    "da-DK": Locale("dan", "Danish", "Germanic", "Latin"),
    "de-DE": Locale("deu", "German", "Germanic", "Latin"),
    "el-GR": Locale("ell", "Greek", "Hellenic", "Greek"),
    "en-US": Locale("eng", "English", "Germanic", "Latin"),
    "es-ES": Locale("spa", "Spanish", "Romance", "Latin"),
    "fa-IR": Locale("fas", "Persian", "Iranian", "Arabic"),
    "fi-FI": Locale("fin", "Finnish", "Uralic", "Latin"),
    "fr-FR": Locale("fra", "French", "Romance", "Latin"),
    "he-IL": Locale("heb", "Hebrew", "Semitic", "Hebrew"),
    "hi-IN": Locale("hin", "Hindi", "Indo-Aryan", "Devanagari"),
    "hu-HU": Locale("hun", "Hungarian", "Uralic", "Latin"),
    "hy-AM": Locale("hye", "Armenian", "Armenian", "Armenian"),
    "id-ID": Locale("ind", "Indonesian", "Austronesian", "Latin"),
    "is-IS": Locale("isl", "Icelandic", "Germanic", "Latin"),
    "it-IT": Locale("ita", "Italian", "Romance", "Latin"),
    "ja-JP": Locale("jpn", "Japanese", "Japonic", "Japanese"),
    "jv-ID": Locale("jav", "Javanese", "Austronesian", "Latin"),
    "ka-GE": Locale("kat", "Georgian", "Kartvelian", "Georgian"),
    "km-KH": Locale("khm", "Khmer", "Austroasiatic", "Khmer"),
    "kn-IN": Locale("kan", "Kannada", "Dravidian", "Kannada"),
    "ko-KR": Locale("kor", "Korean", "Koreanic", "Hangul"),
    "lv-LV": Locale("lav", "Latvian", "Baltic", "Latin"),
    "ml-IN": Locale("mal", "Malayalam", "Dravidian", "Malayalam"),
    "mn-MN": Locale("mon", "Mongolian", "Mongolic", "Cyrillic"),
    "ms-MY": Locale("msa", "Malay", "Austronesian", "Latin"),
    "my-MM": Locale("mya", "Burmese", "Tibeto-Burman", "Burmese"),
    "nb-NO": Locale("nob", "Norwegian", "Germanic", "Latin"),
    "nl-NL": Locale("nld", "Dutch", "Germanic", "Latin"),
    "pl-PL": Locale("pol", "Polish", "Slavic", "Latin"),
    "pt-PT": Locale("por", "Portuguese", "Romance", "Latin"),
    "ro-RO": Locale("ron", "Romanian", "Romance", "Latin"),
    "ru-RU": Locale("rus", "Russian", "Slavic", "Cyrillic"),
    "sl-SL": Locale("slv", "Slovenian", "Slavic", "Latin"),
    "sq-AL": Locale("sqi", "Albanian", "Albanian", "Latin"),
    "sv-SE": Locale("swe", "Swedish", "Germanic", "Latin"),
    "sw-KE": Locale("swa", "Swahili", "Bantu", "Latin"),
    "ta-IN": Locale("tam", "Tamil", "Dravidian", "Tamil"),
    "te-IN": Locale("tel", "Telugu", "Dravidian", "Telugu"),
    "th-TH": Locale("tha", "Thai", "Kra-Dai", "Thai"),
    "tl-PH": Locale("tgl", "Tagalog", "Austronesian", "Latin"),
    "tr-TR": Locale("tur", "Turkish", "Turkic", "Latin"),
    "ur-PK": Locale("urd", "Urdu", "Indo-Aryan", "Arabic"),
    "vi-VN": Locale("vie", "Vietnamese", "Austroasiatic", "Latin"),
    "zh-CN": Locale("zho", "Chinese (simplified)", "Sinitic", "Han"),
    "zh-TW": Locale("zho", "Chinese (traditional)", "Sinitic", "Han"),
}
# The project's sweeps cover these 49: published results leave out he-IL, sv-SE and zh-CN.
DEFAULT_LOCALES = tuple(locale for locale in LOCALES if locale not in {"he-IL", "sv-SE", "zh-CN"})


def check_locale(locale: str, known=LOCALES, where: str = "MASSIVE") -> str:
    """Return `locale`; raise InputError naming the nearest of `known` if it is not one of them."""
    if locale in known:
        return locale
    spelled = {name.lower().replace("_", "-"): name for name in known}
    near = get_close_matches(locale.lower().replace("_", "-"), spelled, n=1, cutoff=0.4)
    hint = f"did you mean {spelled[near[0]]}?" if near else f"known: {', '.join(sorted(known))}"
    raise InputError(f"unknown locale {locale!r} in {where}; {hint}")


def read_list(file: Path, flag: str) -> list[str]:
    """Locales of a CSV's column ``locale``, or of a list with one a line, numbered as in ``1→af-ZA`` or not.

    Raises InputError, naming the `flag`, where the file is missing, has none, or has an unknown one or one twice.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"no file {file}; give {flag} a CSV with a column 'locale', or a list") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text in UTF-8; give {flag} a CSV with a column 'locale', or a list") from None
    header = [name.strip() for name in next(csv.reader(lines[:1]), [])]
    if "locale" in header:
        names = [row[header.index("locale")] for row in csv.reader(lines[1:]) if len(row) > header.index("locale")]
    elif len(header) > 1:
        raise InputError(f"{file} has no column 'locale': it has {', '.join(header)}")
    else:
        names = [re.sub(r"^\s*\d+\s*(→|\t|[.:)])", "", line) for line in lines]
    locales = [check_locale(name.strip(), where=str(file)) for name in names if name.strip()]
    twice = sorted({name for name in locales if locales.count(name) > 1})
    if twice or not locales:
        raise InputError(f"{file}: {', '.join(twice)} stands twice" if twice else f"{file} has no locale")
    return locales


class Language(NamedTuple):
    code: str
    iso: str
    name: str
    family: str
    script: str


def language(code: str, iso: str | None = None) -> Language:
    found = LOCALES[code]
    return Language(code, iso or found.uriel, found.language, found.family, found.script)
