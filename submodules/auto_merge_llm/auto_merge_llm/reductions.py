"""Inner products and norms of whole tensors, summed up over the pieces of a scan.

All sums are float64, in which products of float32 are exact. Their last bits depend on the shape of the pieces and,
within a piece, on the order in which torch and its BLAS add: one thread computes a piece, so that the number of
threads has no part in it, but another processor or device may add in another order.
"""

from collections.abc import Sequence

import torch

from auto_merge_llm.methods.base import Method, Scan

# Blocks of float64 stay in the processor's cache; part of the result's definition, so not an option.
_BLOCK = 1 << 15


class ByGram(Method):
    """A method that needs of every tensor the Gram matrix of the sources, less the base where it takes one."""

    granularity = "element"

    def statistics(self, scan: Scan) -> dict[str, list[list[float]]]:
        """The Gram matrices by tensor name."""
        return {name: scan(lambda piece: gram(piece.sources, piece.origin), [name]).tolist() for name in scan.names}


def gram(vectors: Sequence[torch.Tensor], origin: torch.Tensor | None = None) -> torch.Tensor:
    """Inner products of every two of N 1-D tensors, each less `origin` where it is given: (N, N) float64."""
    size = len(vectors[0])
    total = torch.zeros(len(vectors), len(vectors), dtype=torch.float64, device=vectors[0].device)
    rows = total.new_empty(len(vectors), min(size, _BLOCK))
    for start in range(0, size, _BLOCK):
        span = slice(start, min(start + _BLOCK, size))
        block = rows[:, : span.stop - start]
        for row, vector in zip(block, vectors):
            row.copy_(vector[span])
        if origin is not None:
            block -= origin[span]
        total += block @ block.T
    return total


def column_squares(matrix: torch.Tensor, origin: torch.Tensor | None = None) -> torch.Tensor:
    """The squared norm of every column of a 2-D tensor, less `origin`'s where given, as 1-D float64."""
    total = torch.zeros(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    step = max(1, _BLOCK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), step):
        block = matrix[start : start + step].double()
        if origin is not None:
            block = block - origin[start : start + step]
        total += block.square().sum(0)
    return total


def row_squares(matrix: torch.Tensor, origin: torch.Tensor | None = None) -> torch.Tensor:
    """The squared norm of every row of a 2-D tensor, less `origin`'s where given, as 1-D float64."""
    step = max(1, _BLOCK // max(1, matrix.shape[1]))
    total = torch.empty(len(matrix), dtype=torch.float64, device=matrix.device)
    for start in range(0, len(matrix), step):
        block = matrix[start : start + step].double()
        if origin is not None:
            block = block - origin[start : start + step]
        total[start : start + step] = block.square().sum(1)
    return total
