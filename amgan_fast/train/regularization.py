"""All that a step does to the discriminator beside its model's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.objectives import Objective
from amgan_fast.processes import Share
from amgan_fast.runs import StepOptions
from amgan_fast.train.consistency import Consistency
from amgan_fast.train.discriminator_augmentation import DiscriminatorAugmentation
from amgan_fast.train.gradient_penalties import GradientPenalties
from amgan_fast.train.lecam import LeCamOfLogits


class Regularization:
    """Augmentation, consistency, LeCam and gradient penalties, as far as the options have them.

    Args:
        judge: the discriminator, or the compiled one.
        random: what they draw from, alike in every process.

    Attributes:
        penalties: those of gradients.

    Raises:
        ValueError: there is one that wants a real/generated logit, and the objective has none.
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
        self.penalties = GradientPenalties(options, objective, discriminator, judge, random, share)
        self._augmentation = self._consistency = self._lecam = None
        if options.augments:
            self._augmentation = DiscriminatorAugmentation(options, objective, random, share)
        if options.consistency:
            self._consistency = Consistency(options.consistency, objective, random, share)
        if options.lecam:
            self._lecam = LeCamOfLogits(options.lecam, options.lecam_decay, objective, random.device, share)

    @property
    def augmentation_probability(self) -> Tensor | None:
        """A scalar on the device; None where nothing is augmented."""
        return None if self._augmentation is None else self._augmentation.probability

    def augmented(self, images: Tensor) -> Tensor:
        """Images as the discriminator sees them."""
        return images if self._augmentation is None else self._augmentation(images)

    def more_batches(self, real: Tensor, generated: Tensor) -> list[Tensor]:
        """What else is to go through the discriminator, of images as it sees them."""
        return [] if self._consistency is None else [self._consistency.moved(real), self._consistency.moved(generated)]

    def added_to(
        self, loss: Tensor, gradients: list[Tensor], logits: list[Tensor], real: int
    ) -> tuple[Tensor, list[Tensor]]:
        """A loss of logits and its gradients, with those of what is added; the averages and the probability that are
        kept follow from these logits.

        Args:
            gradients: by the first of the logits.
            logits: number ``real`` those of real images, number 1 those of generated ones, the last those of
                :meth:`more_batches`.

        Returns:
            The loss, and its gradients by all logits.
        """
        gradients = list(gradients)
        if self._augmentation is not None:
            self._augmentation.adapt(logits[real].detach())
        if self._consistency is not None:
            added, of_real, of_generated, *of_moved = self._consistency.and_grad(logits[real], logits[1], *logits[-2:])
            gradients[real], gradients[1] = gradients[real] + of_real, gradients[1] + of_generated
            loss, gradients = loss + added, [*gradients, *of_moved]
        if self._lecam is not None:
            added, of_real, of_generated = self._lecam.and_grad(logits[real], logits[1])
            loss, gradients[real], gradients[1] = loss + added, gradients[real] + of_real, gradients[1] + of_generated
        return loss, gradients

    def state_dict(self) -> dict[str, Any]:
        """Of those that there are."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        """That keep something from step to step."""
        averages = None if self._lecam is None else self._lecam.averages
        return {
            name: part for name, part in (("augmentation", self._augmentation), ("lecam", averages)) if part is not None
        }
