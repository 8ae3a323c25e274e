"""What a penalty on the gradient differentiates: the second derivative times v, and the slope of the loss along v."""

from __future__ import annotations

import pytest
import torch
from checking import Trace, assert_same, assert_within, computing, half_step, upstream_like, with_gradient
from sample_inputs import (
    DTYPES,
    LAYOUTS,
    LOSSES,
    REDUCTIONS,
    SHAPES,
    Case,
    Sampler,
    by_name,
    dtype_name,
    floats,
    map_tensors,
)
from torch import Tensor

from amgan_fast import ops, reference

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
every_case = pytest.mark.parametrize("case", LOSSES, ids=by_name)

# Each element is a probability times a difference of numbers of v, the slope a sum of such: so relative to the largest.
BOUND = {torch.float32: 2e-6, torch.float64: 1e-13}


def directions(leaves: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(x.shape, generator=generator).to(x) for x in leaves]


def second_derivatives(loss: Tensor, leaves: list[Tensor], upstream: Tensor, v: list[Tensor]) -> tuple[Tensor, ...]:
    """The derivatives of <gradient, v> with respect to the gradient of the loss and to the logits."""
    upstream = upstream.detach().requires_grad_()
    gradients = torch.autograd.grad(loss, leaves, upstream, create_graph=True)
    return torch.autograd.grad(gradients, [upstream, *leaves], v)


def largest_sum(v: list[Tensor]) -> float:
    return max((x.abs().sum(1).max().item() for x in v if x.numel()), default=0.0)


def check(case: Case, sampler: Sampler, reduction: str) -> None:
    what = f"{case.name} K={sampler.classes} N={sampler.rows} {sampler.fake} {reduction} {sampler.dtype}"
    keywords = case.keywords(sampler.fake, reduction)
    args = case.build(sampler)
    ours, exact = with_gradient(args), with_gradient(args, torch.float64)
    v = directions(floats(args))
    with torch.no_grad():
        upstream = upstream_like(case.fused()(*args, **keywords)).to(computing(sampler.dtype))
    got = second_derivatives(case.fused()(*ours, **keywords), floats(ours), upstream, v)
    want = second_derivatives(
        case.reference()(*exact, **keywords), floats(exact), upstream.double(), [x.double() for x in v]
    )
    largest = max((x.abs().max().item() for x in v if x.numel()), default=0.0)
    bound = BOUND[computing(sampler.dtype)] * largest
    assert got[0].dtype == computing(sampler.dtype)
    # On CUDA it is that of the gradient, which has been rounded.
    rounding = torch.finfo(sampler.dtype).eps * largest_sum(v) if got[0].device.type == "cuda" else 0.0
    rows = max(sampler.rows, sampler.other_rows) if reduction == "sum" else 1
    assert_within(got[0], want[0], 3 * bound * rows + rounding, f"{what}, slope")
    size = upstream.abs().max().item() if upstream.numel() else 0.0
    for i, (x, a, b) in enumerate(zip(floats(args), got[1:], want[1:], strict=True)):
        assert a.dtype == x.dtype
        divisor = max(x.size(0), 1) if reduction == "mean" else 1
        assert_within(a, b, bound * size / divisor + half_step(b, a.dtype) * (1 + 1e-6), f"{what}, logits {i}")


@dtypes
@every_case
def test_they_equal_those_of_the_reference(case: Case, dtype, device):
    for i, (classes, rows) in enumerate(SHAPES):
        for j, fake in enumerate(case.fake_modes()):
            label_dtype = (torch.int64, torch.int32)[(i + j) % 2]
            sampler = Sampler(min(rows, 63), classes, fake, dtype, label_dtype=label_dtype, device=device)
            check(case, sampler, REDUCTIONS[(i + j) % 3])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@every_case
def test_every_reduction(case: Case, reduction, device):
    for classes in (10, 100):
        for fake in case.fake_modes():
            check(case, Sampler(19, classes, fake, torch.float64, device=device), reduction)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=dtype_name)
