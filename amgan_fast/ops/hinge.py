"""The multi-class hinge on the logits of a (K+1)-class discriminator."""

# mypy: disable-error-code="empty-body"
# The operations themselves: csrc/ops/hinge.cpp; how a function without a body calls one: _calls.py.
from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.ops._calls import calls

_ops = torch.ops.amgan_fast


@calls(_ops.kplus1_hinge_loss.default)
def kplus1_hinge_loss(
    logits: Tensor,
    labels: Tensor | None = None,
    *,
    margin: float = 1.0,
    fake: str = "column",
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> Tensor:
    """``max(0, margin + l_o - l_y)``: how far the logit of the label is from leading the runner-up's by ``margin``.

    l_y is the logit of the label, l_o the largest of the other K (the multi-hinge of Kavalerov, Czaja, Chellappa,
    "cGANs with Multi-Hinge Loss", arXiv 1912.04216; Crammer & Singer, JMLR 2, 2001). It is another loss than
    :func:`torch.nn.functional.multi_margin_loss`, which adds up the violations of all other classes.

    The gradient is 1 at the runner-up and -1 at the label where the loss is above 0, and else 0: also at the kink,
    ``l_y = l_o + margin``. Of equal runners-up the one with the lowest index has all of it, as
    :func:`torch.max` with a ``dim``. The second derivative is 0.

    -inf logits are legal. NaN or +inf in any logit of a row, or -inf in all K+1 columns, makes its loss NaN, and its
    gradient in every column.

    Args:
        logits: [N, K+1] with ``fake="column"`` (the last column is the generated class) or [N, K] with
            ``fake="zero"`` (the generated class has the constant logit 0); float32, float64, bfloat16 or float16, any
            strides, CPU or CUDA. Half precision is computed in float32.
        labels: [N], int64 or int32, with values 0..K (K is the generated class), or None for the dynamic label: the
            real class with the largest logit (lowest index on ties, no gradient through the choice).
        margin: a finite number of at least 0.
        reduction: ``"mean"`` or ``"sum"``: a scalar; ``"none"``: [N]. float64 for float64 logits and float32 for all
            others, also under ``torch.autocast``.
        row_weight: [N], multiplies the loss of each row, see :mod:`amgan_fast.ops.kplus1`.

    Raises:
        TypeError: what is no tensor or number, or a wrong dtype.
        ValueError: a wrong shape, device, margin, weight or option.
        IndexError: a label out of range (on CUDA a device-side assertion).

    >>> import torch
    >>> from amgan_fast import ops
    >>> logits = torch.tensor([[2.0, 1.5, -1.0], [0.0, 3.0, -1.0]])  # two real classes and the generated one
    >>> ops.kplus1_hinge_loss(logits, torch.tensor([0, 2]), reduction="none")
    tensor([0.5000, 5.0000])
    >>> ops.kplus1_hinge_loss(logits, margin=2.0, reduction="none")  # the likeliest real classes: 0 and 1
    tensor([1.5000, 0.0000])
    """


@calls(_ops.kplus1_hinge_loss_and_grad.default)
def kplus1_hinge_loss_and_grad(
    logits: Tensor,
    labels: Tensor | None = None,
    *,
    margin: float = 1.0,
    fake: str = "column",
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`kplus1_hinge_loss` and its gradient, ``(loss, grad)``, in one pass and without an autograd node.

    The gradient is that of the result (of its sum, with ``reduction="none"``), in the shape and dtype of the logits.

    >>> import torch
    >>> from amgan_fast import ops
    >>> ops.kplus1_hinge_loss_and_grad(torch.tensor([[2.0, 1.5, -1.0]]), torch.tensor([0]))
    (tensor(0.5000), tensor([[-1.,  1.,  0.]]))
    """
