"""Losses on the logits of a (K+1)-class discriminator: AM-GAN, LabelGAN and their relatives.

Shapes and dtypes common to all of them
    *logits*: [N, K+1] with ``fake="column"`` (the last column is the generated class) or [N, K] with
    ``fake="zero"`` (the generated class has the constant logit 0, Salimans et al. 2016); float32, float64,
    bfloat16 or float16, any strides, CPU or CUDA. Half precision is computed in float32.
    *labels*: [N], int64 or int32; ``None`` stands for the dynamic label, the real class with the largest logit
    (lowest index on ties, no gradient through it; AM-GAN section 5.1).
    *row_weight*: [N], finite numbers of at least 0 in any floating dtype, without a gradient: each row's loss is
    multiplied by its own before the reduction, and a row of weight 0 has none, whatever its value. ``"mean"`` still
    divides by N, not by the sum of the weights.
    *reduction*: ``"mean"`` and ``"sum"`` return a scalar, ``"none"`` one loss a row, [N]. The loss is float64
    for float64 logits and float32 for all others, also under ``torch.autocast``. All losses are in nats.

Errors, all raised before anything is computed
    ``TypeError`` for what is no tensor and for a wrong dtype; ``ValueError`` for a wrong shape, device, option,
    smoothing or weight; ``IndexError`` for a label out of range (of weights and labels on CUDA: a device-side
    assertion, so that no call waits for the GPU); ``NotImplementedError`` for weights that require a gradient.

-inf logits are legal. NaN or +inf in any logit of a row, that of the generated class too, makes all its results
non-finite (not its label), whatever the coefficients. Losses have first and second derivatives. Where a gradient is
asked for, the forward pass of float32 and float64 logits on the CPU computes it along with the loss and keeps it,
[N, K+1], for backward: evaluate under ``torch.no_grad()`` what needs none.

Sources: Zhou et al., "Activation Maximization Generative Adversarial Nets", ICLR 2018, arXiv 1703.02000 [AM];
Zhou, Zhang, Wang, "Inception Score, Label Smoothing, Gradient Vanishing and the -log(D(x)) Alternative", 2017 [LS].
"""

# mypy: disable-error-code="empty-body"
# The operations themselves: csrc/ops/kplus1.cpp; how a function without a body calls one: _calls.py.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from amgan_fast.ops._calls import calls

_ops = torch.ops.amgan_fast


class KPlus1Terms(NamedTuple):
    """Per-row terms of -log D_y, each of shape [N]: ``labelgan`` + ``auxiliary`` = -log D_y ([AM] Lemma 2)."""

    labelgan: Tensor
    """-log D_r, how far the row is from being real at all; float32 or float64."""
    auxiliary: Tensor
    """-log C_y, how far it is from its class among the real ones; float32 or float64."""
    labels: Tensor
    """The label y of the row, int64: the given one, or the dynamic one."""


@calls(_ops.kplus1_loss.default)
def kplus1_loss(
    logits: Tensor,
    labels: Tensor | None,
    coefficients: Sequence[float],
    *,
    fake: str = "column",
    reduction: str = "mean",
    fake_labels: bool = True,
    row_weight: Tensor | None = None,
    unlabelled: bool = False,
    second_labels: Tensor | None = None,
    second_coefficient: float = 0.0,
) -> Tensor:
    """Any member of the family ``a*A + r*R - t*l_y - f*l_f - u*S``, with a second label ``- s*l_y2`` more.

    A and R are the logsumexp over all K+1 and over the K real logits, S the mean of the real logits. With
    ``a + r = t + s + f + u`` the loss is invariant to a shift of the row, and no two large terms are subtracted.

    Args:
        logits: see :mod:`amgan_fast.ops.kplus1`.
        labels: [N] with values 0..K (K selects the generated class), or None for the dynamic label.
        fake_labels: False: K is no label either.
        unlabelled: True: a label may be -1, of a row that has none. What the loss has on the label and on all classes
            alike, t and u, is on R there: ``a*A + (r-t-u)*R - f*l_f``; -log D_y becomes -log D_r.
        second_labels: [N] with values as ``labels`` but for -1, in any row equal to it or not: y2. Mixup (Zhang et al.,
            arXiv 1710.09412) and ADC-GAN (Hou et al., arXiv 2107.10060) have two labels a row.
        second_coefficient: s, finite.
        coefficients: the five numbers (a, r, t, f, u), finite.

    >>> import torch
    >>> from amgan_fast import ops
    >>> logits = torch.tensor([[2.0, 0.0, -1.0]])  # two real classes and the generated one
    >>> am = (1, 0, 1, 0, 0)  # A - l_y
    >>> ops.kplus1_loss(logits, torch.tensor([0]), am)
    tensor(0.1698)
    >>> mixed = {"second_labels": torch.tensor([1]), "second_coefficient": 0.25}  # 0.75 of class 0, 0.25 of class 1
    >>> ops.kplus1_loss(logits, torch.tensor([0]), (1, 0, 0.75, 0, 0), **mixed)
    tensor(0.6698)
    """


