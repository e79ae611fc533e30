"""A copy of one source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auto_merge_llm.methods.base import Method, Piece

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Passthrough(Method):
    """θ₁."""

    granularity = "element"
    max_sources = 1

    def merge(self, piece: Piece) -> Tensor:
        return piece.sources[0]


METHOD = Passthrough
