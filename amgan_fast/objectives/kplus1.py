"""Models whose discriminator has the generated samples as a class of their own, beside the K real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from torch import Tensor

from amgan_fast.errors import shown
from amgan_fast.objectives.arguments import check_fake, check_temperature
from amgan_fast.objectives.base import TermObjective
from amgan_fast.objectives.losses import (
    REAL_LOG_ODDS,
    binary_cross_entropy,
    class_cross_entropy,
    generated_row,
    non_saturating_generator,
    real_row,
    saturating_generator,
)
from amgan_fast.objectives.terms import (
    ClassEntropy,
    Classes,
    KPlus1Pair,
    MarginalCrossEntropy,
    MeanRowLoss,
    Pair,
    Separate,
    SharpenedCrossEntropy,
    Sum,
    Term,
)
from amgan_fast.option_checks import check_flag, check_fraction, check_not_negative


@dataclass(frozen=True)
class WithGeneratedClass(TermObjective):
    """A discriminator with K+1 classes, the last one generated.

    Args:
        fake: ``"column"``: logits are [N, K+1]; ``"zero"``: [N, K], the generated class has the constant logit 0.
    """

    fake: str = "column"

    def __post_init__(self) -> None:
        check_fake(self.fake)
        super().__post_init__()

    @property
    def _other_columns(self) -> int:
        return int(self.fake == "column")

    @property
    def has_realness(self) -> bool:
        return True

    def realness(self, logits: Tensor) -> Tensor:
        self._check_logits(logits=logits)
        return REAL_LOG_ODDS(logits, fake=self.fake, reduction="none")


@dataclass(frozen=True)
class _KPlus1(WithGeneratedClass):
    """The discriminator that LabelGAN and AM-GAN share ([AM] eq. 5 and 15).

    ``real_smoothing``, ``fake_smoothing``, ``class_smoothing``: see :func:`amgan_fast.ops.am_discriminator_loss`.
    """

    real_smoothing: float = 0.0
    fake_smoothing: float = 0.0
    class_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("real_smoothing", "fake_smoothing", "class_smoothing"):
            check_fraction(name, getattr(self, name))
        super().__post_init__()

    def _discriminator(self) -> Pair:
        return KPlus1Pair(self.fake, self.real_smoothing, self.fake_smoothing, self.class_smoothing)


@dataclass(frozen=True)
class LabelGAN(_KPlus1):
    """Generator: -log D_r(g), the total probability of the real classes ([AM] eq. 2). Labels are not used.

    Args:
        generator_smoothing: its target is (1-s, s) on (real, generated) ([LS] eq. 11).
        saturating: it minimises log(1 - D_r(g)) instead, see :func:`amgan_fast.objectives.saturating_generator`.

    >>> import torch
    >>> from amgan_fast.objectives import LabelGAN
    >>> LabelGAN().outputs(3)
    4
    >>> LabelGAN().generator_loss(torch.zeros(5, 4))  # -log(3/4)
    tensor(0.2877)
    """

    name: ClassVar[str] = "labelgan"
    generator_smoothing: float = 0.0
    saturating: bool = False

    def __post_init__(self) -> None:
        check_fraction("generator_smoothing", self.generator_smoothing)
        check_flag("saturating", self.saturating)
        super().__post_init__()

    def _generator(self) -> Term | None:
        loss = saturating_generator if self.saturating else non_saturating_generator
        return MeanRowLoss(loss(self.generator_smoothing), self.fake)


@dataclass(frozen=True)
class AMGAN(_KPlus1):
    """Generator: -log D_y(g), y the given label or the dynamic one, the likeliest real class ([AM] eq. 14).

    Unlabelled real rows add mean H(v(y), D(x)) with dynamic y, smoothed as labelled ones are, and, where there is a
    ``class_prior``, H(class_prior, mean C(x)) ([AM] appendix).

    Args:
        target_temperature: the dynamic target on the K classes is proportional to C^(1/temperature), without gradient:
            the loss is -log D_r + H(target, C) ([REP]: 1 over its sharp_pow); 0: the likeliest class alone. Given
            labels need 0.
        class_prior: how frequent the classes are among unlabelled samples: ``"uniform"`` or K probabilities.

    >>> import torch
    >>> from amgan_fast.objectives import AMGAN
    >>> objective, logits, labels = AMGAN(), torch.zeros(5, 3 + 1), torch.tensor([0, 1, 2, 0, 1])
    >>> objective.discriminator_loss(logits, labels, logits)  # log 4 of real rows, and log 4 of generated ones
    tensor(2.7726)
    >>> objective.generator_loss(logits), objective.generator_loss(logits, labels)
    (tensor(1.3863), tensor(1.3863))
    >>> loss, grad = objective.generator_loss_and_grad(torch.zeros(1, 4), torch.tensor([2]))
    >>> grad  # softmax - one-hot
    tensor([[ 0.2500,  0.2500, -0.7500,  0.2500]])
    """

    name: ClassVar[str] = "amgan"
    has_target_class: ClassVar[bool] = True
    target_temperature: float = 0.0
    class_prior: str | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_temperature("target_temperature", self.target_temperature, or_zero=True)
        _check_prior(self.class_prior)
        super().__post_init__()

    def _generator(self) -> Term:
        if not self.target_temperature:
            return MeanRowLoss(real_row(), self.fake)
        sharpened = Classes(SharpenedCrossEntropy(self.target_temperature), self.fake)
        return Sum((MeanRowLoss(non_saturating_generator(), self.fake), sharpened))

    def _unlabelled(self) -> Term:
        dynamic = MeanRowLoss(real_row(self.real_smoothing, self.class_smoothing), self.fake)
        if self.class_prior is None:
            return dynamic
        prior = None if isinstance(self.class_prior, str) else self.class_prior
        return Sum((dynamic, Classes(MarginalCrossEntropy(prior), self.fake)))


@dataclass(frozen=True)
class ImprovedGAN(LabelGAN):
    """The semi-supervised discriminator of [IG], with feature matching for the generator.

    L_D: CE(y, C(x)) on labelled rows - log D_{K+1}(g) - log(1 - D_{K+1}(x)) on unlabelled rows, the last term being
    :meth:`unlabelled_loss`. On a data set that is labelled throughout, give its rows to both: that is LabelGAN's
    discriminator ([AM] Lemma 2). ``real_smoothing`` acts on the unlabelled rows, ``class_smoothing`` on the labelled.

    Args:
        feature_matching: False: the generator has LabelGAN's loss of logits instead, and its options.
        entropy_weight: adds this times mean H(C(x)) on unlabelled rows, which is the discriminator of Bad GAN ([BAD]).

    >>> import torch
    >>> from amgan_fast.objectives import ImprovedGAN, LabelGAN
    >>> real, labels, generated = torch.zeros(2, 4), torch.tensor([0, 1]), torch.zeros(5, 4)
    >>> objective = ImprovedGAN()
    >>> objective.needs_features, objective.needs_unlabelled
    (True, True)
    >>> objective.discriminator_loss(real, labels, generated) + objective.unlabelled_loss(real)
    tensor(2.7726)
    >>> LabelGAN().discriminator_loss(real, labels, generated)
    tensor(2.7726)
    """

    name: ClassVar[str] = "improved-gan"
    needs_unlabelled: ClassVar[bool] = True
    feature_matching: bool = True
    entropy_weight: float = 0.0

    def __post_init__(self) -> None:
        check_flag("feature_matching", self.feature_matching)
        check_not_negative("entropy_weight", self.entropy_weight)
        super().__post_init__()

    def _discriminator(self) -> Pair:
        labelled = MeanRowLoss(class_cross_entropy(self.class_smoothing), self.fake, needs_labels=True)
        return Separate(labelled, MeanRowLoss(generated_row(self.fake_smoothing), self.fake))

    def _generator(self) -> Term | None:
        return None if self.feature_matching else super()._generator()

    def _unlabelled(self) -> Term:
        is_real = MeanRowLoss(binary_cross_entropy(1 - self.real_smoothing), self.fake)
        if not self.entropy_weight:
            return is_real
        return Sum((is_real, Classes(ClassEntropy(self.entropy_weight), self.fake)))


def _check_prior(prior: object) -> None:
    if prior is None or prior == "uniform":
        return
    given = prior if isinstance(prior, tuple) else ()
    numbers = [float(p) for p in given if isinstance(p, Real) and float(p) >= 0]
    if not numbers or len(numbers) < len(given) or not math.isclose(sum(numbers), 1, abs_tol=1e-4):
        raise ValueError(
            f"class_prior is {shown(prior)}, wanted None, 'uniform' or a tuple of probabilities, one a class"
        )
