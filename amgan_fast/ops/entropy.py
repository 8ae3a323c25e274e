"""The entropy of a class distribution given by logits."""

# mypy: disable-error-code="empty-body"
# The operations themselves: csrc/ops/entropy.cpp; how a function without a body calls one: _calls.py.
from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.ops._calls import calls

_ops = torch.ops.amgan_fast


@calls(_ops.class_entropy.default)
def class_entropy(logits: Tensor, *, reduction: str = "mean", row_weight: Tensor | None = None) -> Tensor:
    """H(C) in nats, C the softmax over the K columns (Springenberg, CatGAN, arXiv 1511.06390).

    Its first and second derivatives exist; a class of probability 0 contributes 0 to both value and gradient. NaN or
    +inf in a row makes both NaN.

    Args:
        logits: [N, K], float32, float64, bfloat16 or float16, any strides; half precision is computed in float32.
        reduction: ``"mean"`` or ``"sum"``: a scalar; ``"none"``: [N].
        row_weight: [N], multiplies the entropy of each row, see :mod:`amgan_fast.ops.kplus1`.

    Raises:
        TypeError: what is no tensor, or a dtype that is not floating point.
        ValueError: a wrong shape, an unknown reduction, or a weight that is negative or not finite.

    >>> import torch
    >>> from amgan_fast import ops
    >>> ops.class_entropy(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), reduction="none")
    tensor([0.6931, 0.0012])
    """


@calls(_ops.class_entropy_and_grad.default)
def class_entropy_and_grad(
    logits: Tensor, *, reduction: str = "mean", row_weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """:func:`class_entropy` and its gradient, ``(entropy, grad)``, in one pass and without an autograd node.

    The gradient is that of the result (of its sum, with ``reduction="none"``), in the shape and dtype of the logits.

    >>> import torch
    >>> from amgan_fast import ops
    >>> ops.class_entropy_and_grad(torch.tensor([[1.0, 0.0]]))
    (tensor(0.5822), tensor([[-0.1966,  0.1966]]))
    """
