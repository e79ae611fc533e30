"""CSV and TSV with a header; cells with a delimiter, quote or line break are quoted, as spreadsheets and pandas do."""

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers.asked import Asked, check_columns, check_text

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";"}


def columns(files: Sequence[Path], delimiter: str) -> list[str]:
    (path,) = files
    for _, header in _records(path, delimiter):
        others = [name for name, sign in DELIMITERS.items() if len(header) == 1 and sign in header[0]]
        if others:
            wanted = next(name for name, sign in DELIMITERS.items() if sign == delimiter)
            raise InputError(f"{path} has no {wanted} in its first line but a {others[0]}; write it with {wanted}s")
        return check_columns(header, str(path))
    raise InputError(f"{path} is empty")


def rows(files: Sequence[Path], asked: Asked, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    (path,) = files
    header = columns(files, delimiter)
    records = _records(path, delimiter)
    next(records)
    for number, (line, cells) in enumerate(records):
        place = f"line {line} of {path}"
        if len(cells) != len(header):
            raise InputError(
                f"{place} has {len(cells)} cells, the first line {len(header)}; the file is cut off, "
                "or a cell with a delimiter or a quote in it is not quoted"
            )
        # A quote that nobody closed swallows lines up to the next one.
        if delimiter == "\t" and any("\t" in cell for cell in cells):
            raise InputError(f"{place} has a tab inside of quotes; a quote that is text is doubled, in a quoted cell")
        row = dict(zip(header, cells))
        if asked.takes(row, place):
            check_text(row, place)
            yield number, row


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line from 1, cells) of each record; empty lines are none."""
    with path.open("rb") as file:
        reader = csv.reader(_lines(file, path), delimiter=delimiter, strict=True)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"line {line} of {path}: {error}; a quote inside of quotes is doubled") from None


def _lines(file: Iterator[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(file):
        try:
            yield line.decode("utf-8" if number else "utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"line {number + 1} of {path} is not UTF-8; write the file again in UTF-8") from None


CSV = (partial(columns, delimiter=","), partial(rows, delimiter=","))
TSV = (partial(columns, delimiter="\t"), partial(rows, delimiter="\t"))
