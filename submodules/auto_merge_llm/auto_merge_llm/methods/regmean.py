"""RegMean: linear layers merged by what their inputs were."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.forward import Batch
from auto_merge_llm.gram_solve import Term, solve, solve_in_float32, sum_of_grams
from auto_merge_llm.input_grams import input_grams
from auto_merge_llm.methods.base import Method, Piece, check_number
from auto_merge_llm.methods.linear import weighted_sum


@dataclass(frozen=True)
class RegMean(Method):
    """(Σ wᵢWᵢGᵢ)(Σ wᵢGᵢ)⁻¹ for the (out, in) weight of every linear layer, Σ wᵢθᵢ for everything else.

    Gᵢ = XᵀX of the layer's inputs over real tokens, its off-diagonals times `alpha` (from 0 to 1), and on its diagonal
    `ridge` times the diagonal's mean: of all matrices W this one minimises Σ wᵢ‖Xᵢ(Wᵢ − W)ᵀ‖², up to alpha and ridge
    (Jin et al. 2023, arXiv 2212.09849). By Cholesky, within 1e-5 of what float64 gives. A layer whose inputs were all
    zero is averaged: counted as `linear_tensors`. One source is returned as it is.
    """

    alpha: float = 0.9
    ridge: float = 1e-6

    granularity = "element"
    measurement = "gram"

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, 0, 1)
        check_number("ridge", self.ridge, 0)

    def measure(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        *,
        autocast: torch.dtype | None = None,
        own_texts: bool = False,
    ) -> dict[str, torch.Tensor]:
        """The Gram matrix (in, in) of every linear layer's inputs, float32, by the name of its weight.

        A sum over the inputs, which is as good as their mean where all sources see the same; the mean of `own_texts`.
        """
        return input_grams(model, batches, autocast=autocast, mean=own_texts)[0]

    def merge(self, piece: Piece) -> torch.Tensor:
        if len(piece.sources) == 1 or not piece.measurements[0].numel():
            return weighted_sum(piece.sources, piece.weights)
        terms = [self._term(*each) for each in zip(piece.sources, piece.measurements, piece.weights)]
        merged = solve_in_float32(terms)
        return self._in_float64(terms, piece) if merged is None else merged

    def _term(self, source: torch.Tensor, gram: torch.Tensor, weight: float) -> Term:
        diagonal = gram.diagonal().double()
        added = (1 - self.alpha) * diagonal + self.ridge * diagonal.mean()
        return Term(source, gram, weight * self.alpha, weight * added)

    def _in_float64(self, terms: Sequence[Term], piece: Piece) -> torch.Tensor:
        total = sum_of_grams(terms, torch.float64)
        if not total.any():
            piece.counts["linear_tensors"] += 1
            return weighted_sum(piece.sources, piece.weights)
        if not total.isfinite().all():
            return torch.full_like(piece.sources[0], torch.nan)
        factor, failed = torch.linalg.cholesky_ex(total)
        if failed:
            raise InputError(
                f"the Gram matrices of {piece.name} are not positive definite; raise the ridge "
                f"{self.ridge} or take more examples"
            )
        return solve(terms, factor).to(piece.sources[0].dtype)


METHOD = RegMean
