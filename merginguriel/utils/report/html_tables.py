"""Tables of a page that its script sorts and filters. Every text is escaped here; a Cell's html stands as it is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


class Column:
    """A title, and how the values that a row has under these `names` are shown."""

    def __init__(self, title: str, show: Callable[..., Cell], *names: str):
        self.title, self._show, self._names = title, show, names

    def cells(self, rows: Iterable[Mapping[str, Any]]) -> list[Cell]:
        """One for each row."""
        return [self._show(*(row[name] for name in self._names)) for row in rows]


@dataclass(frozen=True)
class Table:
    """`rows` by name, the first column heads them. A column without any value is left out; others are sorted by it.

    `data`: what the filters of `controls` know of a row, by the row's name for it.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    data: Mapping[str, str] = field(default_factory=dict)
    tall: bool = False

    def html(self) -> str:
        """A <table> in a frame of its own that scrolls."""
        columns = {column.title: column.cells(self.rows) for column in self.columns}
        told = {title: cells for title, cells in columns.items() if any(cell.html for cell in cells)}
        numeric = [any(cell.value not in (None, "") for cell in cells) for cells in told.values()]
        heads = "".join(map(_head, told, numeric))
        body = "\n".join(
            f"<tr{_attributes({f'data-{key}': row[name] for key, name in self.data.items()})}>"
            + "".join(_cell(cell, number, place == 0) for place, (cell, number) in enumerate(zip(cells, numeric)))
            + "</tr>"
            for row, cells in zip(self.rows, zip(*told.values()))
        )
        return (
            f'<div class="scroll{" tall" if self.tall else ""}" tabindex="0" role="region" '
            f'aria-label="{escape(self.caption)}"><table id="{escape(self.name)}"><thead><tr>{heads}</tr></thead>'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )


def _head(title: str, numeric: bool) -> str:
    if not title:
        return '<th scope="col"><span class="plainhead"></span></th>'
    number = {"class": "n", "data-first": "descending"} if numeric else {}
    return (
        f"<th{_attributes({'scope': 'col', 'aria-sort': 'none'} | number)}>"
        f'<button type="button">{escape(title)}</button></th>'
    )


def _cell(cell: Cell, numeric: bool, is_heading: bool) -> str:
    attributes = {} if cell.value is None else {"data-v": cell.value}
    attributes |= {"class": "n"} if numeric else {}
    tag, scope = ("th", {"scope": "row"}) if is_heading else ("td", {})
    return f"<{tag}{_attributes(attributes | scope)}>{cell.html}</{tag}>"


def _attributes(attributes: dict) -> str:
    return "".join(f' {name}="{escape(str(value))}"' for name, value in attributes.items())


def controls(table: str, what: str, selects: Mapping[str, Iterable[str]] | None = None) -> str:
    """A search box over a table, and a list to choose from for each of these `data` of its rows."""
    boxes = "".join(
        f'<label>{escape(name)} <select name="{escape(name)}"><option value="">all</option>'
        + "".join(f"<option>{escape(value)}</option>" for value in values)
        + "</select></label>"
        for name, values in (selects or {}).items()
    )
    return (
        f'<div class="controls" data-for="{escape(table)}"><label>search {escape(what)} <input type="search" '
        f'autocomplete="off"></label>{boxes}<output class="count" aria-live="polite"></output></div>'
    )


# How values are shown, in Columns.


def text(value: Any) -> Cell:
    return EMPTY if isna(value) else Cell(escape(str(value)))


def number(value: float, shown: Callable[[float], str] = formatting.accuracy) -> Cell:
    return EMPTY if isna(value) else Cell(shown(value), repr(float(value)))


def whole(value: float) -> Cell:
    return number(value, "{:.0f}".format)


def points(value: float) -> Cell:
    """A difference of accuracies, in points."""
    return number(
        value, lambda gain: f'<span class="{"gain" if gain >= 0 else "loss"}">{formatting.points(gain)}</span>'
    )


def p_value(value: float) -> Cell:
    return number(value, lambda p: escape(formatting.said_p(p).removeprefix("= ")))


def won_and_lost(wins: int, losses: int) -> Cell:
    return Cell(f"{wins} : {losses}", wins - losses)


def interval(mean: float, low: float, high: float, bounds: tuple[float, float]) -> Cell:
    """A mean with its interval, drawn on a scale of `bounds`; differences of accuracies."""
    if isna(mean) or isna(low):
        return EMPTY
    span = bounds[1] - bounds[0] or 1
    places = {name: 100 * (value - bounds[0]) / span for name, value in (("low", low), ("at", mean), ("zero", 0))}
    places["width"] = 100 * (high - low) / span
    style = ";".join(f"--{name}:{place:.1f}%" for name, place in places.items())
    shade = " gain" if low > 0 else " loss" if high < 0 else ""
    words = " to ".join(map(formatting.points, (low, high)))
    return Cell(
        f'<span class="range{shade}" style="{style}" role="img" aria-label="{words}" title="{words}"><i></i><b>'
        "</b></span>",
        repr(float(mean)),
    )


def bounds_of(ends: Iterable[float]) -> tuple[float, float]:
    """The scale that holds 0 and all of `ends` that are known."""
    known = [end for end in ends if not isna(end)] + [0.0]
    return min(known), max(known)
