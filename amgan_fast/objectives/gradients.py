"""A loss and its gradients together, for losses that have no operation which gives both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from amgan_fast.errors import found


def loss_and_grad(loss: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """``(loss, *gradients)`` of a scalar loss of these tensors, detached, by autograd, whether it is on or off. The
    gradient by a tensor that the loss has no use for is 0.

    Raises:
        TypeError: the loss is no tensor.
        ValueError: it is no scalar.
    """
    leaves = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        value = loss(*leaves)
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss is {found(value)}, wanted a scalar tensor")
    if value.ndim:
        raise ValueError(f"the loss is a tensor of shape {list(value.shape)}, wanted a scalar")
    return (value.detach(), *torch.autograd.grad(value, leaves, materialize_grads=True))
