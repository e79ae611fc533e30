"""Text as a CSV can have it: spreadsheets run what begins like a formula, whoever gave a model or a label that name."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def cell(value: Any) -> Any:
    """`value`, behind an apostrophe where it is a text that a spreadsheet would take for a formula."""
    if not isinstance(value, str):
        return value
    if "\r" in value:  # pandas leaves it bare, and it ends a row
        value = value.replace("\r", " ")
    if not value.lstrip(" ").startswith(_BEGINS_A_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def csv_text(table: "pd.DataFrame") -> str:
    """A table without its index as CSV, of such cells alone."""
    texts = table.select_dtypes(exclude=["number", "bool"]).columns
    safe = table.assign(**{name: table[name].map(cell, na_action="ignore") for name in texts})
    return safe.rename(columns=cell).to_csv(index=False)
