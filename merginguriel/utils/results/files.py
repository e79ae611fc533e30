"""The files that aggregate_results.py writes."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.results import json_files, paper_tables, text_report
from merginguriel.utils.results.csv_tables import Aggregate, aggregated, compared
from merginguriel.utils.storage import atomic

FORMATS = ("csv", "json", "markdown")


class File(NamedTuple):
    """`what` it is, as the command prints it; what it is `asked` by; its name after the prefix; its content."""

    what: str
    asked: str
    name: str
    content: Callable[[Aggregate], str | bytes]


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


def _parquet(table: pd.DataFrame) -> bytes:
    try:
        return table.to_parquet(index=False)
    except ImportError:
        raise InputError("--export parquet needs the package pyarrow; install it, or use --export csv") from None


FILES = (
    File("raw", "csv", "aggregated_{time}.csv", lambda results: _csv(aggregated(results))),
    File("comparison", "csv", "comparison_{time}.csv", lambda results: _csv(compared(results, comprehensive=False))),
    File(
        "comprehensive", "csv", "comprehensive_{time}.csv", lambda results: _csv(compared(results, comprehensive=True))
    ),
    File("summary", "json", "summary_{time}.json", lambda results: json_files.as_json(json_files.summary(results))),
    File(
        "win_analysis",
        "json",
        "win_analysis_{time}.json",
        lambda results: json_files.as_json(json_files.win_analysis(results)),
    ),
    File("markdown", "markdown", "report_{time}.md", text_report.report),
    File("export", "export csv", "long_{time}.csv", lambda results: _csv(results.long)),
    File("export", "export parquet", "long_{time}.parquet", lambda results: _parquet(results.long)),
    File("latex", "tables latex", "tables_{time}.tex", partial(paper_tables.tables, kind="latex")),
    File("markdown_tables", "tables markdown", "tables_{time}.md", partial(paper_tables.tables, kind="markdown")),
)


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
    contents = {file.what: file.content(results) for file in files}  # all, before the first is written
    paths = _paths(files, folder, prefix, moment)
    for what, content in contents.items():
        with atomic.beside(paths[what]) as partly:
            partly.write_bytes(content if isinstance(content, bytes) else content.encode())
    return paths


def _paths(files: list[File], folder: Path, prefix: str, moment: datetime) -> dict[str, Path]:
    time = f"{moment:%Y%m%d_%H%M%S}"
    return {file.what: folder / f"{prefix}_{file.name.format(time=time)}" for file in files}
