"""Models whose losses are of pairs: how much more real a real row is than the generated one beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from amgan_fast.objectives.kplus1 import WithGeneratedClass
from amgan_fast.objectives.losses import (
    CLASS_CROSS_ENTROPY,
    CLASS_LOG_ODDS,
    REAL_LOG_ODDS,
    RowLoss,
    binary_cross_entropy,
)
from amgan_fast.objectives.terms import MeanRowLoss, Pair, Term, check_real_labels
from amgan_fast.option_checks import check_not_negative
from amgan_fast.precision import at_least_float32


@dataclass(frozen=True)
class _Lead(Pair):
    """A loss of one logit, that of row i being d(x_i) - d(g_i)."""

    log_odds: RowLoss
    """d."""
    fake: str
    loss: RowLoss
    classes: Term | None = None
    """Of the real rows."""

    def __call__(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        y, y_fake = self._labels(real_logits, real_labels, fake_logits, fake_labels)
        real_logits = at_least_float32(real_logits)  # where two terms meet, gradients are added in float32
        d_real, d_fake = (
            self.log_odds(logits, labels, fake=self.fake, reduction="none")
            for logits, labels in ((real_logits, y), (fake_logits, y_fake))
        )
        loss = self.loss((d_real - d_fake)[:, None], fake="zero")
        return loss + self.classes(real_logits, y) if self.classes else loss

    def and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, y_fake = self._labels(real_logits, real_labels, fake_logits, fake_labels)
        wide = at_least_float32(real_logits)
        (d_real, slopes_real), (d_fake, slopes_fake) = (
            self.log_odds.and_grad(logits, labels, fake=self.fake, reduction="none")
            for logits, labels in ((wide, y), (at_least_float32(fake_logits), y_fake))
        )
        loss, slope = self.loss.and_grad((d_real - d_fake)[:, None], fake="zero")
        grad_real, grad_fake = slope * slopes_real, -slope * slopes_fake
        if self.classes:
            of_classes, grad = self.classes.and_grad(wide, y)
            loss, grad_real = loss + of_classes, grad_real + grad
        return loss, grad_real.to(real_logits.dtype), grad_fake.to(fake_logits.dtype)

    def _labels(
        self, real_logits: Tensor, real_labels: Tensor | None, fake_logits: Tensor, fake_labels: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Those of the real rows and of the generated ones, where anything has a use for them."""
        if len(real_logits) != len(fake_logits):
            raise ValueError(
                f"real_logits are {list(real_logits.shape)} and fake_logits {list(fake_logits.shape)}, "
                "wanted as many rows of both: they are compared in pairs"
            )
        has_target = bool(self.log_odds.coefficients.t)
        if has_target or self.classes:
            check_real_labels(real_labels)
            return real_labels, fake_labels if has_target else None
        return None, None


@dataclass(frozen=True)
class _Relativistic(WithGeneratedClass):
    """Of pairs of a real and a generated row ([RP], [R3]): ``discriminator_loss`` and ``paired_generator_loss`` want as
    many of both.

    ``class_weight``: of CE(y, C(x)), which the discriminator learns from real rows.
    """

    needs_pairs: ClassVar[bool] = True
    _log_odds: ClassVar[RowLoss]
    class_weight: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative("class_weight", self.class_weight)
        super().__post_init__()

    def realness(self, logits: Tensor) -> Tensor:
        self._check_logits(logits=logits)
        return self._log_odds(logits, fake=self.fake, reduction="none")

    def _discriminator(self) -> Pair:
        classes = MeanRowLoss(CLASS_CROSS_ENTROPY.weighted(self.class_weight), self.fake) if self.class_weight else None
        return _Lead(self._log_odds, self.fake, binary_cross_entropy(1), classes)

    def _generator(self) -> None:
        return None

    def _paired_generator(self) -> Pair:
        return _Lead(self._log_odds, self.fake, binary_cross_entropy(0))


@dataclass(frozen=True)
class RelativisticAMGAN(_Relativistic):
    """AM-GAN's class-aware logit d = log D_y - log D_{K+1} = l_y - l_f in relativistic pairs.

    L_D: sp(d(g) - d(x)) + class_weight * CE(y, C(x)); L_G: sp(d(x) - d(g)). The y of g is given or dynamic, that of x
    always given. The sources leave open what the logit d of an image and its class is.

    >>> import torch
    >>> from amgan_fast.objectives import RelativisticAMGAN
    >>> real, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])  # d = 2
    >>> generated = torch.tensor([[0.0, 1.0, 0.5]])  # d = 0.5 with its dynamic label
    >>> objective = RelativisticAMGAN()
    >>> objective.discriminator_loss(real, labels, generated)  # log(1 + exp(-1.5))
    tensor(0.2014)
    >>> loss, grad = objective.paired_generator_loss_and_grad(real, labels, generated)
    >>> loss, grad[0, 1:]  # log(1 + exp(1.5)); sigmoid(1.5) from the generated class to its own
    (tensor(1.7014), tensor([-0.8176,  0.8176]))
    """

    name: ClassVar[str] = "relativistic-amgan"
    has_target_class: ClassVar[bool] = True
    _log_odds: ClassVar[RowLoss] = CLASS_LOG_ODDS


@dataclass(frozen=True)
class RpGAN(_Relativistic):
    """The relativistic pairing GAN on d = log D_r - log D_{K+1} = R - l_f, whatever the classes.

    L_D: sp(d(g) - d(x)) + class_weight * CE(y, C(x)); L_G: sp(d(x) - d(g)). With ``class_weight=0`` labels are accepted
    and not used.

    >>> import torch
    >>> from amgan_fast.objectives import RpGAN
    >>> undecided, labels = torch.zeros(2, 4), torch.tensor([0, 2])
    >>> RpGAN().discriminator_loss(undecided, labels, undecided)  # log 2
    tensor(0.6931)
    >>> RpGAN(class_weight=1.0).discriminator_loss(undecided, labels, undecided)  # log 2 + log 3
    tensor(1.7918)
    """

    name: ClassVar[str] = "rpgan"
    _log_odds: ClassVar[RowLoss] = REAL_LOG_ODDS
