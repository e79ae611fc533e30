"""How files are damaged. An edit is a function of this module and its arguments, so that its repr is an example.

Edits(path, …) of strategies.py draw them; `damage` applies them to a copy of the world.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

EDITS: dict[str, Callable] = {}


@dataclass(frozen=True)
class Edit:
    """`name`: of a function of this module; `file`: relative to the world."""

    name: str
    file: str
    args: tuple = ()

    def __repr__(self) -> str:
        return f"Edit({self.name!r}, {self.file!r}, {self.args!r})"

    def apply(self, root: Path) -> None:
        EDITS[self.name](root / self.file, *self.args)


def damage(root: Path, edits: Sequence[Edit]) -> None:
    """All edits, one after the other; what a file cannot suffer any more after the one before is left."""
    for edit in edits:
        try:
            edit.apply(root)
        except ImpossibleError:
            continue


class ImpossibleError(Exception):
    pass


def _edit(function: Callable) -> Callable:
    EDITS[function.__name__] = function
    return function


# Any file


@_edit
def cut(file: Path, share: float) -> None:
    content = _bytes(file)
    file.write_bytes(content[: int(len(content) * share)])


@_edit
def overwrite(file: Path, content: bytes) -> None:
    """From the start on, as a bad disk does."""
    before = _bytes(file)
    file.write_bytes(content + before[len(content) :])


@_edit
def replace(file: Path, content: bytes) -> None:
    _bytes(file)
    file.write_bytes(content)


@_edit
def create(file: Path, content: bytes) -> None:
    if file.parent.is_dir() and not file.exists() and not file.is_symlink():
        file.write_bytes(content)


@_edit
def substitute(file: Path, old: bytes, new: bytes, count: int) -> None:
    content = _bytes(file)
    if old not in content:
        raise ImpossibleError
    file.write_bytes(content.replace(old, new, count))


@_edit
def remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


@_edit
def become_folder(file: Path) -> None:
    remove(file)
    file.mkdir(parents=True)


@_edit
def become_link(file: Path, target: str) -> None:
    remove(file)
    file.symlink_to(target)


@_edit
def become_link_to_own(file: Path) -> None:
    """A link to where the file has been moved: nothing is wrong."""
    _bytes(file)
    moved = file.with_name(f"{file.name}.moved")
    os.rename(file, moved)
    file.symlink_to(moved.name)


@_edit
def recode(file: Path, encoding: str) -> None:
    try:
        file.write_bytes(_bytes(file).decode("utf-8").encode(encoding))
    except UnicodeError:
        raise ImpossibleError from None


@_edit
def end_lines(file: Path, end: bytes) -> None:
    file.write_bytes(_bytes(file).replace(b"\n", end))


# JSON


@_edit
def set_value(file: Path, path: tuple, value: Any) -> None:
    """The value at `path`; keys of it that a list or a text has not are impossible."""
    content = _json(file)
    *steps, last = path
    holder = content
    try:
        for step in steps:
            holder = holder[step]
        if not isinstance(holder, dict | list):
            raise ImpossibleError
        holder[last] = value
    except (KeyError, IndexError, TypeError):
        raise ImpossibleError from None
    _dump(file, content)


@_edit
def drop_value(file: Path, path: tuple) -> None:
    content = _json(file)
    *steps, last = path
    holder = content
    try:
        for step in steps:
            holder = holder[step]
        del holder[last]
    except (KeyError, IndexError, TypeError):
        raise ImpossibleError from None
    _dump(file, content)


@_edit
def nest(file: Path, depth: int) -> None:
    """A list in a list in a list…, which no parser that calls itself survives."""
    _bytes(file)
    file.write_bytes(b"[" * depth + b"]" * depth)


@_edit
def nest_value(file: Path, key: str, depth: int) -> None:
    content = _json(file)
    if not isinstance(content, dict):
        raise ImpossibleError
    content[key] = "HERE"
    file.write_text(json.dumps(content).replace('"HERE"', "[" * depth + "]" * depth))


# JSONL


@_edit
def set_cell(file: Path, lines: tuple[int, ...], key: str, value: Any) -> None:
    rows = _lines(file)
    for line in lines:
        row = _row(rows, line)
        row[key] = value
        rows[line] = json.dumps(row)
    _write_lines(file, rows)


@_edit
def drop_cell(file: Path, lines: tuple[int, ...], key: str) -> None:
    rows = _lines(file)
    for line in lines:
        row = _row(rows, line)
        row.pop(key, None)
        rows[line] = json.dumps(row)
    _write_lines(file, rows)


@_edit
def copy_line(file: Path, line: int, to: int, times: int) -> None:
    rows = _lines(file)
    if line >= len(rows):
        raise ImpossibleError
    _write_lines(file, [*rows[:to], *[rows[line]] * times, *rows[to:]])


@_edit
def insert_line(file: Path, line: int, content: str) -> None:
    rows = _lines(file)
    rows.insert(line, content)
    file.write_bytes("\n".join(rows).encode("utf-8", "surrogatepass") + b"\n")


@_edit
def drop_lines(file: Path, first: int, last: int) -> None:
    rows = _lines(file)
    del rows[first:last]
    _write_lines(file, rows)


# safetensors


@_edit
def set_header(file: Path, tensor: int, key: str, value: Any) -> None:
    """A field of the header's entry of the tensor of that number."""
    content = _bytes(file)
    header, body = _header(content)
    name = sorted(header)[tensor % len(header)]
    if not isinstance(header[name], dict):
        raise ImpossibleError
    header[name][key] = value
    _write_header(file, header, body)


