"""class_entropy: against the float64 reference, torch.distributions, and its gradient in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from checking import (
    LOSS,
    assert_gradient,
    assert_loss,
    assert_same,
    assert_within,
    check_loss,
    computing,
    with_gradient,
)
from sample_inputs import DTYPES, LAYOUTS, LOSSES, REDUCTIONS, SHAPES, Sampler, dtype_name
from torch.distributions import Categorical

from amgan_fast import ops

(CASE,) = (case for case in LOSSES if case.op == "class_entropy")
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
INF = math.inf


def rows_and_gradient(logits):
    leaf = logits.detach().clone().requires_grad_()
    entropy = ops.class_entropy(leaf, reduction="none")
    return entropy.detach(), torch.autograd.grad(entropy.sum(), leaf)[0]


@dtypes
def test_value_and_gradient_equal_reference(dtype, device):
    for classes, rows in SHAPES:
        for reduction in REDUCTIONS:
            check_loss(CASE, Sampler(rows, classes, dtype=dtype, device=device), reduction)


@dtypes
@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
def test_value_is_that_of_torch_distributions(dtype, scale, device):
    for classes in (1, 2, 17, 1000):
        logits = Sampler(63, classes, dtype=dtype, scale=scale, device=device).class_logits()
        entropy, gradient = rows_and_gradient(logits)
        assert_loss(entropy, Categorical(logits=logits.double()).entropy(), f"K={classes}")
        # -dH/dl_k = C_k (log C_k + H), and rows of it sum to 0.
        log_prob = logits.double().log_softmax(1)
        want = -log_prob.exp() * (log_prob + Categorical(logits=logits.double()).entropy()[:, None])
        assert_gradient(gradient, want, f"K={classes}", scale=scale)


@dtypes
def test_extremes_in_closed_form(dtype, device):
    one_hot = torch.full((4, 10), -1e4, dtype=dtype, device=device)
    one_hot.diagonal().fill_(0)
    excluded = torch.zeros(3, 10, dtype=dtype, device=device)
    excluded[:, 5:] = -INF
    for logits, want in (
        (one_hot, 0.0),
        (one_hot + 1e4, 0.0),
        (excluded, math.log(5)),
        (excluded.clamp_min(-1e4) + 1e4, math.log(5)),
        (torch.full((3, 10), 7.0, dtype=dtype, device=device), math.log(10)),
        (torch.full((3, 1), -3.0, dtype=dtype, device=device), 0.0),
    ):
        entropy, gradient = rows_and_gradient(logits)
        assert_loss(entropy, torch.full_like(entropy, want), str(want))
        assert_gradient(gradient, torch.zeros_like(gradient).double(), str(want))


@dtypes
def test_a_shift_of_the_row_changes_nothing(dtype, device):
    logits = (4 * Sampler(63, 17, dtype=dtype, device=device).class_logits()).round().clamp(-60, 60) / 4
    shift = 32.0 if dtype == torch.bfloat16 else 256.0
    assert torch.equal((logits + shift) - shift, logits)
    assert_same(rows_and_gradient(logits + shift), rows_and_gradient(logits))


@dtypes
def test_nan_stays_in_its_row(dtype, device):
    clean = Sampler(18, 17, dtype=dtype, device=device).class_logits()
    logits = clean.clone()
    logits.diagonal().fill_(math.nan)
    (entropy, gradient), (want, want_grad) = rows_and_gradient(logits), rows_and_gradient(clean)
    assert entropy[:17].isnan().all()
    assert_same((entropy[17:], gradient[17:]), (want[17:], want_grad[17:]))
    assert ops.class_entropy(logits).isnan()


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_change_a_bit(layout, dtype, device):
    for classes in (2, 17, 64):
        logits = Sampler(63, classes, dtype=dtype, device=device).class_logits()
        assert_same(ops.class_entropy(layout(logits)), ops.class_entropy(logits))
        (leaf,) = with_gradient((logits,))
        upstream = torch.linspace(-1, 2, 3 * 63, device=device).to(computing(dtype))
        strided, plain = (ops.class_entropy(x, reduction="none") for x in (layout(leaf), leaf))
        assert_same(
            torch.autograd.grad(strided, leaf, upstream[1::3]),
            torch.autograd.grad(plain, leaf, upstream[1::3].contiguous()),
        )
    row = logits[:1].expand(9, -1)
    assert_same(ops.class_entropy(row), ops.class_entropy(row.clone()))


@dtypes
def test_empty_batch(dtype, device):
    for reduction, want in (("none", torch.zeros(0)), ("sum", torch.tensor(0.0)), ("mean", torch.tensor(math.nan))):
        leaf = torch.zeros(0, 10, dtype=dtype, device=device).requires_grad_()
        entropy = ops.class_entropy(leaf, reduction=reduction)
        assert_same(entropy.cpu(), want.to(computing(dtype)), reduction)
        (gradient,) = torch.autograd.grad(entropy.sum(), leaf)
        assert (gradient.shape, gradient.dtype) == ((0, 10), dtype)


def test_mean_and_sum_are_of_the_rows(device):
    logits = Sampler(1003, 10, device=device).class_logits()
    rows = ops.class_entropy(logits, reduction="none").double()
    for reduction, want in (("mean", rows.mean()), ("sum", rows.sum())):
        got = ops.class_entropy(logits, reduction=reduction)
        assert_within(got, want, LOSS[torch.float32].relative * want, reduction)
