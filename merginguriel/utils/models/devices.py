"""The device of this machine, and the precisions in which it scores and learns."""

from collections.abc import Iterator
from contextlib import contextmanager

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
def tf32_products(wanted: bool) -> Iterator[None]:
    """Float32 matrix products of the GPU in TF32 within, if `wanted`, and afterwards as they were before.

    The setting is the whole process's: left on, what the same worker merges next would be rounded as well.
    """
    if not wanted:
        yield
        return
    matmul = torch.backends.cuda.matmul
    # Since torch 2.9 the older of the two can no longer be read once the newer was set.
    name, tf32 = ("fp32_precision", "tf32") if hasattr(matmul, "fp32_precision") else ("allow_tf32", True)
    before = getattr(matmul, name)
    setattr(matmul, name, tf32)
    try:
        yield
    finally:
        setattr(matmul, name, before)
