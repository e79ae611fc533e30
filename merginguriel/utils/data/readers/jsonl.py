"""JSONL: one object a line. Lines of other splits and languages are passed over without parsing them."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers.asked import Asked, check_columns, check_text

_BOM = b"\xef\xbb\xbf"


def columns(files: Sequence[Path]) -> list[str]:
    """Those of the first line."""
    for _, row in rows(files, Asked()):
        return check_columns(list(row), str(files[0]))
    raise InputError(f"{files[0]} is empty")


def rows(files: Sequence[Path], asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    (path,) = files
    others = {column: _Other(column) for column in asked.wanted}
    tests = [other.says for other in others.values()]
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            for is_other in tests:  # no any(): half of the time of reading is spent here
                if is_other(line):
                    break
            else:
                if not line.strip():
                    continue
                place = f"line {number + 1} of {path}"
                row = _parsed(line, place)
                if asked.takes(row, place):
                    check_text(row, place)
                    yield number, row
                else:
                    for column, other in others.items():
                        other.learn(asked.met[column])


class _Other:
    """What a column was read to say that is not asked for, and how lines say it."""

    def __init__(self, column: str):
        self._known: set[bytes] = set()
        self._key = _quoted(column)
        self._find = re.compile(re.escape(self._key) + rb'\s*:\s*"([^"\\]*)"').search

    def learn(self, names: Collection[str]) -> None:
        self._known.update(_quoted(name)[1:-1] for name in names)

    def says(self, line: bytes) -> bool:
        """Whether the line is surely of another one, and whole. Where the key stands twice, one may be nested."""
        found = self._find(line)
        if found is None or found[1] not in self._known or line.find(self._key, found.end()) >= 0:
            return False
        return line.endswith(b"}\n") or line.rstrip().endswith(b"}")


def _parsed(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line.removeprefix(_BOM).decode("utf-8"))
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise InputError(f"{place} is not JSON in UTF-8, an object a line; the file is damaged, copy it again")
    return row


def _quoted(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")
