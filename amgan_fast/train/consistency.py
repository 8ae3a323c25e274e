"""Consistency regularization in the discriminator's step."""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.objectives import Objective
from amgan_fast.objectives.arguments import check_realness
from amgan_fast.objectives.gradients import loss_and_grad
from amgan_fast.processes import Share
from amgan_fast.train.random_changes import moved, uniform_rows


class Consistency:
    """weight * (E (d(x) - d(T x))^2 + E (d(g) - d(T g))^2), with T a shift by up to an eighth of each side: where an
    image lies says nothing of how real it is (Zhang et al., "Consistency Regularization for Generative Adversarial
    Networks", arXiv 1910.12027; of generated images too: Zhao et al., arXiv 2002.04724).

    Args:
        random: what the shifts are drawn from, alike in every process.

    Raises:
        ValueError: the objective has no real/generated logit.
    """

    def __init__(self, weight: float, objective: Objective, random: torch.Generator, share: Share) -> None:
        check_realness(objective, f"consistency is {weight}, wanted 0")
        self._weight = weight
        self._objective = objective
        self._random = random
        self._share = share

    def moved(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> the same, T of each."""
        return moved(images, uniform_rows(len(images), 2, self._random, self._share))

    def and_grad(self, *logits: Tensor) -> tuple[Tensor, ...]:
        """``(loss, *gradients)``, detached.

        Args:
            logits: of real images, of generated ones, of moved real ones and of moved generated ones, all [N, outputs].
        """
        return loss_and_grad(self._loss, *logits)

    def _loss(self, real: Tensor, generated: Tensor, moved_real: Tensor, moved_generated: Tensor) -> Tensor:
        d = self._objective.realness
        pairs = ((real, moved_real), (generated, moved_generated))
        return self._weight * torch.stack([(d(x) - d(y)).square().mean() for x, y in pairs]).sum()
