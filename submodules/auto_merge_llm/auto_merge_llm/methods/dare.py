"""DARE: drop and rescale, then average."""

from dataclasses import dataclass

import torch

from auto_merge_llm.methods.base import Method, Piece, check_number, check_whole
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.random_masks import keep_mask


@dataclass(frozen=True)
class Dare(Method):
    """θ₀ + Σ wᵢ mᵢ∘(θᵢ − θ₀)/(1 − p), mᵢ Bernoulli masks that drop with probability p.

    Yu et al. 2024, arXiv 2311.03099. `drop_rate`: p. `seed`: with the tensor's and the source folder's names
    it decides the masks, so two sources of one folder name have one mask.
    """

    drop_rate: float = 0.5
    seed: int = 0

    granularity = "element"
    needs_base = True

    def __post_init__(self) -> None:
        check_drops(self.drop_rate, self.seed)

    def merge(self, piece: Piece) -> torch.Tensor:
        return weighted_sum(dropped_vectors(piece, self.drop_rate, self.seed), piece.weights).add_(piece.base)


def check_drops(drop_rate: float, seed: int) -> None:
    """Raise InputError for a drop rate or seed out of its range."""
    check_number("drop_rate", drop_rate, 0, 1, below=True)
    check_whole("seed", seed)


def dropped_vectors(piece: Piece, drop_rate: float, seed: int) -> list[torch.Tensor]:
    """The sources' task vectors after random drops, rescaled; overwrites `piece.sources`."""
    vectors = piece.task_vectors()
    for vector, identity in zip(vectors, piece.identities):
        mask = keep_mask(drop_rate, seed, piece.name, identity, piece.start, piece.start + vector.numel())
        # A product, so that NaN and infinity of a damaged source stay visible.
        vector.mul_(mask.view(vector.shape).to(vector.device)).mul_(1 / (1 - drop_rate))
    return vectors


METHOD = Dare
