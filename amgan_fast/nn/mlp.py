"""Fully connected networks, for images of a few pixels."""

from __future__ import annotations

import math

from torch import nn

from amgan_fast.nn.layers import InputNoise

ImageShape = tuple[int, int, int]


def mlp_generator(inputs: int, image_shape: ImageShape, width: int = 256) -> nn.Sequential:
    """[N, inputs] -> [N, C, H, W] in (-1, 1)."""
    return nn.Sequential(
        nn.Linear(inputs, width, bias=False),
        nn.BatchNorm1d(width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(width, math.prod(image_shape)),
        nn.Tanh(),
        nn.Unflatten(1, image_shape),
    )


def mlp_discriminator(outputs: int, image_shape: ImageShape, width: int = 256) -> nn.Sequential:
    """[N, C, H, W] -> logits [N, outputs]. Batch norm is essential: without it classes drop out."""
    return nn.Sequential(
        InputNoise(0.1),
        nn.Flatten(),
        nn.Linear(math.prod(image_shape), width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Dropout(0.3),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Dropout(0.3),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Dropout(0.3),
        nn.Linear(width, outputs),
    )
