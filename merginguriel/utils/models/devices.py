"""The device of this machine, and the one precision in which it scores."""

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
