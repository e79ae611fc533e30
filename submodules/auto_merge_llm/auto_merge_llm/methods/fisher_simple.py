"""A stand-in for Fisher merging that needs no data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from auto_merge_llm.methods.base import Method, Piece
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import gram


@dataclass(frozen=True)
class FisherSimple(Method):
    """Σ aᵢθᵢ per tensor, aᵢ = wᵢ‖θᵢ‖ / Σ wⱼ‖θⱼ‖; aᵢ = wᵢ where all norms are 0.

    A heuristic: the norm stands for importance. It is no Fisher information (Matena & Raffel 2022, arXiv
    2111.09832), for which `fisher` needs data.
    """

    def merge(self, piece: Piece):
        sizes = [weight * math.sqrt(gram([source])[0][0]) for source, weight in zip(piece.sources, piece.weights)]
        total = math.fsum(sizes)
        return weighted_sum(piece.sources, [size / total for size in sizes] if total else piece.weights)


METHOD = FisherSimple
