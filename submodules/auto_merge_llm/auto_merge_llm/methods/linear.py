"""Weighted average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auto_merge_llm.methods.base import Method, Piece

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Linear(Method):
    """Σ wᵢθᵢ, the weights as given (Wortsman et al. 2022, arXiv 2203.05482, with wᵢ = 1/N)."""

    granularity = "element"

    def merge(self, piece: Piece) -> Tensor:
        return weighted_sum(piece.sources, piece.weights)


def weighted_sum(tensors: Sequence[Tensor], factors: Sequence[float | Tensor] | Tensor) -> Tensor:
    """Σ factorᵢ·tensorᵢ in the order given, overwriting the tensors; factors are numbers or tensors."""
    total = tensors[0].mul_(factors[0])
    for tensor, factor in zip(tensors[1:], factors[1:]):
        # Two rounded operations: add_(alpha=) may or may not fuse them, by build, device and vector tail.
        total.add_(tensor.mul_(factor))
    return total


METHOD = Linear