@_edit
def set_header_length(file: Path, length: int) -> None:
    content = _bytes(file)
    file.write_bytes(length.to_bytes(8, "little") + content[8:])


@_edit
def add_header(file: Path, name: str, value: Any) -> None:
    header, body = _header(_bytes(file))
    header[name] = value
    _write_header(file, header, body)


@_edit
def change_tensor(file: Path, tensor: int, how: str) -> None:
    """What can happen to the tensor of that number, in a file that is well formed; see _CHANGES."""
    tensors = _tensors(file)
    name = sorted(tensors)[tensor % len(tensors)]
    _CHANGES[how](tensors, name)
    _save(file, tensors)


def _fill(value: float) -> Callable:
    def change(tensors: dict[str, np.ndarray], name: str) -> None:
        tensors[name].flat[0] = value

    return change


def _dtype(dtype: str) -> Callable:
    def change(tensors: dict[str, np.ndarray], name: str) -> None:
        with np.errstate(all="ignore"):
            tensors[name] = tensors[name].astype(dtype)

    return change


def _all_dtype(dtype: str) -> Callable:
    def change(tensors: dict[str, np.ndarray], name: str) -> None:
        for other in tensors:
            _dtype(dtype)(tensors, other)

    return change


def _renamed(new: Callable[[str], str]) -> Callable:
    def change(tensors: dict[str, np.ndarray], name: str) -> None:
        tensors[new(name)] = tensors.pop(name)

    return change


def _all_renamed(new: Callable[[str], str]) -> Callable:
    def change(tensors: dict[str, np.ndarray], name: str) -> None:
        for other in list(tensors):
            tensors[new(other)] = tensors.pop(other)

    return change


def _shaped(shape: Callable[[np.ndarray], np.ndarray]) -> Callable:
    def change(tensors: dict[str, np.ndarray], name: str) -> None:
        tensors[name] = np.ascontiguousarray(shape(tensors[name]))

    return change


_CHANGES: dict[str, Callable[[dict, str], Any]] = {
    "nan": _fill(np.nan),
    "inf": _fill(np.inf),
    "minus inf": _fill(-np.inf),
    "huge": _fill(3e38),
    "zero": _shaped(np.zeros_like),
    "float16": _dtype("float16"),
    "float64": _dtype("float64"),
    "int8": _dtype("int8"),
    "int64": _dtype("int64"),
    "bool": _dtype("bool"),
    "complex": _dtype("complex64"),
    "all float16": _all_dtype("float16"),
    "all float64": _all_dtype("float64"),
    "all int64": _all_dtype("int64"),
    "drop": lambda tensors, name: tensors.pop(name),
    "only": lambda tensors, name: [tensors.pop(other) for other in list(tensors) if other != name],
    "copy": lambda tensors, name: tensors.update({f"{name}.copy": tensors[name]}),
    "another layer": lambda tensors, name: tensors.update({name.replace("layer.1", "layer.2"): tensors[name]}),
    "capital": _renamed(str.upper),
    "module": _all_renamed("module.{}".format),
    "compiled": _all_renamed("_orig_mod.{}".format),
    "half module": _renamed("module.{}".format),
    "empty name": _renamed(lambda name: ""),
    "path name": _renamed(lambda name: f"../../{name}"),
    "flat": _shaped(np.ravel),
    "transposed": _shaped(np.transpose),
    "row more": _shaped(lambda values: np.concatenate([values, values[:1]])),
    "row less": _shaped(lambda values: values[:-1]),
    "rows turned": _shaped(lambda values: values[::-1]),
    "empty": _shaped(lambda values: values[:0]),
    "deeper": _shaped(lambda values: values[None]),
    "scalar": _shaped(lambda values: values.flat[0].reshape(())),
}
CHANGES = tuple(_CHANGES)


