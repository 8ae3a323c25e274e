"""What can be written in plain PyTorch instead of each operation: several forms, so that ours meets the best of them.

All agree with :mod:`amgan_fast.reference` in value and gradient, also where logits lie far apart
(``python_tests/test_plain_forms.py``). Forms that lose this, such as ``(1 - p).log()``, are not here, however fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.nn import functional as F

from amgan_fast import reference

CACHED_NUMBERS = 2**17  # of a piece: three float32 arrays of them stay in the caches


Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@dataclass(frozen=True)
class Form:
    """``function`` takes the arguments of the operation; one ``by_hand`` needs no autograd and returns gradients."""

    name: str
    function: Callable[..., Any]
    around: Wrap = as_it_is  # the function, what is left to Python
    by_hand: bool = False

    def callable(self, wrap: Wrap = as_it_is) -> Callable[..., Any]:
        """With the function wrapped, as by torch.compile."""
        return self.around(wrap(self.function))


# --- Cross-entropy by hand


def _fake(logits: Tensor) -> Tensor:
    return torch.full((len(logits),), logits.size(1) - 1, device=logits.device)


def _cross_entropy_and_grad(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    index, share = labels[:, None], 1 / len(logits)
    log_prob = logits.log_softmax(1)
    loss = log_prob.gather(1, index).mean().neg()
    grad = log_prob.exp_().mul_(share)
    return loss, grad.scatter_add_(1, index, grad.new_full(index.shape, -share))


class _CrossEntropy(torch.autograd.Function):
    """What F.cross_entropy does, without an array of zeros and its gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        log_prob = logits.log_softmax(1)
        ctx.save_for_backward(logits, log_prob, labels)
        return log_prob.gather(1, labels[:, None]).mean().neg()

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None]:
        logits, log_prob, labels = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _CrossEntropyGradient.apply(logits, grad_loss, log_prob, labels), None
        return _cross_entropy_gradient(log_prob, labels, grad_loss), None


def _cross_entropy_gradient(log_prob: Tensor, labels: Tensor, grad_loss: Tensor) -> Tensor:
    share = grad_loss / len(labels)
    index = labels[:, None]
    return log_prob.exp().mul_(share).scatter_add_(1, index, -share.expand(index.shape))


