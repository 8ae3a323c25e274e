"""A number for each sample that copies of it share and others do not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.metrics.split_mix import mixed, split_mix, wrapped

_WORD = 8  # bytes
_IN_CACHE, _ON_GPU = 2**16, 2**22  # words at a time


@torch.no_grad()
def row_hashes(samples: Array | Sequence[Tensor]) -> Tensor:
    """int64 [N], 0 to 2^63 - 1, of the bytes and the shape of each sample: the same on every device, in any batch, in
    any process.

    The bytes are taken for words w_i of 64 bits, signed, and the hash is sum_i a_i w_i + b_i floor(w_i / 2^32) modulo
    2^64, with fixed random a_i and b_i, mixed: multilinear hashing (Carter and Wegman, "Universal classes of hash
    functions", 1979), of upper halves once more, since modulo 2^64 they meet the upper half of the sum alone. Two
    samples that differ have the same hash with a probability of 2^-33 at most, where they differ in the uppermost bits
    of halves alone, and of far less elsewhere.

    Args:
        samples: [N, ...] of any dtype, or N tensors of any shape.

    Raises:
        TypeError: no tensors or arrays.

    >>> import torch
    >>> from amgan_fast.metrics import row_hashes
    >>> one, other, again = row_hashes(torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])).tolist()
    >>> one == again, one == other
    (True, False)
    """
    if isinstance(samples, Sequence):
        return torch.cat([torch.empty(0, dtype=torch.int64), *(row_hashes(sample[None]).cpu() for sample in samples)])
    samples = as_tensor("samples", samples)
    if not samples.numel():
        sums = torch.zeros(len(samples), dtype=torch.int64, device=samples.device)
    else:
        sums = _sums(_words(samples.detach().flatten(1) if samples.ndim > 1 else samples.detach()[:, None]))
    return mixed(sums + _salt(samples.shape[1:])) & (2**63 - 1)


def _words(rows: Tensor) -> Tensor:
    """int64 [N, W], the bytes of rows [N, ...] with zeros to fill the last word."""
    octets = rows.contiguous().view(torch.uint8)
    if over := octets.size(1) % _WORD:
        octets = pad(octets, (0, _WORD - over))
    elif octets.storage_offset() % _WORD:
        octets = octets.clone()
    return octets.view(torch.int64)


def _sums(words: Tensor) -> Tensor:
    factors = _factors(words.size(1), words.device)
    at_once = _IN_CACHE if words.device.type == "cpu" else _ON_GPU
    return torch.cat([_products(part, *factors) for part in words.split(max(1, at_once // words.size(1)))])


def _products(words: Tensor, factors: Tensor, of_upper: Tensor) -> Tensor:
    if words.device.type == "cpu":
        return torch.mv(words, factors) + torch.mv(words >> 32, of_upper)
    return (words * factors + (words >> 32) * of_upper).sum(1)  # there is no mv of whole numbers


@lru_cache(maxsize=8)
def _factors(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    factors, of_upper = split_mix(torch.arange(2 * count)).to(device).chunk(2)
    return factors, of_upper


@lru_cache(maxsize=64)
def _salt(shape: torch.Size) -> int:
    return wrapped(sum(size * odd for size, odd in zip(shape, split_mix(torch.arange(8)).tolist(), strict=False)))
