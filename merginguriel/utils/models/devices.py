"""The device of this machine, and the precisions in which it scores and learns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def evaluation_dtype(device: str) -> torch.dtype:
    """One precision for every number of a machine: bfloat16 where matrix units have it, float32 elsewhere.

    They have it on CUDA devices and on CPUs with Intel's AMX.
    """
    # Releases of torch that cannot say what the CPU has score in float32.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = device.startswith("cuda") or capabilities.get("amx_bf16", False)
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def precision_kept() -> Iterator[None]:
    """Afterwards the GPU's float32 products have the precision that they had before, whatever has changed it within.

    It is the whole process's: left on, TF32 would also round what the same worker merges next.
    """
    older, before = _older_precision(), [getattr(*setting) for setting in _precision()]
    try:
        yield
    finally:
        if (older, before) != (_older_precision(), [getattr(*setting) for setting in _precision()]):
            torch.set_float32_matmul_precision(older or "highest")
            for setting, value in zip(_precision(), before):
                if getattr(*setting) != value:
                    setattr(*setting, value)


@contextmanager
def tf32_products(wanted: bool) -> Iterator[None]:
    """Float32 matrix products of the GPU in TF32 within, if `wanted`."""
    with precision_kept():
        if wanted:
            torch.set_float32_matmul_precision("high")
        yield


def _precision() -> list[tuple[Any, str]]:
    """What holds it, and by which name."""
    if hasattr(torch.backends, "fp32_precision"):  # since torch 2.9
        return [(torch.backends, "fp32_precision"), (torch.backends.cuda.matmul, "fp32_precision")]
    return [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32")]


def _older_precision() -> str | None:
    """By torch's older way to tell it; None where only the newer has set it, and the older contradicts."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
