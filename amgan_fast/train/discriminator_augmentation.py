"""Augmentation of whatever the discriminator sees, with a fixed or an adaptive probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from amgan_fast.objectives import Objective
from amgan_fast.objectives.arguments import check_realness
from amgan_fast.processes import Share, mean_over_processes
from amgan_fast.runs import StepOptions
from amgan_fast.train.random_changes import DRAWS, randomly_changed, uniform_rows

_STEPS_OF_SIGN = 4  # over which the mean sign is averaged


class DiscriminatorAugmentation:
    """Changes the discriminator's images at random, real and generated ones alike, in both players' steps.

    With a target the probability is adaptive (ADA: Karras et al., "Training Generative Adversarial Networks with
    Limited Data", arXiv 2006.06676): r is the mean sign of d over the real images that the discriminator sees; where it
    is above the target, the discriminator knows the training set too well, and the probability rises, else it falls. It
    stays in [0, 1] and needs ``augment_images`` images from one end to the other. The source looks at four batches at a
    time; here r is a moving average over as many steps, so that all steps are alike and none waits for a number.

    Args:
        random: what the changes are drawn from, alike in every process.

    Attributes:
        probability: a scalar on the device.

    Raises:
        ValueError: the probability is to be adaptive, and the objective has no real/generated logit.
    """

    def __init__(self, options: StepOptions, objective: Objective, random: torch.Generator, share: Share) -> None:
        self._target = options.augment_target
        if self._target is not None:
            check_realness(objective, f"augment_target is {self._target}, wanted None")
        self._images = options.augment_images
        self._objective = objective
        self._random = random
        self._share = share
        self.probability = torch.full((), options.augment, device=random.device)
        self._sign = torch.zeros((), device=random.device)

    def __call__(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> the same, changed."""
        return randomly_changed(images, uniform_rows(len(images), DRAWS, self._random, self._share), self.probability)

    @torch.no_grad()
    def adapt(self, real_logits: Tensor) -> None:
        """Let the probability follow from the discriminator's logits of the real images of a step."""
        if self._target is None:
            return
        sign = mean_over_processes(self._objective.realness(real_logits).sign().mean(), self._share)
        self._sign.lerp_(sign.to(self._sign.dtype), 1 / _STEPS_OF_SIGN)
        seen = len(real_logits) * self._share.ranks
        self.probability.add_((self._sign - self._target).sign(), alpha=seen / self._images).clamp_(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """Tensors only."""
        return {"probability": self.probability, "sign": self._sign}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.probability.copy_(state["probability"])
        self._sign.copy_(state["sign"])
