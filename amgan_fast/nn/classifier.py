"""The classifiers whose distributions the scores are computed from."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Images [N, C, H, W] in [-1, 1] -> logits [N, num_classes]; sides of at least 4 pixels.

    Args:
        image_shape: (C, H, W).
        sizes: what else an architecture is made from, by name: as a checkpoint records it, and as
            :func:`amgan_fast.nn.build_classifier` takes it.

    >>> from amgan_fast.nn import build_classifier
    >>> classifier = build_classifier("cnn", image_shape=(1, 8, 8), num_classes=10, width=4)
    >>> classifier.architecture, classifier.sizes
    ('cnn', {'width': 4})
    """

    architecture: ClassVar[str]
    """Its name in :data:`amgan_fast.nn.CLASSIFIERS`."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, **sizes: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.sizes = sizes


class SmallCNN(Classifier):
    """Two convolutions of 3x3, each with batch norm and halved by its maximum, and a linear layer."""

    architecture = "cnn"

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: int = 32) -> None:
        super().__init__(image_shape, num_classes, width=width)
        channels, height, breadth = image_shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(2 * width * (height // 4) * (breadth // 4), num_classes),
        )
        # Here, so that a loaded classifier sums in the order of the one that was trained.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
