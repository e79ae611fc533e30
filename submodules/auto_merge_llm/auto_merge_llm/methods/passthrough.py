"""A copy of one source."""

from __future__ import annotations

from dataclasses import dataclass

from auto_merge_llm.methods.base import Method, Piece


@dataclass(frozen=True)
class Passthrough(Method):
    """θ₁."""

    granularity = "element"
    max_sources = 1

    def merge(self, piece: Piece):
        return piece.sources[0]


METHOD = Passthrough