# npz


@_edit
def change_array(file: Path, array: str, how: str) -> None:
    """An array of predictions.npz, see _ARRAY_CHANGES; the file stays a file of numpy."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            kept = dict(arrays)
    except Exception:  # damaged before
        raise ImpossibleError from None
    if array not in kept:
        raise ImpossibleError
    try:
        changed = _ARRAY_CHANGES[how](kept[array])
    except (ValueError, TypeError):
        raise ImpossibleError from None
    if changed is None:
        del kept[array]
    else:
        kept[array] = changed
    with open(file, "wb") as out:
        np.savez(out, **kept)


_ARRAY_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "drop": lambda values: None,
    "shorter": lambda values: values[:-1],
    "longer": lambda values: np.concatenate([values, values[:1]]),
    "empty": lambda values: values[:0],
    "turned": lambda values: values[::-1],
    "deeper": lambda values: values[None],
    "scalar": lambda values: values.ravel()[0],
    "float": lambda values: values.astype(np.float64) + 0.25,
    "text": lambda values: values.astype(str),
    "bytes": lambda values: values.astype("S"),
    "bool": lambda values: values.astype(bool),
    "unsigned": lambda values: values.astype(np.uint64),
    "object": lambda values: values.astype(object),
    "minus one": lambda values: np.full_like(values, -1),
    "large": lambda values: np.full_like(values, 1000),
    "same": lambda values: np.full_like(values, values.ravel()[0]),
    "nan": lambda values: np.full(values.shape, np.nan, np.float32),
    "time": lambda values: values.astype("datetime64[s]"),
    "record": lambda values: np.zeros(len(values), [("a", "i4"), ("b", "f4")]),
}
ARRAY_CHANGES = tuple(_ARRAY_CHANGES)


# Tables


@_edit
def set_csv(file: Path, row: int, column: int, value: str) -> None:
    rows = [line.split(",") for line in _lines(file)]
    try:
        rows[row][column] = value
    except IndexError:
        raise ImpossibleError from None
    _write_lines(file, [",".join(cells) for cells in rows])


@_edit
def drop_csv(file: Path, row: int, column: int) -> None:
    """A row, a column or, where both are given, a cell."""
    rows = [line.split(",") for line in _lines(file)]
    try:
        if column < 0:
            del rows[row]
        elif row < 0:
            for cells in rows:
                del cells[column]
        else:
            del rows[row][column]
    except IndexError:
        raise ImpossibleError from None
    _write_lines(file, [",".join(cells) for cells in rows])


def _bytes(file: Path) -> bytes:
    if not file.is_file():
        raise ImpossibleError
    return file.read_bytes()


def _json(file: Path) -> Any:
    try:
        return json.loads(_bytes(file))
    except (ValueError, RecursionError):
        raise ImpossibleError from None


def _dump(file: Path, content: Any) -> None:
    # Numbers of 400 digits are written as text first, for Python refuses to print longer ones.
    file.write_text(json.dumps(content), encoding="utf-8")


def _lines(file: Path) -> list[str]:
    try:
        return _bytes(file).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise ImpossibleError from None


def _row(rows: list[str], line: int) -> dict:
    try:
        row = json.loads(rows[line])
    except (IndexError, ValueError, RecursionError):
        raise ImpossibleError from None
    if not isinstance(row, dict):
        raise ImpossibleError
    return row


def _write_lines(file: Path, lines: list[str]) -> None:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _header(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError, OverflowError):
        raise ImpossibleError from None
    if not isinstance(header, dict) or not header:
        raise ImpossibleError
    return header, content[8 + length :]


def _write_header(file: Path, header: dict, body: bytes) -> None:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + body)


def _tensors(file: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    try:
        return {name: values.copy() for name, values in load(_bytes(file)).items()}
    except ImpossibleError:
        raise
    except Exception:
        raise ImpossibleError from None


def _save(file: Path, tensors: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    file.write_bytes(save(tensors, metadata={"format": "pt"}))
