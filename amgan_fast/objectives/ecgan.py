"""ECGAN: one logit of a row and its class, made of the logits of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from amgan_fast.objectives.base import TermObjective
from amgan_fast.objectives.losses import CLASS_CROSS_ENTROPY, Coefficients, RowLoss, binary_cross_entropy
from amgan_fast.objectives.terms import MeanRowLoss, Pair, Separate, Sum, Term, check_real_labels
from amgan_fast.option_checks import check_not_negative
from amgan_fast.precision import at_least_float32


@dataclass(frozen=True)
class _OfOneLogit(Term):
    """A loss of a real/generated logit that is itself a member of the family of row losses."""

    logit: RowLoss
    loss: RowLoss
    needs_labels: bool = False

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        self._check(labels)
        d = self.logit(logits, labels, fake="zero", reduction="none")
        return self.loss(d[:, None], fake="zero")

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check(labels)
        d, slopes = self.logit.and_grad(at_least_float32(logits), labels, fake="zero", reduction="none")
        loss, grad = self.loss.and_grad(d[:, None], fake="zero")
        return loss, (grad * slopes).to(logits.dtype)

    def _check(self, labels: Tensor | None) -> None:
        if self.needs_labels:
            check_real_labels(labels)


@dataclass(frozen=True)
class ECGAN(TermObjective):
    """ECGAN: a classifier's logits are the energies of a row with every class ([EC]), with GAN's loss.

    The logit of a row and its class is d = l_y + unconditional_weight * R, R the logsumexp of the K logits.
    L_D: sp(-d(x)) + sp(d(g)) + class_weight * CE(y, C(x)); L_G: sp(-d(g)), y of g given or dynamic. The authors' code
    has the hinge loss of d instead, and a contrastive term on features, which is not here.

    Args:
        unconditional_weight: 1 in the authors' runs.
        class_weight: 0.01 in their run on CIFAR-10, 0.05 on Tiny ImageNet and ImageNet.

    >>> import torch
    >>> from amgan_fast.objectives import ECGAN
    >>> objective, logits, labels = ECGAN(class_weight=1.0), torch.zeros(2, 3), torch.tensor([0, 1])
    >>> objective.discriminator_loss(logits, labels, logits)  # d = log 3: log(4/3) + log 4 + log 3
    tensor(2.7726)
    >>> objective.generator_loss(logits)  # log(4/3)
    tensor(0.2877)
    """

    name: ClassVar[str] = "ecgan"
    has_target_class: ClassVar[bool] = True
    unconditional_weight: float = 1.0
    class_weight: float = 0.01

    def __post_init__(self) -> None:
        check_not_negative("unconditional_weight", self.unconditional_weight)
        check_not_negative("class_weight", self.class_weight)
        super().__post_init__()

    @property
    def _other_columns(self) -> int:
        return 0

    @property
    def has_realness(self) -> bool:
        return True

    def realness(self, logits: Tensor) -> Tensor:
        self._check_logits(logits=logits)
        return self._energy()(logits, fake="zero", reduction="none")

    def _discriminator(self) -> Pair:
        of_classes = MeanRowLoss(CLASS_CROSS_ENTROPY.weighted(self.class_weight), needs_labels=True)
        return Separate(Sum((self._binary(1, needs_labels=True), of_classes)), self._binary(0))

    def _generator(self) -> Term:
        return self._binary(1)

    def _binary(self, target: int, needs_labels: bool = False) -> Term:
        return _OfOneLogit(self._energy(), binary_cross_entropy(target), needs_labels)

    def _energy(self) -> RowLoss:
        return RowLoss("energy", Coefficients(a=0, r=self.unconditional_weight, t=-1, f=0, u=0))
