"""Tensors that are read in ranges: from a file, from memory, or with their rows in another order."""

import math
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import torch

from auto_merge_llm.errors import InputError
from auto_merge_llm.positioned import BINARY, read_into

# Index tables that old checkpoints saved beside the parameters; every model rebuilds them.
_BUFFERS = ("position_ids", "token_type_ids")


def is_parameter(name: str) -> bool:
    """False for the buffers that old checkpoints carry and no model learns."""
    return name.rpartition(".")[2] not in _BUFFERS


class TensorReader(ABC):
    """A tensor of `numel` elements that is read in ranges."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device):
        self.shape, self.dtype, self.device = tuple(shape), dtype, device
        self.numel = math.prod(self.shape)

    @abstractmethod
    def read(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        """The flat elements [start, stop) as a 1-D tensor that belongs to the caller, who may overwrite it.

        Raises InputError where the file has become shorter.
        """

    def whole(self, dtype: torch.dtype) -> torch.Tensor:
        """All elements, in the tensor's shape."""
        return self.read(0, self.numel, dtype).view(self.shape)


class OpenFile:
    """A file held open from check to merge, so that a folder replaced in between cannot mix versions."""

    def __init__(self, path: Path):
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | BINARY)
        weakref.finalize(self, os.close, self.descriptor)


class FileTensor(TensorReader):
    """A contiguous little-endian tensor at a byte offset of a file."""

    def __init__(self, file: OpenFile, offset: int, shape: Sequence[int], dtype: torch.dtype):
        super().__init__(shape, dtype, torch.device("cpu"))
        self._file, self._offset = file, offset

    def read(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        values = torch.empty(stop - start, dtype=self.dtype)
        # Not mmap: a file cut short while it is read must end in a message, and a mapping gives SIGBUS.
        rest = values.view(torch.uint8).numpy().data
        position = self._offset + start * self.dtype.itemsize
        while rest:
            count = read_into(self._file.descriptor, rest, position)
            if not count:
                raise InputError(f"{self._file.path} became shorter while it was read; copy it again")
            rest, position = rest[count:], position + count
        return values.to(dtype)


class LoadedTensor(TensorReader):
    """A tensor in memory, or in a file that torch has mapped."""

    def __init__(self, values: torch.Tensor):
        super().__init__(values.shape, values.dtype, values.device)
        self.values = values.detach()
        self._flat = self.values.reshape(-1)

    def read(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        return self._flat[start:stop].to(dtype, copy=True)


class ReorderedRows(TensorReader):
    """Another reader's tensor whose row i is that reader's row `rows[i]`."""

    def __init__(self, reader: TensorReader, rows: Sequence[int]):
        super().__init__(reader.shape, reader.dtype, reader.device)
        self._reader, self._rows = reader, list(rows)

    def read(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        return self._reader.whole(dtype)[self._rows].reshape(-1)[start:stop]


@dataclass(frozen=True)
class Source:
    """One model that takes part in a merge: the name that messages use, and its readers by tensor name."""

    name: str
    tensors: Mapping[str, TensorReader]


def loaded_source(name: str, tensors: Mapping[str, torch.Tensor]) -> Source:
    """A state dict, or what was measured of a model, in memory: without the buffers that no model learns."""
    return Source(name, {key: LoadedTensor(values) for key, values in tensors.items() if is_parameter(key)})


def identities(names: Sequence[str]) -> tuple[str, ...]:
    """What tells sources apart wherever they are stored: their folders' names.

    Where two are the same, as many of the folders around them as are needed, for all.
    """
    parts = [PurePath(name).parts for name in names]
    depth = 1
    while len({path[-depth:] for path in parts}) < len(set(parts)):
        depth += 1
    return tuple("/".join(path[-depth:]) for path in parts)
