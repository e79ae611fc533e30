"""Spherical interpolation, source after source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from auto_merge_llm.methods.base import Piece
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import ByGram

_NEARLY_PARALLEL = 0.9995
# The running merge's squared length comes with an error near 1e-16 of its parts', so lengths below this are noise.
_SMALL = 1e-7


@dataclass(frozen=True)
class Slerp(ByGram):
    """(sin((1 − t)Ω)·m + sin(tΩ)·θᵢ) / sin Ω per tensor, m the running merge (Shoemake 1985).

    Sources enter in descending weight (equal weights by name), t = wᵢ/(sum of the weights so far, wᵢ
    included); Ω is the angle between m and θᵢ. Where |cos Ω| > 0.9995 or a norm is 0 the arc is flat, not
    unique or undefined, and the step is linear: (1 − t)·m + t·θᵢ. `lerp_tensors` counts the tensors with such
    a step. The result depends on the weights' order; `karcher` is the mean that does not.
    """

    def merge(self, piece: Piece) -> Tensor:
        factors, is_arc = _factors(piece.statistics[piece.name], piece.weights)
        piece.counts["lerp_tensors"] += piece.start == 0 and not is_arc
        return weighted_sum(piece.sources, factors)


def _factors(products: list[list[float]], weights: Sequence[float]) -> tuple[list[float], bool]:
    """The merge's coefficients over the sources, in whose span all steps stay, and whether all steps are arcs."""
    gram = np.array(products)
    # A damaged source, which the linear mean shows.
    if not np.isfinite(gram).all():
        return list(weights), False
    lengths = np.sqrt(np.diagonal(gram))
    first, *others = sorted(range(len(weights)), key=lambda index: -weights[index])
    factors, reached, is_arc = np.zeros(len(weights)), weights[first], True
    factors[first] = 1.0
    for index in others:
        reached += weights[index]
        towards = (gram * factors).sum(1)
        length = math.sqrt(max(0.0, float((factors * towards).sum())))
        if length <= _SMALL * float((np.abs(factors) * lengths).sum()):
            length = 0.0
        ends, follows = _step(float(towards[index]), length * float(lengths[index]), weights[index] / reached)
        factors *= ends[0]
        factors[index] = ends[1]
        is_arc &= follows
    return factors.tolist(), is_arc


def _step(product: float, length: float, t: float) -> tuple[tuple[float, float], bool]:
    """What two ends are multiplied by, of their inner product and that of their lengths, and whether by the arc."""
    if not length or abs(product) > _NEARLY_PARALLEL * length:
        return (1 - t, t), False
    angle = math.acos(product / length)
    return (math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)), True


METHOD = Slerp
