"""Random masks of which any part can be made by itself."""

import hashlib

import numpy as np
import torch

# One step of the generator gives 64 bits: two draws.
_DRAWS = 2


def keep_mask(drop_rate: float, seed: int, tensor: str, source: str, start: int, stop: int) -> torch.Tensor:
    """float32 for the flat elements [start, stop) of a tensor: each 1 with probability 1 − drop_rate, else 0.

    Element e is draw e of the generator PCG64 DXSM (O'Neill 2014) whose seed is a hash of seed, tensor name and
    source name. The generator jumps to any draw, and NumPy promises its stream for good, so neither the order of the
    sources nor threads, pieces or versions change a mask.
    """
    text = "\0".join((str(seed), tensor, source)).encode(errors="surrogateescape")
    generator = np.random.PCG64DXSM(int.from_bytes(hashlib.sha256(text).digest()[:16], "little"))
    first, last = start // _DRAWS, -(-stop // _DRAWS)
    words = generator.advance(first).random_raw(last - first)
    draws = words.astype("<u8", copy=False).view("<u4")[start - first * _DRAWS : stop - first * _DRAWS]
    return torch.from_numpy((draws >= round(drop_rate * 2**32)).astype(np.float32))
