"""The classifier whose distributions the scores are computed from."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A small convolutional network: images [N, C, H, W] in [-1, 1] -> logits [N, num_classes]; sides >= 4."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes
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
