"""Parquet, and the Arrow files of a folder that `save_to_disk` of the library datasets wrote, a batch at a time."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers.asked import Asked, check_columns, check_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# column -> the names of its numbers
Labels = dict[str, list[str]]
Batches = Callable[[Path], "tuple[pa.Schema, Iterator[pa.RecordBatch]]"]


def parquet(path: Path) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(path)
    return file.schema_arrow, file.iter_batches()


def saved(path: Path) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
    """Mapped into memory: what is not asked for is never read."""
    import pyarrow as pa

    stream = pa.ipc.open_stream(pa.memory_map(str(path)))
    return stream.schema, iter(stream)


def columns(files: Sequence[Path], read: Batches) -> list[str]:
    with _damage(files[0]):
        schema, _ = read(files[0])
        return check_columns(schema.names, str(files[0]))


def rows(files: Sequence[Path], asked: Asked, read: Batches) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of all files, numbered throughout; numbers of a ClassLabel are read as its names."""
    start = 0
    for path in files:
        with _damage(path):
            schema, batches = read(path)
            check_columns(schema.names, str(path))
            labels = _labels(schema, path)
            for batch in batches:
                # Or offsets that are wrong would be followed, out of the memory that is the batch's.
                batch.validate(full=True)
                yield from _rows_of(batch, labels, asked, start, str(path))
                start += batch.num_rows


def _rows_of(
    batch: "pa.RecordBatch", labels: Labels, asked: Asked, start: int, where: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    import numpy as np

    numbers = np.arange(start, start + batch.num_rows)
    for column in (*asked.wanted, *asked.barred):
        if column in batch.schema.names or column in asked.wanted:
            chosen = _chosen(batch, column, labels, asked, where)
            batch, numbers = batch.take(chosen), numbers[chosen]
    for number, row in zip(numbers.tolist(), batch.to_pylist()):
        for column, names in labels.items():
            row[column] = _named(row[column], names)
        check_text(row, f"row {number + 1} of {where}")
        yield number, row


def _chosen(batch: "pa.RecordBatch", column: str, labels: Labels, asked: Asked, where: str) -> "np.ndarray":
    """Indices of the rows whose value is asked for; each value is looked at once."""
    import numpy as np

    if column not in batch.schema.names:
        asked.takes({}, where)
    values = batch.column(column).dictionary_encode()
    distinct = [_named(value, labels.get(column, [])) for value in values.dictionary.to_pylist()]
    if values.null_count:
        distinct.append(None)
    is_chosen = np.array([asked.judges(column, value, f"a row of {where}") for value in distinct], dtype=bool)
    # Where there is nothing, -1: the last of the distinct values.
    return np.flatnonzero(is_chosen[values.indices.fill_null(-1).to_numpy()])


def _named(value: Any, names: list[str]) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _labels(schema: "pa.Schema", path: Path) -> Labels:
    """The ClassLabel columns, of which the library datasets keeps a record in the schema."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if feature.get("_type") == "ClassLabel" and column in schema.names
        }
    except (ValueError, AttributeError, LookupError, TypeError):
        raise InputError(f"cannot read the names of labels in {path}; write the file again") from None


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Raise what the library says of a damaged file as InputError."""
    import pyarrow as pa

    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"cannot read {path}: {reason}; the file is damaged, copy it again") from None
