"""Model Stock."""

import math
from dataclasses import dataclass

from torch import Tensor

from auto_merge_llm.methods.base import Piece
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import ByGram


@dataclass(frozen=True)
class Stock(ByGram):
    """t·Σ wᵢθᵢ + (1 − t)·θ₀ per tensor, t = N·cos θ / (1 + (N − 1)·cos θ) (Jang et al. 2024, arXiv 2403.19522).

    cos θ is the mean cosine of two task vectors θᵢ − θ₀, all pairs alike; a task vector of zeros counts as
    orthogonal to all. Where cos θ ≤ 0 the tensor is the base's: counted as `base_tensors`. One source is
    returned as it is.
    """

    needs_base = True

    def merge(self, piece: Piece) -> Tensor:
        share = _share(piece.statistics[piece.name])
        piece.counts["base_tensors"] += piece.start == 0 and share == 0
        return weighted_sum(piece.sources, piece.weights).mul_(share).add_(piece.base.mul_(1 - share))


def _share(products: list[list[float]]) -> float:
    count = len(products)
    if count == 1:
        return 1.0
    lengths = [math.sqrt(products[i][i]) for i in range(count)]
    cosines = [
        products[i][j] / (lengths[i] * lengths[j]) if lengths[i] and lengths[j] else 0.0
        for i in range(count)
        for j in range(i)
    ]
    cosine = min(1.0, sum(cosines) / len(cosines))
    return count * cosine / (1 + (count - 1) * cosine) if cosine > 0 else 0.0


METHOD = Stock
