"""LeCam regularization in the discriminator's step."""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.objectives import LeCam, Objective
from amgan_fast.objectives.arguments import check_realness
from amgan_fast.objectives.gradients import loss_and_grad
from amgan_fast.processes import Share, mean_over_processes


class LeCamOfLogits:
    """What it adds to the loss of a batch of real and one of generated rows.

    Attributes:
        averages: what is kept from step to step, alike in all processes.

    Raises:
        ValueError: the objective has no real/generated logit.
    """

    def __init__(self, weight: float, decay: float, objective: Objective, device: torch.device, share: Share) -> None:
        check_realness(objective, f"lecam is {weight}, wanted 0")
        self.averages = LeCam(decay, device)
        self._weight = weight
        self._objective = objective
        self._share = share

    def and_grad(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(loss, grad_real, grad_fake)``, detached, once the averages have these rows in them."""
        loss, grad_real, grad_fake = loss_and_grad(self._loss, real_logits, fake_logits)
        return loss, grad_real, grad_fake

    def _loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        d_real, d_fake = self._objective.realness(real_logits), self._objective.realness(fake_logits)
        means = torch.stack([d_real.mean(), d_fake.mean()]).detach()
        self.averages.update(mean_over_processes(means, self._share))
        return self._weight * self.averages.penalty(d_real, d_fake)
