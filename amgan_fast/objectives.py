"""What each model minimises, as objects that turn logits into losses.

Use with your own networks (``D`` has ``objective.outputs(num_classes)`` outputs)::

    objective = objectives.AMGAN()
    objective.discriminator_loss(D(x), y, D(G(z).detach())).backward()
    objective.generator_loss(D(G(z))).backward()

Members of the family of row losses that have no function of their own in :mod:`amgan_fast.ops` are named here as
:class:`RowLoss` constants. The others are one call: ``-log D_y`` is ``ops.kplus1_cross_entropy`` (smoothed, with
its generated rows: ``ops.am_discriminator_loss``), ``-log D_r``, which is also the unsupervised real term
``-log(1 - D_{K+1})`` of Salimans et al., is ``ops.labelgan_generator_loss``.

Sources: Zhou et al., "Activation Maximization Generative Adversarial Nets", ICLR 2018, arXiv 1703.02000 [AM];
Zhou, Zhang, Wang, "Inception Score, Label Smoothing, Gradient Vanishing and the -log(D(x)) Alternative", 2017 [LS];
Goodfellow et al., "Generative Adversarial Networks", arXiv 1406.2661 [GAN].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from amgan_fast import ops


class Coefficients(NamedTuple):
    """A member of the family ``a*A + r*R - t*l_y - f*l_f - u*S``, see :func:`amgan_fast.ops.kplus1_loss`."""

    a: float
    r: float
    t: float
    f: float
    u: float


@dataclass(frozen=True)
class RowLoss:
    """A named member of that family; called, it is :func:`amgan_fast.ops.kplus1_loss` with its coefficients."""

    name: str
    coefficients: Coefficients

    def __call__(
        self, logits: Tensor, labels: Tensor | None = None, *, fake: str = "column", reduction: str = "mean"
    ) -> Tensor:
        return ops.kplus1_loss(logits, labels, self.coefficients, fake=fake, reduction=reduction)


CLASS_CROSS_ENTROPY = RowLoss("class cross-entropy", Coefficients(a=0, r=1, t=1, f=0, u=0))
"""-log C_y over the K real classes: the auxiliary classifier's loss ([AM] Lemma 2)."""

CLASS_CROSS_ENTROPY_TO_UNIFORM = RowLoss("class cross-entropy to uniform", Coefficients(a=0, r=1, t=0, f=0, u=1))
"""H(u, C), u uniform over the K real classes ([AM] section 5.3, the "+" of AC-GAN*+)."""


