"""The k-th largest magnitude, exactly, by counting: the data are seen twice in any pieces, never sorted.

The bits of a float32 without its sign, read as an integer, rise with the magnitude. The first look counts the
high 16 bits, which finds the bin of the k-th largest; the second counts the low 16 bits inside that bin.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

# Elements that are counted at once: bounds the memory for indices.
_BLOCK = 1 << 18
_HIGH_BINS, _LOW_BINS = 1 << 15, 1 << 16

Measure = Callable[[Sequence[torch.Tensor]], torch.Tensor]


def cuts(scan: Callable[[Measure], torch.Tensor], density: float) -> list[float]:
    """For each of N vectors the smallest magnitude among its max(1, round(density·n)) largest.

    `scan(measure)` calls `measure` on the N vectors, piece by piece, and returns the sum of its integers.
    """
    high = scan(lambda vectors: torch.stack([_count(vector) for vector in vectors]))
    kept = [max(1, round(density * int(counts.sum()))) for counts in high]
    places = [_locate(counts, rank) for counts, rank in zip(high, kept)]
    low = scan(lambda vectors: torch.stack([_count(vector, bin_) for vector, (bin_, _) in zip(vectors, places)]))
    bits = [(bin_ << 16) + _locate(counts, rank)[0] for counts, (bin_, rank) in zip(low, places)]
    return torch.tensor(bits, dtype=torch.int32).view(torch.float32).tolist()


def magnitude(vector: torch.Tensor) -> torch.Tensor:
    """|x| in float32, the values that are ranked; their bits as integers rise with them."""
    return vector.abs().float()


def trim(vector: torch.Tensor, cut: float) -> torch.Tensor:
    """`vector` with 0 in the place of magnitudes below `cut`; NaN and infinity stay visible. May overwrite it."""
    if vector.dtype == torch.float32:
        # Zeroes magnitudes up to the float below `cut`, at a tenth of the cost of a comparison and a product.
        return torch.nn.functional.hardshrink(vector, float(np.nextafter(np.float32(cut), np.float32(0))))
    return vector.mul_(magnitude(vector) >= cut)


def _count(vector: torch.Tensor, high: int | None = None) -> torch.Tensor:
    """How many elements have each value of the high 16 bits; of the low ones, among those with `high`."""
    total = torch.zeros(_HIGH_BINS if high is None else _LOW_BINS, dtype=torch.int64, device=vector.device)
    for block in vector.reshape(-1).split(_BLOCK):
        bits = magnitude(block).view(torch.int32)
        keys = bits >> 16 if high is None else _low_bits(bits, high)
        total += torch.bincount(keys, minlength=total.numel())
    return total


def _low_bits(bits: torch.Tensor, high: int) -> torch.Tensor:
    if bits.device.type == "cpu":
        # NumPy finds the few elements of a bin several times as fast as torch.
        values = bits.numpy()
        return torch.from_numpy(values[np.flatnonzero(values >> 16 == high)] & 0xFFFF)
    return bits[bits >> 16 == high] & 0xFFFF


def _locate(counts: torch.Tensor, rank: int) -> tuple[int, int]:
    """The bin of the rank-th largest element, and its rank from the top inside that bin; ranks start at 1."""
    reached = counts.flip(0).cumsum(0)
    steps = int((reached < rank).sum())
    return counts.numel() - 1 - steps, rank - (int(reached[steps - 1]) if steps else 0)
