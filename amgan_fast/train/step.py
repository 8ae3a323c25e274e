"""One step of each player."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from amgan_fast.nn import LatentSource
from amgan_fast.objectives import Objective

ADAM_BETAS = (0.5, 0.999)


class AdversarialStep:
    """The networks, their optimisers, and what a training step does to them.

    No graph goes through the generator in the discriminator's step, the discriminator's parameters are frozen in the
    generator's, the objective's gradients go straight into the logits' backward, and nothing waits for the device.

    Attributes:
        averaged: the generator with exponentially averaged weights and batch statistics, in evaluation mode.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        latent: LatentSource,
        random: torch.Generator,
        *,
        generator_lr: float,
        discriminator_lr: float,
        ema_decay: float,
    ) -> None:
        self.generator = generator.train()
        self.discriminator = discriminator.train()
        self.averaged = copy.deepcopy(generator).eval().requires_grad_(False)
        self._objective = objective
        self._latent = latent
        self._random = random
        self._ema_decay = ema_decay
        self._optimizers = {
            "generator": torch.optim.Adam(generator.parameters(), generator_lr, ADAM_BETAS, fused=True),
            "discriminator": torch.optim.Adam(discriminator.parameters(), discriminator_lr, ADAM_BETAS, fused=True),
        }
        self._averages, self._values = _matching_tensors(self.averaged, self.generator)
        self._loss_sums = torch.zeros(2, device=random.device)
        self._steps = 0
        self._steps_in_sums = 0

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """A step on real images, float [N, C, H, W], and their labels, [N]."""
        discriminator_loss = self._step_discriminator(images, labels)
        generator_loss = self._step_generator(len(images))
        self._loss_sums += torch.stack([discriminator_loss, generator_loss])
        self._steps_in_sums += 1
        self._steps += 1
        self._average()

    def pop_losses(self) -> tuple[float, float]:
        """Mean losses (discriminator, generator) since the last call; waits for the device."""
        discriminator_loss, generator_loss = (self._loss_sums / self._steps_in_sums).tolist()
        self._loss_sums.zero_()
        self._steps_in_sums = 0
        return discriminator_loss, generator_loss

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "averaged": self.averaged.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
            "steps": self._steps,
        }

    def _step_discriminator(self, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            generated = self.generator(self._latent.draw(len(images), self._random)[0])
        self._optimizers["discriminator"].zero_grad(set_to_none=True)
        real_logits, fake_logits = self.discriminator(images), self.discriminator(generated)
        loss, *gradients = self._objective.discriminator_loss_and_grad(real_logits, labels, fake_logits)
        torch.autograd.backward([real_logits, fake_logits], gradients)
        self._optimizers["discriminator"].step()
        return loss

    def _step_generator(self, count: int) -> Tensor:
        inputs, labels = self._latent.draw(count, self._random)
        self._optimizers["generator"].zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        fake_logits = self.discriminator(self.generator(inputs))
        loss, gradient = self._objective.generator_loss_and_grad(fake_logits, labels)
        fake_logits.backward(gradient)
        self.discriminator.requires_grad_(True)
        self._optimizers["generator"].step()
        return loss

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self._ema_decay, self._steps / (self._steps + 10))  # the first weights are soon forgotten
        get_ema_multi_avg_fn(decay)(self._averages, self._values, None)


def _matching_tensors(averaged: nn.Module, source: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The floating-point parameters and buffers of both, in the same order."""
    return tuple(  # type: ignore[return-value]
        [x.detach() for x in (*module.parameters(), *module.buffers()) if x.is_floating_point()]
        for module in (averaged, source)
    )
