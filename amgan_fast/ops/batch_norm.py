"""Batch norm, leaky ReLU and dropout together: what follows the convolutions of a GAN in training."""

# mypy: disable-error-code="empty-body"
# The operations themselves: csrc/ops/batch_norm.cpp; how a function without a body calls one: _calls.py.
from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.ops._calls import calls

_ops = torch.ops.amgan_fast


@calls(_ops.batch_norm_leaky_dropout.default)
def batch_norm_leaky_dropout(
    x: Tensor, weight: Tensor, bias: Tensor, p: float = 0.0, slope: float = 0.2, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm with the statistics of the batch, then :func:`leaky_dropout`.

    As ``leaky_dropout(F.batch_norm(x, None, None, weight, bias, training=True, eps=eps), p, slope)``, which drops the
    same elements from the same seed. On the CPU, for [N, C] and for ``channels_last`` images, two passes over memory
    forward and two backward, which keeps x alone; elsewhere these two operations one after the other. Sums over the
    batch are then taken in float64 from chunks in float32, in an order that the number of threads does not change.

    Args:
        x: [N, C] or [N, C, ...] with at least 2 values a channel; float32, float64, bfloat16 or float16, CPU or CUDA.
            Half precision is computed in float32 and rounded once, by the two operations twice.
        weight: [C], what the normalised values are multiplied by; float32, for float64 x float64, or the dtype of x.
        bias: [C], what is added then; in the dtype of weight.
        p: the probability of a drop, in [0, 1], as in :func:`leaky_dropout`. With ``p=0`` nothing is drawn.
        slope: what negative values are multiplied by, at least 0 and finite.
        eps: what is added to the variance, positive.

    Returns:
        The result, in the shape and dtype of x, with derivatives of any order; and the batch's mean and
        variance (by the count, not by the count minus one), each [C] in the dtype of weight, without.

    Raises:
        TypeError: what is no tensor, or a dtype other than those above.
        ValueError: a shape, device, ``p``, ``slope`` or ``eps`` out of range.

    >>> import torch
    >>> from amgan_fast import ops
    >>> x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    >>> y, mean, variance = ops.batch_norm_leaky_dropout(x, weight=torch.ones(2), bias=torch.zeros(2))
    >>> y
    tensor([[-0.2000,  0.0000],
            [ 1.0000,  0.0000]])
    >>> mean, variance
    (tensor([2., 5.]), tensor([1., 0.]))
    """
