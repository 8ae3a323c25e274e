"""What the losses of the models are put together from.

A :class:`Term` turns the logits of one batch into a scalar, the mean over its rows in nats, float64 for float64 logits
and float32 for all others; a :class:`Pair` does so with the discriminator's two batches. Both come in two forms, as a
loss for autograd and as a loss with its gradient, detached and in the dtype of the logits.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from amgan_fast import ops
from amgan_fast.objectives.gradients import loss_and_grad
from amgan_fast.objectives.losses import RowLoss
from amgan_fast.precision import at_least_float32


class Term(ABC):
    """A loss of one batch of rows. ``labels=None`` stands for dynamic labels, where the term has labels at all."""

    @abstractmethod
    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor: ...

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(loss, grad)``, detached."""
        loss, grad = loss_and_grad(lambda x: self(x, labels), logits)
        return loss, grad


class Pair(ABC):
    """A loss of a real and a generated batch, which may differ in size where it does not say otherwise."""

    @abstractmethod
    def __call__(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor: ...

    @abstractmethod
    def and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``(loss, grad_real, grad_fake)``, detached."""


@dataclass(frozen=True)
class Separate(Pair):
    """A term of the real rows and one of the generated ones."""

    real: Term
    generated: Term

    def __call__(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        return self.real(real_logits, real_labels) + self.generated(fake_logits, fake_labels)

    def and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        real_loss, grad_real = self.real.and_grad(real_logits, real_labels)
        fake_loss, grad_fake = self.generated.and_grad(fake_logits, fake_labels)
        return real_loss + fake_loss, grad_real, grad_fake


@dataclass(frozen=True)
class KPlus1Pair(Pair):
    """-log D_y of the real and -log D_{K+1} of the generated rows, in one kernel: ``ops.am_discriminator_loss``."""

    fake: str
    real_smoothing: float
    fake_smoothing: float
    class_smoothing: float

    def __call__(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        check_real_labels(real_labels)
        return ops.am_discriminator_loss(
            real_logits,
            real_labels,
            fake_logits,
            fake=self.fake,
            real_smoothing=self.real_smoothing,
            fake_smoothing=self.fake_smoothing,
            class_smoothing=self.class_smoothing,
        )

    def and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        check_real_labels(real_labels)
        return ops.am_discriminator_loss_and_grad(
            real_logits.detach(),
            real_labels,
            fake_logits.detach(),
            fake=self.fake,
            real_smoothing=self.real_smoothing,
            fake_smoothing=self.fake_smoothing,
            class_smoothing=self.class_smoothing,
        )


@dataclass(frozen=True)
class MeanRowLoss(Term):
    """A row loss, its mean over the batch. ``needs_labels``: those of real rows, which are never
    dynamic."""

    loss: RowLoss
    fake: str = "zero"
    needs_labels: bool = False

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.loss(logits, self._labels(labels), fake=self.fake)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.loss.and_grad(logits, self._labels(labels), fake=self.fake)

    def _labels(self, labels: Tensor | None) -> Tensor | None:
        if self.needs_labels:
            check_real_labels(labels)
        return labels if self.loss.coefficients.t else None


@dataclass(frozen=True)
class Heads(Term):
    """A term of column 0, the real/generated logit b, and one of the K class logits behind it; logits [N, 1+K]."""

    binary: Term
    classes: Term | None = None

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        b, class_logits = logits[:, :1], logits[:, 1:]
        loss = self.binary(b)
        return loss if self.classes is None else loss + self.classes(class_logits, labels)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        b, class_logits = logits[:, :1], logits[:, 1:]
        loss, grad = self.binary.and_grad(b)
        if self.classes is None:
            return loss, pad(grad, (0, class_logits.size(1)))
        class_loss, class_grad = self.classes.and_grad(class_logits, labels)
        return loss + class_loss, torch.cat([grad, class_grad], 1)


@dataclass(frozen=True)
class Sum(Term):
    """Several terms of the same rows. Gradients of half precision are added in float32, and rounded once."""

    terms: tuple[Term, ...]

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = at_least_float32(logits)
        first, *others = (term(logits, labels) for term in self.terms)
        return sum(others, start=first)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        wide = at_least_float32(logits)
        (loss, grad), *others = (term.and_grad(wide, labels) for term in self.terms)
        total, gradient = sum((x for x, _ in others), start=loss), sum((x for _, x in others), start=grad)
        return total, gradient.to(logits.dtype)


@dataclass(frozen=True)
class Classes(Term):
    """A term of the K class logits of a (K+1)-class discriminator."""

    term: Term
    fake: str

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.term(logits[:, :-1] if self.fake == "column" else logits, labels)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.fake == "zero":
            return self.term.and_grad(logits, labels)
        loss, grad = self.term.and_grad(logits[:, :-1], labels)
        return loss, pad(grad, (0, 1))


@dataclass(frozen=True)
class ClassEntropy(Term):
    """weight * mean H(C), of class logits [N, K] ([CAT])."""

    weight: float = 1.0

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.weight * ops.class_entropy(logits)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        entropy, grad = ops.class_entropy_and_grad(logits.detach())
        return self.weight * entropy, self.weight * grad


@dataclass(frozen=True)
class MarginalEntropy(Term):
    """weight * H(mean C), of class logits [N, K] ([CAT])."""

    weight: float = 1.0

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.weight * ops.class_entropy(_log_mean_class(logits))


@dataclass(frozen=True)
class MarginalCrossEntropy(Term):
    """H(prior, mean C), of class logits [N, K]; ``prior``: K probabilities, None for the uniform ones."""

    prior: tuple[float, ...] | None = None

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        log_mean = _log_mean_class(logits)
        if self.prior is None:
            return -log_mean.mean()
        if len(self.prior) != log_mean.size(1):
            raise ValueError(
                f"class_prior has {len(self.prior)} numbers, wanted one for each of {log_mean.size(1)} classes"
            )
        return -(_constant(self.prior, log_mean.dtype, log_mean.device) * log_mean).sum()


@dataclass(frozen=True)
class SharpenedCrossEntropy(Term):
    """weight * mean H(q, C), q proportional to C^(1/temperature), without gradient through q; class logits [N, K].

    It sharpens dynamic labels ([REP]: temperature 0 would be they), so that given ones are refused.
    """

    temperature: float
    weight: float = 1.0

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            raise ValueError(
                f"target_temperature is {self.temperature} and labels are given, "
                "wanted 0 with given labels: it sharpens dynamic ones"
            )
        log_class = _log_class(logits)
        target = (log_class.detach() / self.temperature).softmax(1)
        return -self.weight * (target * log_class).sum(1).mean()


def given_or_dynamic(labels: Tensor | None, class_logits: Tensor) -> Tensor:
    """Labels as they are given, once they are seen to be 0..K-1, or the likeliest class of every row."""
    return ops.kplus1_terms(class_logits.detach(), labels, fake="zero").labels


def check_real_labels(real_labels: Tensor | None) -> None:
    if real_labels is None:
        raise TypeError("real_labels is None, wanted the labels of the real rows, [N] int64")


def _log_class(class_logits: Tensor) -> Tensor:
    """log C, [N, K]; half precision in float32. Never -inf, so that a class of probability 0 gives no 0 * inf."""
    class_logits = at_least_float32(class_logits)
    return class_logits.log_softmax(1).clamp_min(torch.finfo(class_logits.dtype).min)


def _log_mean_class(class_logits: Tensor) -> Tensor:
    """log of the mean of C over the rows, [1, K], from logarithms alone: no class underflows."""
    return _log_class(class_logits).logsumexp(0, keepdim=True).log_softmax(1)


@functools.lru_cache(maxsize=16)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kept on the device: a copy from the host would be one a step, and none can be captured in a CUDA graph."""
    return torch.tensor(values, dtype=dtype, device=device)
