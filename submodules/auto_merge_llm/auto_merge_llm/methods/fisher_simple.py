"""A stand-in for Fisher merging that needs no data."""

import math
from dataclasses import dataclass

from torch import Tensor

from auto_merge_llm.methods.base import Piece
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import ByGram


@dataclass(frozen=True)
class FisherSimple(ByGram):
    """Σ aᵢθᵢ per tensor, aᵢ = wᵢ‖θᵢ‖ / Σ wⱼ‖θⱼ‖; aᵢ = wᵢ where all norms are 0.

    A heuristic: the norm stands for importance. It is no Fisher information (Matena & Raffel 2022, arXiv
    2111.09832), for which `fisher` needs data.
    """

    def merge(self, piece: Piece) -> Tensor:
        products = piece.statistics[piece.name]
        sizes = [weight * math.sqrt(products[i][i]) for i, weight in enumerate(piece.weights)]
        total = sum(sizes)
        # Not finite: a damaged source, which the weighted mean shows in the piece where the damage is.
        usable = total and math.isfinite(total)
        return weighted_sum(piece.sources, [size / total for size in sizes] if usable else piece.weights)


METHOD = FisherSimple
