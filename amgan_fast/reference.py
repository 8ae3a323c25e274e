"""Every operation of :mod:`amgan_fast.ops` in plain PyTorch.

These are the formulas as the papers write them, differentiable through ordinary autograd: the oracle of the
tests (called in float64 there) and the baseline of the benchmarks. They take the arguments of the fused
operations and check nothing. The named losses are written out here, with no coefficients of a family: what they are
as members of it is in ``csrc/math`` for the operations and in :mod:`amgan_fast.objectives.losses` for the models.

Notation: K real classes, real logits ``l_1..l_K``, fake logit ``l_f`` (the last column with ``fake="column"``,
the constant 0 with ``fake="zero"``), D the softmax over all K+1, ``D_r = D_1 + .. + D_K``::

    A = logsumexp(l_1..l_K, l_f)    R = logsumexp(l_1..l_K)    S = mean(l_1..l_K)
    -log D_k = A - l_k              -log D_r = A - R           mean over k of -log D_k = A - S

Sources: Zhou et al., "Activation Maximization Generative Adversarial Nets" (ICLR 2018, arXiv 1703.02000) [AM];
Zhou, Zhang, Wang, "Inception Score, Label Smoothing, Gradient Vanishing and the -log(D(x)) Alternative", 2017 [LS];
Salimans et al., "Improved Techniques for Training GANs" (arXiv 1606.03498).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from amgan_fast.ops import KPlus1Terms, ScoreSums


def _computing(logits: Tensor) -> Tensor:
    """Half precision is computed, and returned, in float32."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _with_fake_column(logits: Tensor, fake: str) -> Tensor:
    logits = _computing(logits)
    return logits if fake == "column" else torch.cat([logits, logits.new_zeros(len(logits), 1)], 1)


def _reduce(rows: Tensor, reduction: str, row_weight: Tensor | None = None) -> Tensor:
    if row_weight is not None:
        rows = (row_weight * rows).masked_fill(row_weight == 0, 0)
    if reduction == "none":
        return rows
    return rows.mean() if reduction == "mean" else rows.sum()


def dynamic_labels(logits: Tensor, *, fake: str = "column") -> Tensor:
    """The real class with the largest logit, [N] int64: no gradient flows through it (AM-GAN, section 5.1)."""
    real = logits[:, :-1] if fake == "column" else logits
    return real.detach().argmax(1)


def _of_label(columns: Tensor, labels: Tensor) -> Tensor:
    """l_y."""
    return columns.gather(1, labels.long()[:, None])[:, 0]


