"""Sums over tensors that give the same bits on any number of threads and on any device.

torch splits a full sum among its threads, so its last bits depend on their number. Here every addition is
elementwise, in float64, in an order that only the shape decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

# 512 KiB of float64 stay in the processor's cache; part of the result's definition, so not an option.
_BLOCK = 1 << 16


def gram(tensors: Sequence[torch.Tensor], origin: torch.Tensor | None = None) -> list[list[float]]:
    """Inner products of every two tensors of one shape, each less `origin` where it is given: N lists of N."""
    flat = [tensor.reshape(-1) for tensor in tensors]
    zero = None if origin is None else origin.reshape(-1)
    products = [[0.0] * len(flat) for _ in flat]
    for start in range(0, flat[0].numel(), _BLOCK):
        span = slice(start, start + _BLOCK)
        blocks = [tensor[span].double() for tensor in flat]
        if zero is not None:
            blocks = [block - zero[span].double() for block in blocks]
        for i, one in enumerate(blocks):
            for j, other in enumerate(blocks[:i + 1]):
                products[i][j] += _folded(one * other).item()
    for i in range(len(flat)):
        for j in range(i):
            products[j][i] = products[i][j]
    return products


def column_squares(matrix: torch.Tensor, origin: torch.Tensor | None = None) -> torch.Tensor:
    """The squared norm of every column of a 2-D tensor, less `origin`'s where given, as 1-D float64."""
    rows, columns = matrix.shape
    total = torch.zeros(columns, dtype=torch.float64, device=matrix.device)
    step = max(1, _BLOCK // max(1, columns))
    for start in range(0, rows, step):
        block = matrix[start:start + step].double()
        if origin is not None:
            block = block - origin[start:start + step].double()
        total += _folded(block * block)
    return total


def _folded(values: torch.Tensor) -> torch.Tensor:
    """The sum along the first dimension, by adding the second half to the first; overwrites `values`."""
    while (rows := values.shape[0]) > 1:
        half = (rows + 1) // 2
        values[:rows - half] += values[half:]
        values = values[:half]
    return values[0]
