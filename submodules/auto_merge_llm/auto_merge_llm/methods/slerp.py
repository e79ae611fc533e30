"""Spherical interpolation, source after source."""

from __future__ import annotations

import math
from dataclasses import dataclass

from auto_merge_llm.methods.base import Method, Piece
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import gram

_NEARLY_PARALLEL = 0.9995


@dataclass(frozen=True)
class Slerp(Method):
    """(sin((1 − t)Ω)·m + sin(tΩ)·θᵢ) / sin Ω per tensor, m the running merge (Shoemake 1985).

    Sources enter in descending weight (equal weights by name), t = wᵢ/(sum of the weights so far, wᵢ
    included); Ω is the angle between m and θᵢ. Where |cos Ω| > 0.9995 or a norm is 0 the arc is flat, not
    unique or undefined, and the step is linear: (1 − t)·m + t·θᵢ. `lerp_tensors` counts the tensors with such
    a step. The result depends on the weights' order; `karcher` is the mean that does not.
    """

    def merge(self, piece: Piece):
        ranked = sorted(zip(piece.weights, piece.sources), key=lambda pair: -pair[0])
        reached, merged = ranked[0]
        straight = False
        for weight, source in ranked[1:]:
            reached += weight
            factors, is_arc = _factors(gram([merged, source]), weight / reached)
            straight |= not is_arc
            merged = weighted_sum([merged, source], factors)
        piece.counts["lerp_tensors"] += straight
        return merged


def _factors(products: list[list[float]], t: float) -> tuple[tuple[float, float], bool]:
    """What the two ends are multiplied by, and whether that follows the arc."""
    length = math.sqrt(products[0][0]) * math.sqrt(products[1][1])
    if not length or not abs(products[0][1]) <= _NEARLY_PARALLEL * length:
        return (1 - t, t), False
    angle = math.acos(products[0][1] / length)
    return (math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)), True


METHOD = Slerp