class _CrossEntropyGradient(torch.autograd.Function):
    """The gradient, whose derivative is diag(p) - p p'."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, grad_loss: Tensor, log_prob: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(grad_loss, log_prob, labels)
        return _cross_entropy_gradient(log_prob, labels, grad_loss)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        grad_loss, log_prob, labels = ctx.saved_tensors
        prob = log_prob.exp()
        product = prob * v
        inner = product.sum(1, keepdim=True)
        of_grad_loss = (inner - v.gather(1, labels[:, None])).mean() if ctx.needs_input_grad[1] else None
        return product.addcmul_(prob, inner, value=-1).mul_(grad_loss / len(v)), of_grad_loss, None, None


# --- am_discriminator_loss


def discriminator_cross_entropy_twice(real: Tensor, labels: Tensor, generated: Tensor) -> Tensor:
    return F.cross_entropy(real, labels) + F.cross_entropy(generated, _fake(generated))


def discriminator_cross_entropy_of_cat(real: Tensor, labels: Tensor, generated: Tensor) -> Tensor:
    """Of two batches of one size."""
    return 2 * F.cross_entropy(torch.cat([real, generated]), torch.cat([labels, _fake(generated)]))


def discriminator_log_softmax(real: Tensor, labels: Tensor, generated: Tensor) -> Tensor:
    of_class = real.log_softmax(1).gather(1, labels[:, None])
    return -of_class.mean() - generated.log_softmax(1)[:, -1].mean()


def discriminator_function(real: Tensor, labels: Tensor, generated: Tensor) -> Tensor:
    return _CrossEntropy.apply(real, labels) + _CrossEntropy.apply(generated, _fake(generated))


def discriminator_by_hand(real: Tensor, labels: Tensor, generated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    loss, grad_real = _cross_entropy_and_grad(real, labels)
    loss_of_generated, grad_generated = _cross_entropy_and_grad(generated, _fake(generated))
    return loss + loss_of_generated, grad_real, grad_generated


# --- am_generator_loss


def generator_cross_entropy(generated: Tensor) -> Tensor:
    return F.cross_entropy(generated, generated[:, :-1].argmax(1))


def generator_log_softmax(generated: Tensor) -> Tensor:
    return -generated.log_softmax(1)[:, :-1].max(1).values.mean()


def generator_logsumexp(generated: Tensor) -> Tensor:
    return (generated.logsumexp(1) - generated[:, :-1].max(1).values).mean()


def generator_function(generated: Tensor) -> Tensor:
    return _CrossEntropy.apply(generated, generated.detach()[:, :-1].argmax(1))


def generator_by_hand(generated: Tensor) -> tuple[Tensor, Tensor]:
    return _cross_entropy_and_grad(generated, generated[:, :-1].argmax(1))


# --- labelgan_generator_loss


def labelgan_log_softmax(generated: Tensor) -> Tensor:
    return -generated.log_softmax(1)[:, :-1].logsumexp(1).mean()


def labelgan_softplus(generated: Tensor) -> Tensor:
    return F.softplus(generated[:, -1] - generated[:, :-1].logsumexp(1)).mean()


# --- kplus1_cross_entropy


def cross_entropy_log_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(1).gather(1, labels[:, None]).mean()


def cross_entropy_logsumexp(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).mean()


def cross_entropy_function(logits: Tensor, labels: Tensor) -> Tensor:
    return _CrossEntropy.apply(logits, labels)


# --- class_entropy


def entropy_log_softmax(logits: Tensor) -> Tensor:
    log_prob = logits.log_softmax(1)
    return -(log_prob.exp() * log_prob).sum(1).mean()


def entropy_both_softmaxes(logits: Tensor) -> Tensor:
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


def entropy_cross_entropy(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, logits.softmax(1))


def entropy_logsumexp(logits: Tensor) -> Tensor:
    """Of logits less their largest: else two large numbers are subtracted."""
    shifted = logits - logits.detach().amax(1, keepdim=True)
    return (shifted.logsumexp(1) - (shifted.softmax(1) * shifted).sum(1)).mean()


def entropy_categorical(logits: Tensor) -> Tensor:
    return Categorical(logits=logits, validate_args=False).entropy().mean()


class _Entropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        log_prob = logits.log_softmax(1)
        prob = log_prob.exp()
        rows = (prob * log_prob).sum(1, keepdim=True)
        ctx.save_for_backward(logits, log_prob, prob, rows)
        return -rows.mean()

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> Tensor:
        logits, log_prob, prob, rows = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _EntropyGradient.apply(logits, grad_loss, log_prob, prob, rows)
        return (rows - log_prob).mul_(prob).mul_(grad_loss / len(rows))


class _EntropyGradient(torch.autograd.Function):
    """p s of s = -log p - H, and its derivative along v: dp s + p ds."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, grad_loss: Tensor, log_prob: Tensor, prob: Tensor, rows: Tensor) -> Tensor:
        surprise = rows - log_prob
        ctx.save_for_backward(grad_loss, prob, surprise)
        return (prob * surprise).mul_(grad_loss / len(rows))

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        grad_loss, prob, surprise = ctx.saved_tensors
        along = v - (prob * v).sum(1, keepdim=True)  # what log p changes by
        weighted = prob * surprise
        change = (weighted * along).sum(1, keepdim=True)  # and, negated, what -H does
        product = (weighted * along).addcmul_(prob, along + change, value=-1)
        of_grad_loss = (weighted * v).sum() / len(v) if ctx.needs_input_grad[1] else None
        return product.mul_(grad_loss / len(v)), of_grad_loss, None, None, None


def entropy_function(logits: Tensor) -> Tensor:
    return _Entropy.apply(logits)


# --- kplus1_hinge_loss


def hinge_masked_fill(logits: Tensor, labels: Tensor) -> Tensor:
    of_label = torch.arange(logits.size(1), device=logits.device) == labels[:, None]
    others = logits.masked_fill(of_label, -torch.inf).amax(1)
    return F.relu(1 + others - logits.gather(1, labels[:, None])[:, 0]).mean()


def hinge_topk(logits: Tensor, labels: Tensor) -> Tensor:
    """The two largest: the second where the first is the label's."""
    largest, columns = logits.topk(2, 1)
    others = torch.where(columns[:, 0] == labels, largest[:, 1], largest[:, 0])
    return F.relu(1 + others - logits.gather(1, labels[:, None])[:, 0]).mean()


