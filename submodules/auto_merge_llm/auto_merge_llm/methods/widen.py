"""WIDEN: weight disentanglement."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from auto_merge_llm.methods.base import Method, Piece, Scan, check_choice
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.reductions import column_squares, row_squares

# The modules that transformers makes tables of embeddings, which have a row a token or a position.
_TABLE = re.compile(r"(?:^|\.)(?:\w*embeddings?|embed_tokens|embed_positions|wte|wpe|shared)\.weight$")

Ranks = tuple[torch.Tensor, torch.Tensor]  # in magnitude, in direction


@dataclass(frozen=True)
class Widen(Method):
    """θ₀ + Σ sᵢ∘(θᵢ − θ₀) per matrix, one factor sᵢ a column (Yu et al. 2024, arXiv 2408.03092).

    A column is what one input feature feeds: [:, j] of torch's (out, in) weights. Of a table of embeddings, which is
    known by its name, it is the row of a token or a position, as in the authors' code, with `embeddings` "tokens", and
    a hidden feature over all of them with "features". Its divergences from the base are |‖θᵢ‖ − ‖θ₀‖| in magnitude
    and 1 − cos(θᵢ, θ₀) in direction; each is replaced by the share of the matrix's columns that diverge less. A
    softmax over the sources, wᵢ·exp(rank) / Σ wⱼ·exp(rank), makes factors of either kind of rank, and sᵢ is their
    mean; equal weights give the paper's. In tensors of other than two dimensions sᵢ = wᵢ. The paper's calibration,
    which sets the factors of columns far above average to 1, is left out: identical sources would not merge to
    themselves. It lengthens the merge, as a `Stretch` does. Of two columns of zeros the divergence in direction is 0,
    of one column of zeros 1.
    """

    embeddings: str = "tokens"

    granularity = "row"
    needs_base = True

    def __post_init__(self) -> None:
        check_choice("embeddings", self.embeddings, ("tokens", "features"))

    def statistics(self, scan: Scan) -> dict[str, list[Ranks]]:
        """By name of a matrix the ranks of its columns, or rows, in every source."""
        found = {}
        for name in scan.names:
            squares = _squares_of_rows(scan, name) if self._by_row(name) else scan(_squares, [name])
            if squares.dim() == 2:
                start, *others = squares
                found[name] = [
                    _ranks(start.sqrt(), norm.sqrt(), moved) for norm, moved in zip(others[::2], others[1::2])
                ]
        return found

    def merge(self, piece: Piece) -> torch.Tensor:
        factors: Sequence[float] | torch.Tensor = piece.weights
        if piece.name in piece.statistics:
            ranks = piece.statistics[piece.name]
            if self._by_row(piece.name):
                first = piece.start // piece.base.shape[1]
                mine = slice(first, first + len(piece.base))
                ranks = [(magnitude[mine, None], direction[mine, None]) for magnitude, direction in ranks]
            factors = _softmax(ranks, piece.weights).to(piece.base.dtype)
        return weighted_sum(piece.task_vectors(), factors).add_(piece.base)

    def _by_row(self, name: str) -> bool:
        return self.embeddings == "tokens" and _TABLE.search(name) is not None


def _squares(piece: Piece, sums: Callable[..., torch.Tensor] = column_squares) -> torch.Tensor:
    """The squared norms (1 + 2·sources, columns) of a matrix: θ₀; θᵢ and θᵢ − θ₀ of every source."""
    if piece.base.dim() != 2:
        return piece.base.new_empty(0)
    squares = [sums(piece.base)]
    for source in piece.sources:
        squares += [sums(source), sums(source, piece.base)]
    return torch.stack(squares)


def _squares_of_rows(scan: Scan, name: str) -> torch.Tensor:
    """The same (1 + 2·sources, rows), of pieces that have rows of their own, so that nothing is summed over them."""
    parts: dict[int, torch.Tensor] = {}

    def keep(piece: Piece) -> torch.Tensor:
        parts[piece.start] = _squares(piece, row_squares)
        return piece.base.new_empty(0)

    scan(keep, [name])
    return torch.cat([parts[start] for start in sorted(parts)], -1)


def _ranks(start: torch.Tensor, norm: torch.Tensor, moved: torch.Tensor) -> Ranks:
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


def _softmax(ranks: Sequence[Ranks], weights: Sequence[float]) -> torch.Tensor:
    """The factors of all sources, of shape (sources, columns), or (sources, rows, 1)."""
    shares: list[torch.Tensor] = []
    for kind in zip(*ranks):
        scores = [rank.exp() * weight for rank, weight in zip(kind, weights)]
        # Added one by one: a sum along a dimension may add in another order on another device.
        shares.append(torch.stack(scores) / sum(scores))
    return (shares[0] + shares[1]) / 2


METHOD = Widen
