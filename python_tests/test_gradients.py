"""First, second and third derivatives, by finite differences and against autograd through the reference."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from checking import assert_within, with_gradient
from sample_inputs import LAYOUTS, LOSSES, REDUCTIONS, WITHOUT_GRADIENT, Case, Sampler, as_tuple, by_name, floats

every_case = pytest.mark.parametrize(
    ("case", "fake"),
    [pytest.param(case, fake, id=f"{case.name}-{fake}") for case in LOSSES for fake in case.fake_modes()],
)
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)


def float64_call(case: Case, fake: str, reduction: str, device, rows: int = 3, classes: int = 4):
    """The case as a function of its logits alone, and these."""
    args = with_gradient(case.build(Sampler(rows, classes, fake, torch.float64, device=device, scale=1.5)))
    leaves = floats(args)

    def call(*logits):
        given = iter(logits)
        rebuilt = [next(given) if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in args]
        return case.fused()(*rebuilt, **case.keywords(fake, reduction))

    return call, leaves


@every_case
@reductions
def test_gradcheck(case: Case, fake, reduction, device):
    call, leaves = float64_call(case, fake, reduction, device)
    assert torch.autograd.gradcheck(call, leaves)


@every_case
@reductions
def test_gradgradcheck(case: Case, fake, reduction, device):
    call, leaves = float64_call(case, fake, reduction, device)
    assert torch.autograd.gradgradcheck(call, leaves)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradcheck_through_strided_views(layout, device):
    for case in LOSSES:
        call, leaves = float64_call(case, "column", "mean", device)
        assert torch.autograd.gradcheck(lambda *x, call=call: call(*map(layout, x)), leaves)
        assert torch.autograd.gradgradcheck(lambda *x, call=call: call(*map(layout, x)), leaves)


def gradients_of_order(order, function, leaves):
    """d/dlogits of <w, d/dlogits of <w, ...>>, `order` times, with fixed weights w."""
    value = function(*leaves)
    for level in range(order):
        outputs = []
        for i, output in enumerate(as_tuple(value)):
            weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(10 * level + i))
            outputs.append((output * weights.to(output)).sum())
        value = torch.autograd.grad(sum(outputs), leaves, create_graph=True)
    return value


@every_case
@reductions
@pytest.mark.parametrize("order", [2, 3])
def test_higher_derivatives_equal_those_of_the_reference(case: Case, fake, reduction, order, device):
    args = with_gradient(case.build(Sampler(7, 5, fake, torch.float64, device=device)))
    leaves, keywords = floats(args), case.keywords(fake, reduction)
    got, want = (
        gradients_of_order(order, lambda *_, function=function: function(*args, **keywords), leaves)
        for function in (case.fused(), case.reference())
    )
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert b.abs().max() > 1e-4  # there is something to compare
        assert_within(a, b, 1e-10 * b.abs() + 1e-12, f"derivative {order} of {case.name}, input {i}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_second_derivatives_keep_the_dtypes(dtype, device):
    for case in LOSSES:
        args = with_gradient(case.build(Sampler(7, 5, dtype=dtype, device=device)))
        exact, keywords = with_gradient(args, torch.float64), case.keywords("column", "mean")
        got, want = (
            gradients_of_order(2, lambda *_, x=x, f=f, k=keywords: f(*x, **k), floats(x))
            for x, f in ((args, case.fused()), (exact, case.reference()))
        )
        for a, b in zip(got, want, strict=True):
            assert a.dtype == dtype
            # The first derivative is rounded to the dtype before it is weighted: only its share of an ulp is at stake.
            limit = 4 * torch.finfo(dtype).eps * b.abs().max()
            assert_within(a, b, limit, case.name)


def test_gradient_penalty(device):
    """The use of a double backward in training: a penalty on the gradient with respect to the layer's input."""
    inputs = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).to(device)
    weights = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).to(device)
    (case,) = (case for case in LOSSES if case.name == "generator_dynamic")
    results = []
    for function in (case.fused(), case.reference()):
        x, w = inputs.clone().requires_grad_(), weights.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x @ w.t()), x, create_graph=True)
        results.append(torch.autograd.grad((gradient.norm(dim=1) - 1).square().mean(), w)[0])
    assert_within(results[0], results[1], 1e-12, "gradient of the penalty")


@pytest.mark.parametrize("case", WITHOUT_GRADIENT, ids=by_name)
def test_outputs_without_gradient(case: Case, device):
    for fake in case.fake_modes():
        args = with_gradient(case.build(Sampler(7, 5, fake, device=device)))
        for output in case.fused()(*args, **case.keywords(fake, "mean")):
            assert not output.requires_grad
            assert output.grad_fn is None


def test_labels_and_constants_get_no_gradient(device):
    """Only the logits that ask for it: a discriminator step with detached generated rows, and the reverse."""
    (case,) = (case for case in LOSSES if case.name == "discriminator")
    real, labels, generated = with_gradient(case.build(Sampler(7, 5, device=device)))
    both = torch.autograd.grad(case.fused()(real, labels, generated), (real, generated))
    only_real = torch.autograd.grad(case.fused()(real, labels, generated.detach()), real)[0]
    only_generated = torch.autograd.grad(case.fused()(real.detach(), labels, generated), generated)[0]
    assert torch.equal(only_real, both[0])
    assert torch.equal(only_generated, both[1])
    assert not case.fused()(real.detach(), labels, generated.detach()).requires_grad


@every_case
def test_one_input_alone_has_its_second_derivative(case: Case, fake, device):
    """The double backward of a pair where the gradient of one of the two is never used."""
    call, leaves = float64_call(case, fake, "mean", device)
    for i, leaf in enumerate(leaves):
        others = [x.detach() for x in leaves]

        def alone(x, i=i, others=others):
            return call(*others[:i], x, *others[i + 1 :])

        assert torch.autograd.gradgradcheck(alone, [leaf])
        (first,) = torch.autograd.grad(call(*leaves), leaf, create_graph=True)
        second = torch.autograd.grad(first.square().sum(), leaves, allow_unused=True)
        assert second[i].abs().max() > 0


def test_grad_output_gets_its_gradient(device):
    """The gradient is linear in grad_output: its derivative with respect to it is the gradient at 1."""
    for case in LOSSES:
        call, leaves = float64_call(case, "column", "none", device)
        loss = call(*leaves)
        upstream = torch.linspace(0.5, 2, len(loss), dtype=torch.float64, device=device).requires_grad_()
        assert torch.autograd.gradcheck(
            partial(torch.autograd.grad, loss, leaves, create_graph=True, retain_graph=True), [upstream]
        )
