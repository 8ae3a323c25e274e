"""How many held-out images the discriminator of a run puts in their class: what semi-supervised training is for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.data import Dataset, to_float
from amgan_fast.metrics import share_interval
from amgan_fast.nn import VirtualBatchNorm
from amgan_fast.objectives import Objective
from amgan_fast.train.evaluation_mode import evaluation_mode


@dataclass(frozen=True)
class DiscriminatorAccuracy:
    """Held-out images whose label is the likeliest of the K real classes.

    >>> from amgan_fast.train import DiscriminatorAccuracy
    >>> accuracy = DiscriminatorAccuracy(correct=342, n=360, normalization="nothing")
    >>> accuracy.accuracy
    0.95
    >>> [round(bound, 3) for bound in accuracy.ci95]
    [0.922, 0.968]
    """

    correct: int
    n: int
    """The number of images."""
    normalization: str
    """What the discriminator's layers normalized the images with."""

    @property
    def accuracy(self) -> float:
        return self.correct / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson's 95% interval, over images, not over runs."""
        return share_interval(self.accuracy, self.n)

    def to_dict(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "correct": self.correct,
            "n": self.n,
            "normalization": self.normalization,
        }

    def rows(self) -> list[tuple[str, list[str]]]:
        """(name, cells for generated and held-out samples), as :func:`amgan_fast.evaluate.score_rows` has them."""
        low, high = self.ci95
        return [
            ("accuracy of the discriminator", ["-", f"{self.accuracy:.2%}"]),
            ("  95% interval", ["-", f"{low:.2%} to {high:.2%}"]),
        ]


@torch.no_grad()
def discriminator_accuracy(
    discriminator: nn.Module, objective: Objective, dataset: Dataset, *, batch_size: int, most: int | None = None
) -> DiscriminatorAccuracy | None:
    """Of a discriminator in evaluation mode (no dropout, no noise), in float32, on the dataset's held-out images.

    Args:
        batch_size: of the training: where batch norm keeps no averages, it takes the statistics of as many held-out
            images, all real, as it had real images in training.
        most: how many images at the most, from everywhere in the set; None: all.

    Returns:
        None for a discriminator without class outputs.

    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.nn import build_discriminator
    >>> from amgan_fast.objectives import AMGAN, GAN
    >>> from amgan_fast.train import discriminator_accuracy
    >>> discriminator = build_discriminator("mlp", AMGAN(), 10, (1, 8, 8))  # untrained: it guesses
    >>> discriminator_accuracy(discriminator, AMGAN(), load_dataset("digits"), batch_size=100).accuracy < 0.5
    True
    """
    images, labels = dataset.test_images, dataset.test_labels
    count = len(images) if most is None else min(most, len(images))
    chosen = torch.arange(count, device=labels.device) * len(images) // count
    correct = torch.zeros((), dtype=torch.int64, device=labels.device)
    with evaluation_mode(discriminator):
        for part in chosen.tensor_split(math.ceil(count / batch_size)):  # no batch of a single image at the end
            logits = objective.class_logits(discriminator(to_float(images[part])), dataset.num_classes)
            if logits is None:
                return None
            correct += (logits.argmax(1) == labels[part]).sum()
    return DiscriminatorAccuracy(int(correct), count, _normalization(discriminator))


def _normalization(discriminator: nn.Module) -> str:
    layers = list(discriminator.modules())
    if any(isinstance(layer, VirtualBatchNorm) for layer in layers):
        return "its reference batch"
    norms = [layer for layer in layers if isinstance(layer, nn.modules.batchnorm._NormBase)]
    if not norms:
        return "nothing"
    if all(isinstance(norm.running_mean, Tensor) for norm in norms):
        return "running averages over its batches in training, real and generated"
    return "the statistics of held-out images, a batch at a time"
