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
    check_real_labels,
    given_or_dynamic,
)
from amgan_fast.precision import at_least_float32

_OVER_NONE = generated_row()  # of any columns, fake="zero": log(1 + sum exp l), accurate where all are far below 0
_IS_SET = binary_cross_entropy(1)  # of one column, fake="zero": log(1 + exp(-l))


@dataclass(frozen=True)
class _ClassAndReal(Term):
    """The labels are y and "real", and no others."""

    needs_labels: bool = False

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        wrong, right, _ = self._wrong_and_right(at_least_float32(logits), labels)
        return _OVER_NONE(wrong, fake="zero") + _OVER_NONE(-right, fake="zero")

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        wrong, right, y = self._wrong_and_right(at_least_float32(logits), labels)
        wrong_loss, down = _OVER_NONE.and_grad(wrong, fake="zero")
        right_loss, up = _OVER_NONE.and_grad(-right, fake="zero")
        grad = torch.cat([down[:, :-1].scatter(1, y, -up[:, :1]), -up[:, 1:], down[:, -1:]], 1)
        return wrong_loss + right_loss, grad.to(logits.dtype)

    def _wrong_and_right(self, logits: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The logits of the wrong labels, [N, K+1] with -inf for l_y, those of the right ones, [N, 2], and y, [N, 1].

        The sum over the wrong labels is one of its own: it is no accurate difference of that over all labels and e^l_y.
        """
        if self.needs_labels:
            check_real_labels(labels)
        classes, real, generated = logits[:, :-2], logits[:, -2:-1], logits[:, -1:]
        y = given_or_dynamic(labels, classes)[:, None]
        wrong = torch.cat([classes.scatter(1, y, -math.inf), generated], 1)
        return wrong, torch.cat([classes.gather(1, y), real], 1), y


@dataclass(frozen=True)
class _Generated(Term):
    """The label is "generated" alone."""

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return _OVER_NONE(logits[:, :-1], fake="zero") + _IS_SET(logits[:, -1:], fake="zero")

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        wrong_loss, down = _OVER_NONE.and_grad(logits[:, :-1], fake="zero")
        right_loss, up = _IS_SET.and_grad(logits[:, -1:], fake="zero")
        return wrong_loss + right_loss, torch.cat([down, up], 1)


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
