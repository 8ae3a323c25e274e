"""The way of CUDA tensors through the dispatcher and autograd, without a GPU: keys, fake tensors, meta tensors.

Gradients of fake CUDA tensors come from the autograd node itself: torch's engine asks for the streams of their device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from checking import Trace, assert_same, computing, with_gradient
from sample_inputs import (
    CASES,
    DTYPES,
    LOSSES,
    REDUCTIONS,
    Case,
    Sampler,
    as_tuple,
    by_name,
    dtype_name,
    floats,
    map_tensors,
    sliced_columns,
    transposed,
)
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from amgan_fast import ops

COMPOSITES = {"am_generator_loss", "labelgan_generator_loss", "kplus1_cross_entropy", "kplus1_cross_entropy.mode"}
COMPOSITES |= {"leaky_dropout", "batch_norm_leaky_dropout"}
REGISTERED = sorted(
    name.removeprefix("amgan_fast::")
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("amgan_fast::")
)
PRIMITIVES = [name for name in REGISTERED if name not in COMPOSITES]


def has_kernel(name: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"amgan_fast::{name}", key)


# --- Keys


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_primitive_has_a_kernel_for_every_device_and_for_autograd(name):
    assert all(has_kernel(name, key) for key in ("CPU", "CUDA", "Meta", "Autograd"))
    assert not has_kernel(name, "CompositeImplicitAutograd")  # it would take the place of a missing one


@pytest.mark.parametrize("name", sorted(COMPOSITES))
def test_a_composite_is_nothing_of_its_own(name):
    assert has_kernel(name, "CompositeImplicitAutograd")
    assert not any(has_kernel(name, key) for key in ("CPU", "CUDA", "Meta", "Autograd"))


@pytest.mark.parametrize("case", [case for case in CASES if case.op in PRIMITIVES], ids=by_name)
def test_the_kernel_of_cuda_is_that_of_the_cpu(case: Case):
    """Called under the key of CUDA, with tensors of the CPU."""
    args, keywords = case.build(Sampler(7, 10)), case.keywords("column", "mean")
    cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
    overload = case.overload(args)
    assert_same(overload.redispatch(cuda, *args, **keywords), overload(*args, **keywords), case.name)


# --- Fake tensors on CUDA


def laid_out(args: tuple[Any, ...], layout: Callable[[Tensor], Tensor]) -> tuple[Any, ...]:
    return map_tensors(args, lambda x: layout(x) if x.dim() == 2 else x)


def on_cuda(x: Tensor) -> Tensor:
    """In the same strides, under a FakeTensorMode."""
    fake = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda")
    return fake.requires_grad_() if x.is_floating_point() else fake


def described(x: Tensor) -> tuple[object, ...]:
    return x.device.type, tuple(x.shape), x.dtype, x.stride()


def contiguous(x: Tensor, dtype: torch.dtype) -> tuple[object, ...]:
    """How a contiguous tensor on CUDA in the shape of x is described."""
    return "cuda", tuple(x.shape), dtype, torch.empty(x.shape, device="meta").stride()


def gradients(loss: Tensor, upstream: Tensor) -> list[Tensor]:
    return [x for x in as_tuple(loss.grad_fn(upstream)) if x is not None]


def names_of(trace: Trace) -> list[str]:
    return [name for name in trace.names if name != "prim::device"]


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_losses_and_gradients_of_fake_cuda_tensors(case: Case, dtype):
    for layout in (torch.clone, transposed, sliced_columns):
        for fake in case.fake_modes():
            for reduction in REDUCTIONS:
                args = laid_out(case.build(Sampler(5, 4, fake, dtype)), layout)
                keywords = case.keywords(fake, reduction)
                want = case.fused()(*args, **keywords)
                with FakeTensorMode():
                    given = map_tensors(args, on_cuda)
                    loss = case.fused()(*given, **keywords)
                    upstream = torch.empty_like(loss)
                    first = gradients(loss, upstream)
                    with torch.no_grad():
                        plain = gradients(loss, upstream)
                assert described(loss) == contiguous(want, computing(dtype))
                for found in (first, plain):
                    assert [described(x) for x in found] == [contiguous(x, dtype) for x in floats(args)]
                assert all(x.requires_grad for x in first)
                assert not any(x.requires_grad for x in plain)


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_second_derivatives_of_fake_cuda_tensors(case: Case, dtype):
    for reduction in ("mean", "none"):
        args = case.build(Sampler(5, 4, dtype=dtype))
        with FakeTensorMode():
            given = map_tensors(args, on_cuda)
            loss = case.fused()(*given, **case.keywords("column", reduction))
            first = gradients(loss, torch.empty_like(loss))
            of_upstream, *second = [x for x in as_tuple(first[0].grad_fn(*first)) if x is not None]
        assert described(of_upstream) == described(loss)
        assert [described(x) for x in second] == [contiguous(x, dtype) for x in floats(args)]


@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_on_cuda_a_loss_is_one_operation_and_its_gradient_another(case: Case):
    """Nothing is converted, copied or kept; the CPU, for comparison, computes the gradient along with the loss."""
    args, keywords = case.build(Sampler(5, 4)), case.keywords("column", "mean")
    with FakeTensorMode(), Trace() as trace:
        given = map_tensors(args, on_cuda)
        upstream = torch.empty((), device="cuda")
        trace.names.clear()
        gradients(case.fused()(*given, **keywords), upstream)
    op = case.op if case.op in PRIMITIVES else "kplus1_loss"
    assert names_of(trace) == [f"amgan_fast::{op}", f"amgan_fast::{op}_backward"]
    with Trace() as trace:
        case.fused()(*with_gradient(args), **keywords)
    assert f"amgan_fast::{op}_and_grad" in names_of(trace)


@pytest.mark.parametrize("case", [case for case in CASES if not case.differentiable], ids=by_name)
def test_outputs_without_gradient_of_fake_cuda_tensors(case: Case):
    for layout in (torch.clone, transposed, sliced_columns):
        args = laid_out(case.build(Sampler(5, 4)), layout)
        keywords = case.keywords("column", "none")
        want = as_tuple(case.fused()(*args, **keywords))
        with FakeTensorMode():
            given = map_tensors(args, on_cuda)
            with Trace() as trace:
                got = as_tuple(case.fused()(*given, **keywords))
        assert [described(x) for x in got] == [contiguous(x, x.dtype) for x in want]
        assert not any(x.requires_grad for x in got)
        assert names_of(trace) == [f"amgan_fast::{case.op}"]


def test_labels_of_another_device_are_refused():
    with FakeTensorMode():
        logits, labels = torch.empty(5, 4, device="cuda"), torch.empty(5, dtype=torch.int64)
        for loss in (ops.am_generator_loss, ops.kplus1_cross_entropy):
            with pytest.raises(ValueError, match=r"is on cpu and the logits on cuda:0, wanted the same device"):
                loss(logits, labels)


# --- Meta tensors


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_backward_of_meta_tensors(case: Case, dtype):
    for reduction in ("mean", "none"):
        for layout in (torch.clone, transposed):
            args = with_gradient(laid_out(case.build(Sampler(5, 4, dtype=dtype, device="meta")), layout))
            loss = case.fused()(*args, **case.keywords("column", reduction)).sum()
            first = torch.autograd.grad(loss, floats(args), create_graph=True)
            second = torch.autograd.grad(sum(x.float().sum() for x in first), floats(args))
            for x, *found in zip(floats(args), first, second, strict=True):
                assert [(g.device.type, g.shape, g.dtype) for g in found] == [("meta", x.shape, dtype)] * 2
                assert found[0].is_contiguous()
