"""CatGAN: a discriminator that is a classifier and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from amgan_fast.objectives.base import TermObjective
from amgan_fast.objectives.losses import CLASS_CROSS_ENTROPY
from amgan_fast.objectives.terms import ClassEntropy, MarginalEntropy, MeanRowLoss, Pair, Separate, Sum, Term
from amgan_fast.option_checks import check_not_negative


@dataclass(frozen=True)
class CatGAN(TermObjective):
    """Real rows are certainly of one class and evenly of all, generated ones of no certain class ([CAT]).

    L_D: -H(mean C(x)) + mean H(C(x)) - mean H(C(g)) [+ label_weight * CE(y, C(x))];
    L_G: -H(mean C(g)) + mean H(C(g)). Unlabelled real rows: the first two terms of L_D.

    ``label_weight``: 0 is the unsupervised model, which accepts labels and does not use them.

    >>> import torch
    >>> from amgan_fast.objectives import CatGAN
    >>> certain_and_even = 100 * torch.eye(3)  # a row of each class
    >>> CatGAN().generator_loss(certain_and_even)  # -log 3, the least there is
    tensor(-1.0986)
    """

    name: ClassVar[str] = "catgan"
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative("label_weight", self.label_weight)
        super().__post_init__()

    @property
    def _other_columns(self) -> int:
        return 0

    def _discriminator(self) -> Pair:
        of_labels = MeanRowLoss(CLASS_CROSS_ENTROPY.weighted(self.label_weight), needs_labels=True)
        real = (*_CERTAIN_AND_EVEN, of_labels) if self.label_weight else _CERTAIN_AND_EVEN
        return Separate(Sum(real), ClassEntropy(-1))

    def _generator(self) -> Term:
        return Sum(_CERTAIN_AND_EVEN)

    def _unlabelled(self) -> Term:
        return Sum(_CERTAIN_AND_EVEN)


_CERTAIN_AND_EVEN = (ClassEntropy(), MarginalEntropy(-1))