def _smoothed(target: Tensor, share: float, other: Callable[[], Tensor]) -> Tensor:
    """(1 - share) * target + share * other. What has no share is left out: it may be infinite."""
    if share in (0, 1):
        return other() if share else target
    return (1 - share) * target + share * other()


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
    """a*A + r*R - t*l_y - s*l_y2 - f*l_f - u*S, and of rows without a label a*A + (r - t - u)*R - s*l_y2 - f*l_f."""
    a, r, t, f, u = coefficients
    second: dict[str, Any] = {"second_labels": second_labels, "second_coefficient": second_coefficient}
    if labels is not None and unlabelled:
        with_label = kplus1_loss(logits, labels.clamp_min(0), coefficients, fake=fake, reduction="none", **second)
        without = kplus1_loss(logits, None, (a, r - t - u, 0, f, 0), fake=fake, reduction="none", **second)
        return _reduce(torch.where(labels < 0, without, with_label), reduction, row_weight)
    labels = dynamic_labels(logits, fake=fake) if labels is None else labels.long()
    columns = _with_fake_column(logits, fake)
    real = columns[:, :-1]
    rows = a * columns.logsumexp(1)  # with a = 0, too: NaN and +inf in any column show in loss and gradient
    if r:
        rows = rows + r * real.logsumexp(1)
    if t:
        rows = rows - t * _of_label(columns, labels)
    if second_labels is not None and second_coefficient:
        rows = rows - second_coefficient * _of_label(columns, second_labels)
    if f:
        rows = rows - f * columns[:, -1]
    if u:
        rows = rows - u * real.mean(1)
    return _reduce(rows, reduction, row_weight)


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
    columns = _with_fake_column(logits, fake)
    if not isinstance(target, str):
        labels = target if target.is_floating_point() else target.long()
    elif target == "dynamic":
        labels = dynamic_labels(logits, fake=fake)
    else:
        labels = torch.full((len(columns),), columns.size(1) - 1, device=columns.device)
    ignore_index = -100 if ignore_index is None else ignore_index  # PyTorch takes no None
    options: dict[str, Any] = {"weight": weight, "label_smoothing": label_smoothing, "ignore_index": ignore_index}
    if row_weight is None:
        return torch.nn.functional.cross_entropy(columns, labels, reduction=reduction, **options)
    rows = _reduce(torch.nn.functional.cross_entropy(columns, labels, reduction="none", **options), "none", row_weight)
    if reduction != "mean" or labels.is_floating_point():
        return _reduce(rows, reduction)
    kept = labels[labels != ignore_index]
    return rows.sum() / (len(kept) if weight is None else weight[kept].sum())


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
    """-log D_y of real and -log D_{K+1} of generated rows ([AM] eq. 5 and 15): cross-entropies, of smoothed targets.
    Of real rows without a label: -log D_r ([AM] eq. 2)."""
    columns = _with_fake_column(real_logits, fake)
    of_class = _smoothed(_of_label(columns, labels.clamp_min(0)), class_smoothing, lambda: columns[:, :-1].mean(1))
    of_class = torch.where(labels < 0, columns[:, :-1].logsumexp(1), of_class)
    real = columns.logsumexp(1) - _smoothed(of_class, real_smoothing, lambda: columns[:, -1])
    generated_columns = _with_fake_column(fake_logits, fake)
    of_generated = _smoothed(generated_columns[:, -1], fake_smoothing, lambda: generated_columns[:, :-1].mean(1))
    generated = generated_columns.logsumexp(1) - of_generated
    real, generated = _reduce(real, "none", real_row_weight), _reduce(generated, "none", fake_row_weight)
    if reduction == "none":
        return torch.cat([real, generated])
    return _reduce(real, reduction) + _reduce(generated, reduction)


