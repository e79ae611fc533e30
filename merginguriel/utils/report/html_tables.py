"""Tables of a page that its script sorts and filters. Every text is escaped here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from merginguriel.utils.report.html_cells import Cell


class Column:
    """A title, and how the values that a row has under these `names` are shown."""

    def __init__(self, title: str, show: Callable[..., Cell], *names: str):
        self.title, self._show, self._names = title, show, names

    def cells(self, rows: Iterable[Mapping[str, Any]]) -> list[Cell]:
        """One for each row."""
        return [self._show(*(row[name] for name in self._names)) for row in rows]


def table(
    name: str,
    caption: str,
    columns: Iterable[Column],
    rows: Sequence[Mapping[str, Any]],
    *,
    data: Mapping[str, str] | None = None,
    tall: bool = False,
) -> str:
    """A <table> of `rows` in a frame of its own that scrolls; the first column heads them.

    A column without any value is left out. `data`: what the filters of `controls` know of a row -> its name in the row.
    """
    cells_of = {column.title: column.cells(rows) for column in columns}
    told = {title: cells for title, cells in cells_of.items() if any(cell.html for cell in cells)}
    numeric = [any(cell.value not in (None, "") for cell in cells) for cells in told.values()]
    heads = "".join(map(_head, told, numeric))
    body = "\n".join(
        f"<tr{_attributes({f'data-{key}': row[name] for key, name in (data or {}).items()})}>"
        + "".join(_cell(cell, number, place == 0) for place, (cell, number) in enumerate(zip(cells, numeric)))
        + "</tr>"
        for row, cells in zip(rows, zip(*told.values()))
    )
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table id="{escape(name)}"><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
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
