"""R1 and R2 in the discriminator's step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from amgan_fast.objectives import Objective, finite_difference_penalty, gradient_penalty
from amgan_fast.objectives.arguments import check_realness
from amgan_fast.precision import at_least_float32
from amgan_fast.processes import Share
from amgan_fast.runs import StepOptions
from amgan_fast.train.evaluation_mode import evaluation_mode


class GradientPenalties:
    """What R1 and R2 add to the discriminator's loss.

    They penalize the discriminator in evaluation mode, where it is one function of an image: dropout and noise would
    be all of a finite difference, and batch norm with the statistics of the batch lets every image move all rows. They
    are computed in float32 whatever the precision of the step: a bfloat16 logit of 4 has steps of 0.03, which is
    three times the sigma of finite differences.

    Args:
        judge: the discriminator, or the compiled one, for finite differences. What torch.compile makes has no second
            derivative: exact penalties go through ``discriminator`` itself.
        random: what the noise of finite differences is drawn from, alike in every process.

    Raises:
        ValueError: the objective has no real/generated logit.
    """

    def __init__(
        self,
        options: StepOptions,
        objective: Objective,
        discriminator: nn.Module,
        judge: Callable[[Tensor], Tensor],
        random: torch.Generator,
        share: Share,
    ) -> None:
        if options.penalizes_gradients:
            check_realness(objective, "r1 or r2 is not 0, wanted 0")
        self._objective = objective
        self._discriminator = discriminator
        self._random = random
        self._share = share
        self._part = options.penalty_share
        self._exact = options.gradient_penalty == "exact"
        self._judge = discriminator if self._exact else judge
        self._every = options.penalty_every if self._exact else 1
        self._weights = [self._every * gamma / 2 for gamma in (options.r1, options.r2)]

    def __call__(self, step: int, real: Tensor, generated: Tensor) -> Tensor | None:
        """The penalty of step number ``step``, the first one being 0, with its graph; None: it has none."""
        due = step % self._every == 0
        terms = [(weight, x) for weight, x in zip(self._weights, (real, generated), strict=True) if weight and due]
        if not terms:
            return None
        with evaluation_mode(self._discriminator):
            return torch.stack([weight * self._squared_slope(images) for weight, images in terms]).sum()

    def _squared_slope(self, images: Tensor) -> Tensor:
        images = at_least_float32(images.detach())
        if self._exact:
            return gradient_penalty(self._d, images)
        images = images[: math.ceil(self._part * len(images))]
        return finite_difference_penalty(self._d, images, self._noise(images))

    def _d(self, images: Tensor) -> Tensor:
        return self._objective.realness(self._judge(images))

    def _noise(self, images: Tensor) -> Tensor:
        """This process's part of what one process would draw."""
        shape = (len(images) * self._share.ranks, *images.shape[1:])
        noise = torch.randn(shape, generator=self._random, device=images.device, dtype=images.dtype)
        return noise[self._share.rows(len(images))]
