"""A second label of every row, with a coefficient of its own: mixup, ADC-GAN."""

from __future__ import annotations

import math

import pytest
import torch
from checking import assert_gradient, assert_loss, check_rows, computing, reduced
from sample_inputs import DTYPES, FAKE_MODES, LAYOUTS, REDUCTIONS, Sampler, as_tuple, dtype_name, strided_labels
from torch.nn import functional as F

from amgan_fast import ops

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
fakes = pytest.mark.parametrize("fake", FAKE_MODES)
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)
shapes = pytest.mark.parametrize(("classes", "rows"), [(1, 3), (2, 64), (10, 257), (65, 63), (1000, 5)])
AM, NO_LABEL = (1, 0, 1, 0, 0), (0.7, -0.4, 0, -0.6, 0.9)


def columns(x, fake):
    return x if fake == "column" else torch.cat([x, x.new_zeros(len(x), 1)], 1)


def two_labels(sampler):
    """Equal ones, different ones, and the generated class on either side."""
    labels, second = sampler.any_labels(), sampler.any_labels().flip(0)
    return labels, torch.where(torch.arange(len(labels), device=labels.device) % 3 == 0, labels, second)


def by_hand(x, labels, coefficients, fake, second, s):
    """The formula in PyTorch's words."""
    a, r, t, f, u = coefficients
    of_all = columns(x, fake)
    real = of_all[:, :-1]
    labels = real.argmax(1) if labels is None else labels.long()
    terms = a * of_all.logsumexp(1) + r * real.logsumexp(1) - f * of_all[:, -1] - u * real.mean(1)
    each = torch.arange(len(x), device=x.device)
    return terms - t * of_all[each, labels] - s * of_all[each, second.long()]


@dtypes
@fakes
@reductions
@shapes
def test_mixup_is_the_mixture_of_two_cross_entropies(classes, rows, dtype, fake, reduction, device):
    sampler = Sampler(rows, classes, fake, dtype, device=device)
    logits, (labels, second), share = sampler.logits(), two_labels(sampler), 0.3
    check_rows(
        lambda x: ops.kplus1_loss(
            x,
            labels,
            (1, 0, 1 - share, 0, 0),
            fake=fake,
            reduction=reduction,
            second_labels=second,
            second_coefficient=share,
        ),
        lambda x: (
            (1 - share) * F.cross_entropy(columns(x, fake), labels, reduction=reduction)
            + share * F.cross_entropy(columns(x, fake), second, reduction=reduction)
        ),
        [logits],
        reduction,
        f"mixup {classes} {rows}",
    )


@dtypes
@fakes
@reductions
@shapes
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(("coefficients", "s"), [((0, 0, 1, 0, 0), -1.0), ((0.7, -0.4, 1.1, -0.6, 0.9), 0.8)])
def test_any_coefficient(coefficients, s, given, classes, rows, dtype, fake, reduction, device):
    sampler = Sampler(rows, classes, fake, dtype, device=device)
    logits, (labels, second) = sampler.logits(), two_labels(sampler)
    labels = labels if given else None
    options = {"second_labels": second, "second_coefficient": s}
    check_rows(
        lambda x: ops.kplus1_loss(x, labels, coefficients, fake=fake, reduction=reduction, **options),
        lambda x: reduced(by_hand(x, labels, coefficients, fake, second, s), reduction),
        [logits],
        reduction,
        f"{coefficients} {classes} {rows}",
    )


@dtypes
@shapes
def test_loss_and_grad_and_backward_are_the_same(classes, rows, dtype, device):
    sampler = Sampler(rows, classes, "column", dtype, device=device)
    x, (labels, second) = sampler.logits().requires_grad_(), two_labels(sampler)
    options = {"second_labels": second, "second_coefficient": 0.25}
    loss = ops.kplus1_loss(x, labels, AM, **options)
    got, grad = ops.kplus1_loss_and_grad(x.detach(), labels, AM, **options)
    assert_loss(got, loss.double(), "loss")
    assert_gradient(grad, torch.autograd.grad(loss, x)[0].double(), "gradient", scale=1 / rows)


