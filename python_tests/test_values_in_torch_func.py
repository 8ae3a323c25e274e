"""Losses under torch.func are made of PyTorch's operations: with the same checks of values, and as exact."""

from __future__ import annotations

import math

import pytest
import torch

from amgan_fast import ops, reference

AM = (1, 0, 1, 0, 0)
LOGITS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
BATCHES = LOGITS.expand(2, 3, 4)
ONES = torch.ones(3)

TRANSFORMS = {
    "grad": lambda loss, values: torch.func.grad(lambda x: loss(x, values))(LOGITS),
    "jvp": lambda loss, values: torch.func.jvp(lambda x: loss(x, values), (LOGITS,), (LOGITS,)),
    "jacrev": lambda loss, values: torch.func.jacrev(lambda x: loss(x, values))(LOGITS),
    "jacfwd": lambda loss, values: torch.func.jacfwd(lambda x: loss(x, values))(LOGITS),
    "hessian": lambda loss, values: torch.func.hessian(lambda x: loss(x, values))(LOGITS),
    "vmap": lambda loss, values: torch.vmap(loss)(BATCHES, torch.stack([values, values])),
    "vmap of logits": lambda loss, values: torch.vmap(lambda x: loss(x, values))(BATCHES),
    "vmap of values": lambda loss, values: torch.vmap(lambda y: loss(LOGITS, y), 1)(torch.stack([values, values], 1)),
    "vmap of grad": lambda loss, values: torch.vmap(torch.func.grad(loss))(BATCHES, torch.stack([values, values])),
    "grad of vmap": lambda loss, values: torch.func.grad(
        lambda x: torch.vmap(loss)(x, torch.stack([values, values])).sum()
    )(BATCHES),
}
OF_LABELS = {
    "kplus1_loss: labels": lambda x, y: ops.kplus1_loss(x, y, AM),
    "kplus1_loss: second_labels": lambda x, y: ops.kplus1_loss(
        x, None, (1, 0, 0.5, 0, 0), second_labels=y, second_coefficient=0.5
    ),
    "am_generator_loss: labels": ops.am_generator_loss,
    "am_discriminator_loss: labels": lambda x, y: ops.am_discriminator_loss(x, y, x),
    "kplus1_cross_entropy: target": ops.kplus1_cross_entropy,
    "kplus1_hinge_loss: labels": ops.kplus1_hinge_loss,
}
OF_WEIGHTS = {
    "kplus1_loss: row_weight": lambda x, w: ops.kplus1_loss(x, None, AM, row_weight=w),
    "class_entropy: row_weight": lambda x, w: ops.class_entropy(x, row_weight=w),
    "am_discriminator_loss: fake_row_weight": lambda x, w: ops.am_discriminator_loss(
        x, torch.tensor([0, 1, 2]), x, fake_row_weight=w
    ),
    "kplus1_cross_entropy: row_weight": lambda x, w: ops.kplus1_cross_entropy(x, x.detach().softmax(1), row_weight=w),
    "kplus1_hinge_loss: row_weight": lambda x, w: ops.kplus1_hinge_loss(x, torch.tensor([0, 1, 2]), row_weight=w),
}
OPERATIONS = {
    torch.ops.amgan_fast.check_labels.default: (torch.tensor([0, 1, 2]), "kplus1_loss", "labels", 0, 3),
    torch.ops.amgan_fast.check_weight.default: (ONES, "kplus1_loss", "row_weight"),
}
transforms = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


@transforms
@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize("label", [99, -7])
def test_a_label_out_of_range_is_an_error_by_name(name, label, transform):
    with pytest.raises(IndexError, match=rf"^{name}(\[1\] is| holds) {label}, wanted (-1|0) <= label <= [23]$"):
        transform(OF_LABELS[name], torch.tensor([0, label, 2]))
    transform(OF_LABELS[name], torch.tensor([0, 1, 2]))


@transforms
@pytest.mark.parametrize("name", OF_WEIGHTS)
@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_a_bad_weight_is_an_error_by_name(name, weight, transform):
    with pytest.raises(ValueError, match=rf"^{name}(\[2\] is| holds) (-1|nan), wanted a finite number"):
        transform(OF_WEIGHTS[name], torch.tensor([1.0, 1.0, weight]))
    transform(OF_WEIGHTS[name], ONES)


ASKED = {
    "grad": lambda loss, w: torch.func.grad(lambda w: loss(LOGITS, w))(w),
    "jvp": lambda loss, w: torch.func.jvp(lambda w: loss(LOGITS, w), (w,), (w,)),
    "grad of vmap": lambda loss, w: torch.func.grad(lambda w: torch.vmap(lambda x: loss(x, w))(BATCHES).sum())(w),
    "grad of grad": lambda loss, w: torch.func.grad(lambda w: torch.func.grad(loss)(LOGITS, w).sum())(w),
    "vmap of grad": lambda loss, w: torch.vmap(torch.func.grad(lambda w: loss(LOGITS, w)))(torch.stack([w, w])),
    "autograd": lambda loss, w: torch.vmap(loss, (0, None))(BATCHES, w.requires_grad_()),
}


