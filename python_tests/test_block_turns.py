"""Which block a sample is in: by its number alone, as many in each, and in no order."""

from __future__ import annotations

import pytest
import torch

from amgan_fast.metrics.block_turns import blocks_of, rows_by_block


def mixed(place: int) -> int:
    """SplitMix64 as it was published, of seed 0: its number at a place, as of a signed integer."""
    z = (place + 1) * 0x9E3779B97F4A7C15 % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    return z - 2**64 if z >= 2**63 else z


@pytest.mark.parametrize("blocks", [4, 12, 48])
def test_a_block_is_the_place_in_a_row_moved_by_a_random_number(blocks):
    want = [(number % blocks + mixed(number // blocks)) % blocks for number in range(1000)]
    assert blocks_of(0, 1000, blocks).tolist() == want
    assert blocks_of(337, 100, blocks).tolist() == want[337:437]


@pytest.mark.parametrize("classes", [4, 8, 10, 100, 1000])
def test_every_block_has_each_class_where_these_come_in_turn(classes):
    counts = torch.zeros(16, classes)
    labels = torch.arange(400 * classes) % classes
    counts.index_put_((blocks_of(0, len(labels), 16), labels), torch.ones(()), accumulate=True)
    expected = 400 / 16
    assert (counts.sum(1) == 25 * classes).all()
    statistic = float((counts - expected).square().sum() / expected)  # chi-square, 15 (K - 1) degrees of freedom
    assert statistic < 15 * classes + 6 * (30 * classes) ** 0.5


def test_rows_come_in_their_order():
    rows = torch.arange(50)
    found = dict(rows_by_block(rows, 7, 4))
    assert torch.cat(list(found.values())).sort().values.tolist() == rows.tolist()
    for block, own in found.items():
        assert own.tolist() == rows[blocks_of(7, 50, 4) == block].tolist()
