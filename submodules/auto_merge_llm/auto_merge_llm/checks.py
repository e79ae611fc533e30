"""What a merge asks of sources and weights, whether they are folders or state dicts, and of the disk."""

import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import Method
from auto_merge_llm.tensors import Source

WEIGHT_SUM_TOLERANCE = 1e-6
# The dtypes that can be merged, and be written, by name.
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}


def check_weights(
    method: Method, names: Sequence[str], weights: Sequence[float], has_base: bool, length: float = 1.0
) -> None:
    """The number of sources, their weights, and a base where the method, or a `length` other than 1, takes one."""
    kind = type(method).__name__
    if not names:
        raise InputError("there is no source to merge; name at least one model")
    if len(weights) != len(names):
        raise InputError(f"{len(names)} sources have {len(weights)} weights; give one weight a source")
    if len(names) < method.min_sources or (method.max_sources and len(names) > method.max_sources):
        takes = (
            f"{method.min_sources} to {method.max_sources}" if method.max_sources else f"at least {method.min_sources}"
        )
        if method.min_sources == method.max_sources:
            takes = f"exactly {method.min_sources}"
        raise InputError(f"{kind} takes {takes} source(s), not {len(names)}; change the sources or the method")
    for name, weight in zip(names, weights):
        if not math.isfinite(weight) or weight < 0:
            raise InputError(f"the weight {weight} of {name} is not a number from 0 to 1; correct it")
    total = math.fsum(weights)
    if abs(total - 1) > WEIGHT_SUM_TOLERANCE:
        raise InputError(
            f"the weights sum to {total:.8g}, not to 1; "
            + ("divide each by their sum" if total else "give at least one source weight")
        )
    if (method.needs_base or length != 1) and not has_base:
        raise InputError(f"{kind if length == 1 else f'length {length:g}'} needs the base model; name it")
    if has_base and not method.needs_base and length == 1:
        raise InputError(f"{kind} takes no base model; leave it out")


def check_tensors(sources: Sequence[Source]) -> None:
    """The same tensor names and shapes in all sources, in dtypes that can be merged, on one device."""
    first = sources[0]
    for source in sources:
        check_equal(first, source, "tensors", first.tensors.keys() ^ source.tensors.keys(), "of one architecture")
        shapes = [
            f"{name} {list(first.tensors[name].shape)} and {list(tensor.shape)}"
            for name, tensor in source.tensors.items()
            if tensor.shape != first.tensors[name].shape
        ]
        check_equal(first, source, "shapes", shapes, "of one size")
        for name, tensor in sorted(source.tensors.items()):
            if tensor.dtype not in DTYPES.values():
                raise InputError(
                    f"{source.name}: tensor {name} is {tensor.dtype}; save the model as float32, float16 or bfloat16"
                )
            if tensor.device != first.tensors[name].device:
                raise InputError(f"{first.name} and {source.name} are on different devices ({name}); move them to one")


def check_equal(
    one: Source | Checkpoint, other: Source | Checkpoint, kind: str, differing: Iterable[str], wanted: str
) -> None:
    """Raise InputError, with the first three of what is `differing`, unless there is nothing."""
    names = sorted(differing)
    if names:
        raise InputError(f"{one.name} and {other.name} have different {kind} ({_few(names)}); merge models {wanted}")


def check_measurements(method: Method, sources: Sequence[Source], measurements: Sequence[Source]) -> None:
    """Where the method takes them, one measurement a source, with tensors that belong to the source's."""
    kind = type(method).__name__
    if method.measurement is None:
        if measurements:
            raise InputError(f"{kind} takes no measurements; leave them out")
        return
    if len(measurements) != len(sources):
        raise InputError(
            f"{kind} needs the measured {method.measurement} of every source ({len(sources)}) and got "
            f"{len(measurements)}; measure them first"
        )
    shapes = {name: tensor.shape for name, tensor in sources[0].tensors.items()}
    if method.measurement == "gram":
        shapes = {name: (shape[1], shape[1]) for name, shape in shapes.items() if len(shape) == 2}
    for measured in measurements:
        found = {name: tensor.shape for name, tensor in measured.tensors.items()}
        wrong = sorted(name for name, shape in found.items() if shapes.get(name) != shape)
        missing = shapes.keys() - found if method.measurement == "fisher" else measurements[0].tensors.keys() ^ found
        if wrong or missing:
            raise InputError(
                f"{measured.name} does not belong to the sources ({_few(wrong or sorted(missing))}); measure again"
            )


def check_free_space(folder: Path, needed: int) -> None:
    """`needed` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder} has {free / 1e9:.2f} GB free and the merged model takes "
            f"{needed / 1e9:.2f} GB; free space there or choose another output folder"
        )


def _few(items: Sequence[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
