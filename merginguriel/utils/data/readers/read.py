"""Rows of one language and split, from a folder, a file or the Hub."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers import hub, near_misses
from merginguriel.utils.data.readers.asked import LANGUAGE_COLUMNS, SPLIT_COLUMNS, Asked, contradicts, of_other_language
from merginguriel.utils.data.readers.layouts import Place, language_column_of, languages_of, locate, split_column_of
from merginguriel.utils.data.readers.table import Table, file_table
from merginguriel.utils.storage.messages import some


class Rows(NamedTuple):
    """(number of the row in its table from 0, the row) of one split, read as they are asked for; where they lie."""

    rows: Iterable[tuple[int, dict[str, Any]]]
    where: str


def read_rows(data: str, language: str, split: str, names: Collection[str], language_column: str | None = None) -> Rows:
    """The rows of one split of one language.

    `data` is a folder, a file, or a Hub id; `language` the code that the data use; `names` are all that they may
    call the split, which messages call `split`; `language_column` says the language where a table holds several.
    Raises InputError where there are none, at once; where a row is damaged, when it is reached.
    """
    for name in (language, *names):
        if not name or name.startswith(".") or set(name) & set("/\\\0") or not name.isprintable():
            raise InputError(f"{name!r} is no name of a language or split: it must be one of a file, without / or \\")
    path = Path(os.path.expanduser(data))
    with _access(path):
        if path.is_dir():
            place = locate(path, language, names)
            if place is None:
                raise near_misses.nothing_in(path, language, split, names)
            where = place.table.where
        elif path.is_file():
            place, where = Place(_table(path), mixes_splits=True, mixes_languages=True), str(path)
        else:
            hub.check_id(data)
            place, where = hub.locate(data, language, split, names, language_column)
        asked = _asked(place, language, split, names, language_column)
    return Rows(_some_rows(place.table, asked, where, split), where)


def languages_in(data: str, language_column: str | None = None, splits: Collection[str] = ()) -> list[str]:
    """The languages that a folder or file has, sorted; `splits`: own names of splits, beside the usual ones."""
    path = Path(os.path.expanduser(data))
    with _access(path):
        if path.is_dir():
            return languages_of(path, splits, language_column)
        if not path.is_file():
            raise near_misses.no_such(data)
        table = _table(path)
        said = language_column_of(table.columns, language_column)
        if said is None:
            raise near_misses.no_language_column(table, language_column)
        return sorted(table.values(said))


def _table(path: Path) -> Table:
    table = file_table(path)
    if table is None:
        raise near_misses.unknown_format(path)
    return table


def _asked(place: Place, language: str, split: str, names: Collection[str], language_column: str | None) -> Asked:
    """Which rows of the place's table are read, and which must not be there."""
    columns = place.table.columns
    wanted: dict[str, Collection[str]] = {}
    barred: dict[str, Callable[[str], bool]] = {}
    if place.mixes_languages:
        said = language_column_of(columns, language_column)
        if said is None:
            raise near_misses.no_language_column(place.table, language_column, language, names)
        wanted[said] = {language}
    elif language_column in columns:
        barred[str(language_column)] = lambda said: said != language
    else:
        barred |= {column: of_other_language(language) for column in LANGUAGE_COLUMNS if column in columns}
    of_split = split_column_of(columns)
    if of_split and place.mixes_splits:
        wanted[of_split] = names
    elif of_split:
        barred[of_split] = contradicts(names, split)
    elif place.mixes_splits:
        raise InputError(
            f"{place.table.where} has no {' or '.join(SPLIT_COLUMNS)} among its columns {some(columns)}; "
            "without it train and test would mix"
        )
    return Asked(wanted, barred)


def _some_rows(table: Table, asked: Asked, where: str, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows that are asked for, of which there must be some."""
    is_empty = True
    with _access(Path(where)):
        for row in table.rows(asked):
            is_empty = False
            yield row
    if is_empty:
        raise asked.nothing(where, split)
    asked.check_left_out(where)


@contextlib.contextmanager
def _access(path: Path) -> Iterator[None]:
    """What the operating system refuses, as a folder without permission, is told in a line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {error.filename or path}: {error.strerror or error}") from None
