"""Model Breadcrumbs."""

from dataclasses import dataclass

import numpy as np
import torch

from auto_merge_llm.errors import InputError
from auto_merge_llm.magnitudes import magnitude
from auto_merge_llm.methods.base import Method, Piece, check_number
from auto_merge_llm.methods.linear import weighted_sum

# Elements that are ranked at once: bounds the memory for their keys.
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Breadcrumbs(Method):
    """θ₀ + λ Σ mᵢ∘(θᵢ − θ₀) (Davari & Belilovsky 2023, arXiv 2312.06795); the weights are not used.

    In every row of n elements the mask mᵢ zeroes the round(γn) largest magnitudes, keeps the next round(βn)
    and zeroes the rest; magnitudes are compared in float32, of equal ones the first ranks higher. A vector is
    one row; tensors of more than two dimensions have their first as rows. `gamma`, `beta`: fractions from 0
    to 1 whose sum is at most 1. `scaling`: λ.
    """

    beta: float = 0.15
    gamma: float = 0.006
    scaling: float = 0.2

    granularity = "row"
    needs_base = True

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, 1)
        check_number("gamma", self.gamma, 0, 1)
        check_number("scaling", self.scaling, 0)
        if self.beta + self.gamma > 1:
            raise InputError(f"beta {self.beta} and gamma {self.gamma} sum to more than 1; lower one of them")

    def merge(self, piece: Piece) -> torch.Tensor:
        vectors = piece.task_vectors()
        for vector in vectors:
            self._mask(vector.view(vector.shape[0] if vector.dim() > 1 else 1, -1))
        return weighted_sum(vectors, [1.0] * len(vectors)).mul_(self.scaling).add_(piece.base)

    def _mask(self, matrix: torch.Tensor) -> None:
        columns = matrix.shape[1]
        top = round(self.gamma * columns)
        # Both may have been rounded up.
        kept = min(round(self.beta * columns), columns - top)
        if not kept:
            matrix.mul_(0)
            return
        for rows in matrix.split(max(1, _BLOCK // columns)):
            bits = magnitude(rows).view(torch.int32)
            ranked = _sorted_rows(bits)
            least, most = ranked[:, -top - kept], ranked[:, -top - 1]
            mask = (bits >= least[:, None]) & (bits <= most[:, None])
            # Equal magnitudes on both sides of a limit, unless they are 0, which makes no difference.
            crowded = torch.zeros_like(least, dtype=torch.bool)
            if top + kept < columns:
                crowded |= (ranked[:, -top - kept - 1] == least) & (least > 0)
            if top:
                crowded |= (ranked[:, -top] == most) & (most > 0)
            for row in crowded.nonzero().flatten().tolist():
                places = bits[row].sort(descending=True, stable=True).indices[top : top + kept]
                mask[row] = False
                mask[row, places] = True
            # A product, so that NaN and infinity of a damaged source stay visible.
            rows.mul_(mask)


def _sorted_rows(bits: torch.Tensor) -> torch.Tensor:
    """Rows in ascending order. NumPy sorts 32-bit integers twenty times as fast as torch on a CPU."""
    return torch.from_numpy(np.sort(bits.numpy(), axis=1)) if bits.device.type == "cpu" else bits.sort(dim=1).values


METHOD = Breadcrumbs
