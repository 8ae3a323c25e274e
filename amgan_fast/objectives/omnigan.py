"""Omni-GAN: every class, "real" and "generated" are labels that a row has or has not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from amgan_fast.objectives.base import TermObjective
from amgan_fast.objectives.losses import binary_cross_entropy, generated_row
from amgan_fast.objectives.terms import (
    Pair,
    Separate,
    Term,
    at_least_float32,
    check_real_labels,
    given_or_dynamic,
)

_OVER_NONE = generated_row()  # of any columns, fake="zero": log(1 + sum exp l), exact where all are far below 0


@dataclass(frozen=True)
class _ClassAndReal(Term):
    """The labels are y and "real", and no others."""

    needs_labels: bool = False

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.needs_labels:
            check_real_labels(labels)
        logits = at_least_float32(logits)
        classes, real, generated = logits[:, :-2], logits[:, -2:-1], logits[:, -1:]
        y = given_or_dynamic(labels, classes)[:, None]
        # A sum of its own: the logsumexp without l_y is no accurate difference of that with it.
        others = classes.scatter(1, y, -math.inf)
        wrong = _OVER_NONE(torch.cat([others, generated], 1), fake="zero")
        right = _OVER_NONE(-torch.cat([classes.gather(1, y), real], 1), fake="zero")
        return wrong + right


@dataclass(frozen=True)
class _Generated(Term):
    """The label is "generated" alone."""

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = at_least_float32(logits)
        return _OVER_NONE(logits[:, :-1], fake="zero") + binary_cross_entropy(1)(logits[:, -1:], fake="zero")


@dataclass(frozen=True)
class OmniGAN(TermObjective):
    """Omni-GAN: the multi-label loss log(1 + sum over wrong labels e^l) + log(1 + sum over right labels e^-l) ([OMNI]).

    Logits are [K classes | real | generated]. The right labels of a real row are its class and "real", that of a
    generated one is "generated"; the generator's loss is that of a real row, with the given or the dynamic label.

    >>> import torch
    >>> from amgan_fast.objectives import OmniGAN
    >>> objective, logits, labels = OmniGAN(), torch.zeros(2, 3 + 2), torch.tensor([0, 1])
    >>> objective.discriminator_loss(logits, labels, logits)  # log 4 + log 3, and log 5 + log 2
    tensor(4.7875)
    >>> objective.generator_loss(logits, labels)  # log 4 + log 3
    tensor(2.4849)
    """

    name: ClassVar[str] = "omni-gan"
    has_target_class: ClassVar[bool] = True

    @property
    def _other_columns(self) -> int:
        return 2

    @property
    def has_realness(self) -> bool:
        return True

    def realness(self, logits: Tensor) -> Tensor:
        self._check_logits(logits=logits)
        real, generated = at_least_float32(logits[:, -2:]).unbind(1)
        return real - generated

    def _discriminator(self) -> Pair:
        return Separate(_ClassAndReal(needs_labels=True), _Generated())

    def _generator(self) -> Term:
        return _ClassAndReal()
