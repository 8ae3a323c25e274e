"""Models whose discriminator has a real/generated logit b of its own: GAN, and with a classifier beside it AC-GAN.

L_D of GAN: sp(-b(x)) + sp(b(g)); L_G: sp(-b(g)), or -sp(b(g)), saturating; sp(t) = log(1 + e^t).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from amgan_fast.objectives.arguments import check_temperature
from amgan_fast.objectives.base import TermObjective
from amgan_fast.objectives.losses import (
    CLASS_CROSS_ENTROPY,
    CLASS_CROSS_ENTROPY_TO_UNIFORM,
    binary_cross_entropy,
    class_cross_entropy,
    non_saturating_generator,
    saturating_generator,
)
from amgan_fast.objectives.terms import Heads, MeanRowLoss, Pair, Separate, SharpenedCrossEntropy, Term
from amgan_fast.option_checks import check_flag, check_fraction, check_not_negative
from amgan_fast.precision import at_least_float32


@dataclass(frozen=True)
class BinaryHead(TermObjective):
    """The real/generated head.

    Args:
        saturating: the generator minimises log(1 - D(g)) instead of -log D(g).
        real_smoothing: the discriminator's target for real rows is 1 - this (one-sided label smoothing).
        fake_smoothing: the discriminator's target for generated rows is this.
        generator_smoothing: see :func:`amgan_fast.objectives.non_saturating_generator` and ``saturating_generator``.
    """

    saturating: bool = False
    real_smoothing: float = 0.0
    fake_smoothing: float = 0.0
    generator_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("real_smoothing", "fake_smoothing", "generator_smoothing"):
            check_fraction(name, getattr(self, name))
        check_flag("saturating", self.saturating)
        super().__post_init__()

    @property
    def has_realness(self) -> bool:
        return True

    def realness(self, logits: Tensor) -> Tensor:
        self._check_logits(logits=logits)
        return at_least_float32(logits[:, 0])

    def _on_real(self) -> Term:
        return MeanRowLoss(binary_cross_entropy(1 - self.real_smoothing))

    def _on_generated(self) -> Term:
        return MeanRowLoss(binary_cross_entropy(self.fake_smoothing))

    def _of_generator(self) -> Term:
        loss = saturating_generator if self.saturating else non_saturating_generator
        return MeanRowLoss(loss(self.generator_smoothing))


@dataclass(frozen=True)
class GAN(BinaryHead):
    """The original game on one logit b, 1 = real ([GAN]): sp(-b(x)) + sp(b(g)) against sp(-b(g)), sp(t) = log(1 + e^t).

    Class labels are accepted and not used. ``saturating``: the generator minimises -sp(b(g)) = log(1 - D(g)).

    >>> import torch
    >>> from amgan_fast.objectives import GAN
    >>> undecided, labels = torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)
    >>> GAN().discriminator_loss(undecided, labels, undecided)  # 2 log 2
    tensor(1.3863)
    >>> GAN().generator_loss(undecided), GAN(saturating=True).generator_loss(undecided)
    (tensor(0.6931), tensor(-0.6931))
    """

    name: ClassVar[str] = "gan"
    _columns_per_class: ClassVar[int] = 0

    def _discriminator(self) -> Pair:
        return Separate(self._on_real(), self._on_generated())

    def _generator(self) -> Term:
        return self._of_generator()


@dataclass(frozen=True)
class WithClassifier(BinaryHead):
    """A discriminator with logits [b | K class logits]. ``class_smoothing``: of the real rows' class labels."""

    class_smoothing: float = 0.0
    _first_class_column: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_fraction("class_smoothing", self.class_smoothing)
        super().__post_init__()

    def _real_classes(self, weight: float = 1.0) -> Term:
        return MeanRowLoss(class_cross_entropy(self.class_smoothing).weighted(weight), needs_labels=True)