@dtypes
@fakes
@reductions
@pytest.mark.parametrize("given", [True, False])
def test_the_two_passes_of_cuda(given, dtype, fake, reduction):
    """Called under the key of CUDA, with tensors of the CPU."""
    sampler = Sampler(63, 10, fake, dtype)
    logits, (labels, second) = sampler.logits(), two_labels(sampler)
    some = labels.masked_fill(torch.arange(63) % 3 == 1, -1) if given else None
    options = {"fake": fake, "reduction": reduction, "unlabelled": True, "row_weight": torch.rand(63)}
    options |= {"second_labels": second, "second_coefficient": -0.7}
    operations = torch.ops.amgan_fast
    cuda, family = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA), (0.7, -0.4, 1.1, -0.6, 0.9)
    size = 63 if reduction == "sum" else 1
    upstream = torch.rand((63,) if reduction == "none" else ()).to(computing(dtype))

    def check(operation, upstream=()):
        """Against one pass over the same logits in float64."""
        got = operation.default.redispatch(cuda, *upstream, logits, some, family, **options)
        want = operation.default(*(x.double() for x in (*upstream, logits)), some, family, **options)
        for a, b in zip(as_tuple(got), as_tuple(want), strict=True):
            assert a.dtype == (dtype if a.dim() == 2 else computing(dtype))
            (assert_loss if a.dim() < 2 else assert_gradient)(a, b, "two passes", scale=2 * size)

    check(operations.kplus1_loss)
    check(operations.kplus1_loss_and_grad)
    check(operations.kplus1_loss_backward, [upstream])


@fakes
@pytest.mark.parametrize("classes", [10, 101])
def test_rows_with_weights_and_without_a_first_label(classes, fake, device):
    """Of a row without one, the term of the second stays."""
    sampler = Sampler(257, classes, fake, torch.float64, device=device)
    logits, (labels, second) = sampler.logits(), two_labels(sampler)
    some = labels.masked_fill(torch.arange(257, device=device) % 3 == 1, -1)
    weights = torch.rand(257, generator=torch.Generator().manual_seed(2)).masked_fill(torch.arange(257) % 5 == 0, 0)
    weights = weights.double().to(device)
    a, r, t, f, u = coefficients = (1, 0, 0.5, 0.1, 0.2)

    def want(x):
        labelled = by_hand(x, labels, coefficients, fake, second, 0.2)
        without = by_hand(x, labels, (a, r - t - u, 0, f, 0), fake, second, 0.2)
        return (torch.where(some < 0, without, labelled) * weights).mean()

    options = {"fake": fake, "row_weight": weights, "unlabelled": True}
    check_rows(
        lambda x: ops.kplus1_loss(x, some, coefficients, second_labels=second, second_coefficient=0.2, **options),
        want,
        [logits],
        "mean",
        f"{classes} {fake}",
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", [10, 101])
def test_strides_and_int32(classes, layout, device):
    sampler = Sampler(63, classes, "column", torch.float32, device=device)
    logits, (labels, second) = sampler.logits(), two_labels(sampler)
    want = ops.kplus1_loss_and_grad(logits, labels, AM, second_labels=second, second_coefficient=-0.5)
    for same in (strided_labels(second), second.int(), strided_labels(second.int())):
        got = ops.kplus1_loss_and_grad(layout(logits), labels, AM, second_labels=same, second_coefficient=-0.5)
        assert torch.equal(got[0], want[0])
        assert torch.equal(got[1], want[1])


@pytest.mark.parametrize("classes", [10, 101])
def test_a_second_coefficient_of_0_changes_no_bit(classes, device):
    sampler = Sampler(257, classes, "column", torch.float32, device=device)
    logits, (labels, second) = sampler.logits(), two_labels(sampler)
    got = ops.kplus1_loss_and_grad(logits, labels, AM, second_labels=second)
    for a, b in zip(got, ops.kplus1_loss_and_grad(logits, labels, AM), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("classes", [3, 101])
def test_nearly_certain_rows_keep_their_digits(classes, device):
    """A difference of l_y and l_y2 is taken as it is, far from 1 as the logits are."""
    x = torch.full((1, classes + 1), -40.0, device=device)
    x[0, 0] = 1e4
    label, other = torch.tensor([0], device=device), torch.tensor([1], device=device)
    loss, grad = ops.kplus1_loss_and_grad(x, label, AM, second_labels=other, second_coefficient=0.0)
    assert loss == 0
    assert grad.abs().max() == 0
    mixed = ops.kplus1_loss(x, label, (1, 0, 0.5, 0, 0), second_labels=other, second_coefficient=0.5)
    assert_loss(mixed, torch.tensor(5020.0, dtype=torch.float64, device=device), "mixed")


@pytest.mark.parametrize("classes", [3, 101])
def test_infinities(classes, device):
    x = torch.zeros(4, classes + 1, device=device)
    x[0, 1] = -math.inf  # at the second label
    x[1, 0] = math.nan
    x[2, classes] = math.inf
    label, second = torch.zeros(4, dtype=torch.long, device=device), torch.ones(4, dtype=torch.long, device=device)
    options = {"second_labels": second, "reduction": "none"}
    loss, grad = ops.kplus1_loss_and_grad(x, label, AM, second_coefficient=0.5, **options)
    assert loss[0] == math.inf
    assert loss[1:3].isnan().all()
    assert grad[1:3].isnan().all()
    assert loss[3].isfinite()
    absent, _ = ops.kplus1_loss_and_grad(x, label, AM, second_coefficient=0.0, **options)
    assert absent[0].isfinite()


@fakes
def test_transforms_and_forward_mode(fake, device):
    sampler = Sampler(7, 5, fake, torch.float64, device=device)
    x, v, (labels, second) = sampler.logits(), sampler.logits(), two_labels(sampler)

    coefficients = (1, 0.5, 1, 0.25, 0.5)

    def loss(x, labels=labels, second=second):
        return ops.kplus1_loss(x, labels, coefficients, fake=fake, second_labels=second, second_coefficient=-1)

    def want(x):
        return by_hand(x, labels, coefficients, fake, second, -1).mean()

    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacfwd):
        torch.testing.assert_close(transform(loss)(x), transform(want)(x))
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (v,)), torch.func.jvp(want, (x,), (v,)))
    batched = torch.func.vmap(loss)(torch.stack([x, v]), torch.stack([labels] * 2), torch.stack([second] * 2))
    torch.testing.assert_close(batched, torch.stack([want(x), want(v)]))


