"""SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), on int64 for uint64."""

from __future__ import annotations

from torch import Tensor

_STEP = 0x9E3779B97F4A7C15


def split_mix(numbers: Tensor) -> Tensor:
    """int64 [N]: of what it gives with seed 0 that at the places ``numbers``, int64 [N], 0 the first. No two places
    give the same, since each step is one to one.

    >>> import torch
    >>> from amgan_fast.metrics.split_mix import split_mix
    >>> [hex(number % 2**64) for number in split_mix(torch.arange(2)).tolist()]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    return mixed((numbers + 1) * wrapped(_STEP))


def mixed(x: Tensor) -> Tensor:
    """Its output function."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ _shifted(x, shift)) * wrapped(factor)
    return x ^ _shifted(x, 31)


def wrapped(number: int) -> int:
    """The int64 of the same bits modulo 2^64."""
    return (number + 2**63) % 2**64 - 2**63


def _shifted(x: Tensor, by: int) -> Tensor:
    """To the right, with zeros."""
    return (x >> by) & (2 ** (64 - by) - 1)
