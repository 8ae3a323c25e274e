"""Bounds, and the comparison of a fused operation with the float64 reference.

The oracle gets the very inputs of the fused operation, widened to float64 (which is exact): only the operation's
own rounding is left in the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sample_inputs import Case, Sampler, as_tuple, floats, map_tensors
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Bound:
    relative: float
    absolute: float


# float32, and half precision, which is computed in float32: a loss is a sum of a few terms, each rounded to 6e-8 of
# itself; log(sum exp) errs by the rounding of the sum, absolute around 1 to 2e-7, and by that of the shifted logits,
# 6e-8 of their range (20 here). float64: the same with 1e-16. (Measured: at most 2e-6 absolute, where coefficients of
# both signs cancel.)
LOSS = {torch.float32: Bound(3e-6, 4e-6), torch.float64: Bound(1e-12, 1e-13)}
# A gradient is a probability (relative error: the exponential's, at most 2e-6, and that of its argument) plus
# constants of the size of grad_output, from which the absolute part comes (1 - p loses what p rounds away).
GRADIENT = {torch.float32: Bound(5e-6, 5e-7), torch.float64: Bound(1e-12, 1e-14)}
SIGNIFICANT_BITS = {torch.bfloat16: 8, torch.float16: 11}
SMALLEST_STEP = {torch.bfloat16: 2.0**-133, torch.float16: 2.0**-24}


def computing(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def half_step(want: Tensor, dtype: torch.dtype) -> Tensor | float:
    """Half a unit in the last place of a half-precision result: the error of rounding it once."""
    if dtype not in SIGNIFICANT_BITS:
        return 0.0
    _, exponent = torch.frexp(want)
    step = torch.ldexp(torch.ones_like(want), exponent - SIGNIFICANT_BITS[dtype])
    return step.clamp_min(SMALLEST_STEP[dtype]) / 2


def assert_within(got: Tensor, want: Tensor, limit: Tensor | float, what: str) -> None:
    assert got.shape == want.shape, f"{what}: shape {tuple(got.shape)}, wanted {tuple(want.shape)}"
    got, want = got.detach().double(), want.detach().double()
    # Equal infinities agree, and NaN agrees with NaN.
    agrees = (got == want) | (got.isnan() & want.isnan()) | (want.isfinite() & ((got - want).abs() <= limit))
    if not agrees.all():
        worst = torch.where(agrees, -1.0, (got - want).abs().nan_to_num(float("inf"))).flatten().argmax()
        raise AssertionError(
            f"{what}: {int((~agrees).sum())} of {got.numel()} are off; the worst, at flat index {int(worst)}: "
            f"got {got.flatten()[worst].item():.9g}, wanted {want.flatten()[worst].item():.9g}"
        )


def assert_loss(got: Tensor, want: Tensor, what: str, scale: float = 1.0) -> None:
    """`scale`: the number of rows that a sum adds up."""
    bound = LOSS[got.dtype]
    assert_within(got, want, bound.relative * want.detach().abs() + bound.absolute * scale, what)


def assert_gradient(got: Tensor, want: Tensor, what: str, scale: Tensor | float = 1.0) -> None:
    """`scale`: the size of grad_output per row."""
    bound = GRADIENT[computing(got.dtype)]
    limit = bound.relative * want.abs() + bound.absolute * scale + half_step(want, got.dtype) * (1 + 1e-6)
    assert_within(got, want, limit, what)


def assert_same(got: Any, want: Any, what: str = "") -> None:
    """Bitwise equal, NaN equal to NaN."""
    for i, (a, b) in enumerate(zip(as_tuple(got), as_tuple(want), strict=True)):
        assert a.dtype == b.dtype, f"{what}: output {i} has dtype {a.dtype}, wanted {b.dtype}"
        assert_within(a, b, 0.0, f"{what}: output {i}")


def with_gradient(args: tuple[Any, ...], dtype: torch.dtype | None = None) -> tuple[Any, ...]:
    """Fresh leaves with the same values; floating point ones widened to dtype and asking for gradients."""

    def leaf(x: Tensor) -> Tensor:
        x = x.detach()
        return x.to(dtype or x.dtype).requires_grad_() if x.is_floating_point() else x

    return map_tensors(args, leaf)


def values_and_gradients(
    case: Case, function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], upstream: Tensor
) -> tuple[Tensor, ...]:
    """What the function returns and, of a loss, its gradients for this gradient of the loss."""
    outputs = as_tuple(function(*args, **keywords))
    if case.differentiable:
        outputs += torch.autograd.grad(outputs, floats(args), upstream)
    return tuple(x.detach() for x in outputs)


def upstream_like(loss: Tensor, seed: int = 1) -> Tensor:
    """A grad_output that is neither 1 nor constant: one that is ignored shows."""
    weights = torch.randn(max(loss.numel(), 1), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (weights[: loss.numel()] if loss.dim() else weights[0] - 1.5).to(loss.device)


def check_loss(case: Case, sampler: Sampler, reduction: str) -> None:
    """Value and gradients of a differentiable case against the reference in float64."""
    rows = f"{case.name} K={sampler.classes} N={sampler.rows} {sampler.fake} {reduction} {sampler.dtype}"
    args = case.build(sampler)
    keywords = case.keywords(sampler.fake, reduction)
    ours, exact = with_gradient(args), with_gradient(args, torch.float64)
    got, want = case.fused()(*ours, **keywords), case.reference()(*exact, **keywords)
    assert got.dtype == computing(sampler.dtype), rows
    count = sum(x.size(0) for x in floats(args))
    assert_loss(got, want, rows, scale=count if reduction == "sum" else 1)

    upstream = upstream_like(want).to(got.dtype)
    got_grads = torch.autograd.grad(got, floats(ours), upstream)
    want_grads = torch.autograd.grad(want, floats(exact), upstream.double())
    size = upstream.abs().max().item() if upstream.numel() else 0.0
    for i, (x, a, b) in enumerate(zip(floats(ours), got_grads, want_grads, strict=True)):
        assert a.dtype == x.dtype, rows
        divisor = max(x.size(0), 1) if reduction == "mean" else 1
        assert_gradient(a, b, f"{rows}, gradient {i}", scale=size / divisor)


def reduced(rows: Tensor, reduction: str) -> Tensor:
    return rows if reduction == "none" else rows.mean() if reduction == "mean" else rows.sum()


def check_rows(
    got_of: Callable[..., Tensor], rows_of: Callable[..., Tensor], logits: Sequence[Tensor], reduction: str, what: str
) -> None:
    """Loss, gradient and second derivative of ``got_of`` against ``rows_of``, in float64 and without derivatives of our
    own."""
    ours = [x.clone().requires_grad_() for x in logits]
    exact = [x.double().requires_grad_() for x in logits]
    got, want = got_of(*ours), rows_of(*exact)
    dtype = computing(logits[0].dtype)
    count = sum(len(x) for x in logits)
    assert got.dtype == dtype
    assert_loss(got, want, what, scale=count if reduction == "sum" else 1)
    upstream = upstream_like(want).to(dtype)
    got_grads = torch.autograd.grad(got, ours, upstream, create_graph=dtype == torch.float64)
    want_grads = torch.autograd.grad(want, exact, upstream.double(), create_graph=True)
    size = 2 * upstream.abs().max().item() if upstream.numel() else 0.0
    for a, b in zip(got_grads, want_grads, strict=True):
        assert_gradient(a, b, what, scale=size / max(len(b), 1) if reduction == "mean" else size)
    if dtype == torch.float64:
        directions = [_direction(x) for x in exact]
        second = torch.autograd.grad(got_grads, ours, directions)
        for a, b in zip(second, torch.autograd.grad(want_grads, exact, directions), strict=True):
            assert_gradient(a, b, f"{what}, second", scale=4 * size)


def _direction(x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class Trace(TorchDispatchMode):
    """Records the name of every operation that reaches a backend."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.name())
        return function(*args, **(kwargs or {}))
