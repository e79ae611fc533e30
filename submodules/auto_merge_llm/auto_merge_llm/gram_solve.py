"""W(ΣGᵢ) = ΣWᵢGᵢ solved for W: in float32 where some rows of it, checked in float64, show that this will do.

As W = W₁ + (Σ(Wᵢ − W₁)Gᵢ)(ΣGᵢ)⁻¹: a product less to compute, and rounding errors are relative to how far the sources
are apart, which is less than they are long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_TOLERANCE = 1e-5
_CHECKED_ROWS = 32
# Rows that are cast at a time; part of the result's definition, so not an option.
_BLOCK = 512


@dataclass(frozen=True)
class Term:
    """A source's W (out, in) and G = `factor`·`gram` + diag(`diagonal`) (in, in); `diagonal` is float64."""

    matrix: Tensor
    gram: Tensor
    factor: float
    diagonal: Tensor

    def product(self, rows: Tensor) -> Tensor:
        """`rows` G (k, in) in their dtype."""
        total = rows * self.diagonal.to(rows.dtype)
        for start in range(0, len(self.gram), _BLOCK):
            block = slice(start, start + _BLOCK)
            total.addmm_(rows[:, block], self.gram[block].to(rows.dtype), alpha=self.factor)
        return total


def sum_of_grams(terms: Sequence[Term], dtype: torch.dtype) -> Tensor:
    """ΣGᵢ."""
    total = torch.zeros_like(terms[0].gram, dtype=dtype)
    for term in terms:
        total.add_(term.gram, alpha=term.factor).diagonal().add_(term.diagonal)
    return total


def solve(terms: Sequence[Term], factor: Tensor) -> Tensor:
    """W (out, in) in the dtype of the Cholesky `factor` of ΣGᵢ."""
    first = terms[0].matrix.to(factor.dtype)
    products = torch.zeros_like(first)
    for term in terms[1:]:
        products += term.product(term.matrix - first)
    return _divided(products, factor).add_(first)


def solve_in_float32(terms: Sequence[Term]) -> Tensor | None:
    """W; None where it may be off by 1e-5 of its norm, or of its largest element, or its error cannot be told."""
    if {part.dtype for term in terms for part in (term.matrix, term.gram)} != {torch.float32}:
        return None
    total, limits = sum_of_grams(terms, torch.float32), torch.finfo(torch.float32)
    # Scaled to a unit diagonal ΣGᵢ has no eigenvalue below the least share of its diagonal that was added. The errors
    # of the factor are below the size times epsilon: a tenth of that at most, and it tells what a residual is worth.
    share = sum(term.diagonal for term in terms) / total.diagonal()
    if share.min() < 10 * len(total) * limits.eps or total.diagonal().min() < limits.tiny**0.5:
        return None
    factor, failed = torch.linalg.cholesky_ex(total)
    if failed:
        return None
    errors = _errors(terms, factor)
    if not are_small(errors, terms[0].matrix):
        return None
    merged = solve(terms, factor)
    return merged if are_small(errors, merged) else None


def _errors(terms: Sequence[Term], factor: Tensor) -> Tensor:
    """What `solve` is off by in the rows where the sources' outputs are farthest apart, which it rounds most.

    Their residual Σ(Wᵢ − W)Gᵢ is computed in float64; float32 only in W, and in what the residual is worth in it.
    """
    first = terms[0].matrix
    apart = torch.zeros_like(first[:, 0])
    for term in terms[1:]:
        apart += (term.factor * (term.matrix - first)).square_() @ term.gram.diagonal()
    rows = apart.topk(min(_CHECKED_ROWS, len(first))).indices
    checked = [replace(term, matrix=term.matrix[rows]) for term in terms]
    merged = solve(checked, factor).double()
    residual = torch.zeros_like(merged)
    for term in checked:
        residual += term.product(term.matrix - merged)
    return _divided(residual.float(), factor)


def are_small(errors: Tensor, matrix: Tensor) -> bool:
    """Whether `matrix` is within the tolerance if its rows have such errors; two and almost six standard deviations."""
    norm, largest = errors.norm() / len(errors) ** 0.5, errors.norm(dim=0).max()
    return bool(
        2 * norm <= _TOLERANCE * matrix.norm() / len(matrix) ** 0.5 and largest <= _TOLERANCE * matrix.abs().max()
    )


def _divided(products: Tensor, factor: Tensor) -> Tensor:
    """`products` (LLᵀ)⁻¹ for the Cholesky `factor` L."""
    half = torch.linalg.solve_triangular(factor.mT, products, upper=True, left=False)
    divided: Tensor = torch.linalg.solve_triangular(factor, half, upper=False, left=False)
    return divided
