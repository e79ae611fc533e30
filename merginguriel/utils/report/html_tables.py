"""Tables of a page that its script sorts and filters. Every text is escaped here; a Cell's html stands as it is."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from pandas import isna

from merginguriel.utils.results import formatting


@dataclass(frozen=True)
class Cell:
    """`html` as it stands in the page; `value` sorts it, where its text would not."""

    html: str
    value: object = None


EMPTY = Cell("", "")


@dataclass(frozen=True)
class Table:
    """`columns`: title -> whether it is of numbers. `rows`: attributes and cells of each; the first cell heads it.

    A column without any value is left out.
    """

    name: str
    caption: str
    columns: dict[str, bool]
    rows: list[tuple[dict, list[Cell]]]
    tall: bool = False

    def html(self) -> str:
        told = [any(cells[place].html for _, cells in self.rows) for place in range(len(self.columns))]
        columns = list(itertools.compress(self.columns.items(), told))
        heads = "".join(_head(title, numeric) for title, numeric in columns)
        body = "\n".join(
            _row(attributes, itertools.compress(cells, told), [numeric for _, numeric in columns])
            for attributes, cells in self.rows
        )
        return (
            f'<div class="scroll{" tall" if self.tall else ""}" tabindex="0" role="region" '
            f'aria-label="{escape(self.caption)}"><table id="{escape(self.name)}"><thead><tr>{heads}</tr></thead>'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )


def _row(attributes: dict, cells: Iterable[Cell], numeric: list[bool]) -> str:
    inside = "".join(_cell(cell, number, place == 0) for place, (cell, number) in enumerate(zip(cells, numeric)))
    return f"<tr{_attributes(attributes)}>{inside}</tr>"


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


def controls(table: str, what: str, selects: dict[str, Iterable[str]] | None = None) -> str:
    """A search box over a table, and a list to choose from for each `data-<name>` of its rows."""
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


# Cells


def text(value) -> Cell:
    return EMPTY if isna(value) else Cell(escape(str(value)))


def number(value, form: str = "{:.4f}") -> Cell:
    return EMPTY if isna(value) else Cell(form.format(value), repr(float(value)))


def points(value) -> Cell:
    """A difference of accuracies, in points."""
    if isna(value):
        return EMPTY
    shown, shade = formatting.points(value), "gain" if value >= 0 else "loss"
    return Cell(f'<span class="{shade}">{shown}</span>', repr(float(value)))


def p_value(value) -> Cell:
    if isna(value):
        return EMPTY
    return Cell("&lt; 0.0001" if value < 1e-4 else f"{value:.2g}", repr(float(value)))


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


def bounds_of(ends) -> tuple[float, float]:
    """The scale that holds 0 and all of `ends` that are known."""
    known = [end for end in ends if not isna(end)] + [0.0]
    return min(known), max(known)
