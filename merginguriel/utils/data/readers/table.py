"""A table: one or several files that hold rows of the same columns. A new format is a module and a line in FORMATS."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers import arrow, delimited, jsonl
from merginguriel.utils.data.readers.asked import Asked


class Format(NamedTuple):
    """How files are read: the names of their columns, and (number from 0, row) of the rows that are asked for.

    Both take the files of a table, and raise InputError that names the file and the line.
    """

    columns: Callable[[Sequence[Path]], list[str]]
    rows: Callable[[Sequence[Path], Asked], Iterator[tuple[int, dict[str, Any]]]]


PARQUET = Format(partial(arrow.columns, read=arrow.parquet), partial(arrow.rows, read=arrow.parquet))
SAVED = Format(partial(arrow.columns, read=arrow.saved), partial(arrow.rows, read=arrow.saved))
# By the end of a file's name.
FORMATS = {
    ".jsonl": Format(jsonl.columns, jsonl.rows),
    ".csv": Format(*delimited.CSV),
    ".tsv": Format(*delimited.TSV),
    ".parquet": PARQUET,
}
# Pieces of one table: 0000.parquet, part-00001-af3.parquet, train-00000-of-00002.parquet.
_PIECE = re.compile(r"(?P<name>.*?-)?(?P<number>\d{4,})(-of-(?P<count>\d+))?(-.*)?\.(parquet|arrow)")


class Table(NamedTuple):
    where: str
    files: tuple[Path, ...]
    format: Format

    @property
    def columns(self) -> list[str]:
        return self.format.columns(self.files)

    def rows(self, asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
        return self.format.rows(self.files, asked)

    def values(self, column: str) -> set[str]:
        """What a column says."""
        asked = Asked({column: ()})
        for _ in self.rows(asked):
            pass
        return asked.met[column]


def file_table(path: Path) -> Table | None:
    """The table in a file, None where its name has no ending that is known."""
    if path.suffix not in FORMATS or not path.is_file():
        return None
    return Table(str(path), (path,), FORMATS[path.suffix])


def folder_table(folder: Path, any_name: bool = False) -> Table | None:
    """The table that a folder is: what `save_to_disk` wrote, or pieces of parquet, which may have `any_name`."""
    if (folder / "state.json").is_file():
        files = tuple(sorted(path for path in folder.glob("*.arrow") if path.is_file()))
        if not files:
            raise InputError(f"{folder} has a state.json but no .arrow files; save it again")
        return Table(str(folder), _whole(files, folder), SAVED)
    files = tuple(sorted(path for path in folder.glob("*.parquet") if path.is_file()))
    if files and (any_name or all(_is_piece_of(folder.name, path) for path in files)):
        return Table(str(folder), _whole(files, folder), PARQUET)
    return None


def find_table(folder: Path, name: str, any_name: bool = False) -> Table | None:
    """The table called `name` in a folder: a file, a folder or pieces. Raises InputError where there are two."""
    found = [table for ending in FORMATS if (table := file_table(folder / f"{name}{ending}"))]
    if table := folder_table(folder / name, any_name):
        found.append(table)
    if pieces := tuple(sorted(path for path in folder.glob("*-of-*.parquet") if _name_of_piece(path) == name)):
        found.append(Table(str(folder / f"{name}-*.parquet"), _whole(pieces, folder), PARQUET))
    return only(found)


def only(found: Sequence[Table]) -> Table | None:
    if len(found) > 1:
        raise InputError(f"there are both {found[0].where} and {found[1].where}; leave one of them")
    return found[0] if found else None


def tables_in(folder: Path) -> dict[str, Table]:
    """Every table that lies in a folder, by name; its columns are not looked at."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    names = {_name_of_piece(path) or path.stem for path in visible if path.suffix in FORMATS and path.is_file()}
    names |= {path.name for path in visible if path.is_dir() and folder_table(path)}
    found = {name: find_table(folder, name) for name in sorted(names)}
    return {name: table for name, table in found.items() if table}


def _name_of_piece(path: Path) -> str | None:
    """`train` of train-00000-of-00002.parquet."""
    piece = _PIECE.fullmatch(path.name)
    return piece["name"][:-1] if piece and piece["name"] and piece["count"] else None


def _is_piece_of(name: str, path: Path) -> bool:
    """Whether it is a piece, but not one of another table: folders of a language hold train-00000-of-00002.parquet."""
    return bool(_PIECE.fullmatch(path.name)) and _name_of_piece(path) in (None, name)


def _whole(files: tuple[Path, ...], folder: Path) -> tuple[Path, ...]:
    """The files; raises InputError where a number among them is missing."""
    pieces = [piece for path in files if (piece := _PIECE.fullmatch(path.name))]
    if len(pieces) < len(files):
        return files
    counts = {int(piece["count"]) for piece in pieces if piece["count"]}
    if {int(piece["number"]) for piece in pieces} != set(range(max(counts or {len(files)}))):
        raise InputError(f"of the pieces in {folder} some are missing: it has {files[0].name} to {files[-1].name}")
    return files
