"""Write safetensors files in pieces, from several threads, under temporary names until all is written."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from auto_merge_llm.errors import InputError
from auto_merge_llm.positioned import BINARY, write_at
from auto_merge_llm.weight_files import SAFETENSORS_DTYPES

_CODES = {dtype: code for code, dtype in SAFETENSORS_DTYPES.items()}
# Tensor name -> (shape, dtype).
Layout = Mapping[str, tuple[Sequence[int], torch.dtype]]


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk, a quota or missing rights into an InputError that names the folder."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write into {folder} ({error.strerror}); free space there or choose another output folder"
        ) from None


class SafetensorsWriter:
    """Writes tensors of known shapes and dtypes into `folder`, as Hugging Face names them.

    `shard_size`: most bytes of tensor data in one file (a larger tensor gets a file of its own); None for one file.
    `size`: bytes of tensor data in all `files`. Used as a context manager: unless `commit` was called, nothing stays
    behind. `write` may be called from several threads. Raises InputError for a folder that cannot be written.
    """

    def __init__(self, folder: Path, layout: Layout, shard_size: int | None = None):
        self._folder = folder
        sizes = {name: math.prod(shape) * dtype.itemsize for name, (shape, dtype) in layout.items()}
        self.size = sum(sizes.values())
        shards = _fill_shards(_order(layout), sizes, shard_size)
        self.files = tuple(
            folder / (f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors")
            for number in range(1, len(shards) + 1)
        )
        self._shards = dict(zip(self.files, shards))
        self._layout = layout
        self._places: dict[str, tuple[int, int]] = {}
        self._descriptors: list[int] = []
        self._created: list[Path] = []

    def __enter__(self) -> "SafetensorsWriter":
        try:
            with explain_write_errors(self._folder):
                for path, names in self._shards.items():
                    header, places, end = _header(names, self._layout)
                    self._created.append(_partial(path))
                    descriptor = os.open(_partial(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | BINARY, 0o666)
                    self._descriptors.append(descriptor)
                    os.truncate(descriptor, end)
                    _write_all(descriptor, memoryview(header), 0)
                    self._places |= {name: (descriptor, position) for name, position in places.items()}
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, name: str, start: int, values: torch.Tensor) -> None:
        """Put the contiguous `values` at the flat element `start` of tensor `name`."""
        descriptor, position = self._places[name]
        position += start * values.dtype.itemsize
        with explain_write_errors(self._folder):
            _write_all(descriptor, _bytes_of(values), position)

    def commit(self) -> None:
        """Give the files, and the index of several, their final names."""
        with explain_write_errors(self._folder):
            # A network file system may report a full disk only now.
            self._close()
            if len(self.files) > 1:
                shard_of = {name: path.name for path, names in self._shards.items() for name in names}
                index = {"metadata": {"total_size": self.size}, "weight_map": dict(sorted(shard_of.items()))}
                path = self._folder / "model.safetensors.index.json"
                self._created.append(_partial(path))
                _partial(path).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
            for partial in list(self._created):
                final = partial.with_name(partial.name[1:].removesuffix(".partial"))
                self._created.append(final)
                os.replace(partial, final)
        self._created.clear()

    def __exit__(self, *_: object) -> None:
        self._discard()

    def _close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _discard(self) -> None:
        self._close()
        for path in self._created:
            path.unlink(missing_ok=True)


def layout_of(state: Mapping[str, torch.Tensor]) -> Layout:
    """The layout of these tensors."""
    return {name: (values.shape, values.dtype) for name, values in state.items()}


def file_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 of the one file that SafetensorsWriter would write of these tensors, on whatever device they are."""
    layout = layout_of(state)
    names = _order(layout)
    digest = hashlib.sha256(_header(names, layout)[0])
    for name in names:
        digest.update(_bytes_of(state[name].cpu()))
    return digest.hexdigest()


def _order(layout: Layout) -> list[str]:
    # Wide dtypes first keeps every tensor aligned to its element size.
    return sorted(layout, key=lambda name: (-layout[name][1].itemsize, name))


def _header(names: Sequence[str], layout: Layout) -> tuple[bytes, dict[str, int], int]:
    """(the first bytes of the file, the position of every tensor in it, its size)."""
    header: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt"}}
    begins, end = {}, 0
    for name in names:
        shape, dtype = layout[name]
        begins[name], end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [begins[name], end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    places = {name: start + begin for name, begin in begins.items()}
    return len(text).to_bytes(8, "little") + text, places, start + end


def _bytes_of(values: torch.Tensor) -> memoryview:
    return values.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _write_all(descriptor: int, data: memoryview, position: int) -> None:
    # A nearly full disk takes a part of the data first and fails on the next call.
    while data:
        count = write_at(descriptor, data, position)
        data, position = data[count:], position + count


def _fill_shards(order: Sequence[str], sizes: Mapping[str, int], shard_size: int | None) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    room = math.inf if shard_size is None else shard_size
    left = room
    for name in order:
        if sizes[name] > left and shards[-1]:
            shards.append([])
            left = room
        shards[-1].append(name)
        left -= sizes[name]
    return shards