@pytest.mark.parametrize("classes", [7, 64, 65, 300])
def test_nearly_certain_rows_are_relatively_accurate(classes, dtype):
    """H v at the likely class is p (1 - p) times a difference: all of it is in what the other classes leave of 1."""
    gaps = torch.linspace(4, 15, 23, dtype=torch.float64)
    logits = torch.randn(len(gaps), classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    likely = torch.arange(len(gaps)) * 5 % classes
    logits[torch.arange(len(gaps)), likely] = logits.amax(1) + gaps
    leaf = logits.to(dtype).requires_grad_()
    exact = leaf.detach().double().requires_grad_()
    v = directions([leaf])
    for name, options in (("am_generator_loss", {"fake": "zero"}), ("class_entropy", {})):
        ours, plain = (
            getattr(module, name)(x, reduction="none", **options) for module, x in ((ops, leaf), (reference, exact))
        )
        ones = torch.ones(len(gaps), dtype=dtype)
        got = second_derivatives(ours, [leaf], ones, v)
        want = second_derivatives(plain, [exact], ones.double(), [x.double() for x in v])
        for a, b, what in zip(got, want, ("slope", "product"), strict=True):
            # Of the size of the rest of the row, times the range of a logarithm where it is an entropy.
            rest = 1 - exact.softmax(1).amax(1)
            limit = (5e-6 if dtype == torch.float32 else 1e-9) * 20 * rest
            assert_within(a, b, limit if b.dim() == 1 else limit[:, None], f"{name}, {what}")
            assert (b.abs().reshape(len(gaps), -1).amax(1) > 0.01 * rest).all()


def test_the_slope_along_tied_logits_is_that_of_the_first(device):
    for classes in (5, 70):
        logits = torch.zeros(3, classes, device=device)
        logits[:, [2, 4]] = 1.0
        leaf, v = logits.requires_grad_(), torch.zeros_like(logits)
        v[0, 2], v[1, 4], v[2, 3] = 1, 1, 1
        ones = torch.ones(3, device=device)
        slope, _ = second_derivatives(ops.am_generator_loss(leaf, fake="zero", reduction="none"), [leaf], ones, [v])
        p = torch.cat([logits, torch.zeros(3, 1, device=device)], 1).softmax(1)
        assert_within(slope, torch.stack([p[0, 2] - 1, p[1, 4], p[2, 3]]), 1e-6, f"K={classes}")


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_logits_and_v(layout, dtype, device):
    for case in LOSSES:
        for classes in (9, 80):
            args = with_gradient(case.build(Sampler(21, classes, dtype=dtype, device=device)))
            leaves, keywords = floats(args), case.keywords("column", "none")
            strided = [layout(x.detach()).requires_grad_() for x in leaves]
            given = iter(strided)
            rearranged = map_tensors(args, lambda x, given=given: next(given) if x.is_floating_point() else x)
            v = directions(leaves)
            upstream = upstream_like(case.fused()(*args, **keywords).detach()).to(computing(dtype))
            want = second_derivatives(case.fused()(*args, **keywords), leaves, upstream, v)
            got = second_derivatives(case.fused()(*rearranged, **keywords), strided, upstream, list(map(layout, v)))
            assert_same(got, want, f"{case.name} K={classes}")


def test_a_v_of_one_number(device):
    """The gradient of a sum is a number that every element shares in memory."""
    leaf = Sampler(9, 80, device=device).logits().requires_grad_()
    (gradient,) = torch.autograd.grad(ops.am_generator_loss(leaf), leaf, create_graph=True)
    (got,) = torch.autograd.grad(gradient[:, :3].sum() * 2, leaf, retain_graph=True)
    v = torch.zeros_like(leaf)
    v[:, :3] = 2
    (want,) = torch.autograd.grad(gradient, leaf, v, retain_graph=True)
    assert_same(got, want)
    (of_all,) = torch.autograd.grad(gradient.sum(), leaf)
    assert_within(of_all, torch.zeros_like(leaf), 1e-8, "the gradient of a row always sums to the same")


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize("classes", [5, 70])
def test_what_is_not_finite_stays_in_its_row(classes, value, device):
    for case in LOSSES:
        for in_v in (False, True) if case.curved else (False,):
            args = case.build(Sampler(6, classes, device=device))
            keywords = case.keywords("column", "none")
            clean_v, v = directions(floats(args)), directions(floats(args))
            spoiled = with_gradient(args)
            for x in v if in_v else floats(spoiled):
                x.data[2, classes // 2] = value
            clean = with_gradient(args)
            ones = torch.ones(sum(len(x) for x in v), device=device)
            got, want = (
                second_derivatives(case.fused()(*a, **keywords), floats(a), ones, w)
                for a, w in ((spoiled, v), (clean, clean_v))
            )
            for a, b in zip(got[1:], want[1:], strict=True):
                assert not a[2].isfinite().any(), case.name
                others = torch.arange(len(a)) != 2
                assert_same(a[others], b[others], case.name)


@dtypes
@pytest.mark.parametrize("classes", [4, 70])
@pytest.mark.parametrize("loss", [ops.am_generator_loss, ops.labelgan_generator_loss, ops.class_entropy])
def test_an_impossible_class_has_no_part(loss, classes, dtype, device):
    """Logits of -inf: 0 there, elsewhere what the other logits give by themselves."""
    narrow = Sampler(6, classes, dtype=dtype, device=device).logits()
    never = torch.full_like(narrow[:, :2], -torch.inf)
    ones = torch.ones(6, dtype=computing(dtype), device=device)
    (v,) = directions([torch.cat([never, narrow], 1)])
    results = []
    for logits, w in ((torch.cat([never, narrow], 1), v), (narrow, v[:, 2:].contiguous())):
        leaf = logits.requires_grad_()
        results.append(second_derivatives(loss(leaf, reduction="none"), [leaf], ones, [w]))
    (slope, product), (slope_of_others, product_of_others) = results
    limit = 8 * torch.finfo(dtype).eps
    assert (product[:, :2] == 0).all()
    assert_within(product[:, 2:], product_of_others, limit, "product")
    assert_within(slope, slope_of_others, limit, "slope")


def test_all_real_classes_impossible(device):
    """Nothing but the generated class is left, whose probability is 1 whatever its logit."""
    for classes in (4, 70):
        leaf = torch.full((2, classes + 1), -torch.inf, device=device)
        leaf[:, -1] = 0.5
        leaf.requires_grad_()
        (v,) = directions([leaf])
        slope, product = second_derivatives(
            ops.kplus1_cross_entropy(leaf, "fake", reduction="none"),
            [leaf],
            torch.ones(2, device=device),
            [v],
        )
        assert (product == 0).all()
        assert (slope == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=dtype_name)
def test_any_number_of_threads_gives_the_same_bits(dtype, threads):
    results = []
    for count in (1, 2):
        threads(count)
        for case in LOSSES:
            for rows, classes in ((700, 100), (7000, 10)):
                args = with_gradient(case.build(Sampler(rows, classes, dtype=dtype)))
                keywords = case.keywords("column", "mean")
                upstream = torch.tensor(1.5)
                results.append(
                    second_derivatives(
                        case.fused()(*args, **keywords),
                        floats(args),
                        upstream,
                        directions(floats(args)),
                    )
                )
    half = len(results) // 2
    for one, two in zip(results[:half], results[half:], strict=True):
        assert_same(two, one)


@every_case
def test_each_is_one_operation_on_the_cpu(case: Case):
    args = with_gradient(case.build(Sampler(5, 4)))
    leaves = floats(args)
    gradients = torch.autograd.grad(case.fused()(*args, **case.keywords("column", "mean")), leaves, create_graph=True)
    for used in ([0], list(range(len(leaves)))):
        with Trace() as trace:
            torch.autograd.grad([gradients[i] for i in used], leaves, [leaves[i] for i in used], retain_graph=True)
        ours = [name for name in trace.names if name.startswith("amgan_fast::")]
        loss = case.op if case.op in ("class_entropy", "kplus1_hinge_loss") else "kplus1_loss"
        assert ours == [f"amgan_fast::{loss}_double_backward"] * len(used)
        assert len(trace.names) <= len(used) * 2 + 1


def test_v_must_be_like_the_logits():
    operation, logits = torch.ops.amgan_fast.kplus1_loss_double_backward, torch.zeros(3, 5)
    with pytest.raises(ValueError, match=r"grad_grad has shape \[3, 4\] and logits \[3, 5\], wanted the same"):
        operation(torch.zeros(3, 4), torch.ones(()), logits, None, (1, 0, 1, 0, 0))
    with pytest.raises(TypeError, match=r"grad_grad has dtype Double and logits Float, wanted the same"):
        operation(torch.zeros(3, 5, dtype=torch.float64), torch.ones(()), logits, None, (1, 0, 1, 0, 0))
