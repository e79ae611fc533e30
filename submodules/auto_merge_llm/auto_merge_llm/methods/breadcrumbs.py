"""Model Breadcrumbs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auto_merge_llm.errors import InputError
from auto_merge_llm.magnitudes import magnitude
from auto_merge_llm.methods.base import Method, Piece, check_number
from auto_merge_llm.methods.linear import weighted_sum

# Elements that are ranked at once: bounds the memory for their keys.
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Breadcrumbs(Method):
    """θ₀ + λ Σ mᵢ∘(θᵢ − θ₀) (Davari & Belilovsky 2023, arXiv 2312.06795); the weights are not used.

    In every row of n elements the mask mᵢ zeroes the round(γn) largest magnitudes, keeps the next round(βn)
    and zeroes the rest; magnitudes are compared in float32, of equal ones the first ranks higher. A vector is
    one row; tensors of more than two dimensions have their first as rows. `gamma`, `beta`: fractions from 0
    to 1 whose sum is at most 1. `scaling`: λ.
    """

    beta: float = 0.15
    gamma: float = 0.006
    scaling: float = 0.2

    granularity = "row"
    needs_base = True

    def __post_init__(self):
        check_number("beta", self.beta, 0, 1)
        check_number("gamma", self.gamma, 0, 1)
        check_number("scaling", self.scaling, 0)
        if self.beta + self.gamma > 1:
            raise InputError(f"beta {self.beta} and gamma {self.gamma} sum to more than 1; lower one of them")

    def merge(self, piece: Piece):
        vectors = [source.sub_(piece.base) for source in piece.sources]
        for vector in vectors:
            self._mask(vector.view(vector.shape[0] if vector.dim() > 1 else 1, -1))
        return weighted_sum(vectors, [1.0] * len(vectors)).mul_(self.scaling).add_(piece.base)

    def _mask(self, matrix: torch.Tensor) -> None:
        columns = matrix.shape[1]
        top = round(self.gamma * columns)
        # Both may have been rounded up.
        kept = min(round(self.beta * columns), columns - top)
        # The place makes the keys of equal magnitudes differ, so that any algorithm ranks them alike.
        places = torch.arange(columns, device=matrix.device)
        for rows in matrix.split(max(1, _BLOCK // columns)):
            keys = (magnitude(rows).view(torch.int32).long() << 32) - places
            mask = torch.zeros_like(rows, dtype=torch.bool)
            if kept:
                largest = keys.topk(top + kept, dim=1).values
                mask = (keys <= largest[:, top, None]) & (keys >= largest[:, -1, None])
            # A product, so that NaN and infinity of a damaged source stay visible.
            rows.mul_(mask)


METHOD = Breadcrumbs
