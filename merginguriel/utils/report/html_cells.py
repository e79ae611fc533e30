"""How values are shown in the tables of a page. Every text is escaped here; a Cell's html stands as it is.

A page's CSV has a cell's value or else its text, but of a cell with a part that is marked data-csv what this part says.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from pandas import isna

from merginguriel.utils.results import formatting


@dataclass(frozen=True)
class Cell:
    """`html` as it stands in the page; `value` sorts it, where its text would not: it is a number."""

    html: str
    value: object = None


EMPTY = Cell("", "")


def text(value: Any) -> Cell:
    return EMPTY if isna(value) else Cell(escape(str(value)))


def name(value: Any) -> Cell:
    """A text that may be broken where its words are joined."""
    return EMPTY if isna(value) else Cell(re.sub(r"([_+])(?=\w)", r"\1<wbr>", escape(str(value))))


def number(value: float, shown: Callable[[float], str] = formatting.score) -> Cell:
    return EMPTY if isna(value) else Cell(shown(value), repr(float(value)))


def whole(value: float) -> Cell:
    return number(value, "{:.0f}".format)


def points(value: float) -> Cell:
    """A difference of scores, in points; so is the value."""
    if isna(value):
        return EMPTY
    shade = "gain" if value >= 0 else "loss"
    return Cell(f'<span class="{shade}">{formatting.points(value)}</span>', repr(round(100 * float(value), 6)))


def p_value(value: float) -> Cell:
    return number(value, lambda p: escape(formatting.said_p(p).removeprefix("= ")))


def won_and_lost(wins: int, losses: int) -> Cell:
    return Cell(f"<span data-csv>{wins} : {losses}</span>", wins - losses)


def interval(mean: float, low: float, high: float, bounds: tuple[float, float]) -> Cell:
    """A mean with its interval, drawn on a scale of `bounds`; differences of scores, in the CSV points."""
    if isna(mean) or isna(low):
        return EMPTY
    span = bounds[1] - bounds[0] or 1
    places = {name: 100 * (value - bounds[0]) / span for name, value in (("low", low), ("at", mean), ("zero", 0))}
    places["width"] = 100 * (high - low) / span
    style = ";".join(f"--{name}:{place:.1f}%" for name, place in places.items())
    shade = " gain" if low > 0 else " loss" if high < 0 else ""
    words = " to ".join(map(formatting.points, (low, high)))
    return Cell(
        f'<span class="range{shade}" style="{style}" role="img" aria-label="{words}" title="{words}" '
        f'data-csv="[{100 * low:.2f}, {100 * high:.2f}]"><i></i><b></b></span>',
        repr(float(mean)),
    )


def bounds_of(ends: Iterable[float]) -> tuple[float, float]:
    """The scale that holds 0 and all of `ends` that are known."""
    known = [end for end in ends if not isna(end)] + [0.0]
    return min(known), max(known)
