"""Weighted average."""

from __future__ import annotations

from dataclasses import dataclass

from auto_merge_llm.methods.base import Method, Piece


@dataclass(frozen=True)
class Linear(Method):
    """Σ wᵢθᵢ, the weights as given (Wortsman et al. 2022, arXiv 2203.05482, with wᵢ = 1/N)."""

    elementwise = True

    def merge(self, piece: Piece):
        merged = piece.sources[0].mul_(piece.weights[0])
        for source, weight in zip(piece.sources[1:], piece.weights[1:]):
            # Two rounded operations: add_(alpha=) may or may not fuse them, by build, device and vector tail.
            merged.add_(source.mul_(weight))
        return merged


METHOD = Linear
