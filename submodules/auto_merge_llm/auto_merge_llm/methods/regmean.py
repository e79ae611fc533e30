"""RegMean: linear layers merged by what their inputs were."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.forward import Batch
from auto_merge_llm.input_grams import input_grams
from auto_merge_llm.methods.base import Method, Piece, check_number
from auto_merge_llm.methods.linear import weighted_sum


@dataclass(frozen=True)
class RegMean(Method):
    """(Σ wᵢWᵢGᵢ)(Σ wᵢGᵢ)⁻¹ for the (out, in) weight of every linear layer, Σ wᵢθᵢ for everything else.

    Gᵢ = XᵀX of the layer's inputs over real tokens, its off-diagonals times `alpha` (from 0 to 1), and on its diagonal
    `ridge` times the diagonal's mean: of all matrices W this one minimises Σ wᵢ‖Xᵢ(Wᵢ − W)ᵀ‖², up to alpha and ridge
    (Jin et al. 2023, arXiv 2212.09849). In float64, by Cholesky. A layer whose inputs were all zero is averaged:
    counted as `linear_tensors`. One source is returned as it is.
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
        grams = [self._regular(gram, weight) for gram, weight in zip(piece.measurements, piece.weights)]
        total = sum(grams[1:], grams[0].clone())
        if not total.any():
            piece.counts["linear_tensors"] += 1
            return weighted_sum(piece.sources, piece.weights)
        products = (source.double() @ gram for source, gram in zip(piece.sources, grams))
        outputs = sum(products, start=torch.tensor(0))
        if not total.isfinite().all() or not outputs.isfinite().all():
            return torch.full_like(piece.sources[0], torch.nan)
        factor, failed = torch.linalg.cholesky_ex(total)
        if failed:
            raise InputError(
                f"the Gram matrices of {piece.name} are not positive definite; raise the ridge "
                f"{self.ridge} or take more examples"
            )
        return torch.cholesky_solve(outputs.T, factor).T.to(piece.sources[0].dtype).contiguous()

    def _regular(self, gram: torch.Tensor, weight: float) -> torch.Tensor:
        scaled, diagonal = gram * (weight * self.alpha), gram.diagonal()
        scaled.diagonal().copy_(weight * (diagonal + self.ridge * diagonal.mean()))
        return scaled


METHOD = RegMean