class _Hinge(torch.autograd.Function):
    """Of whose gradient two numbers a row are not 0."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        index = labels[:, None]
        largest, columns = logits.scatter(1, index, -torch.inf).max(1, keepdim=True)
        violation = 1 + largest - logits.gather(1, index)
        ctx.save_for_backward(violation > 0, columns, index)
        ctx.shape = logits.shape
        return violation.relu().mean()

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None]:
        is_above, columns, index = ctx.saved_tensors
        weight = is_above * (grad_loss / len(index))
        return weight.new_zeros(ctx.shape).scatter_(1, columns, weight).scatter_(1, index, -weight), None


def hinge_function(logits: Tensor, labels: Tensor) -> Tensor:
    return _Hinge.apply(logits, labels)


def hinge_by_hand(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    index = labels[:, None]
    largest, columns = logits.scatter(1, index, -torch.inf).max(1, keepdim=True)
    violation = (1 + largest).sub_(logits.gather(1, index))
    weight = (violation > 0).to(logits) / len(logits)
    return violation.relu_().mean(), torch.zeros_like(logits).scatter_(1, columns, weight).scatter_(1, index, -weight)


# --- kplus1_terms


def terms_logsumexp(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    largest, labels = logits[:, :-1].max(1)
    real = logits[:, :-1].logsumexp(1)
    return logits.logsumexp(1) - real, real - largest, labels


def terms_softplus(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    largest, labels = logits[:, :-1].max(1)
    real = logits[:, :-1].logsumexp(1)
    return F.softplus(logits[:, -1] - real), real - largest, labels


def terms_sum_of_exp(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest is known, so the logsumexp need not look for it again."""
    largest, labels = logits[:, :-1].max(1)
    auxiliary = (logits[:, :-1] - largest[:, None]).exp_().sum(1).log()
    return F.softplus(logits[:, -1] - largest - auxiliary), auxiliary, labels


# --- score_sums, in float32: the reference works in float64, which would flatter ours


def sums_log_softmax(logits: Tensor) -> tuple[Tensor, ...]:
    log_prob = logits.float().log_softmax(1)
    prob = log_prob.exp()
    return -(prob * log_prob).sum(), prob.sum(0), (prob * prob).sum(0), log_prob.sum(0)


def sums_products(logits: Tensor) -> tuple[Tensor, ...]:
    """Sums as products of matrices, of BLAS."""
    log_prob = logits.float().log_softmax(1)
    prob = log_prob.exp()
    ones = prob.new_ones(len(prob))
    entropy = -torch.dot(prob.view(-1), log_prob.view(-1))
    return entropy, ones @ prob, ones @ prob.square(), ones @ log_prob


