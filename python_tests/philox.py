"""Philox 4x32-10 as the paper has it (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), in numpy,
and which elements leaky_dropout keeps by it: the oracle of its masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)


def philox(counter: np.ndarray, key: tuple[int, int], rounds: int = 10) -> np.ndarray:
    """[N, 4] counters of 32-bit words -> [N, 4] random 32-bit words, all as uint64."""
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    k = list(key)
    for _ in range(rounds):
        first, second = (c[2 * i] * np.uint64(m) for i, m in enumerate(MULTIPLIERS))
        c = [
            (second >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]),
            second & LOW,
            (first >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
            first & LOW,
        ]
        k = [(word + step) % 2**32 for word, step in zip(k, WEYL, strict=True)]
    return np.stack(c, axis=1)


def words(number: int) -> tuple[int, int]:
    """The lower and the upper half of 64 bits."""
    return number % 2**32, number % 2**64 >> 32


def kept(rng_state: Tensor, size: int, p: float) -> Tensor:
    """[size] bool, in the order of memory, for the seed and offset in rng_state."""
    seed, offset = (int(x) for x in rng_state)
    element = np.arange(size, dtype=np.uint64)
    region, place = element // np.uint64(256), element % np.uint64(256)
    half, run = place // np.uint64(128), place % np.uint64(128)
    block, number = region * np.uint64(32) + run // np.uint64(4), half * np.uint64(4) + run % np.uint64(4)
    low, high = words(offset % 2**64 // 4)
    counter = np.stack(
        [np.full_like(block, low), np.full_like(block, high), block & LOW, block >> np.uint64(32)], axis=1
    )
    word = philox(counter, words(seed))[np.arange(size), (number // np.uint64(2)).astype(int)]
    bits = word >> (number % np.uint64(2) * np.uint64(16)) & np.uint64(0xFFFF)
    return torch.from_numpy(bits >= np.uint64(round(p * 65536)))