def _cross_entropy(logits: Tensor, target: Tensor | str, **options: Any) -> Tensor:
    if not isinstance(target, str):
        ignored = options.get("ignore_index")
        if isinstance(ignored, int) and ignored >= 0 and isinstance(target, Tensor) and target.is_floating_point():
            raise ValueError(
                f"kplus1_cross_entropy: ignore_index is {ignored} and target holds probabilities, "
                "wanted labels beside it"
            )
        return _ops.kplus1_cross_entropy.default(logits, target, **options)
    if options.pop("weight", None) is not None or options.pop("ignore_index", -100) not in (-100, None):
        raise ValueError(f"kplus1_cross_entropy: target is {target!r}, wanted labels beside weight or ignore_index")
    return _ops.kplus1_cross_entropy.mode(logits, target, **options)


@calls(_cross_entropy)
def kplus1_cross_entropy(
    logits: Tensor,
    target: Tensor | str,
    *,
    fake: str = "column",
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
    row_weight: Tensor | None = None,
) -> Tensor:
    """Softmax cross-entropy over K+1 classes, -log D_target ([AM] eq. 5).

    With ``fake="column"`` and a tensor as target it equals :func:`torch.nn.functional.cross_entropy` and has all of its
    options.

    Args:
        logits: see :mod:`amgan_fast.ops.kplus1`.
        target: [N] with values 0..K (K is the generated class), ``"dynamic"`` or ``"fake"``; or a floating dtype,
            [N, K+1] whatever ``fake`` is: how much of each class, usually a probability, for which PyTorch's own
            operations are used.
        label_smoothing: in [0, 1], spread over all K+1 classes as PyTorch does.
        weight: [K+1], of each class, finite numbers of at least 0. With labels the mean is over the weights of the
            rows' classes, as in PyTorch.
        ignore_index: rows of this label have no loss and are not counted in the mean; over no rows that is NaN. None:
            there is no such label. Beside probabilities one of 0 or more is an error, as in PyTorch. On CUDA, where
            nobody looks for such rows beforehand, a mean with None takes one kernel instead of several.

    >>> import torch
    >>> from amgan_fast import ops
    >>> logits = torch.tensor([[2.0, 0.0, -1.0]])
    >>> ops.kplus1_cross_entropy(logits, torch.tensor([1]))
    tensor(2.1698)
    >>> ops.kplus1_cross_entropy(logits, "dynamic"), ops.kplus1_cross_entropy(logits, "fake")
    (tensor(0.1698), tensor(3.1698))
    >>> two = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    >>> ops.kplus1_cross_entropy(two, torch.tensor([1, -100]))  # of the first row alone
    tensor(2.1698)
    >>> ops.kplus1_cross_entropy(two[:1], torch.tensor([[0.5, 0.5, 0.0]]))  # half of each class
    tensor(1.1698)
    """


@calls(_ops.am_discriminator_loss.default)
def am_discriminator_loss(
    real_logits: Tensor,
    labels: Tensor,
    fake_logits: Tensor,
    *,
    fake: str = "column",
    real_smoothing: float = 0.0,
    fake_smoothing: float = 0.0,
    class_smoothing: float = 0.0,
    reduction: str = "mean",
    real_row_weight: Tensor | None = None,
    fake_row_weight: Tensor | None = None,
) -> Tensor:
    """Discriminator loss of AM-GAN and LabelGAN, -log D_y(x) on real and -log D_{K+1}(g) on generated rows
    ([AM] eq. 5 and 15), both batches in one kernel.

    Args:
        real_logits: [N, K+1] or [N, K].
        labels: [N] with values 0..K-1, and -1 for a row without a label, whose loss is -log D_r(x) (Salimans et al.,
            arXiv 1606.03498, section 5): labelled and unlabelled rows of one batch, the mean over all of them.
        fake_logits: [M, K+1] or [M, K]; M may differ from N.
        real_smoothing: target mass that real rows put on the generated class ([LS] eq. 6), in [0, 1].
        fake_smoothing: target mass that generated rows spread over the K real classes, in [0, 1].
        class_smoothing: share of a real row's class target that is spread over the K classes, in [0, 1].
        reduction: ``"mean"``: mean over real rows + mean over generated rows; ``"sum"`` likewise; ``"none"``:
            [N+M], real rows first.
        real_row_weight: [N], see ``row_weight`` of :mod:`amgan_fast.ops.kplus1`.
        fake_row_weight: [M], likewise.

    >>> import torch
    >>> from amgan_fast import ops
    >>> real = torch.tensor([[2.0, 0.0, -1.0], [0.0, 3.0, -1.0]], requires_grad=True)
    >>> generated = torch.tensor([[0.5, 0.0, 1.0]], requires_grad=True)
    >>> loss = ops.am_discriminator_loss(real, torch.tensor([0, 1]), generated, real_smoothing=0.1)
    >>> loss.backward()
    >>> generated.grad
    tensor([[ 0.3072,  0.1863, -0.4935]])
    >>> ops.am_discriminator_loss(real.detach(), torch.tensor([0, -1]), generated.detach())  # the second row is real
    tensor(0.7738)
    """


