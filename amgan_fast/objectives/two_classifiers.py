"""Models with a real/generated logit b and two logits for every class: ADC-GAN and TAC-GAN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from amgan_fast.objectives.binary import BinaryHead, WithClassifier
from amgan_fast.objectives.losses import CLASS_CROSS_ENTROPY, Coefficients, RowLoss
from amgan_fast.objectives.terms import (
    Heads,
    MeanRowLoss,
    Pair,
    Separate,
    Term,
    check_real_labels,
    given_or_dynamic,
)
from amgan_fast.option_checks import check_not_negative

_TOWARDS_REAL = RowLoss("class logit, real", Coefficients(a=0, r=0, t=1, f=0, u=0), -1)  # l_y2 - l_y


@dataclass(frozen=True)
class _Twins(Term):
    """A term of the first K logits, and one of the other K; logits [N, 2K]. Dynamic labels are those of the first."""

    first: Term | None
    second: Term | None

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        first, second, labels = self._parts(logits, labels)
        losses = [term(x, labels) for term, x in ((self.first, first), (self.second, second)) if term]
        return sum(losses[1:], start=losses[0])

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        first, second, labels = self._parts(logits, labels)
        losses, gradients = [], []
        for term, x in ((self.first, first), (self.second, second)):
            loss, grad = term.and_grad(x, labels) if term else (None, torch.zeros_like(x))
            losses += [] if loss is None else [loss]
            gradients.append(grad)
        return sum(losses[1:], start=losses[0]), torch.cat(gradients, 1)

    def _parts(self, logits: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The first logits, the second ones, and the labels for both."""
        first, second = logits.chunk(2, 1)
        return first, second, labels if self.second is None else given_or_dynamic(labels, first)


@dataclass(frozen=True)
class _TwinCrossEntropy(Term):
    """A cross-entropy over 2K classes, "real and of class k", "generated and of class k", side by side for every k."""

    generated: bool
    over_both: Term

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.over_both(logits, self._labels(logits, labels))

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.over_both.and_grad(logits, self._labels(logits, labels))

    def _labels(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        if not self.generated:
            check_real_labels(labels)
        return 2 * given_or_dynamic(labels, logits[:, ::2]) + self.generated


@dataclass(frozen=True)
class _TowardsReal(Term):
    """``difference``, of l-_y and l+_y, of logits as :class:`_TwinCrossEntropy` has them."""

    difference: RowLoss

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        real = self._real(logits, labels)
        return self.difference(logits, real, fake="zero", second_labels=real + 1)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        real = self._real(logits, labels)
        return self.difference.and_grad(logits, real, fake="zero", second_labels=real + 1)

    def _real(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        return 2 * given_or_dynamic(labels, logits[:, ::2])


@dataclass(frozen=True)
class ADCGAN(BinaryHead):
    """ADC-GAN: the classifier tells real rows of every class from generated ones ([ADC]).

    Logits are [b | l+_1, l-_1, l+_2, l-_2, ...], of rows that are real and of class k, and generated and of class k. C2
    is the softmax over the latter 2K. L_D: GAN's + w (CE(y+, C2(x)) + CE(y-, C2(g))); L_G: GAN's + w (l-_y - l+_y), the
    difference of CE(y+, C2(g)) and CE(y-, C2(g)). The dynamic label of g is the class with the largest l+.

    ``auxiliary_weight``: w, of both losses.

    >>> import torch
    >>> from amgan_fast.objectives import ADCGAN
    >>> objective, logits, labels = ADCGAN(), torch.zeros(2, 1 + 2 * 3), torch.tensor([0, 1])
    >>> objective.outputs(3)
    7
    >>> objective.discriminator_loss(logits, labels, logits, labels)  # 2 log 2 + 2 log 6
    tensor(4.9698)
    >>> generated = torch.tensor([[0.0, 1.0, 3.0, 0.5, 0.0]])  # b, and two logits of each of two classes
    >>> objective.generator_loss(generated, torch.tensor([0]))  # log 2 + 3 - 1
    tensor(2.6931)
    """

    name: ClassVar[str] = "adcgan"
    has_target_class: ClassVar[bool] = True
    _columns_per_class: ClassVar[int] = 2
    auxiliary_weight: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("auxiliary_weight", self.auxiliary_weight)
        super().__post_init__()

    def _class_columns(self, num_classes: int) -> slice:
        return slice(1, None, 2)

    def _discriminator(self) -> Pair:
        over_both = MeanRowLoss(CLASS_CROSS_ENTROPY.weighted(self.auxiliary_weight))
        real, generated = (_TwinCrossEntropy(which, over_both) for which in (False, True))
        return Separate(Heads(self._on_real(), real), Heads(self._on_generated(), generated))

    def _generator(self) -> Term:
        return Heads(self._of_generator(), _TowardsReal(_TOWARDS_REAL.weighted(self.auxiliary_weight)))


@dataclass(frozen=True)
class TACGAN(WithClassifier):
    """TAC-GAN: AC-GAN with a twin classifier of the generated rows alone, which the generator is to deceive ([TAC]).

    Logits are [b | K class logits | K of the twin], C and C' the softmax over each. L_D: GAN's + w (CE(y, C(x)) +
    CE(y_g, C'(g))); L_G: GAN's + w (CE(y_g, C(g)) - CE(y_g, C'(g))). The dynamic label of g is the likeliest of C(g).

    ``auxiliary_weight``: w, of both losses.

    >>> import torch
    >>> from amgan_fast.objectives import TACGAN
    >>> objective, logits, labels = TACGAN(), torch.zeros(2, 1 + 2 * 3), torch.tensor([0, 1])
    >>> objective.discriminator_loss(logits, labels, logits, labels)  # 2 log 2 + 2 log 3
    tensor(3.5835)
    >>> objective.generator_loss(logits, labels)  # log 2, the classifiers being as uncertain
    tensor(0.6931)
    """

    name: ClassVar[str] = "tacgan"
    has_target_class: ClassVar[bool] = True
    _columns_per_class: ClassVar[int] = 2
    auxiliary_weight: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("auxiliary_weight", self.auxiliary_weight)
        super().__post_init__()

    def _discriminator(self) -> Pair:
        real, generated = _Twins(self._real_classes(self.auxiliary_weight), None), _Twins(None, self._target(1))
        return Separate(Heads(self._on_real(), real), Heads(self._on_generated(), generated))

    def _generator(self) -> Term:
        return Heads(self._of_generator(), _Twins(self._target(1), self._target(-1)))

    def _target(self, sign: int) -> Term:
        return MeanRowLoss(CLASS_CROSS_ENTROPY.weighted(sign * self.auxiliary_weight))
