"""The files that aggregate_results.py writes."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.results.comparison import ALPHA
from merginguriel.utils.results.markdown_report import report
from merginguriel.utils.results.summary_json import summary_json, win_analysis
from merginguriel.utils.results.tables import (
    CAPTION,
    METHOD_HEADER,
    Aggregate,
    aggregated,
    compared,
    locale_table,
    method_rows,
)
from merginguriel.utils.results.text_tables import latex, markdown
from merginguriel.utils.storage import atomic

# Writing

FORMATS = {
    "csv": {
        "raw": "{prefix}_aggregated_{time}.csv",
        "comparison": "{prefix}_comparison_{time}.csv",
        "comprehensive": "{prefix}_comprehensive_{time}.csv",
    },
    "json": {"summary": "{prefix}_summary_{time}.json", "win_analysis": "{prefix}_win_analysis_{time}.json"},
    "markdown": {"markdown": "{prefix}_report_{time}.md"},
}


def write(
    results: Aggregate,
    folder: Path,
    prefix: str,
    *,
    formats: list[str],
    export: str | None = None,
    tables: list[str] = (),
) -> dict[str, Path]:
    """What each file is -> its path; all of one moment, none of which was there before.

    `export`: csv or parquet, of every row of `results.long`. `tables`: latex and markdown, of variants and of locales.
    """
    contents = {
        "raw": lambda: _csv(aggregated(results)),
        "comparison": lambda: _csv(compared(results, comprehensive=False)),
        "comprehensive": lambda: _csv(compared(results, comprehensive=True)),
        "summary": lambda: _json(summary_json(results)),
        "win_analysis": lambda: _json(win_analysis(results)),
        "markdown": lambda: report(results).encode(),
        "export": lambda: _parquet(results.long) if export == "parquet" else _csv(results.long),
        "latex": lambda: text_tables_of(results, "latex").encode(),
        "markdown_tables": lambda: text_tables_of(results, "markdown").encode(),
    }
    names = {name: pattern for kind in formats for name, pattern in FORMATS[kind].items()}
    if not results.with_baselines:
        names.pop("win_analysis", None)
    if export:
        names["export"] = f"{{prefix}}_long_{{time}}.{export}"
    names |= {
        kind: pattern
        for kind, pattern in (("latex", "{prefix}_tables_{time}.tex"), ("markdown_tables", "{prefix}_tables_{time}.md"))
        if kind.split("_")[0] in tables
    }
    moment = datetime.now()
    while any(
        (folder / pattern.format(prefix=prefix, time=f"{moment:%Y%m%d_%H%M%S}")).exists() for pattern in names.values()
    ):
        moment += timedelta(seconds=1)
    paths = {
        name: folder / pattern.format(prefix=prefix, time=f"{moment:%Y%m%d_%H%M%S}") for name, pattern in names.items()
    }
    made = {path: contents[name]() for name, path in paths.items()}  # all, before the first is written
    for path, content in made.items():
        with atomic.beside(path) as partial:
            partial.write_bytes(content)
    return paths


def text_tables_of(results: Aggregate, kind: str) -> str:
    """The variants, then the locales, for a paper."""
    methods, locales = _without_empty(METHOD_HEADER, method_rows(results.summary)), locale_table(results)
    captions = "Mean accuracy over locales.", "Accuracy by locale."
    if results.with_baselines:
        captions = (
            f"{captions[0]} {CAPTION}",
            f"{captions[1]} † better, ‡ worse than the best of its own sources, Holm-adjusted p < {ALPHA}.",
        )
    if not methods[1]:
        raise InputError("no merges or ensembles to make --tables of; leave the flag out")
    if kind == "markdown":
        parts = [f"{caption}\n\n{markdown(*table)}" for caption, table in zip(captions, (methods, locales))]
    else:
        parts = [
            latex(*table, caption, label)
            for caption, table, label in zip(captions, (methods, locales), ("tab:methods", "tab:locales"))
        ]
    return "\n\n".join(parts) + "\n"


def _without_empty(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that have nothing in any row."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [header[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    try:
        return table.to_parquet(index=False)
    except ImportError:
        raise InputError("--export parquet needs the package pyarrow; install it, or use --export csv") from None


def _json(content: dict) -> bytes:
    return (json.dumps(_without_nan(content), indent=2, ensure_ascii=False) + "\n").encode()


def _without_nan(value):
    """As JSON can have it: null for what is not known, Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
