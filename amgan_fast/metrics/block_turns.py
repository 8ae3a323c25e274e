"""Which block each sample is in, by its number alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from amgan_fast.memory import to_device
from amgan_fast.metrics.split_mix import split_mix


def blocks_of(first: int, count: int, blocks: int) -> Tensor:
    """int64 [``count``]: of the samples from number ``first`` on.

    Each block takes one of ``blocks`` samples in a row, and which one changes pseudorandomly from row to row. So blocks
    are as large as one another, and neither samples in an order of classes nor classes in turn (0, 1, ... 9, 0, 1, ...)
    leave a block with some classes only.

    >>> from amgan_fast.metrics.block_turns import blocks_of
    >>> blocks_of(0, 12, 4).tolist()
    [3, 0, 1, 2, 0, 1, 2, 3, 3, 0, 1, 2]
    >>> blocks_of(5, 3, 4).tolist()
    [1, 2, 3]
    """
    numbers = torch.arange(first, first + count)
    rows = numbers.div(blocks, rounding_mode="floor")
    return (numbers % blocks + split_mix(rows) % blocks) % blocks


def rows_by_block(rows: Tensor, first: int, blocks: int) -> Iterator[tuple[int, Tensor]]:
    """Each block that has some of the rows, [N, ...], and these in their order; the first row is sample ``first``."""
    of_row = blocks_of(first, len(rows), blocks)
    order = of_row.argsort(stable=True)
    parts = rows[to_device(order, rows.device)].split(of_row.bincount(minlength=blocks).tolist())
    return ((block, part) for block, part in enumerate(parts) if len(part))
