"""The weight files of a Hugging Face model folder: safetensors or pytorch_model.bin, whole or in shards."""

import json
import math
import os
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from auto_merge_llm.errors import InputError
from auto_merge_llm.positioned import read_at
from auto_merge_llm.tensors import FileTensor, LoadedTensor, OpenFile, TensorReader

# The order in which transformers looks for them.
_CANDIDATES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# https://huggingface.co/docs/safetensors: 8 bytes little-endian header length, JSON header, data.
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_MAX_HEADER = 100_000_000
# What torch.compile, DataParallel and FSDP call the model inside them.
_AROUND_ALL = re.compile(r"(?:(?:_orig_mod|module)\.)+")
_AROUND_PARTS = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module)\.")


def find_weights(folder: Path) -> Path | None:
    """The weight file, or the index of the shards, that transformers would load; None where there is none."""
    return next((folder / name for name in _CANDIDATES if (folder / name).is_file()), None)


def weight_files(folder: Path) -> list[Path]:
    """All files with weights, by name. Raises InputError where the folder has none or lacks a shard."""
    first = _weights(folder)
    return sorted(set(_shards(first).values())) if first.suffix == ".json" else [first]


def open_weights(folder: Path) -> Mapping[str, TensorReader]:
    """Readers by tensor name; no tensor data of a safetensors or zip file is read into memory yet.

    Raises InputError naming the file that is missing, damaged, cut short or holds pickled code.
    """
    first = _weights(folder)
    if first.suffix != ".json":
        return open_file(first)
    shards = _shards(first)
    contents = {path: open_file(path) for path in sorted(set(shards.values()))}
    for name, path in shards.items():
        if name not in contents[path]:
            raise InputError(f"{path} lacks the tensor {name} that {first.name} lists; copy the model again")
    return {name: contents[path][name] for name, path in shards.items()}


def wrapper_prefix(names: Collection[str], folder: Path) -> str:
    """What torch.compile or DataParallel has put before all tensor names of `folder`; "" where there is nothing.

    Raises InputError where only some of them have it, or it stands elsewhere.
    """
    prefixes = {match[0] if (match := _AROUND_ALL.match(name)) else "" for name in names}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    for name in names:
        if prefixes or _AROUND_PARTS.search(name, len(prefix)):
            wrapped = next(name for name in names if _AROUND_ALL.match(name) or _AROUND_PARTS.search(name))
            raise InputError(
                f"{folder}: parts of the model were saved from inside torch.compile or DataParallel ({wrapped}); save "
                "it again, as it was before it was wrapped"
            )
    return prefix


def _weights(folder: Path) -> Path:
    found = find_weights(folder)
    if found is None:
        raise InputError(f"no model.safetensors or pytorch_model.bin in {folder}; copy or train the model again")
    return found


def _shards(index: Path) -> dict[str, Path]:
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {name: index.parent / file for name, file in listed.items() if Path(file).name == file}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(index, "it is not an index of shards") from None
    if len(shards) != len(listed) or not shards:
        raise _damaged(index, "it must list file names of its own folder")
    for path in sorted(set(shards.values())):
        if not path.is_file():
            raise InputError(f"{path} is missing, though {index.name} lists it; copy the model again")
    return shards


def open_file(path: Path) -> Mapping[str, TensorReader]:
    """Readers of one file, by tensor name. Raises InputError where it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"no file {path}; check the path")
    if path.stat().st_size == 0:
        raise _damaged(path, "it is empty")
    return _open_safetensors(path) if path.suffix == ".safetensors" else _open_pickle(path)


def _open_safetensors(path: Path) -> dict[str, FileTensor]:
    file = OpenFile(path)
    size = os.fstat(file.descriptor).st_size
    length = int.from_bytes(read_at(file.descriptor, 8, 0), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise _damaged(path, "its header is cut short")
    try:
        header = json.loads(read_at(file.descriptor, length, 8))
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):  # the library safetensors reads no others
            raise _damaged(path, "its metadata are no texts")
        tensors, expected = {}, 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = entry["data_offsets"]
            shape, dtype = entry["shape"], SAFETENSORS_DTYPES.get(entry["dtype"])
            if not all(type(length) is int and length >= 0 for length in shape):
                raise _damaged(path, f"the shape of tensor {name} is {shape}")
            if dtype is None:
                raise InputError(
                    f"{path}: tensor {name} has the dtype {entry['dtype']}, which cannot be "
                    "merged; save the model as float32, float16 or bfloat16"
                )
            if begin != expected or end - begin != math.prod(shape) * dtype.itemsize:
                raise _damaged(path, f"the place of tensor {name} is wrong")
            tensors[name] = FileTensor(file, 8 + length + begin, shape, dtype)
            expected = end
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(path, "its header is not valid") from None
    if size != 8 + length + expected:
        raise _damaged(path, f"it has {size} bytes where its header tells {8 + length + expected}")
    return tensors


def _open_pickle(path: Path) -> dict[str, LoadedTensor]:
    try:
        # Files from before torch 1.6 are bare pickles, which cannot be mapped.
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception:  # Damaged pickles raise anything: EOFError, RuntimeError, UnpicklingError, KeyError...
        raise InputError(
            f"{path} cannot be read as plain tensors (damaged, or it holds pickled code, which "
            "is never run); copy it again or save the model as safetensors"
        ) from None
    if not isinstance(values, dict) or not all(_is_dense(value) for value in values.values()):
        raise InputError(f"{path} is not a dictionary of dense tensors; save the model with save_pretrained")
    return {name: LoadedTensor(value) for name, value in values.items()}


def _is_dense(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_quantized


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged or only partly written ({reason}); copy or train the model again")
