"""The entropy of a class distribution given by logits."""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.ops._calls import calls

_ops = torch.ops.amgan_fast


@calls(_ops.class_entropy.default)
def class_entropy(logits: Tensor, *, reduction: str = "mean") -> Tensor:
    """H(C) in nats, C the softmax over the K columns (Springenberg, CatGAN, arXiv 1511.06390).

    Its first and second derivatives exist; a class of probability 0 contributes 0 to both value and gradient. NaN or
    +inf in a row makes both NaN.

    Args:
        logits: [N, K], float32, float64, bfloat16 or float16, any strides; half precision is computed in float32.
        reduction: ``"mean"`` or ``"sum"``: a scalar; ``"none"``: [N].

    Raises:
        TypeError: what is no tensor, or a dtype that is not floating point.
        ValueError: a wrong shape or an unknown reduction.
    """


@calls(_ops.class_entropy_and_grad.default)
def class_entropy_and_grad(logits: Tensor, *, reduction: str = "mean") -> tuple[Tensor, Tensor]:
    """:func:`class_entropy` and its gradient, ``(entropy, grad)``, in one pass and without an autograd node.

    The gradient is that of the result (of its sum, with ``reduction="none"``), in the shape and dtype of the logits.
    """
