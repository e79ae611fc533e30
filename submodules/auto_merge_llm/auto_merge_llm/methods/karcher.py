"""Karcher mean of directions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from auto_merge_llm.methods.base import Piece
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import ByGram

_STEPS = 100
# Squared lengths come out of cosines with an error near 1e-16, so lengths below this are noise.
_SMALL = 1e-7


@dataclass(frozen=True)
class Karcher(ByGram):
    """Σ wᵢ‖θᵢ‖ · u per tensor, u the unit vector that minimises Σ wᵢ·angle(u, θᵢ)² (Karcher 1977).

    The slerp of two sources of equal norm, for any number of them and whatever their order. u comes from
    gradient steps along great circles. Where a norm is 0 or the directions have no unique mean (opposite ones)
    the tensor is Σ wᵢθᵢ: counted as `linear_tensors`. One source is returned as it is.
    """

    def merge(self, piece: Piece) -> Tensor:
        factors = _factors(piece.statistics[piece.name], piece.weights)
        piece.counts["linear_tensors"] += piece.start == 0 and factors is None
        return weighted_sum(piece.sources, piece.weights if factors is None else factors)


def _factors(products: list[list[float]], weights: Sequence[float]) -> list[float] | None:
    """The mean's coefficients over the sources, in whose span all steps stay; None where there is no mean."""
    if len(weights) == 1:
        return [1.0]
    lengths = np.sqrt(np.diagonal(products))
    # Not finite: a damaged source, which the linear mean shows.
    if not lengths.all() or not np.isfinite(lengths).all():
        return None
    cosines = np.array(products) / lengths[:, None] / lengths
    shares = np.array(weights) / math.fsum(weights)
    mean = shares
    for _ in range(_STEPS):
        length = _length(mean, cosines)
        if length < _SMALL:
            return None
        mean = mean / length
        towards = np.clip((cosines * mean).sum(1), -1, 1)
        if towards.min() < -1 + _SMALL:
            return None
        # The logarithm of source i at u is angle/sin(angle)·(uᵢ − cos(angle)·u).
        angles = np.arccos(towards)
        pulls = shares / np.sinc(angles / np.pi)
        step = pulls - (pulls * towards).sum() * mean
        size = _length(step, cosines)
        if size < _SMALL:
            break
        mean = math.cos(size) * mean + math.sin(size) / size * step
    factors: list[float] = (mean / _length(mean, cosines) * (shares * lengths).sum() / lengths).tolist()
    return factors


def _length(coefficients: np.ndarray, cosines: np.ndarray) -> float:
    return math.sqrt(max(0.0, float((coefficients[:, None] * cosines * coefficients).sum())))


METHOD = Karcher