def test_third_derivatives(device):
    sampler = Sampler(3, 4, "column", torch.float64, device=device)
    x, (labels, second) = sampler.logits().requires_grad_(), two_labels(sampler)

    def loss(x):
        return ops.kplus1_loss(x, labels, NO_LABEL, second_labels=second, second_coefficient=0.3)

    assert torch.autograd.gradgradcheck(lambda x: torch.autograd.grad(loss(x), x, create_graph=True)[0], x)


def test_compiled_with_dynamic_sizes(device):
    def step(x, labels, second):
        return ops.kplus1_loss_and_grad(x, labels, AM, second_labels=second, second_coefficient=0.5)

    compiled = torch.compile(step, backend="aot_eager", fullgraph=True, dynamic=True)
    for rows in (5, 9):
        sampler = Sampler(rows, 10, "column", torch.float32, device=device)
        logits, labels = sampler.logits(), two_labels(sampler)
        for a, b in zip(compiled(logits, *labels), step(logits, *labels), strict=True):
            assert torch.equal(a, b)


def test_opcheck(device):
    sampler = Sampler(5, 4, "column", torch.float64, device=device)
    x, (labels, second) = sampler.logits().requires_grad_(), two_labels(sampler)
    options = {"second_labels": second, "second_coefficient": 0.5}
    torch.library.opcheck(torch.ops.amgan_fast.kplus1_loss.default, (x, labels, list(AM)), options)


def test_bad_arguments(device):
    x, labels = torch.zeros(2, 4, device=device), torch.tensor([0, 1], device=device)

    def call(**options):
        return ops.kplus1_loss(x, labels, AM, **options)

    with pytest.raises(ValueError, match=r"second_coefficient is 0\.5 and second_labels is None, wanted labels for it"):
        call(second_coefficient=0.5)
    with pytest.raises(ValueError, match="second_coefficient is nan, wanted a finite number"):
        call(second_labels=labels, second_coefficient=math.nan)
    with pytest.raises(ValueError, match=r"second_labels has shape \[1\]"):
        call(second_labels=labels[:1], second_coefficient=0.5)
    with pytest.raises(TypeError, match="second_labels has dtype"):
        call(second_labels=labels.float(), second_coefficient=0.5)


@pytest.mark.parametrize("wrong", [-1, 4])
def test_second_labels_out_of_range(wrong):
    """Nor is -1 one of a row that lacks it: such a row has its first label twice, or another coefficient."""
    x, labels = torch.zeros(2, 4), torch.tensor([0, 1])
    for unlabelled in (False, True):
        with pytest.raises(IndexError, match=rf"second_labels\[1\] is {wrong}, wanted 0 <= label <= 3"):
            ops.kplus1_loss(
                x,
                labels,
                AM,
                second_labels=torch.tensor([0, wrong]),
                second_coefficient=0.5,
                unlabelled=unlabelled,
            )
    with pytest.raises(IndexError, match=r"second_labels\[0\] is 3, wanted 0 <= label <= 2"):
        ops.kplus1_loss(x, labels, AM, second_labels=torch.tensor([3, 0]), second_coefficient=0.5, fake_labels=False)
