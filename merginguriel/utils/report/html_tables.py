"""Tables of a page that its script sorts and filters. Every text is escaped here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from merginguriel.utils.report.html_cells import Cell


class Column:
    """A title, and how the values that a row has under these `names` are shown.

    `decisive`: shown wherever the table is; the others are not on a phone until they are asked for.
    """

    def __init__(self, title: str, show: Callable[..., Cell], *names: str, decisive: bool = False):
        self.title, self.decisive, self._show, self._names = title, decisive, show, names

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

    A column without any value is left out; where none is decisive, all are. `data`: what the filters of `controls` know
    of a row -> its name in the row.
    """
    cells_of = {column: column.cells(rows) for column in columns}
    told = {column: cells for column, cells in cells_of.items() if any(cell.html for cell in cells)}
    numeric = [any(cell.value not in (None, "") for cell in cells) for cells in told.values()]
    further = [column.title for column in told if not column.decisive]
    further = further if len(further) < len(told) else []
    looks = [
        " ".join(["n"] * number + ["further"] * (column.title in further)) for column, number in zip(told, numeric)
    ]
    heads = "".join(_head(column.title, number, look) for column, number, look in zip(told, numeric, looks))
    body = "\n".join(
        f"<tr{_attributes({f'data-{key}': row[name] for key, name in (data or {}).items()})}>"
        + "".join(_cell(cell, look, place == 0) for place, (cell, look) in enumerate(zip(cells, looks)))
        + "</tr>"
        for row, cells in zip(rows, zip(*told.values()))
    )
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table id="{escape(name)}"><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
        + _below(name, len(told), further)
    )


def _below(name: str, count: int, further: Sequence[str]) -> str:
    """Buttons of a table of `count` columns."""
    columns = (
        f'<button type="button" class="plain columns" data-columns="{escape(name)}" aria-pressed="false">'
        f"All {count} columns</button>"
    )
    return (
        f'<p class="below">{columns if further else ""}<button type="button" class="plain" data-csv="{escape(name)}">'
        "Download CSV</button></p>"
    )


def _head(title: str, numeric: bool, look: str) -> str:
    more = {"class": look} if look else {}
    more |= {"data-first": "descending"} if numeric else {}
    return (
        f"<th{_attributes({'scope': 'col', 'aria-sort': 'none'} | more)}>"
        f'<button type="button">{escape(title)}</button></th>'
    )


def _cell(cell: Cell, look: str, is_heading: bool) -> str:
    attributes = {} if cell.value is None else {"data-v": cell.value}
    attributes |= {"class": look} if look else {}
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
