"""How the text of an argument is read that names languages."""

import argparse

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import check_locale


def locale(text: str) -> str:
    try:
        return check_locale(text.strip())
    except InputError as error:
        raise argparse.ArgumentTypeError(error) from None


def locale_list(text: str) -> list[str]:
    """One locale or a comma list, each checked, none twice."""
    locales = [locale(part) for part in text.split(",")]
    if len(set(locales)) < len(locales):
        raise argparse.ArgumentTypeError(f"a locale stands twice in {text!r}")
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
            raise argparse.ArgumentTypeError(f"{part.strip()!r} is not locale=weight, as in nl-NL=0.6") from None
        if name in weights:
            raise argparse.ArgumentTypeError(f"{name} stands twice in {text!r}")
        weights[locale(name)] = value
    return weights
