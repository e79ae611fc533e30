"""DARE, then TIES."""

from dataclasses import dataclass

import torch

from auto_merge_llm.methods.base import Piece
from auto_merge_llm.methods.dare import check_drops, dropped_vectors
from auto_merge_llm.methods.ties import Ties


@dataclass(frozen=True)
class DareTies(Ties):
    """TIES on task vectors after random drops: mᵢ∘(θᵢ − θ₀)/(1 − p) in the place of θᵢ − θ₀.

    Yu et al. 2024, arXiv 2311.03099. The hyper-parameters are those of `ties` and of `dare`; density 1 leaves
    the drops as the only trimming.
    """

    drop_rate: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_drops(self.drop_rate, self.seed)

    def task_vectors(self, piece: Piece) -> list[torch.Tensor]:
        """The dropped and rescaled task vectors; overwrites `piece.sources`."""
        return dropped_vectors(piece, self.drop_rate, self.seed)


METHOD = DareTies
