"""WIDEN: weight disentanglement."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from auto_merge_llm.methods.base import Method, Piece, Scan
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import column_squares


@dataclass(frozen=True)
class Widen(Method):
    """θ₀ + Σ sᵢ∘(θᵢ − θ₀) per matrix, one factor sᵢ a column (Yu et al. 2024, arXiv 2408.03092).

    A column is what one input feature feeds: [:, j] of torch's (out, in) weights. Its divergences from the
    base are |‖θᵢ‖ − ‖θ₀‖| in magnitude and 1 − cos(θᵢ, θ₀) in direction; each is replaced by the share of the
    matrix's columns that diverge less. A softmax over the sources, wᵢ·exp(rank) / Σ wⱼ·exp(rank), makes
    factors of either kind of rank, and sᵢ is their mean; equal weights give the paper's. In tensors of
    other than two dimensions sᵢ = wᵢ. The paper's calibration, which sets the factors of columns far above
    average to 1, is left out: identical sources would not merge to themselves. Of two columns of zeros the
    divergence in direction is 0, of one column of zeros 1.
    """

    granularity = "row"
    needs_base = True

    def statistics(self, scan: Scan) -> dict[str, torch.Tensor]:
        """By name of a matrix the squared norms (1 + 2·sources, columns): θ₀; θᵢ and θᵢ − θ₀ of every source."""
        sums = {name: scan(_squares, [name]) for name in scan.names}
        return {name: squares for name, squares in sums.items() if squares.dim() == 2}

    def merge(self, piece: Piece) -> torch.Tensor:
        factors: Sequence[float] | torch.Tensor = piece.weights
        if piece.name in piece.statistics:
            start, *squares = piece.statistics[piece.name]
            ranks = [_ranks(start.sqrt(), norm.sqrt(), moved) for norm, moved in zip(squares[::2], squares[1::2])]
            factors = _softmax(ranks, piece.weights).to(piece.base.dtype)
        return weighted_sum(piece.task_vectors(), factors).add_(piece.base)


def _squares(piece: Piece) -> torch.Tensor:
    if piece.base.dim() != 2:
        return piece.base.new_empty(0)
    squares = [column_squares(piece.base)]
    for source in piece.sources:
        squares += [column_squares(source), column_squares(source, piece.base)]
    return torch.stack(squares)


def _ranks(start: torch.Tensor, norm: torch.Tensor, moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For every column the shares of columns that diverge less: in magnitude, in direction.

    Of the columns' norms in the base and in the source, and of the squared norm of the difference.
    """
    change = norm - start
    # 1 − cos, by the law of cosines: exactly 0 for an untouched column, and exact for small angles.
    direction = (moved - change * change).clamp_(min=0) / (2 * norm * start)
    direction = torch.where(norm * start > 0, direction, ((norm > 0) | (start > 0)).to(direction.dtype))
    return _share_below(change.abs()), _share_below(direction)


def _share_below(values: torch.Tensor) -> torch.Tensor:
    # In float32 divergences are equal that only rounding in float64 tells apart.
    values = values.float()
    return torch.searchsorted(values.sort().values, values).double() / values.numel()


def _softmax(ranks: Sequence[tuple[torch.Tensor, torch.Tensor]], weights: Sequence[float]) -> torch.Tensor:
    """The factors of all sources, of shape (sources, columns)."""
    shares: list[torch.Tensor] = []
    for kind in zip(*ranks):
        scores = [rank.exp() * weight for rank, weight in zip(kind, weights)]
        # Added one by one: a sum along a dimension may add in another order on another device.
        shares.append(torch.stack(scores) / sum(scores))
    return (shares[0] + shares[1]) / 2


METHOD = Widen
