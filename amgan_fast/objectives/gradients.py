"""A loss and its gradients together, for losses that have no operation which gives both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def loss_and_grad(loss: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """``(loss, *gradients)`` of a scalar loss of these tensors, detached, by autograd, whether it is on or off."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        value = loss(*leaves)
    return (value.detach(), *torch.autograd.grad(value, leaves))
