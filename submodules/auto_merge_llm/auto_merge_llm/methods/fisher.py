"""Fisher merging."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.fisher import ESTIMATORS, diagonal_fisher
from auto_merge_llm.forward import Batch
from auto_merge_llm.methods.base import Method, Piece, Scan, check_choice, check_number
from auto_merge_llm.methods.linear import weighted_sum


@dataclass(frozen=True)
class Fisher(Method):
    """Σ wᵢFᵢθᵢ / Σ wᵢFᵢ, Fᵢ the diagonal Fisher information of source i (Matena & Raffel 2022, arXiv 2111.09832).

    `normalize`: each Fᵢ is divided by its norm over the whole model, so that a source counts by its weight and not
    by how large its gradients are. `floor`: no element counts less than `floor` times the mean of its Fᵢ; where
    the data say nothing (tokens that do not occur) all sources are at the floor, and the merge is the weighted mean.
    `estimator` and `seed` are those of `auto_merge_llm.fisher.diagonal_fisher`.
    """

    normalize: bool = True
    floor: float = 1e-6
    estimator: str = "sampled"
    seed: int = 0

    granularity = "element"
    measurement = "fisher"
    measured_by: ClassVar[tuple[str, ...]] = ("estimator", "seed")

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_number("floor", self.floor, 0)
        if self.floor == 0:
            raise InputError(
                "floor is 0, and where no source has Fisher information the merge would be 0/0; give a number above 0"
            )

    @property
    def reads_labels(self) -> bool:
        return self.estimator == "empirical"

    def measure(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        *,
        autocast: torch.dtype | None = None,
        own_texts: bool = False,
    ) -> dict[str, torch.Tensor]:
        """The mean of the per-example Fisher information, float32, by parameter name, whosever the texts are."""
        sums, seen = diagonal_fisher(model, batches, self.estimator, seed=self.seed, autocast=autocast)
        return {name: total.div_(seen) for name, total in sums.items()}

    def statistics(self, scan: Scan) -> list[tuple[float, float]]:
        """Of every source what its Fisher is divided by, and the least that an element counts after that."""

        def measure(piece: Piece) -> torch.Tensor:
            wide = [fisher.double() for fisher in piece.measurements]
            sums = [(fisher.square().sum(), fisher.sum(), fisher.new_tensor(fisher.numel())) for fisher in wide]
            return torch.stack([torch.stack(each) for each in sums])

        scales = []
        for squares, total, count in scan(measure).tolist():
            if not squares > 0:
                # Zero: the data say nothing of this source. Not a number: the damaged piece will show in the merge.
                scales.append((1.0, 1.0))
                continue
            scale = math.sqrt(squares) if self.normalize else 1.0
            scales.append((scale, self.floor * total / count / scale))
        return scales

    def merge(self, piece: Piece) -> torch.Tensor:
        shares = [
            fisher.div_(scale).clamp_(min=least).mul_(weight)
            for fisher, (scale, least), weight in zip(piece.measurements, piece.statistics, piece.weights)
        ]
        total = shares[0].clone()
        for share in shares[1:]:
            total.add_(share)
        return weighted_sum(piece.sources, [share.div_(total) for share in shares])


METHOD = Fisher
