"""What to say where data are not found: what lies there instead, and what was probably meant."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers.asked import LANGUAGE_COLUMNS, SPLIT_WORDS, nearest, spelling_of
from merginguriel.utils.data.readers.layouts import languages_of, locate, roots
from merginguriel.utils.data.readers.table import FORMATS, Table, find_table, tables_in
from merginguriel.utils.storage.messages import some

PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
READABLE = ", ".join(FORMATS)


def no_such(data: str) -> InputError:
    """Neither a folder nor a file nor the name of a data set on the Hub."""
    path = Path(os.path.expanduser(data))
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    if near:
        return InputError(f"no dataset folder {data}; did you mean {path.parent / near[0]}?")
    return InputError(
        f"no dataset folder {data}; give a folder or file of data ({READABLE}; see docs/data.md), "
        "a Hub id such as AmazonScience/massive, or mini"
    )


def unknown_format(path: Path) -> InputError:
    if path.suffix.lower() in PACKED:
        return InputError(f"{path} is packed; unpack it, and give the folder")
    return InputError(f"{path} has an ending that is not known; readable are {READABLE}")


def nothing_in(folder: Path, language: str, split: str, names: Collection[str]) -> InputError:
    """A folder in which no layout has the split of the language."""
    for reason in (*_splits(folder, language, split, names), *_spellings(folder, language, names)):
        return InputError(reason)
    for file in _unreadable(folder, {language, *names}):
        return InputError(f"no {language} in {folder}: {unknown_format(file)}")
    if other := _elsewhere(folder, language, names):
        return InputError(f"no {language} in {folder}, but in {other}; did you mean that folder?")
    packed = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PACKED]
    if packed:
        return InputError(f"no {language} in {folder}: {unknown_format(packed[0])}")
    found = languages_of(folder, names)
    return InputError(
        f"no {language} in {folder}: it has {some(found) if found else 'no locale at all'}; expected {language}.jsonl "
        f"(or {READABLE.partition(', ')[2]}) with a column partition or split, {language}/{sorted(names)[0]}.tsv, "
        f"{language}/{sorted(names)[0]}/*.parquet, or another layout of docs/data.md"
    )


def no_language_column(
    table: Table, asked: str | None, language: str | None = None, names: Collection[str] = ()
) -> InputError:
    """A table of all languages that does not tell them apart, which may be that of one language."""
    missing = f"{table.where} has no column {' or '.join([asked] if asked else LANGUAGE_COLUMNS)}"
    other = _elsewhere(Path(table.where).parent, language, names) if language else None
    if other:
        return InputError(f"{missing} that says the language, but {language} is in {other}; did you mean that folder?")
    return InputError(
        f"{missing} that says the language: it has {some(table.columns)}; name it, or give a folder with a file a "
        "language"
    )


def _elsewhere(folder: Path, language: str, names: Collection[str]) -> Path | None:
    """The folder around it or in it that has the split of the language."""
    for other in (folder.resolve().parent, *sorted(path for path in folder.iterdir() if path.is_dir())):
        place = locate(other, language, names)
        if place and (not place.mixes_languages or language in languages_of(other, names)):
            return other
    return None


def _splits(folder: Path, language: str, split: str, names: Collection[str]) -> Iterator[str]:
    """The language is there, the split is not."""
    for root in roots(folder):
        found = {name for path in [root / language] if path.is_dir() for name in (*tables_in(path), *_folders(path))}
        found = found or {name for name in _folders(root) if find_table(root / name, language)}
        where = f"of {language} in {root}"
        if not found:
            found, where = {name for name in tables_in(root) if name in SPLIT_WORDS}, f"in {root}"
        if found:
            yield f"no {split} {where}: it has {some(sorted(found))}; a {split} is called {' or '.join(sorted(names))}"


def _spellings(folder: Path, language: str, names: Collection[str]) -> Iterator[str]:
    """The language is there by another spelling."""
    for root in roots(folder):
        known = {*languages_of(root, names), *tables_in(root)}
        near = nearest(language, known)
        if near:
            table = find_table(root, near[0])
            found = Path(table.where).name if table else f"{near[0]}/"
            yield f"no {language} in {root}: found {found}; did you mean {some(near)}?"


def _unreadable(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Files whose name is right and whose ending is not: af-ZA.json, test.TSV."""
    stems = {spelling_of(name) for name in names}
    for root in roots(folder):
        for path in sorted((*root.iterdir(), *(file for name in names for file in (root / name).glob("*")))):
            if path.is_file() and path.suffix not in FORMATS and spelling_of(path.name.partition(".")[0]) in stems:
                yield path


def _folders(root: Path) -> list[str]:
    return [path.name for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
