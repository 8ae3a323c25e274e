"""kplus1_hinge_loss against the formula in NumPy, in numbers whose sums are exact: bit for bit, with ties and kinks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from checking import assert_same, assert_within, computing
from sample_inputs import (
    DTYPES,
    FAKE_MODES,
    LAYOUTS,
    REDUCTIONS,
    SHAPES,
    Sampler,
    dtype_name,
    strided_labels,
)
from torch import Tensor
from torch.nn import functional as F

from amgan_fast import ops

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
fakes = pytest.mark.parametrize("fake", FAKE_MODES)
NAN, INF = math.nan, math.inf


def quarters(x: Tensor) -> Tensor:
    """Few different numbers, so that most rows have ties; sums of some of them are exact in every dtype."""
    return (4 * x).round().clamp(-32, 32) / 4


def oracle(logits: Tensor, labels: Tensor | None, margin: float, fake: str) -> tuple[Tensor, Tensor]:
    """Losses and gradients of the rows, in float64."""
    x = logits.double().cpu().numpy()
    columns, rows = x.shape[1], np.arange(len(x))
    x = x if fake == "column" else np.pad(x, ((0, 0), (0, 1)))
    y = x[:, :-1].argmax(1) if labels is None else labels.long().cpu().numpy()
    others = x.copy()
    others[rows, y] = -INF
    o = others.argmax(1)  # the first of equal ones
    violation = margin + x[rows, o] - x[rows, y]
    gradient = np.zeros_like(x)
    gradient[rows, o] = violation > 0
    gradient[rows, y] = -1.0 * (violation > 0)
    return torch.from_numpy(np.maximum(violation, 0)), torch.from_numpy(gradient[:, :columns].copy())


def rows_and_gradient(logits: Tensor, labels: Tensor | None = None, **options) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    loss = ops.kplus1_hinge_loss(leaf, labels, reduction="none", **options)
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


def assert_exact(logits: Tensor, labels: Tensor | None, margin: float, fake: str) -> None:
    loss, gradient = rows_and_gradient(logits, labels, margin=margin, fake=fake)
    want_loss, want_gradient = (x.to(logits.device) for x in oracle(logits, labels, margin, fake))
    what = f"{tuple(logits.shape)} {fake} {margin}"
    assert (loss.dtype, gradient.dtype) == (computing(logits.dtype), logits.dtype)
    assert_within(loss, want_loss, 0.0, what)
    assert_within(gradient, want_gradient, 0.0, f"{what}, gradient")
    assert not gradient.signbit()[gradient == 0].any(), what


@dtypes
@fakes
def test_losses_and_gradients_are_those_of_the_formula(dtype, fake, device):
    for i, (classes, rows) in enumerate(SHAPES):
        label_dtype = (torch.int64, torch.int32)[i % 2]
        sampler = Sampler(rows, classes, fake, dtype, label_dtype, device, change=quarters)
        for labels, margin in ((None, 1.0), (sampler.labels(), 0.0), (sampler.any_labels(), 2.75)):
            assert_exact(sampler.logits(), labels, margin, fake)


@dtypes
@pytest.mark.parametrize("classes", [3, 64, 65, 130])
def test_the_first_of_equal_runners_up_has_the_gradient(classes, dtype, device):
    """Also where they are as large as the label's logit, or where the generated class is one of them."""
    labels = (0, classes // 2, classes - 1, classes)
    for columns in itertools.combinations(sorted({0, 1, *labels}), 3):
        x = torch.full((len(labels), classes + 1), -2.0, dtype=dtype, device=device)
        x[:, list(columns)] = 1.0
        _, gradient = rows_and_gradient(x, torch.tensor(labels, device=device))
        for row, label in zip(gradient, labels, strict=True):
            first = next(k for k in columns if k != label)
            assert row.nonzero()[:, 0].tolist() == sorted((first, label))
            assert (row[first], row[label]) == (1, -1)
        _, gradient = rows_and_gradient(x[:1])
        real = [k for k in columns if k < classes]
        other = real[1] if len(real) > 1 else classes
        assert (gradient[0, real[0]], gradient[0, other]) == (-1, 1)


@dtypes
@pytest.mark.parametrize("classes", [2, 100])
def test_at_the_kink_the_gradient_is_0(classes, dtype, device):
    x = torch.zeros(3, classes + 1, dtype=dtype, device=device)
    x[:, 1] = torch.tensor([1.75, 1.5, 1.25])
    loss, gradient = rows_and_gradient(x, torch.ones(3, dtype=torch.int64, device=device), margin=1.5)
    assert loss.tolist() == [0, 0, 0.25]
    assert gradient.abs().sum(1).tolist() == [0, 0, 2]


def test_of_two_columns_it_is_twice_the_margin_loss_of_torch(device):
    sampler = Sampler(63, 1, dtype=torch.float64, device=device)
    logits, labels = sampler.logits(), sampler.any_labels()
    for reduction, margin in itertools.product(REDUCTIONS, (0.5, 3.0)):
        want = 2 * F.multi_margin_loss(logits, labels, margin=margin, reduction=reduction)
        got = ops.kplus1_hinge_loss(logits, labels, margin=margin, reduction=reduction)
        assert_within(got, want, 1e-12 * want, reduction)


def test_of_one_class_the_other_column_is_the_constant_0(device):
    x = torch.tensor([[0.25], [3.0], [-2.0]], device=device)
    loss, gradient = rows_and_gradient(x, fake="zero")
    assert (loss.tolist(), gradient[:, 0].tolist()) == ([0.75, 0, 3], [-1, 0, -1])
    loss, gradient = rows_and_gradient(x, torch.ones(3, dtype=torch.int32, device=device), fake="zero")
    assert (loss.tolist(), gradient[:, 0].tolist()) == ([1.25, 4, 0], [1, 1, 0])


@dtypes
@pytest.mark.parametrize("classes", [3, 90])
def test_impossible_classes(classes, dtype, device):
    """Logits of -inf."""
    x = torch.zeros(5, classes + 1, dtype=dtype, device=device)
    x[0, 0] = -INF  # the label
    x[1, 1:] = -INF  # all but the label
    x[2, 2:] = -INF  # the label is left, and one more
    x[3, :-1] = -INF  # all real classes
    x[4] = -INF  # there is nothing to compare
    loss, gradient = rows_and_gradient(x, torch.zeros(5, dtype=torch.int64, device=device))
    assert_same(loss.cpu(), torch.tensor([INF, 0, 1, INF, NAN], dtype=loss.dtype))
    want = torch.zeros_like(x).cpu()
    want[0, :2] = want[2, :2] = torch.tensor([-1.0, 1.0])
    want[3, 0], want[3, -1], want[4] = -1, 1, NAN
    assert_same(gradient.cpu(), want)
    loss, gradient = rows_and_gradient(x[:, :-1], fake="zero")
    assert loss[4] == INF
    assert gradient[4].tolist() == [-1, *[0] * (classes - 1)]


@dtypes
@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("classes", [2, 17, 64, 65, 300])
def test_a_row_that_is_not_finite_is_nan(classes, value, dtype, device):
    clean = Sampler(classes + 2, classes, dtype=dtype, device=device).logits()
    x = clean.clone()
    x[:-1].diagonal().fill_(value)
    for labels in (None, torch.arange(classes + 2, device=device) // 2):
        got, want = rows_and_gradient(x, labels), rows_and_gradient(clean, labels)
        for a, b in zip(got, want, strict=True):
            assert a[:-1].isnan().all()
            assert_same(a[-1], b[-1])


@dtypes
@fakes
def test_reductions_and_the_gradient_of_the_loss(dtype, fake, device):
    sampler = Sampler(64, 12, fake, dtype, device=device, change=quarters)
    logits, labels = sampler.logits(), sampler.any_labels()
    rows, of_rows = (x.to(device) for x in oracle(logits, labels, 1.0, fake))
    upstream = quarters(torch.linspace(-2, 3, 64)).to(device)
    for reduction, want, factor in (
        ("none", rows, upstream[:, None]),
        ("mean", rows.mean(), upstream[7] / 64),
        ("sum", rows.sum(), upstream[7]),
    ):
        leaf = logits.clone().requires_grad_()
        loss = ops.kplus1_hinge_loss(leaf, labels, fake=fake, reduction=reduction)
        assert_within(loss, want, 1e-6 * want, reduction)
        (gradient,) = torch.autograd.grad(loss, leaf, (upstream if loss.dim() else upstream[7]).to(loss.dtype))
        assert_same(gradient, (of_rows * factor).to(dtype))
        loss, gradient = ops.kplus1_hinge_loss_and_grad(logits, labels, fake=fake, reduction=reduction)
        assert_within(loss, want, 1e-6 * want, reduction)
        assert_same(gradient, (of_rows / (64 if reduction == "mean" else 1)).to(dtype))


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_change_a_bit(layout, dtype, device):
    for classes in (1, 17, 64, 90):
        sampler = Sampler(63, classes, dtype=dtype, device=device)
        logits, labels = sampler.logits(), sampler.any_labels()
        for given in (labels, labels.int(), strided_labels(labels)):
            got = ops.kplus1_hinge_loss_and_grad(layout(logits), given)
            assert_same(got, ops.kplus1_hinge_loss_and_grad(logits, labels), f"K={classes}")


@dtypes
def test_empty_batch(dtype, device):
    for reduction, want in (("none", torch.zeros(0)), ("sum", torch.tensor(0.0)), ("mean", torch.tensor(NAN))):
        leaf = torch.zeros(0, 10, dtype=dtype, device=device).requires_grad_()
        loss = ops.kplus1_hinge_loss(leaf, reduction=reduction)
        assert_same(loss.cpu(), want.to(computing(dtype)), reduction)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        assert (gradient.shape, gradient.dtype) == ((0, 10), dtype)


@fakes
@pytest.mark.parametrize("classes", [4, 80])
def test_the_second_derivative_is_0_and_that_of_the_slope_is_the_gradient(classes, fake, device):
    """As double backward has it: of <gradient, v> with respect to the logits, and to the gradient of the loss."""
    sampler = Sampler(33, classes, fake, torch.float64, device=device, change=quarters)
    leaf, labels, v = sampler.logits().requires_grad_(), sampler.any_labels(), sampler.logits()
    _, of_rows = oracle(leaf.detach(), labels, 1.0, fake)
    slopes = (of_rows.to(device) * v).sum(1)
    for reduction, want in (("none", slopes), ("mean", slopes.mean()), ("sum", slopes.sum())):
        upstream = torch.full_like(want, 1.5, requires_grad=True)
        loss = ops.kplus1_hinge_loss(leaf, labels, fake=fake, reduction=reduction)
        (gradient,) = torch.autograd.grad(loss, leaf, upstream, create_graph=True)
        of_logits, of_upstream = torch.autograd.grad(gradient, [leaf, upstream], v)
        assert (of_logits == 0).all()
        assert_within(of_upstream, want, 1e-12, reduction)


def test_a_penalty_on_the_gradient_of_the_input(device):
    """R1: its gradient with respect to the weights, by finite differences."""
    generator = torch.Generator().manual_seed(5)
    x, first, second = (
        torch.randn(shape, dtype=torch.float64, generator=generator).to(device) for shape in ((6, 5), (7, 5), (4, 7))
    )
    labels = torch.arange(6, device=device) % 3

    def penalty(*weights: Tensor) -> Tensor:
        images = x.clone().requires_grad_()
        logits = (images @ weights[0].t()).tanh() @ weights[1].t()
        loss = ops.kplus1_hinge_loss(logits, labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images, create_graph=True)
        return gradient.square().sum(1).mean()

    assert torch.autograd.gradcheck(penalty, (first.requires_grad_(), second.requires_grad_()))


def test_any_number_of_threads_gives_the_same_bits(threads):
    results = []
    for count in (1, 2):
        threads(count)
        of_count = []
        for rows, classes in ((700, 100), (7000, 10)):
            sampler = Sampler(rows, classes)
            of_count += ops.kplus1_hinge_loss_and_grad(sampler.logits(), sampler.any_labels())
        results.append(tuple(of_count))
    assert_same(*results)