def saturating_generator(smoothing: float = 0.0) -> RowLoss:
    """log(1 - D_r), the generator's loss of the minimax game, whose gradient vanishes as D_r goes to 0.

    With ``smoothing`` s in [0, 1] it is the negative of the discriminator's loss on generated rows with target
    (s, 1-s) on (real, generated), and its gradient vanishes at D_r = s ([LS] section 3).
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}, wanted a number in [0, 1]")
    return RowLoss("saturating generator", Coefficients(a=-1, r=smoothing, t=0, f=smoothing - 1, u=0))


class Objective(ABC):
    """The losses of a model's two players, as functions of the discriminator's logits [N, outputs].

    *real_labels* and *labels* are [N], int64, values 0..K-1. ``labels=None`` leaves the generated rows to their
    dynamic labels, where the model has a target class at all. All losses are means over the batch, in nats.
    """

    name: ClassVar[str]

    @abstractmethod
    def outputs(self, num_classes: int) -> int:
        """The number of columns that the discriminator's logits have."""

    @abstractmethod
    def discriminator_loss(self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss on a batch of real and one of generated rows, which may differ in size."""

    @abstractmethod
    def generator_loss(self, fake_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """The generator's loss on a batch of generated rows."""

    def discriminator_loss_and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``(loss, grad_real, grad_fake)``, detached: gradients to be fed to ``torch.autograd.backward``."""
        real, generated = (logits.detach().requires_grad_() for logits in (real_logits, fake_logits))
        with torch.enable_grad():
            loss = self.discriminator_loss(real, real_labels, generated)
        grad_real, grad_fake = torch.autograd.grad(loss, (real, generated))
        return loss.detach(), grad_real, grad_fake

    def generator_loss_and_grad(self, fake_logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(loss, grad)``, detached."""
        generated = fake_logits.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.generator_loss(generated, labels)
        (grad,) = torch.autograd.grad(loss, generated)
        return loss.detach(), grad


@dataclass(frozen=True)
class GAN(Objective):
    """The original game on one logit b, 1 = real ([GAN]): sp(-b(x)) + sp(b(g)) against sp(-b(g)), sp(t) = log(1 + e^t).

    Class labels are accepted and not used. ``saturating``: the generator minimises -sp(b(g)) = log(1 - D(g)).
    """

    name: ClassVar[str] = "gan"
    saturating: bool = False

    def outputs(self, num_classes: int) -> int:
        return 1

    def discriminator_loss(self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-_binary(real_logits)).mean() + softplus(_binary(fake_logits)).mean()

    def generator_loss(self, fake_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        logit = _binary(fake_logits)
        return (-softplus(logit) if self.saturating else softplus(-logit)).mean()


@dataclass(frozen=True)
class _KPlus1(Objective):
    """The discriminator that LabelGAN and AM-GAN share: K+1 classes, the last one generated ([AM] eq. 5 and 15).

    Args:
        fake: ``"column"``: logits are [N, K+1]; ``"zero"``: [N, K], the generated class has the constant logit 0.
        real_smoothing, fake_smoothing, class_smoothing: see :func:`amgan_fast.ops.am_discriminator_loss`.
    """

    fake: str = "column"
    real_smoothing: float = 0.0
    fake_smoothing: float = 0.0
    class_smoothing: float = 0.0

    def outputs(self, num_classes: int) -> int:
        return num_classes + 1 if self.fake == "column" else num_classes

    def discriminator_loss(self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor) -> Tensor:
        return ops.am_discriminator_loss(real_logits, real_labels, fake_logits, **self._discriminator_options())

    def discriminator_loss_and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return ops.am_discriminator_loss_and_grad(
            real_logits.detach(), real_labels, fake_logits.detach(), **self._discriminator_options()
        )

    def _discriminator_options(self) -> dict:
        return {
            "fake": self.fake,
            "real_smoothing": self.real_smoothing,
            "fake_smoothing": self.fake_smoothing,
            "class_smoothing": self.class_smoothing,
        }


@dataclass(frozen=True)
class LabelGAN(_KPlus1):
    """Generator: -log D_r(g), the total probability of the real classes ([AM] eq. 2). Labels are not used.

    ``generator_smoothing``: its target is (1-s, s) on (real, generated) ([LS] eq. 11).
    """

    name: ClassVar[str] = "labelgan"
    generator_smoothing: float = 0.0

    def generator_loss(self, fake_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return ops.labelgan_generator_loss(fake_logits, fake=self.fake, smoothing=self.generator_smoothing)


@dataclass(frozen=True)
class AMGAN(_KPlus1):
    """Generator: -log D_y(g), y the given label or the dynamic one, the likeliest real class ([AM] eq. 14)."""

    name: ClassVar[str] = "amgan"

    def generator_loss(self, fake_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return ops.am_generator_loss(fake_logits, labels, fake=self.fake)

    def generator_loss_and_grad(self, fake_logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ops.am_generator_loss_and_grad(fake_logits.detach(), labels, fake=self.fake)


MODELS: dict[str, type[Objective]] = {model.name: model for model in (GAN, LabelGAN, AMGAN)}
"""Models by the name that ``amgan-fast train --model`` takes."""


def _binary(logits: Tensor) -> Tensor:
    if logits.ndim != 2 or logits.size(1) != 1:
        raise ValueError(f"logits are {list(logits.shape)}, wanted [N, 1]: this model's discriminator has one output")
    return logits[:, 0]
