"""How the text of an argument is read that names languages; whether a task has them, the task says."""

import argparse
import re
from collections.abc import Callable
from typing import Any

from merginguriel.utils.storage.naming import LANGUAGE


def locale(text: str) -> str:
    code = text.strip()
    if not re.fullmatch(LANGUAGE, code):
        raise argparse.ArgumentTypeError(f"{code!r} is no language code, as in af-ZA, sw or quy_Latn")
    return code


def locale_list(text: str) -> list[str]:
    """One language or a comma list, each checked, none twice."""
    locales = [locale(part) for part in text.split(",")]
    if len(set(locales)) < len(locales):
        raise argparse.ArgumentTypeError(f"a language stands twice in {text!r}")
    return locales


def locale_tuple(text: str) -> tuple[str, ...]:
    return tuple(locale_list(text))


def locale_weights(text: str) -> dict[str, float]:
    """`af-ZA=0.6,nl-NL=0.4` as a dict."""
    weights = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            value = float(weight)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{part.strip()!r} is not language=weight, as in nl-NL=0.6") from None
        if name in weights:
            raise argparse.ArgumentTypeError(f"{name} stands twice in {text!r}")
        weights[locale(name)] = value
    return weights


def given_source(text: str) -> tuple[str, str]:
    """`quy_Latn=models/quechua` as (language, model)."""
    code, equals, model = text.partition("=")
    if not equals or not model:
        raise argparse.ArgumentTypeError(f"{text!r} is not language=model, as in quy_Latn=models/quechua")
    return locale(code), model


# The values of flags with these types name languages.
READERS: tuple[Callable[[str], Any], ...] = (locale, locale_list, locale_tuple, locale_weights)