@pytest.mark.parametrize("name", OF_WEIGHTS)
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_gradient_of_weights_is_refused_at_every_level(name, asked):
    operation = name.partition(":")[0]
    with pytest.raises(NotImplementedError, match=rf"^{operation}: (\w+_)?row_weight requires a gradient"):
        asked(OF_WEIGHTS[name], ONES.clone())


def test_a_gradient_of_weights_of_classes_is_refused():
    labels = torch.tensor([0, 1, 3])

    def loss(weight):
        return ops.kplus1_cross_entropy(LOGITS, labels, weight=weight)

    for call in (lambda w: torch.func.grad(loss)(w), lambda w: torch.func.jvp(loss, (w,), (w,))):
        with pytest.raises(NotImplementedError, match=r"^kplus1_cross_entropy: weight requires a gradient"):
            call(torch.ones(4))


def test_opcheck():
    for overload, arguments in OPERATIONS.items():
        torch.library.opcheck(overload, arguments)


def test_labels_that_are_no_class_pass_where_they_may():
    unlabelled = torch.tensor([-1, 3, 0])
    got = torch.func.grad(lambda x: ops.kplus1_loss(x, unlabelled, AM, unlabelled=True))(LOGITS)
    x = LOGITS.clone().requires_grad_()
    ops.kplus1_loss(x, unlabelled, AM, unlabelled=True).backward()
    torch.testing.assert_close(got, x.grad)
    with pytest.raises(IndexError, match=r"labels\[1\] is 3, wanted 0 <= label <= 2"):
        torch.func.grad(lambda x: ops.kplus1_loss(x, torch.tensor([0, 3, 1]), AM, fake_labels=False))(LOGITS)


@pytest.mark.parametrize("shift", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("coefficients", [AM, (1, 0, 0.4, 0.5, 0.1), (0.5, 0.5, 0, 1, 0), (1, 1, 0.5, 0.5, 0)])
def test_a_level_of_all_logits_costs_no_digits(shift, coefficients):
    """The last is not invariant to it."""
    logits = torch.randn(64, 11, generator=torch.Generator().manual_seed(1)) + shift
    labels = torch.arange(64) % 11

    def of(function):
        return lambda x: function(x, labels, coefficients, reduction="none")

    got = torch.func.jacrev(of(ops.kplus1_loss))(logits).sum(1)
    want = torch.func.jacrev(of(reference.kplus1_loss))(logits.double()).sum(1)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=3e-7)
    losses = torch.vmap(of(ops.kplus1_loss))(logits[None])[0]
    torch.testing.assert_close(losses.double(), of(reference.kplus1_loss)(logits.double()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", [ops.kplus1_cross_entropy, ops.kplus1_hinge_loss])
def test_ties_of_large_logits(function):
    """log 3, and the margin."""
    logits, label = torch.tensor([[1e30, 1e30, 1e30, 1.0]]), torch.tensor([1])
    want = {ops.kplus1_cross_entropy: math.log(3), ops.kplus1_hinge_loss: 1.0}[function]
    for call in (function, lambda x, y, **options: torch.vmap(lambda one: function(one, y, **options))(x[None])):
        assert call(logits, label, fake="zero").item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("coefficients", [AM, (1, 0, 0, 1, 0), (1, -1, 0, 0, 0), (1, 0, 0.9, 0, 0.1)])
def test_impossible_classes_are_as_without_torch_func(coefficients):
    """Where no class is possible the generated one still is; without it, and where a logit is no number, all is NaN."""
    inf = math.inf
    rows = [[-inf, -inf, 0.0], [-inf, 1.0, 0.0], [0.0, 1.0, -inf], [-inf, -inf, -inf], [0.0, math.nan, 0.0]]
    rows += [[0.0, 1.0, inf], [inf, 1.0, 0.0]]
    for row in rows:
        x = torch.tensor([row])
        for label in (0, 1):
            labels = torch.tensor([label])
            loss, want = ops.kplus1_loss_and_grad(x, labels, coefficients)
            got, value = torch.func.grad_and_value(lambda x, y=labels: ops.kplus1_loss(x, y, coefficients))(x)
            torch.testing.assert_close(value, loss, equal_nan=True, msg=f"{row} {label}")
            if not loss.isinf():
                torch.testing.assert_close(got, want, equal_nan=True, msg=f"{row} {label}: {got} {want}")
