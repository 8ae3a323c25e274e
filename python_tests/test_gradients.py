"""First, second and third derivatives, by finite differences and against autograd through the reference."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from checking import Trace, assert_same, assert_within, with_gradient
from sample_inputs import (
    CASES,
    LAYOUTS,
    LOSSES,
    REDUCTIONS,
    WITHOUT_GRADIENT,
    Case,
    Sampler,
    as_tuple,
    by_name,
    dtype_name,
    floats,
    map_tensors,
)
from torch.autograd.functional import hessian, jacobian

from amgan_fast import ops

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
    if order > 2 and not case.curved:
        pytest.skip("the second derivative is a constant, to torch as well")
    args = with_gradient(case.build(Sampler(7, 5, fake, torch.float64, device=device)))
    leaves, keywords = floats(args), case.keywords(fake, reduction)
    got, want = (
        gradients_of_order(order, lambda *_, function=function: function(*args, **keywords), leaves)
        for function in (case.fused(), case.reference())
    )
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert (b.abs().max() > 1e-4) == case.curved  # there is something to compare
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
        assert (second[i].abs().max() > 0) == case.curved


def test_grad_output_gets_its_gradient(device):
    """The gradient is linear in grad_output: its derivative with respect to it is the gradient at 1."""
    for case in LOSSES:
        call, leaves = float64_call(case, "column", "none", device)
        loss = call(*leaves)
        upstream = torch.linspace(0.5, 2, len(loss), dtype=torch.float64, device=device).requires_grad_()
        assert torch.autograd.gradcheck(
            partial(torch.autograd.grad, loss, leaves, create_graph=True, retain_graph=True), [upstream]
        )


# --- The gradient that forward computes along with the loss (float32 and float64 on the CPU)


def loss_and_leaves(case: Case, fake, reduction, dtype, device="cpu"):
    args = with_gradient(case.build(Sampler(63, 17, fake, dtype, device=device)))
    return case.fused()(*args, **case.keywords(fake, reduction)), floats(args)


@every_case
@reductions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=dtype_name)
def test_backward_gives_the_same_in_every_way(case: Case, fake, reduction, dtype, device):
    loss, leaves = loss_and_leaves(case, fake, reduction, dtype, device)
    ones = torch.ones_like(loss)
    kept = torch.autograd.grad(loss, leaves, ones, retain_graph=True)
    again = torch.autograd.grad(loss, leaves, ones, retain_graph=True)
    assert_same(again, kept, "a second backward")
    doubled = torch.autograd.grad(loss, leaves, 2 * ones, retain_graph=True)
    assert_same(tuple(x / 2 for x in doubled), kept, "twice the gradient of the loss")
    # With create_graph it is the same, and of its own; what torch makes plain first is for the operation to compute.
    differentiable = torch.autograd.grad(loss, leaves, ones, create_graph=True)
    assert_same(tuple(x.detach() for x in differentiable), kept, "create_graph")
    for x in differentiable:
        x.detach().zero_()
    assert_same(torch.autograd.grad(loss, leaves, ones, retain_graph=True), kept, "after that was overwritten")
    anew = torch.autograd.grad(loss, leaves, torch._neg_view(-ones), create_graph=True)
    for new, old in zip(anew, kept, strict=True):
        limit = 4 * torch.finfo(dtype).eps
        assert_within(new, old, limit * old.abs() + limit / 63, "create_graph")


@every_case
def test_gradients_of_a_kept_graph_are_no_ones_but_the_callers(case: Case, fake):
    loss, leaves = loss_and_leaves(case, fake, "mean", torch.float32)
    first, second = (torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2))
    want = tuple(x.clone() for x in first)
    for gradient in second:
        gradient.zero_()
    assert_same(first, want, "another gradient was overwritten")
    for gradient in first:
        gradient.div_(gradient.norm())
    loss.backward()
    assert_same(tuple(x.grad for x in leaves), want, "after both were overwritten")


def test_the_last_gradient_is_the_kept_one_without_a_copy():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.data_ptr()) or x, lambda x: x):
        loss, leaves = loss_and_leaves(LOSSES[0], "column", "mean", torch.float32)
    assert torch.autograd.grad(loss, leaves, retain_graph=True)[0].data_ptr() not in kept
    assert torch.autograd.grad(loss, leaves)[0].data_ptr() in kept


def test_accumulated_gradients_leave_the_kept_one_alone():
    loss, (leaf,) = loss_and_leaves(LOSSES[0], "column", "mean", torch.float32)
    (want,) = torch.autograd.grad(loss, [leaf], retain_graph=True)
    want = want.clone()
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        assert_same(leaf.grad, times * want, f"{times} times")
    (2 * loss + loss).backward()
    assert_within(leaf.grad, 6 * want, 1e-5 * want.abs(), "through a sum")


@pytest.mark.parametrize("case", [case for case in LOSSES if case.op in ("kplus1_loss", "class_entropy")], ids=by_name)
def test_only_what_is_differentiated_computes_a_gradient(case: Case):
    args = case.build(Sampler(5, 4))
    for given, grad_mode, dtype, names in (
        (args, True, torch.float32, {""}),
        (with_gradient(args), False, torch.float32, {""}),
        (with_gradient(args), True, torch.float32, {"_and_grad"}),
        (with_gradient(args), True, torch.bfloat16, {""}),  # rounded once, after the multiplication
    ):
        cast = tuple(x.detach().to(dtype).requires_grad_(x.requires_grad) if x in floats([x]) else x for x in given)
        with torch.set_grad_enabled(grad_mode), Trace() as trace:
            case.fused()(*cast, **case.keywords("column", "mean"))
        ours = {name.split(".")[0] for name in trace.names if name.startswith("amgan_fast::")}
        assert ours == {f"amgan_fast::{case.op}{name}" for name in names}


def test_scaled_half_precision_does_not_underflow():
    """Loss scaling must reach the gradient before it is rounded to float16, whose smallest number is 6e-8."""
    logits = torch.zeros(4096, 11, dtype=torch.float16)
    logits[:, 0] = 12

    def scaled_gradient(dtype):
        leaf = logits.to(dtype).requires_grad_()
        return torch.autograd.grad(2.0**16 * ops.am_generator_loss(leaf), leaf)[0]

    want = scaled_gradient(torch.float64)
    assert want.abs().min() / 2**16 < 6e-8 / 2
    assert_within(scaled_gradient(torch.float16), want, 2e-3 * want.abs(), "float16")


# --- Gradients of the loss whose memory does not hold their values


@every_case
@reductions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=dtype_name)
def test_a_negative_bit_is_heeded(case: Case, fake, reduction, dtype, device):
    loss, leaves = loss_and_leaves(case, fake, reduction, dtype, device)
    want = tuple(-x for x in torch.autograd.grad(loss, leaves, torch.ones_like(loss), retain_graph=True))
    negative = torch._neg_view(torch.ones_like(loss))
    assert_same(torch.autograd.grad(loss, leaves, negative, retain_graph=True), want, "a view")
    # The imaginary part of a conjugate, as complex code has it.
    opposite = (torch.complex(torch.zeros_like(loss), loss).conj() * 1.0).imag
    assert_same(torch.autograd.grad(opposite, leaves, torch.ones_like(loss)), want, "through a conjugate")


@every_case
@reductions
def test_a_zero_tensor_gives_zeros(case: Case, fake, reduction, device):
    loss, leaves = loss_and_leaves(case, fake, reduction, torch.float32, device)
    zero = torch._efficientzerotensor(loss.shape, dtype=loss.dtype, device=device)
    for create_graph in (False, True):
        gradients = torch.autograd.grad(loss, leaves, zero, retain_graph=True, create_graph=create_graph)
        assert_same(tuple(x.detach() for x in gradients), tuple(map(torch.zeros_like, leaves)))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@every_case
@reductions
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=dtype_name)
def test_batched_gradients_equal_those_one_by_one(case: Case, fake, reduction, dtype, device):
    loss, leaves = loss_and_leaves(case, fake, reduction, dtype, device)
    upstream = torch.stack([torch.ones_like(loss), torch.full_like(loss, -0.5), torch.zeros_like(loss)])
    for create_graph in (False, True):
        options = {"retain_graph": True, "create_graph": create_graph}
        got = torch.autograd.grad(loss, leaves, upstream, is_grads_batched=True, **options)
        each = [torch.autograd.grad(loss, leaves, x, **options) for x in upstream]
        assert_same(tuple(got), tuple(map(torch.stack, zip(*each, strict=True))))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@every_case
def test_the_vectorized_jacobian_and_hessian_are_the_plain_ones(case: Case, fake, device):
    for function, reduction in ((jacobian, "none"), (jacobian, "mean"), (hessian, "mean")):
        call, leaves = float64_call(case, fake, reduction, device)
        leaves = tuple(x.detach() for x in leaves)
        got, want = (flat(function(call, leaves, vectorize=vectorize)) for vectorize in (True, False))
        for a, b in zip(got, want, strict=True):
            assert_within(a, b, 1e-14, function.__name__)


def flat(nested) -> list[torch.Tensor]:
    return [nested] if isinstance(nested, torch.Tensor) else [x for part in nested for x in flat(part)]


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_inputs_with_a_negative_bit_are_what_they_stand_for(case: Case, device):
    args = with_gradient(case.build(Sampler(7, 5, device=device)))
    negative = map_tensors(args, lambda x: torch._neg_view(-x))
    results = []
    for given in (negative, args):
        outputs = as_tuple(case.fused()(*given, **case.keywords("column", "mean")))
        results.append(tuple(x.detach() for x in outputs))
        if case.differentiable:
            results[-1] += torch.autograd.grad(outputs[0], floats(args))
    assert_same(*results)


def test_a_zero_tensor_is_a_batch_of_zeros(device):
    logits = Sampler(7, 5, device=device).logits().requires_grad_()
    zeros = {dtype: torch.zeros(7, dtype=dtype, device=device) for dtype in (torch.int64, torch.int32)}
    for dtype, plain in zeros.items():
        labels = torch._efficientzerotensor((7,), dtype=dtype, device=device)
        assert_same(ops.am_generator_loss(logits, labels), ops.am_generator_loss(logits, plain))
        assert_same(ops.kplus1_terms(logits, labels), ops.kplus1_terms(logits, plain))
    no_logits = torch._efficientzerotensor((7, 6), device=device)
    assert_same(ops.am_generator_loss(no_logits), ops.am_generator_loss(torch.zeros_like(logits)))


def test_labels_that_cannot_be_read_are_still_checked():
    logits = Sampler(7, 5).logits().requires_grad_()
    with pytest.raises(IndexError, match=r"labels\[6\] is 9, wanted 0 <= label <= 4"):
        ops.am_generator_loss(logits, torch._neg_view(torch.tensor([0] * 6 + [-9])))
