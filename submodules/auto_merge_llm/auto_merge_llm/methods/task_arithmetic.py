"""Task arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auto_merge_llm.methods.base import Method, Piece, check_choice, check_number
from auto_merge_llm.methods.linear import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TaskArithmetic(Method):
    """θ₀ + λ Σ τᵢ with τᵢ = θᵢ − θ₀ (Ilharco et al. 2023, arXiv 2212.04089), or θ₀ + λ Σ wᵢτᵢ.

    `scaling`: λ. `form`: "sum" is the paper's and does not use the weights; "mean" does.
    """

    form: str = "sum"
    scaling: float = 0.3

    granularity = "element"
    needs_base = True

    def __post_init__(self) -> None:
        check_choice("form", self.form, ("sum", "mean"))
        check_number("scaling", self.scaling, 0)

    def merge(self, piece: Piece) -> Tensor:
        vectors = piece.task_vectors()
        factors = piece.weights if self.form == "mean" else [1.0] * len(vectors)
        return weighted_sum(vectors, factors).mul_(self.scaling).add_(piece.base)


METHOD = TaskArithmetic
