"""The files that aggregate_results.py writes."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.results import csv_tables, json_files, paper_tables, text_report
from merginguriel.utils.results.csv_tables import Aggregate
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.csv_cells import csv_text

FORMATS = ("csv", "json", "markdown")


class File(NamedTuple):
    """`what` it is, as the command prints it; what it is `asked` by; its name after the prefix; its content."""

    what: str
    asked: str
    name: str
    content: Callable[[Aggregate], pd.DataFrame | dict | str]


FILES = (
    File("gains", "csv", "gains_{time}.csv", csv_tables.gains),
    File("raw", "csv", "aggregated_{time}.csv", csv_tables.aggregated),
    File("comparison", "csv", "comparison_{time}.csv", partial(csv_tables.compared, comprehensive=False)),
    File("comprehensive", "csv", "comprehensive_{time}.csv", partial(csv_tables.compared, comprehensive=True)),
    File("summary", "json", "summary_{time}.json", json_files.summary),
    File("win_analysis", "json", "win_analysis_{time}.json", json_files.win_analysis),
    File("markdown", "markdown", "report_{time}.md", text_report.report),
    File("export", "export csv", "long_{time}.csv", attrgetter("long")),
    File("export", "export parquet", "long_{time}.parquet", attrgetter("long")),
    File("latex", "tables latex", "tables_{time}.tex", partial(paper_tables.tables, kind="latex")),
    File("markdown_tables", "tables markdown", "tables_{time}.md", partial(paper_tables.tables, kind="markdown")),
)
# What each of them is for somebody who sees it for the first time.
WORDS = {
    "gains": "open this first: a row a target and method, its score and its gains",
    "raw": "every result by itself, a row each, the single models too",
    "comparison": "a row a target, a column a method: scores, and gains over its best source",
    "comprehensive": "the same with every baseline, test and interval; very wide",
    "summary": "means, spreads and gains of each method, for programs",
    "win_analysis": "on which targets each method wins and loses, for programs",
    "markdown": "all of it to read, with what the words mean",
    "export": "a row a result with every setting and version",
    "latex": "tables for a paper, LaTeX",
    "markdown_tables": "tables for a paper, Markdown",
}


def write(
    results: Aggregate,
    folder: Path,
    prefix: str,
    *,
    formats: Iterable[str] = FORMATS,
    export: str | None = None,
    tables: Iterable[str] = (),
) -> dict[str, Path]:
    """What each file is -> its path; all of one moment, none of which was there before.

    `export`: csv or parquet, of every row of `results.long`. `tables`: latex and markdown, of variants and of locales.
    """
    asked = {*formats, f"export {export}", *(f"tables {kind}" for kind in tables)}
    files = [file for file in FILES if file.asked in asked and (results.with_baselines or file.what != "win_analysis")]
    moment = datetime.now()
    while any(path.exists() for path in _paths(files, folder, prefix, moment).values()):
        moment += timedelta(seconds=1)
    paths = _paths(files, folder, prefix, moment)
    contents = [_as_bytes(file.content(results), file.name) for file in files]  # all, before the first is written
    with contextlib.ExitStack() as whole:  # all appear, or, where the disk is full, none
        partly = [whole.enter_context(atomic.beside(path)) for path in paths.values()]
        for part, content in zip(partly, contents):
            part.write_bytes(content)
    return paths


def told(written: Mapping[str, Path]) -> Iterator[str]:
    """Two lines for each file of `write`: where it is, as it has always been said, and what it is."""
    for what, path in written.items():
        yield f"  {what}_filename: {path}"
        yield f"      {WORDS[what]}"


def _paths(files: list[File], folder: Path, prefix: str, moment: datetime) -> dict[str, Path]:
    time = f"{moment:%Y%m%d_%H%M%S}"
    return {file.what: folder / f"{prefix}_{file.name.format(time=time)}" for file in files}


def _as_bytes(content: pd.DataFrame | dict | str, name: str) -> bytes:
    if name.endswith(".parquet") and isinstance(content, pd.DataFrame):
        try:
            return content.to_parquet(index=False)
        except ImportError:
            raise InputError("--export parquet needs the package pyarrow; install it, or use --export csv") from None
    if isinstance(content, pd.DataFrame):
        content = csv_text(content)
    return (json_files.as_json(content) if isinstance(content, dict) else content).encode()
