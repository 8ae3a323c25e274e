"""Multi-hinge GAN: the K+1 classes of AM-GAN, with a margin in the place of the cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from amgan_fast import ops
from amgan_fast.objectives.kplus1 import WithGeneratedClass
from amgan_fast.objectives.terms import Pair, Separate, Term, check_real_labels, given_or_dynamic
from amgan_fast.option_checks import check_not_negative


@dataclass(frozen=True)
class _Lead(Term):
    """max(0, margin + the largest other logit - that of the label), of K+1 classes."""

    fake: str
    margin: float
    needs_labels: bool = False
    is_generated: bool = False
    """The label is the generated class."""

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return ops.kplus1_hinge_loss(logits, self._labels(logits, labels), margin=self.margin, fake=self.fake)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logits = logits.detach()
        return ops.kplus1_hinge_loss_and_grad(logits, self._labels(logits, labels), margin=self.margin, fake=self.fake)

    def _labels(self, logits: Tensor, labels: Tensor | None) -> Tensor | None:
        classes = _classes(logits, self.fake)
        if self.is_generated:
            return torch.full((len(logits),), classes.size(1), device=logits.device)
        if self.needs_labels:
            check_real_labels(labels)
        return labels if labels is None else given_or_dynamic(labels, classes)  # the generated class is none to ask for


@dataclass(frozen=True)
class _IsReal(Term):
    """max(0, margin + l_f - the largest real logit): the hinge of two classes, that one and the generated one."""

    fake: str
    margin: float

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        two, _ = self._two(logits)
        return ops.kplus1_hinge_loss(two, margin=self.margin, fake=self.fake)

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logits = logits.detach()
        two, largest = self._two(logits)
        loss, grad = ops.kplus1_hinge_loss_and_grad(two, margin=self.margin, fake=self.fake)
        of_classes = torch.zeros_like(_classes(logits, self.fake)).scatter(1, largest, grad[:, :1])
        return loss, torch.cat([of_classes, grad[:, 1:]], 1)

    def _two(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The two logits of every row, and which class the first one is of, [N, 1]."""
        classes = _classes(logits, self.fake)
        values, largest = classes.max(1, keepdim=True)
        return torch.cat([values, logits[:, classes.size(1) :]], 1), largest


@dataclass(frozen=True)
class MultiHinge(WithGeneratedClass):
    """Multi-hinge GAN: the logit of the label is to lead all others of K+1 by a margin ([MH]).

    With H(x, k) = max(0, margin + the largest other logit - l_k): L_D: H(x, y) + H(g, K+1); L_G: H(g, y), y given or
    dynamic. Unlabelled real rows: max(0, margin + l_f - the largest real logit). The source adds feature matching to
    L_G, which goes with any model here.

    >>> import torch
    >>> from amgan_fast.objectives import MultiHinge
    >>> real, generated = torch.tensor([[3.0, 0.5, 0.0]]), torch.tensor([[0.25, 1.0, 0.5]])
    >>> objective = MultiHinge()
    >>> objective.discriminator_loss(real, torch.tensor([0]), generated)  # 0 of the real row, 1 + 1 - 0.5
    tensor(1.5000)
    >>> loss, grad = objective.generator_loss_and_grad(generated, torch.tensor([0]))
    >>> loss, grad  # 1 + 1 - 0.25, from its class to the runner-up
    (tensor(1.7500), tensor([[-1.,  1.,  0.]]))
    """

    name: ClassVar[str] = "multi-hinge"
    has_target_class: ClassVar[bool] = True
    margin: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("margin", self.margin)
        super().__post_init__()

    def _discriminator(self) -> Pair:
        real = _Lead(self.fake, self.margin, needs_labels=True)
        return Separate(real, _Lead(self.fake, self.margin, is_generated=True))

    def _generator(self) -> Term:
        return _Lead(self.fake, self.margin)

    def _unlabelled(self) -> Term:
        return _IsReal(self.fake, self.margin)


def _classes(logits: Tensor, fake: str) -> Tensor:
    """The logits of the real classes, [N, K]."""
    return logits if fake == "zero" else logits[:, :-1]
