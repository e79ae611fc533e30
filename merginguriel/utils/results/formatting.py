"""Numbers as people read them, and how much of a list; nothing for NaN."""

from typing import Any


def score(value: float) -> str:
    return "" if value != value else f"{value:.4f}"


def points(value: float) -> str:
    """A difference of scores in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def gain(row: Any, locales: int) -> str:
    """A row of a summary against its baseline, with its interval; how many locales have it, if not all of `locales`."""
    if not row.compared:
        return ""
    text = points(row.mean_gain)
    if row.gain_low == row.gain_low:
        text += f" ({points(row.gain_low)} to {points(row.gain_high)})"
    return text if row.compared == locales else f"{text}, {row.compared} locales"


def p_value(value: float) -> str:
    return "" if value != value else f"{value:.2g}"


def said_p(value: float) -> str:
    """As a sentence has it after "p"."""
    return "< 0.0001" if value < 1e-4 else f"= {value:.2g}"


def many(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def some(things: list[str], shown: int = 8) -> str:
    return ", ".join(things[:shown]) + (f" and {len(things) - shown} more" if len(things) > shown else "")


def capitalised(text: str) -> str:
    """As a heading begins: the first letter alone, so that macro-F1 keeps its F."""
    return text[:1].upper() + text[1:]
