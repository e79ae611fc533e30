"""Tensors that are read in ranges: from a file, from memory, or with their rows in another order.

Every reader has `shape`, `dtype`, `numel`, `device` and `read(start, stop, dtype)`, which returns the flat
elements [start, stop) as a 1-D tensor that belongs to the caller (it may be overwritten).
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import torch

from auto_merge_llm.errors import InputError

# Index tables that old checkpoints saved beside the parameters; every model rebuilds them.
_BUFFERS = ("position_ids", "token_type_ids")


def is_parameter(name: str) -> bool:
    """False for the buffers that old checkpoints carry and no model learns."""
    return name.rpartition(".")[2] not in _BUFFERS


class OpenFile:
    """A file held open from check to merge, so that a folder replaced in between cannot mix versions."""

    def __init__(self, path: Path):
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


class FileTensor:
    """A contiguous little-endian tensor at a byte offset of a file."""

    device = torch.device("cpu")

    def __init__(self, file: OpenFile, offset: int, shape: Sequence[int], dtype: torch.dtype):
        self.shape, self.dtype, self.numel = tuple(shape), dtype, math.prod(shape)
        self._file, self._offset = file, offset

    def read(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        values = torch.empty(stop - start, dtype=self.dtype)
        # Not mmap: a file cut short while it is read must end in a message, and a mapping gives SIGBUS.
        rest = memoryview(values.view(torch.uint8).numpy())
        position = self._offset + start * self.dtype.itemsize
        while rest:
            count = os.preadv(self._file.descriptor, [rest], position)
            if not count:
                raise InputError(f"{self._file.path} became shorter while it was read; copy it again")
            rest, position = rest[count:], position + count
        return values.to(dtype)


class LoadedTensor:
    """A tensor in memory, or in a file that torch has mapped."""

    def __init__(self, values: torch.Tensor):
        self.shape, self.dtype, self.numel = tuple(values.shape), values.dtype, values.numel()
        self.device, self.values = values.device, values.detach()
        self._flat = self.values.reshape(-1)

    def read(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        return self._flat[start:stop].to(dtype, copy=True)


class ReorderedRows:
    """Another reader's tensor whose row i is that reader's row `rows[i]`."""

    def __init__(self, reader, rows: Sequence[int]):
        self.shape, self.dtype = reader.shape, reader.dtype
        self.numel, self.device = reader.numel, reader.device
        self._reader, self._rows = reader, list(rows)

    def read(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        whole = self._reader.read(0, self.numel, dtype).view(self.shape)
        return whole[self._rows].reshape(-1)[start:stop]


@dataclass(frozen=True)
class Source:
    """One model that takes part in a merge: the name that messages use, and its readers by tensor name."""

    name: str
    tensors: Mapping[str, FileTensor | LoadedTensor | ReorderedRows]


def identities(names: Sequence[str]) -> tuple[str, ...]:
    """What tells sources apart wherever they are stored: their folders' names.

    Where two are the same, as many of the folders around them as are needed, for all.
    """
    parts = [PurePath(name).parts for name in names]
    depth = 1
    while len({path[-depth:] for path in parts}) < len(set(parts)):
        depth += 1
    return tuple("/".join(path[-depth:]) for path in parts)