@calls(_ops.am_generator_loss.default)
def am_generator_loss(
    fake_logits: Tensor,
    labels: Tensor | None = None,
    *,
    fake: str = "column",
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> Tensor:
    """Generator loss of AM-GAN, -log D_y(g) ([AM] eq. 14), with dynamic (``labels=None``) or given labels 0..K-1.

    >>> import torch
    >>> from amgan_fast import ops
    >>> generated = torch.tensor([[0.5, 0.0, 1.0]])
    >>> ops.am_generator_loss(generated), ops.am_generator_loss(generated, torch.tensor([1]))
    (tensor(1.1803), tensor(1.6803))
    """


@calls(_ops.labelgan_generator_loss.default)
def labelgan_generator_loss(
    fake_logits: Tensor,
    *,
    fake: str = "column",
    smoothing: float = 0.0,
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> Tensor:
    """Generator loss of LabelGAN, -log D_r(g) ([AM] eq. 2), D_r the total probability of the real classes.

    With ``smoothing`` s in [0, 1] the target is (1-s, s) on (real, generated), which stops at D_r = 1-s ([LS] eq. 11).

    >>> import torch
    >>> from amgan_fast import ops
    >>> ops.labelgan_generator_loss(torch.tensor([[0.5, 0.0, 1.0]]))
    tensor(0.7062)
    """


@calls(_ops.kplus1_terms.default, KPlus1Terms._make)
def kplus1_terms(logits: Tensor, labels: Tensor | None = None, *, fake: str = "column") -> KPlus1Terms:
    """The two halves of -log D_y and the label of every row, from one pass and without gradient ([AM] Lemma 2).

    >>> import torch
    >>> from amgan_fast import ops
    >>> terms = ops.kplus1_terms(torch.tensor([[0.5, 0.0, 1.0]]))
    >>> terms.labelgan, terms.auxiliary, terms.labels
    (tensor([0.7062]), tensor([0.4741]), tensor([0]))
    """


@calls(_ops.kplus1_loss_and_grad.default)
def kplus1_loss_and_grad(
    logits: Tensor,
    labels: Tensor | None,
    coefficients: Sequence[float],
    *,
    fake: str = "column",
    reduction: str = "mean",
    fake_labels: bool = True,
    row_weight: Tensor | None = None,
    unlabelled: bool = False,
    second_labels: Tensor | None = None,
    second_coefficient: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """:func:`kplus1_loss` and its gradient in one pass and without an autograd node, for training loops.

    Returns:
        ``(loss, grad)``: the gradient of the loss (of its sum, with ``reduction="none"``), in the shape and dtype of
        the logits, to be fed to ``torch.autograd.backward(logits, grad)``.

    >>> import torch
    >>> from amgan_fast import ops
    >>> ops.kplus1_loss_and_grad(torch.tensor([[2.0, 0.0, -1.0]]), None, (1, 0, 1, 0, 0))
    (tensor(0.1698), tensor([[-0.1562,  0.1142,  0.0420]]))
    """


@calls(_ops.am_discriminator_loss_and_grad.default)
def am_discriminator_loss_and_grad(
    real_logits: Tensor,
    labels: Tensor,
    fake_logits: Tensor,
    *,
    fake: str = "column",
    real_smoothing: float = 0.0,
    fake_smoothing: float = 0.0,
    class_smoothing: float = 0.0,
    reduction: str = "mean",
    real_row_weight: Tensor | None = None,
    fake_row_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`am_discriminator_loss` and its gradient in one pass and without an autograd node, for training loops.

    Returns:
        ``(loss, grad_real, grad_fake)``: the gradients of the loss (of its sum, with ``reduction="none"``), in the
        shapes and dtypes of the logits, to be fed to ``torch.autograd.backward(logits, grad)``.

    >>> import torch
    >>> from amgan_fast import ops
    >>> real, generated = torch.zeros(2, 3), torch.zeros(4, 3)
    >>> loss, grad_real, grad_generated = ops.am_discriminator_loss_and_grad(real, torch.tensor([0, 1]), generated)
    >>> loss, grad_generated[0]
    (tensor(2.1972), tensor([ 0.0833,  0.0833, -0.1667]))
    """


@calls(_ops.am_generator_loss_and_grad.default)
def am_generator_loss_and_grad(
    fake_logits: Tensor,
    labels: Tensor | None = None,
    *,
    fake: str = "column",
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`am_generator_loss` and its gradient, ``(loss, grad)``, in one pass and without an autograd node.

    >>> import torch
    >>> from amgan_fast import ops
    >>> ops.am_generator_loss_and_grad(torch.tensor([[0.5, 0.0, 1.0]]))
    (tensor(1.1803), tensor([[-0.6928,  0.1863,  0.5065]]))
    """
