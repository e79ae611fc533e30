"""TIES merging."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auto_merge_llm import magnitudes
from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import Method, Piece, Scan, check_choice, check_number


@dataclass(frozen=True)
class Ties(Method):
    """θ₀ + λτ, τ the mean of the task vectors that agree with an elected sign (Yadav et al. 2023, 2306.01708).

    Trim: of each τᵢ = θᵢ − θ₀, all parameters in one vector, the max(1, round(density·n)) largest magnitudes
    stay, with all that equal the smallest of them; the rest become 0. Elect: the sign of Σ wᵢτ̂ᵢ; where that
    is 0, the sign that most elements of the model elected (+ if as many). Merge: Σ wᵢτ̂ᵢ / Σ wᵢ over the
    sources whose τ̂ᵢ has the elected sign.

    `density`: above 0, at most 1. `scaling`: λ. `scope`: "model", or "tensor" to trim every tensor by itself.
    """

    density: float = 0.2
    scaling: float = 1.0
    scope: str = "model"

    needs_base = True

    def __post_init__(self):
        check_number("density", self.density, 0, 1)
        if self.density == 0:
            raise InputError("density is 0, which trims everything away; give a number above 0, at most 1")
        check_number("scaling", self.scaling, 0)
        check_choice("scope", self.scope, ("model", "tensor"))

    @property
    def granularity(self) -> str:
        # The cut of one tensor needs all of it.
        return "element" if self.scope == "model" else "tensor"

    def statistics(self, scan: Scan) -> tuple[list[float] | None, float]:
        """The cut of every source, where there is one for the model, and the majority's sign."""
        cuts = None
        if self.scope == "model":
            cuts = magnitudes.cuts(lambda measure: scan(lambda piece: measure(self.task_vectors(piece))),
                                   self.density)
        votes = scan(lambda piece: self._elected(self._trimmed(piece, cuts), piece).sign().sum(dtype=torch.int64))
        return cuts, 1.0 if votes >= 0 else -1.0

    def task_vectors(self, piece: Piece) -> list[torch.Tensor]:
        """θᵢ − θ₀ of all sources; overwrites `piece.sources`."""
        return [source.sub_(piece.base) for source in piece.sources]

    def merge(self, piece: Piece):
        cuts, majority = piece.statistics
        vectors = self._trimmed(piece, cuts)
        elected = self._elected(vectors, piece).sign()
        elected[elected == 0] = majority
        total = torch.zeros_like(piece.base)
        share = torch.zeros_like(piece.base)
        for vector, weight in zip(vectors, piece.weights):
            agrees = vector * elected > 0
            total.add_(vector.mul_(agrees).mul_(weight))
            share.add_(agrees.to(share.dtype).mul_(weight))
        share[share == 0] = 1
        return total.div_(share).mul_(self.scaling).add_(piece.base)

    def _trimmed(self, piece: Piece, cuts: list[float] | None) -> list[torch.Tensor]:
        vectors = self.task_vectors(piece)
        if cuts is None:
            cuts = magnitudes.cuts(lambda measure: measure(vectors), self.density)
        # A product, so that NaN and infinity of a damaged source stay visible.
        return [vector.mul_(magnitudes.magnitude(vector) >= cut) for vector, cut in zip(vectors, cuts)]

    @staticmethod
    def _elected(vectors: list[torch.Tensor], piece: Piece) -> torch.Tensor:
        total = vectors[0] * piece.weights[0]
        for vector, weight in zip(vectors[1:], piece.weights[1:]):
            total.add_(vector * weight)
        return total


METHOD = Ties