def in_pieces(sums: Callable[[Tensor], tuple[Tensor, ...]]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """As rows come from a classifier, and stay in the caches: nothing as large as the logits is stored."""

    def added_up(logits: Tensor) -> tuple[Tensor, ...]:
        pieces = [sums(piece) for piece in logits.split(max(1, CACHED_NUMBERS // logits.size(1)))]
        return tuple(torch.stack(parts).sum(0) for parts in zip(*pieces, strict=True))

    return added_up


# --- leaky_dropout and batch_norm_leaky_dropout. F.dropout draws a number at a time, from double precision.


def _leaky_dropout_rand(x: Tensor, p: float) -> Tensor:
    if p == 0:
        return F.leaky_relu(x, 0.2)
    keep = torch.rand(x.shape, device=x.device) >= p
    return F.leaky_relu(x, 0.2) * keep * (1 / (1 - p))


def _leaky_dropout_bits(x: Tensor, p: float) -> Tensor:
    """16 random bits a number, four to a draw; p as a multiple of 2^-16."""
    if p == 0:
        return F.leaky_relu(x, 0.2)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    keep = draws.view(torch.int16)[: x.numel()].view(x.shape) >= round(p * 2**16) - 2**15
    return F.leaky_relu(x, 0.2) * keep * (1 / (1 - p))


def _batch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As a network's layer: it hands out no statistics, and the reference computes them again."""
    return F.batch_norm(x, None, None, weight, bias, training=True)


def batch_norm_dropout(x: Tensor, weight: Tensor, bias: Tensor, p: float) -> tuple[Tensor]:
    return (reference.leaky_dropout(_batch_norm(x, weight, bias), p),)


def batch_norm_rand(x: Tensor, weight: Tensor, bias: Tensor, p: float) -> tuple[Tensor]:
    return (_leaky_dropout_rand(_batch_norm(x, weight, bias), p),)


def batch_norm_bits(x: Tensor, weight: Tensor, bias: Tensor, p: float) -> tuple[Tensor]:
    return (_leaky_dropout_bits(_batch_norm(x, weight, bias), p),)


def batch_norm_var_mean(x: Tensor, weight: Tensor, bias: Tensor, p: float) -> tuple[Tensor]:
    """Scale and shift, which a compiler can fuse with what follows."""
    shape = (1, -1, *[1] * (x.dim() - 2))
    variance, mean = torch.var_mean(x.float(), [0, *range(2, x.dim())], correction=0)
    scale = weight * torch.rsqrt(variance + 1e-5)
    z = x * scale.view(shape) + (bias - mean * scale).view(shape)
    return (_leaky_dropout_rand(z.to(x.dtype), p),)


FORMS: dict[str, list[Form]] = {
    "am_discriminator_loss": [
        Form("cross_entropy twice", discriminator_cross_entropy_twice),
        Form("cross_entropy of cat", discriminator_cross_entropy_of_cat),
        Form("log_softmax, gather", discriminator_log_softmax),
        Form("logsumexp, gather", reference.am_discriminator_loss),
        Form("autograd.Function", discriminator_function),
    ],
    "am_generator_loss": [
        Form("cross_entropy of argmax", generator_cross_entropy),
        Form("log_softmax, max", generator_log_softmax),
        Form("logsumexp, max", generator_logsumexp),
        Form("logsumexp, gather", reference.am_generator_loss),
        Form("autograd.Function", generator_function),
    ],
    "labelgan_generator_loss": [
        Form("logsumexp twice", reference.labelgan_generator_loss),
        Form("log_softmax, logsumexp", labelgan_log_softmax),
        Form("softplus of logsumexp", labelgan_softplus),
    ],
    "kplus1_cross_entropy": [
        Form("cross_entropy", reference.kplus1_cross_entropy),
        Form("log_softmax, gather", cross_entropy_log_softmax),
        Form("logsumexp, gather", cross_entropy_logsumexp),
        Form("autograd.Function", cross_entropy_function),
    ],
    "class_entropy": [
        Form("log_softmax, exp", entropy_log_softmax),
        Form("log_softmax, exp, masked", reference.class_entropy),
        Form("softmax, log_softmax", entropy_both_softmaxes),
        Form("cross_entropy of softmax", entropy_cross_entropy),
        Form("logsumexp, softmax", entropy_logsumexp),
        Form("Categorical.entropy", entropy_categorical),
        Form("autograd.Function", entropy_function),
    ],
    "kplus1_hinge_loss": [
        Form("scatter, max, relu", reference.kplus1_hinge_loss),
        Form("masked_fill, amax, relu", hinge_masked_fill),
        Form("topk, relu", hinge_topk),
        Form("autograd.Function", hinge_function),
    ],
    "kplus1_terms": [
        Form("logsumexp twice", terms_logsumexp),
        Form("softplus of logsumexp", terms_softplus),
        Form("sum of exp, softplus", terms_sum_of_exp),
    ],
    "score_sums": [
        Form("log_softmax, exp", sums_log_softmax),
        Form("log_softmax, matmul", sums_products),
        Form("log_softmax, exp, in pieces", sums_log_softmax, around=in_pieces),
        Form("log_softmax, matmul, in pieces", sums_products, around=in_pieces),
    ],
    "leaky_dropout": [
        Form("F.dropout", reference.leaky_dropout),
        Form("rand", _leaky_dropout_rand),
        Form("random bits", _leaky_dropout_bits),
    ],
    "batch_norm_leaky_dropout": [
        Form("F.batch_norm, F.dropout", batch_norm_dropout),
        Form("F.batch_norm, rand", batch_norm_rand),
        Form("F.batch_norm, random bits", batch_norm_bits),
        Form("var_mean, rand", batch_norm_var_mean),
    ],
}
"""By operation."""

BY_HAND: dict[str, list[Form]] = {
    "am_discriminator_loss_and_grad": [Form("by hand", discriminator_by_hand, by_hand=True)],
    "am_generator_loss_and_grad": [Form("by hand", generator_by_hand, by_hand=True)],
    "kplus1_hinge_loss_and_grad": [Form("by hand", hinge_by_hand, by_hand=True)],
}
"""By the name of what is timed: losses with gradients, which need no autograd."""