@dataclass(frozen=True)
class GANStar(WithClassifier):
    """GAN*: GAN whose discriminator also learns to classify, which its generator does not see ([AM] Table 1).

    L_D: GAN's + class_weight * CE(y, C(x)); L_G: GAN's.

    >>> import torch
    >>> from amgan_fast.objectives import GANStar
    >>> b_and_classes, labels = torch.zeros(4, 1 + 3), torch.tensor([0, 1, 2, 0])
    >>> GANStar().discriminator_loss(b_and_classes, labels, b_and_classes)  # 2 log 2 + 0.1 log 3
    tensor(1.4962)
    """

    name: ClassVar[str] = "gan-star"
    class_weight: float = 0.1

    def __post_init__(self) -> None:
        check_not_negative("class_weight", self.class_weight)
        super().__post_init__()

    def _discriminator(self) -> Pair:
        return Separate(Heads(self._on_real(), self._real_classes(self.class_weight)), Heads(self._on_generated()))

    def _generator(self) -> Term:
        return Heads(self._of_generator())


@dataclass(frozen=True)
class ACGANStar(WithClassifier):
    """AC-GAN*: the classifier learns from real rows alone ([AM]).

    L_D: GAN's + CE(y, C(x)); L_G: GAN's + auxiliary_weight * CE(y, C(g)), y given or dynamic.

    Args:
        auxiliary_weight: 0.1 in the paper's run with decreased weight.
        target_temperature: dynamic targets are proportional to C^(1/temperature), without gradient ([REP]: 1 over its
            sharp_pow); 0: the likeliest class alone. Given labels need 0.

    >>> import torch
    >>> from amgan_fast.objectives import ACGANStar
    >>> generated = torch.tensor([[0.0, 1.0, 1.0, 1.0]])  # b, then three classes alike
    >>> ACGANStar().generator_loss(generated, torch.tensor([2]))  # log 2 + log 3
    tensor(1.7918)
    """

    name: ClassVar[str] = "acgan-star"
    has_target_class: ClassVar[bool] = True
    auxiliary_weight: float = 1.0
    target_temperature: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative("auxiliary_weight", self.auxiliary_weight)
        check_temperature("target_temperature", self.target_temperature, or_zero=True)
        super().__post_init__()

    def _discriminator(self) -> Pair:
        return Separate(
            Heads(self._on_real(), self._real_classes()), Heads(self._on_generated(), self._generated_classes())
        )

    def _generator(self) -> Term:
        return Heads(self._of_generator(), self._target_class(self.auxiliary_weight))

    def _generated_classes(self) -> Term | None:
        """What the classifier learns from generated rows."""
        return None

    def _target_class(self, weight: float = 1.0) -> Term:
        """Cross-entropy of generated rows to their target class."""
        if self.target_temperature:
            return SharpenedCrossEntropy(self.target_temperature, weight)
        return MeanRowLoss(CLASS_CROSS_ENTROPY.weighted(weight))


@dataclass(frozen=True)
class ACGANStarPlus(ACGANStar):
    """AC-GAN*+: AC-GAN* whose classifier is to find generated rows of no class ([AM] section 5.3).

    L_D: AC-GAN*'s + H(u, C(g)), u uniform; L_G: AC-GAN*'s.

    >>> import torch
    >>> from amgan_fast.objectives import ACGANStar, ACGANStarPlus
    >>> logits, labels = torch.zeros(2, 1 + 3), torch.tensor([0, 1])
    >>> with_uniform, without = (m().discriminator_loss(logits, labels, logits) for m in (ACGANStarPlus, ACGANStar))
    >>> with_uniform - without  # log 3
    tensor(1.0986)
    """

    name: ClassVar[str] = "acgan-star-plus"

    def _generated_classes(self) -> Term:
        return MeanRowLoss(CLASS_CROSS_ENTROPY_TO_UNIFORM)


@dataclass(frozen=True)
class ACGAN(ACGANStar):
    """AC-GAN: the classifier learns from generated rows too ([AC]: its L_C covers both).

    L_D: AC-GAN*'s + CE(y_g, C(g)), y_g the label that g was generated for, or the dynamic one; L_G: AC-GAN*'s.

    >>> import torch
    >>> from amgan_fast.objectives import ACGAN
    >>> real, real_labels = torch.zeros(2, 1 + 3), torch.tensor([0, 1])
    >>> generated, asked_for = torch.zeros(5, 1 + 3), torch.tensor([0, 1, 2, 0, 1])
    >>> ACGAN().discriminator_loss(real, real_labels, generated, asked_for)  # 2 log 2 + 2 log 3
    tensor(3.5835)
    """

    name: ClassVar[str] = "acgan"

    def _generated_classes(self) -> Term:
        return self._target_class()
