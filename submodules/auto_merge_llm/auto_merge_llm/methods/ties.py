"""TIES merging."""

from collections.abc import Sequence
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

    granularity = "element"
    needs_base = True

    def __post_init__(self) -> None:
        check_number("density", self.density, 0, 1)
        if self.density == 0:
            raise InputError("density is 0, which trims everything away; give a number above 0, at most 1")
        check_number("scaling", self.scaling, 0)
        check_choice("scope", self.scope, ("model", "tensor"))

    def statistics(self, scan: Scan) -> dict[str, list[float] | None]:
        """By tensor name the cut of every source, None where all stays."""

        def cuts(names: list[str] | None) -> list[float]:
            return magnitudes.cuts(
                lambda measure: scan(lambda piece: measure(self.task_vectors(piece)), names), self.density
            )

        if self.density == 1:
            return dict.fromkeys(scan.names)
        if self.scope == "model":
            return dict.fromkeys(scan.names, cuts(None))
        return {name: cuts([name]) for name in scan.names}

    def task_vectors(self, piece: Piece) -> list[torch.Tensor]:
        """θᵢ − θ₀ of all sources; overwrites `piece.sources`."""
        return piece.task_vectors()

    def merge(self, piece: Piece) -> torch.Tensor | None:
        vectors = self._trimmed(piece, piece.statistics[piece.name])
        sign, is_tied = self._elected(vectors, piece.weights)
        if piece.totals is None:
            piece.counts["_votes"] += int(sign.sum())
            if is_tied:
                return None
        else:
            sign[sign == 0] = 1.0 if piece.totals["_votes"] >= 0 else -1.0
        total = torch.zeros_like(piece.base)
        share = torch.zeros_like(piece.base)
        for vector, weight in zip(vectors, piece.weights):
            # What agrees is positive now; comparisons and boolean masks take several times as long.
            agreeing = vector.mul_(sign).clamp_(min=0)
            share.add_(agreeing.sign(), alpha=weight)
            total.add_(agreeing.mul_(weight))
        # Where nothing is left, 0 by anything.
        share.clamp_(min=min(piece.weights) / 2)
        return total.mul_(sign).div_(share).mul_(self.scaling).add_(piece.base)

    def _trimmed(self, piece: Piece, cuts: list[float] | None) -> list[torch.Tensor]:
        vectors = self.task_vectors(piece)
        return vectors if cuts is None else [magnitudes.trim(vector, cut) for vector, cut in zip(vectors, cuts)]

    @staticmethod
    def _elected(vectors: list[torch.Tensor], weights: Sequence[float]) -> tuple[torch.Tensor, bool]:
        """The sign of Σ wᵢτ̂ᵢ, and whether it is 0 anywhere without all τ̂ᵢ being 0."""
        total, largest = vectors[0] * weights[0], vectors[0].abs()
        for vector, weight in zip(vectors[1:], weights[1:]):
            total.add_(vector * weight)
            torch.maximum(largest, vector.abs(), out=largest)
        sign = total.sign_()
        return sign, not torch.equal(sign.abs(), largest.sign_())


METHOD = Ties
