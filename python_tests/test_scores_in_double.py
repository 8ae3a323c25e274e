"""score_sums of float32 and 16-bit logits in float64: against numpy's longdouble, row by row, and any number of
threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from checking import assert_same
from sample_inputs import DTYPES, LAYOUTS, Sampler, dtype_name
from torch import Tensor

from amgan_fast import ops

pytestmark = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="longdouble has no more digits than float64 here"
)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
WIDE = (64, 65, 66, 79, 80, 81, 100, 1000, 1001, 1023, 1025, 2049)


def exact_rows(logits: Tensor) -> dict[str, np.ndarray]:
    """Of each row by itself."""
    x = logits.double().numpy().astype(np.longdouble)
    x = x - x.max(1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    p = np.exp(log_p)
    return {"entropy": -(p * log_p).sum(1), "prob": p, "prob_sq": p**2, "log_prob": log_p}


def assert_rows_are_exact(logits: Tensor, given: Tensor | None = None) -> None:
    """Every row a block of its own: nothing is averaged out."""
    sums = ops.score_sums(logits if given is None else given, blocks=max(len(logits), 1), dtype=torch.float64)
    for name, want in exact_rows(logits).items():
        got = getattr(sums, name).numpy()
        limit = 1e-14 * np.abs(want) + 1e-15
        worst = np.abs(got - want) - limit
        assert (worst <= 0).all(), f"{name} of {list(logits.shape)}: {float(worst.max())} more than {limit.max()}"


@dtypes
@pytest.mark.parametrize("classes", range(1, 18))
def test_short_rows_of_any_number(classes, dtype):
    """They are transposed four columns at a time, and the last vector of rows may not be full."""
    for rows in (*range(1, 18), 31, 33, 67):
        assert_rows_are_exact(Sampler(rows, classes, dtype=dtype).class_logits())


@dtypes
@pytest.mark.parametrize("classes", WIDE)
def test_long_rows_of_any_number(classes, dtype):
    for rows in (1, 3, 4, 5, 11):
        assert_rows_are_exact(Sampler(rows, classes, dtype=dtype).class_logits())


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strided_rows(layout, dtype):
    for rows, classes in ((13, 7), (9, 64), (6, 101)):
        logits = Sampler(rows, classes, dtype=dtype).class_logits()
        assert_rows_are_exact(logits, layout(logits))


@pytest.mark.parametrize("classes", [10, 101])
def test_probabilities_down_to_the_smallest_number(classes):
    """Below 2.2e-308, where numbers have fewer digits, as near as these are to one another."""
    logits = -torch.rand(40, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 800
    logits[:, 3] = 0
    sums = ops.score_sums(logits, blocks=40, dtype=torch.float64)
    want = exact_rows(logits)
    assert (want["prob"] < 1e-308).any()
    assert (np.abs(sums.prob.numpy() - want["prob"]) <= 1e-15 * want["prob"] + 5e-324).all()
    np.testing.assert_allclose(sums.log_prob.numpy(), want["log_prob"].astype(float), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("payload", [0x7FF8000000000000, 0x7FF80000000007A2, 0x7FF8000000000FFF])
@pytest.mark.parametrize("classes", [10, 101])
def test_every_nan_spoils_its_row(classes, payload):
    """R's missing value, too, whose low bits are not 0."""
    logits = Sampler(8, classes, dtype=torch.float64).class_logits()
    logits[5, 7] = torch.tensor(payload).view(torch.float64)
    sums = ops.score_sums(logits, blocks=8)
    spoilt = torch.arange(8) == 5
    for name in ("entropy", "prob", "prob_sq", "log_prob"):
        nan = getattr(sums, name).isnan()
        assert_same(nan if nan.ndim == 1 else nan.all(1), spoilt, name)
        assert_same(nan if nan.ndim == 1 else nan.any(1), spoilt, name)


@dtypes
@pytest.mark.parametrize(
    ("rows", "classes", "blocks"), [(30011, 10, 7), (2003, 201, 3), (701, 1001, 1), (997, 333, 100)]
)
def test_any_number_of_threads_gives_the_same_bits(rows, classes, blocks, dtype, threads):
    sampler = Sampler(rows, classes, dtype=dtype)
    for x, probabilities in ((sampler.class_logits(), False), (sampler.probabilities(), True)):
        before = ops.score_sums(x[:50], blocks=blocks, dtype=torch.float64, probabilities=probabilities)
        found = []
        for count in (1, 2, 3):
            threads(count)
            options = {"blocks": blocks, "offset": 5, "probabilities": probabilities, "initial": before}
            found.append(ops.score_sums(x, dtype=torch.float64, **options))
        assert_same(found[1], found[0], "two threads")
        assert_same(found[2], found[0], "three threads")
