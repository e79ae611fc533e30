"""Random masks of which any part can be made by itself."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

# One step of Philox's counter gives four 64-bit words: eight 32-bit draws.
_DRAWS = 8


def keep_mask(drop_rate: float, seed: int, tensor: str, source: str, start: int, stop: int) -> torch.Tensor:
    """Booleans for the flat elements [start, stop) of a tensor: each True with probability 1 − drop_rate.

    Element e is draw e of the generator Philox4x64-10 (Salmon et al. 2011) whose key is a hash of seed, tensor
    name and source name. Philox computes draw e from key and e alone, and NumPy promises its stream for good,
    so neither the order of the sources nor threads, pieces or versions change a mask.
    """
    text = "\0".join((str(seed), tensor, source)).encode(errors="surrogateescape")
    key = int.from_bytes(hashlib.sha256(text).digest()[:16], "little")
    first, last = start // _DRAWS, -(-stop // _DRAWS)
    words = np.random.Philox(key=key, counter=first).random_raw((last - first) * _DRAWS // 2)
    draws = words.astype("<u8", copy=False).view("<u4")[start - first * _DRAWS:stop - first * _DRAWS]
    return torch.from_numpy(draws >= round(drop_rate * 2 ** 32))
