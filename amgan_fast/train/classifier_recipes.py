"""How classifiers are trained, by the name of their architecture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR


@dataclass(frozen=True)
class ClassifierRecipe:
    """Numbers of a training; its loss is the cross-entropy of the labels."""

    optimizer: Literal["AdamW, one cycle", "SGD with Nesterov momentum 0.9, to a tenth after 1/2 and 3/4"]
    """With the schedule of its learning rate."""
    learning_rate: float
    """The highest."""
    weight_decay: float
    batch_size: int
    augmented: bool
    """Whether images are cropped and mirrored at random: :mod:`amgan_fast.train.augmentation`."""
    epochs: int
    """How often each image is seen where the user does not say."""
    steps_at_least: int = 1
    """The fewest steps of a training whose epochs the user does not say."""

    def steps(self, images: int, epochs: int | None) -> int:
        """Batches of a training on so many images."""
        if epochs is None:
            return max(self.steps_at_least, self.epochs * images // self.batch_size)
        return max(1, epochs * images // self.batch_size)

    def record(self, steps: int, images: int) -> dict[str, Any]:
        """What a training of ``steps`` steps on so many images was, as plain values."""
        names = ("optimizer", "learning_rate", "weight_decay", "batch_size")
        epochs = steps * self.batch_size / images
        return {name: getattr(self, name) for name in names} | {"steps": steps, "epochs": epochs}


CLASSIFIER_RECIPES: dict[str, ClassifierRecipe] = {
    "cnn": ClassifierRecipe(
        optimizer="AdamW, one cycle",
        learning_rate=2e-3,
        weight_decay=0.01,
        batch_size=128,
        augmented=False,
        epochs=3,
        steps_at_least=1500,
    ),
    # Huang et al., arXiv 1608.06993, section 4.2, with the augmentation of their results marked +.
    "densenet-bc": ClassifierRecipe(
        optimizer="SGD with Nesterov momentum 0.9, to a tenth after 1/2 and 3/4",
        learning_rate=0.1,
        weight_decay=1e-4,
        batch_size=64,
        augmented=True,
        epochs=300,
    ),
}


def build_optimizer(
    recipe: ClassifierRecipe, parameters: Iterable[nn.Parameter], steps: int
) -> tuple[Optimizer, LRScheduler]:
    """The optimizer of a training of ``steps`` steps, and the schedule that is to be stepped after each of them."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "AdamW, one cycle":
        adamw = AdamW(parameters, rate, weight_decay=decay, fused=True)
        return adamw, OneCycleLR(adamw, rate, total_steps=steps)
    sgd = SGD(parameters, rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)
    return sgd, MultiStepLR(sgd, [steps // 2, steps * 3 // 4], gamma=0.1)