def am_generator_loss(
    fake_logits: Tensor,
    labels: Tensor | None = None,
    *,
    fake: str = "column",
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> Tensor:
    """-log D_y ([AM] eq. 14)."""
    labels = dynamic_labels(fake_logits, fake=fake) if labels is None else labels
    columns = _with_fake_column(fake_logits, fake)
    return _reduce(columns.logsumexp(1) - _of_label(columns, labels), reduction, row_weight)


def labelgan_generator_loss(
    fake_logits: Tensor,
    *,
    fake: str = "column",
    smoothing: float = 0.0,
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> Tensor:
    """-(1-s) log D_r - s log D_{K+1} ([AM] eq. 2, [LS] eq. 11)."""
    columns = _with_fake_column(fake_logits, fake)
    target = _smoothed(columns[:, :-1].logsumexp(1), smoothing, lambda: columns[:, -1])
    return _reduce(columns.logsumexp(1) - target, reduction, row_weight)


def kplus1_terms(logits: Tensor, labels: Tensor | None = None, *, fake: str = "column") -> KPlus1Terms:
    labels = dynamic_labels(logits, fake=fake) if labels is None else labels.long()
    columns = _with_fake_column(logits.detach(), fake)
    all_classes, real = columns.logsumexp(1), columns[:, :-1].logsumexp(1)
    auxiliary = real - _of_label(columns, labels)
    return KPlus1Terms(all_classes - real, auxiliary + 0 * all_classes, labels)  # NaN in any column shows in both


def kplus1_hinge_loss(
    logits: Tensor,
    labels: Tensor | None = None,
    *,
    margin: float = 1.0,
    fake: str = "column",
    reduction: str = "mean",
    row_weight: Tensor | None = None,
) -> Tensor:
    """max(0, margin + max of the other columns - l_y) (Kavalerov et al., arXiv 1912.04216)."""
    labels = dynamic_labels(logits, fake=fake) if labels is None else labels.long()
    columns = _with_fake_column(logits, fake)
    others = columns.scatter(1, labels[:, None], -math.inf)
    largest = columns.detach().amax(1)
    sound = 1 + (largest - largest)  # NaN in any column, +inf in any or -inf in all show in loss and gradient
    violation = margin + others.max(1).values - _of_label(columns, labels)
    return _reduce((violation * sound).relu(), reduction, row_weight)


def class_entropy(logits: Tensor, *, reduction: str = "mean", row_weight: Tensor | None = None) -> Tensor:
    log_prob = _computing(logits).log_softmax(1)
    prob = log_prob.exp()
    # A class of probability 0 contributes 0, and its gradient is 0: no 0 * -inf.
    rows = -(prob * log_prob.masked_fill(prob == 0, 0.0)).sum(1)
    return _reduce(rows, reduction, row_weight)


def _and_grad(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (loss.detach(), *torch.autograd.grad(loss.sum(), inputs))


def kplus1_loss_and_grad(
    logits: Tensor, labels: Tensor | None, coefficients: Sequence[float], **options: Any
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = logits.detach().requires_grad_()
        loss, grad = _and_grad(kplus1_loss(x, labels, coefficients, **options), x)
    return loss, grad


def kplus1_hinge_loss_and_grad(logits: Tensor, labels: Tensor | None = None, **options: Any) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = logits.detach().requires_grad_()
        loss, grad = _and_grad(kplus1_hinge_loss(x, labels, **options), x)
    return loss, grad


def class_entropy_and_grad(logits: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = logits.detach().requires_grad_()
        loss, grad = _and_grad(class_entropy(x, **options), x)
    return loss, grad


def am_discriminator_loss_and_grad(
    real_logits: Tensor, labels: Tensor, fake_logits: Tensor, **options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        real, generated = (x.detach().requires_grad_() for x in (real_logits, fake_logits))
        loss, grad_real, grad_fake = _and_grad(
            am_discriminator_loss(real, labels, generated, **options), real, generated
        )
    return loss, grad_real, grad_fake


def am_generator_loss_and_grad(
    fake_logits: Tensor, labels: Tensor | None = None, **options: Any
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        generated = fake_logits.detach().requires_grad_()
        loss, grad = _and_grad(am_generator_loss(generated, labels, **options), generated)
    return loss, grad


def score_sums(
    logits: Tensor,
    *,
    blocks: int = 1,
    offset: int = 0,
    probabilities: bool = False,
    dtype: torch.dtype | None = None,
    initial: Sequence[Tensor] | None = None,
) -> ScoreSums:
    x = logits.detach().double()
    log_prob = x.log() if probabilities else x.log_softmax(1)
    prob = x if probabilities else log_prob.exp()
    entropy = -(prob * log_prob.masked_fill(prob == 0, 0.0)).sum(1)
    block = (torch.arange(len(x), device=x.device) + offset) % blocks

    def sums(rows: Tensor) -> Tensor:
        return rows.new_zeros(blocks, *rows.shape[1:]).index_add_(0, block, rows)

    found = ScoreSums(sums(torch.ones_like(entropy)), sums(entropy), sums(prob), sums(prob**2), sums(log_prob))
    return found if initial is None else ScoreSums(*(a + b for a, b in zip(initial, found, strict=True)))


def leaky_dropout(x: Tensor, p: float = 0.5, slope: float = 0.2, *, training: bool = True) -> Tensor:
    """The same distribution, from other random numbers."""
    functional = torch.nn.functional
    return functional.dropout(functional.leaky_relu(x, slope), p, training)


def batch_norm_leaky_dropout(
    x: Tensor, weight: Tensor, bias: Tensor, p: float = 0.0, slope: float = 0.2, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """The same distribution, from other random numbers; mean and variance with derivatives."""
    z = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
    return leaky_dropout(z, p, slope), mean, variance


def inception_score(logits: Tensor) -> float:
    """Inception Score of the whole set, exp(H(mean p) - mean H(p)) (Salimans et al., section 4)."""
    sums = score_sums(logits)
    mean = sums.prob[0] / sums.count[0]
    return math.exp(torch.special.entr(mean).sum() - sums.entropy[0] / sums.count[0])
