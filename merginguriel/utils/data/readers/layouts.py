"""How folders of data are laid out: where the rows of one language and split lie. A new layout is a line in LAYOUTS.

Files stand for every form of a table: `.jsonl`, `.csv`, `.tsv`, `.parquet`, a folder of pieces of parquet, a folder
that `save_to_disk` wrote (whose folder of several splits is one table a split).
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers.asked import LANGUAGE_COLUMNS, SPLIT_COLUMNS, SPLIT_WORDS
from merginguriel.utils.data.readers.table import Table, find_table, folder_table, only, tables_in

# Below what a user downloads: MASSIVE's archive, SIB-200's repository.
ROOTS = ("", "data", "1.1/data", "1.0/data", "annotated", "data/annotated")


class Place(NamedTuple):
    """A table that holds what is asked for, among other splits or languages or not."""

    table: Table
    mixes_splits: bool
    mixes_languages: bool


class Layout(Protocol):
    """Where tables lie below a folder, and whether one holds several splits or languages."""

    mixes_splits: bool
    mixes_languages: bool

    def find(self, root: Path, language: str, names: Collection[str]) -> Table | None:
        """The table of a split that has one of the names."""

    def languages(self, root: Path, splits: Collection[str], column: str | None) -> set[str]:
        """Of which languages there are tables, of splits with these names."""


class FileALanguage:
    """`<language>.jsonl`, whose column partition or split names the split: MASSIVE."""

    mixes_splits, mixes_languages = True, False

    def find(self, root: Path, language: str, names: Collection[str]) -> Table | None:
        return find_table(root, language)

    def languages(self, root: Path, splits: Collection[str], column: str | None) -> set[str]:
        return {name for name, table in tables_in(root).items() if name not in splits and _may_have_splits(table)}


class FolderALanguage:
    """`<language>/<split>.tsv` or `<language>/<split>/*.parquet`: SIB-200, the Hub's parquet branch."""

    mixes_splits, mixes_languages = False, False

    def find(self, root: Path, language: str, names: Collection[str]) -> Table | None:
        return only(_tables(root / language, names, any_name=True))

    def languages(self, root: Path, splits: Collection[str], column: str | None) -> set[str]:
        folders = (path for path in root.iterdir() if path.is_dir() and path.name not in splits)
        return {path.name for path in folders if _tables(path, splits, any_name=True)}


class FolderASplit:
    """`<split>/<language>.csv`."""

    mixes_splits, mixes_languages = False, False

    def find(self, root: Path, language: str, names: Collection[str]) -> Table | None:
        return only([table for name in sorted(names) if (table := find_table(root / name, language))])

    def languages(self, root: Path, splits: Collection[str], column: str | None) -> set[str]:
        folders = [root / name for name in splits if (root / name).is_dir() and not folder_table(root / name)]
        return {name for folder in folders for name in tables_in(folder)}


class FileASplit:
    """`<split>.csv` with a column that says the language."""

    mixes_splits, mixes_languages = False, True

    def find(self, root: Path, language: str, names: Collection[str]) -> Table | None:
        return only(_tables(root, names))

    def languages(self, root: Path, splits: Collection[str], column: str | None) -> set[str]:
        return {name for table in _tables(root, splits) for name in languages_said(table, column)}


class OneTable:
    """A folder that is a table, with columns that say language and split."""

    mixes_splits, mixes_languages = True, True

    def find(self, root: Path, language: str, names: Collection[str]) -> Table | None:
        return folder_table(root)

    def languages(self, root: Path, splits: Collection[str], column: str | None) -> set[str]:
        table = folder_table(root)
        return languages_said(table, column) if table else set()


LAYOUTS: tuple[Layout, ...] = (FileALanguage(), FolderALanguage(), FolderASplit(), FileASplit(), OneTable())


def languages_said(table: Table, asked: str | None) -> set[str]:
    """What the table's column of languages says; nothing where it has none."""
    column = language_column_of(table.columns, asked)
    return table.values(column) if column else set()


def _tables(folder: Path, names: Collection[str], any_name: bool = False) -> list[Table]:
    return [table for name in sorted(names) if (table := find_table(folder, name, any_name))]


def _may_have_splits(table: Table) -> bool:
    """Other tables, as lists of languages, lie there too; a damaged file is told when it is read, not when listed."""
    try:
        return split_column_of(table.columns) is not None
    except InputError:
        return True


def locate(folder: Path, language: str, names: Collection[str]) -> Place | None:
    """Where the split that has one of the `names` lies, by the first layout that has it."""
    for root in roots(folder):
        for layout in LAYOUTS:
            if table := layout.find(root, language, names):
                return Place(table, layout.mixes_splits, layout.mixes_languages)
    return None


def languages_of(folder: Path, names: Collection[str], language_column: str | None = None) -> list[str]:
    """The languages of a folder, sorted; `names` are those of splits, beside the usual ones."""
    known = SPLIT_WORDS.union(names)
    for root in roots(folder):
        for layout in LAYOUTS:
            if found := layout.languages(root, known, language_column):
                return sorted(found)
    return []


def language_column_of(columns: list[str], asked: str | None) -> str | None:
    """The column that says the language: the one asked for, by default the first that has a usual name."""
    return next((column for column in ([asked] if asked else LANGUAGE_COLUMNS) if column in columns), None)


def split_column_of(columns: list[str]) -> str | None:
    return next((column for column in SPLIT_COLUMNS if column in columns), None)


def roots(folder: Path) -> Iterator[Path]:
    """Where data may lie below a folder, the folder first."""
    return (root for root in map(folder.joinpath, ROOTS) if root.is_dir())
