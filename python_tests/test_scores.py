"""score_sums: against numpy and scipy in float64, and against the float64 reference."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from checking import assert_same, assert_within
from sample_inputs import DTYPES, LAYOUTS, Sampler, dtype_name
from torch import Tensor

from amgan_fast import ops, reference
from amgan_fast.ops import ScoreSums

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)

SHAPES = ((1, 5), (2, 63), (3, 1), (10, 0), (10, 1003), (17, 257), (100, 63), (1000, 63), (1001, 5), (5000, 2))

# Relative and absolute error per row of a sum. float32 rows: entropy, p and log p are computed in float32 (6e-8 of
# values up to about 30 in log p), and only their sums in float64.
ROUNDING = {torch.float32: (2e-6, 4e-6), torch.float64: (1e-12, 1e-13)}


def expected(rows: np.ndarray, blocks: int = 1, offset: int = 0, probabilities: bool = False) -> list[np.ndarray]:
    """The sums by numpy and scipy, block by block. The tests that need no scipy run without it, too."""
    special = pytest.importorskip("scipy.special")
    if probabilities:
        with np.errstate(divide="ignore"):
            p, log_p = rows, np.log(rows)
    else:
        log_p = special.log_softmax(rows, axis=1)
        p = np.exp(log_p)
    entropy = special.entr(p).sum(1)
    block = (offset + np.arange(len(rows))) % blocks
    columns = [np.ones(len(rows)), entropy, p, p**2, log_p]
    return [np.stack([column[block == b].sum(0) for b in range(blocks)]) for column in columns]


def as_numpy(logits: Tensor) -> np.ndarray:
    return logits.detach().double().cpu().numpy()


def assert_sums(got: ScoreSums, want: list[np.ndarray], dtype: torch.dtype, rows: int, what: str) -> None:
    relative, absolute = ROUNDING[torch.float64 if dtype == torch.float64 else torch.float32]
    for name, sums, numbers in zip(ScoreSums._fields, got, want, strict=True):
        assert sums.dtype == torch.float64
        exact = torch.from_numpy(np.asarray(numbers))
        limit = relative * exact.abs() + absolute * max(rows, 1) if name != "count" else 0.0
        assert_within(sums.cpu(), exact, limit, f"{what} {name}")


@dtypes
@pytest.mark.parametrize(("blocks", "offset"), [(1, 0), (1, 7), (3, 0), (3, 5), (100, 12345)])
def test_sums_equal_scipy(dtype, blocks, offset, device):
    for classes, rows in SHAPES:
        logits = Sampler(rows, classes, dtype=dtype, device=device).class_logits()
        got = ops.score_sums(logits, blocks=blocks, offset=offset)
        per_block = -(-rows // blocks)
        assert_sums(got, expected(as_numpy(logits), blocks, offset), dtype, per_block, f"K={classes} N={rows}")


@dtypes
def test_sums_equal_reference(dtype, device):
    for classes, rows in SHAPES:
        for probabilities in (False, True):
            sampler = Sampler(rows, classes, dtype=dtype, device=device)
            x = sampler.probabilities() if probabilities else sampler.class_logits()
            options = {"blocks": 3, "offset": 1, "probabilities": probabilities}
            want = [sums.cpu().numpy() for sums in reference.score_sums(x, **options)]
            assert_sums(ops.score_sums(x, **options), want, dtype, rows // 3 + 1, f"K={classes} N={rows}")


@dtypes
@pytest.mark.parametrize("blocks", [1, 4])
def test_probabilities_equal_scipy(dtype, blocks, device):
    for classes, rows in SHAPES:
        p = Sampler(rows, classes, dtype=dtype, device=device).probabilities()
        got = ops.score_sums(p, blocks=blocks, offset=2, probabilities=True)
        want = expected(as_numpy(p), blocks, 2, probabilities=True)
        assert_sums(got, want, dtype, -(-rows // blocks), f"K={classes} N={rows}")


@pytest.mark.parametrize("probabilities", [False, True])
def test_blocks_are_dealt_round_robin(probabilities, device):
    """Row i counts in block (offset + i) mod blocks, also with more blocks than rows and offsets beyond 32 bits."""
    rows = torch.eye(7, device=device) if probabilities else torch.eye(7, device=device) * 1e4
    for blocks in (1, 2, 3, 7, 20):
        for offset in (0, 1, 6, 19, 2**40 + 3):
            sums = ops.score_sums(rows, blocks=blocks, offset=offset, probabilities=probabilities)
            want = torch.zeros(blocks, 7, dtype=torch.float64)
            for i in range(7):
                want[(offset + i) % blocks, i] = 1
            assert_same((sums.prob.cpu(), sums.prob_sq.cpu(), sums.count.cpu()), (want, want, want.sum(1)))


@dtypes
@pytest.mark.parametrize("blocks", [1, 3, 10])
def test_a_stream_of_batches_adds_up(dtype, blocks, device):
    # float64 throughout for float64; otherwise a few rows at a time are added up in float32.
    bound = 1e-12 if dtype == torch.float64 else 5e-7
    logits = Sampler(1003, 17, dtype=dtype, device=device).class_logits()
    whole = ops.score_sums(logits, blocks=blocks, offset=5)
    cuts = (0, 1, 64, 65, 500, 1003)
    parts = [ops.score_sums(logits[a:b], blocks=blocks, offset=5 + a) for a, b in pairwise(cuts)]
    for name, total, *pieces in zip(ScoreSums._fields, whole, *parts, strict=True):
        assert_within(sum(pieces), total, bound * total.abs() + 1e-13, name)


@dtypes
def test_one_hot_rows_and_gaps_of_1e4(dtype, device):
    logits = torch.full((50, 10), -1e4, dtype=dtype, device=device)
    logits[torch.arange(50), torch.arange(50) % 5] = 0  # five classes are never hit
    gap = -logits[0, 1].item()  # 1e4 as the dtype has it
    for x in (logits, logits + gap):
        sums = ops.score_sums(x)
        hits = torch.tensor([[10.0] * 5 + [0.0] * 5], dtype=torch.float64)
        assert_same((sums.prob.cpu(), sums.prob_sq.cpu()), (hits, hits))
        assert_same(sums.entropy.cpu(), torch.zeros(1, dtype=torch.float64))
        assert_within(sums.log_prob.cpu(), -gap * (50 - hits), 1e-6, "log_prob")


@dtypes
def test_infinitely_negative_logits(dtype, device):
    logits = Sampler(12, 17, dtype=dtype, device=device).class_logits()
    logits[3, 4] = -math.inf
    logits[5, 1:] = -math.inf
    got = ops.score_sums(logits)
    assert_sums(got, expected(as_numpy(logits)), dtype, 12, "-inf")
    assert got.entropy.isfinite().all()
    assert got.log_prob[0, 4] == -math.inf
    assert got.log_prob[0, 0].isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=dtype_name)
def test_probabilities_of_zero(dtype, device):
    p = torch.tensor([[1, 0, 0], [0.25, 0.75, 0]], dtype=dtype, device=device)
    sums = ops.score_sums(p, probabilities=True)
    want = torch.tensor(0.75 * math.log(4 / 3) + 0.25 * math.log(4), dtype=torch.float64)
    assert_within(sums.entropy[0].cpu(), want, 1e-7, "entropy")
    assert sums.log_prob[0].tolist() == [pytest.approx(math.log(0.25)), -math.inf, -math.inf]
    assert sums.prob[0].tolist() == [1.25, 0.75, 0]
    assert sums.prob_sq[0].tolist() == [1.0625, 0.5625, 0]


def test_logits_and_their_probabilities_agree(device):
    logits = Sampler(63, 17, dtype=torch.float64, device=device).class_logits()
    from_p = ops.score_sums(logits.softmax(1), blocks=4, offset=3, probabilities=True)
    for name, a, b in zip(ScoreSums._fields, ops.score_sums(logits, blocks=4, offset=3), from_p, strict=True):
        assert_within(a, b, 1e-12 * b.abs() + 1e-13, name)


@dtypes
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_that_is_not_finite_spoils_its_block_alone(dtype, value, device):
    clean = Sampler(20, 17, dtype=dtype, device=device).class_logits()
    for k in (0, 5, 16):
        logits = clean.clone()
        logits[7, k] = value  # block (2 + 7) % 4 = 1
        got, want = ops.score_sums(logits, blocks=4, offset=2), ops.score_sums(clean, blocks=4, offset=2)
        assert got.entropy[1].isnan()
        assert got.prob[1].isnan().all()
        others = [0, 2, 3]
        assert_same(tuple(x[others] for x in got), tuple(x[others] for x in want), f"column {k}")
        assert_same(got.count, want.count, "count")


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_change_a_bit(layout, dtype, device):
    for classes in (2, 17, 64):
        sampler = Sampler(63, classes, dtype=dtype, device=device)
        for x, probabilities in ((sampler.class_logits(), False), (sampler.probabilities(), True)):
            options = {"blocks": 3, "offset": 1, "probabilities": probabilities}
            assert_same(ops.score_sums(layout(x), **options), ops.score_sums(x, **options))
            row = x[:1].expand(9, -1)
            assert_same(ops.score_sums(row, **options), ops.score_sums(row.clone(), **options))


@pytest.mark.parametrize("blocks", [1, 5])
def test_no_rows(blocks, device):
    sums = ops.score_sums(torch.zeros(0, 10, device=device), blocks=blocks, offset=3)
    assert [tuple(x.shape) for x in sums] == [(blocks,), (blocks,), *[(blocks, 10)] * 3]
    assert all((x == 0).all() for x in sums)


def test_inception_score_from_the_sums(device):
    logits = 3 * torch.eye(10, dtype=torch.float64, device=device)[torch.arange(100) % 10]
    p = pytest.importorskip("scipy.special").softmax(as_numpy(logits), axis=1)
    want = math.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())
    sums = ops.score_sums(logits)
    mean = sums.prob[0] / sums.count[0]
    assert math.exp(torch.special.entr(mean).sum() - sums.entropy[0] / 100) == pytest.approx(want, rel=1e-12)
    assert reference.inception_score(logits) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("classes", [1, 3, 10, 63, 64, 65, 100, 1001])
@pytest.mark.parametrize("probabilities", [False, True])
@dtypes
def test_rows_are_computed_in_float64_where_that_is_asked_for(dtype, probabilities, classes, device):
    """As of a float64 copy."""
    sampler = Sampler(211, classes, dtype=dtype, device=device)
    rows = sampler.probabilities() if probabilities else sampler.class_logits()
    options = {"blocks": 7, "offset": 5, "probabilities": probabilities}
    got = ops.score_sums(rows, dtype=torch.float64, **options)
    want = ops.score_sums(rows.double(), **options)
    for name, sums, right in zip(ScoreSums._fields, got, want, strict=True):
        torch.testing.assert_close(sums, right, rtol=1e-14, atol=1e-14, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("rows", "classes", "blocks"), [(0, 10, 3), (2, 10, 3), (500, 10, 3), (3000, 101, 2)])
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_sums_are_added_to_those_of_other_rows(dtype, rows, classes, blocks, device):
    sampler = Sampler(rows, classes, device=device)
    before = ops.score_sums(torch.randn(50, classes, device=device), blocks=blocks)
    kept = before.map(Tensor.clone)
    alone = ops.score_sums(logits := sampler.class_logits(), blocks=blocks, dtype=dtype)
    for initial in (before, tuple(before), before.map(lambda x: x.repeat_interleave(2, 0)[::2])):
        together = ops.score_sums(logits, blocks=blocks, dtype=dtype, initial=initial)
        for name, a, b, sums in zip(ScoreSums._fields, before, alone, together, strict=True):
            torch.testing.assert_close(
                sums, a + b, rtol=1e-13, atol=1e-13, msg=lambda text, name=name: f"{name}: {text}"
            )
    assert_same(before, kept, "initial")


def test_sums_stay_what_they_are_while_those_of_other_rows_come_and_go(device):
    """The memory of those that are gone is used again (csrc/ops/kept_memory.cpp)."""
    rows = torch.randn(6, 40, 700, generator=torch.Generator().manual_seed(0)).to(device)
    total = ops.score_sums(rows[0], blocks=40)
    every = []
    for part in rows[1:]:
        total = ops.score_sums(part, blocks=40, initial=total)
        every.append(total)
        ops.score_sums(-part, blocks=40, initial=total)  # gone at once
    for last, sums in enumerate(every, 2):
        want = [ops.score_sums(part, blocks=40) for part in rows[:last]]
        for name, got, parts in zip(ScoreSums._fields, sums, zip(*want, strict=True), strict=True):
            torch.testing.assert_close(
                got, sum(parts), rtol=1e-13, atol=1e-13, msg=lambda text, name=name: f"{name}: {text}"
            )
    prob = every[0].prob
    assert prob.clone().resize_(50, 700).shape == prob.resize_(50, 700).shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.float32}, "score_sums: dtype is Float, wanted float64 or None"),
        ({"initial": [torch.zeros(1)]}, "score_sums: initial has 1 tensors, wanted the 5 of ScoreSums"),
        (
            {"initial": ScoreSums.zeros(2, num_classes=3)},
            r"score_sums: initial.count has shape \[2\] and the sums \[1\], wanted the same",
        ),
    ],
)
def test_what_sums_cannot_be_made_with_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ops.score_sums(torch.zeros(4, 3), **options)


def test_a_forked_process_sums_as_its_parent_did():
    """Whose threads it has not."""
    code = """
import os, torch
from amgan_fast import ops
torch.set_num_threads(3)
x = torch.randn(600, 700, generator=torch.Generator().manual_seed(0))
want = ops.score_sums(x, blocks=50).prob
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(ops.score_sums(x, blocks=50).prob, want) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
