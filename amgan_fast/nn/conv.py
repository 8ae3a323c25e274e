"""Convolutional networks, for images whose sides are multiples of 4."""

from __future__ import annotations

from torch import nn

from amgan_fast.nn.layers import InputNoise

ImageShape = tuple[int, int, int]


def conv_generator(inputs: int, image_shape: ImageShape, width: int = 32) -> nn.Sequential:
    """[N, inputs] -> [N, C, H, W] in (-1, 1): from a quarter of the size, doubled twice."""
    channels, height, breadth = image_shape
    seed = (4 * width, height // 4, breadth // 4)
    return nn.Sequential(
        nn.Linear(inputs, seed[0] * seed[1] * seed[2], bias=False),
        nn.Unflatten(1, seed),
        nn.BatchNorm2d(4 * width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width, channels, 3, padding=1),
        nn.Tanh(),
    )


def conv_discriminator(outputs: int, image_shape: ImageShape, width: int = 32) -> nn.Sequential:
    """[N, C, H, W] -> logits [N, outputs]: three convolutions, to a quarter of the size."""
    channels, height, breadth = image_shape
    return nn.Sequential(
        InputNoise(0.1),
        nn.Conv2d(channels, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Dropout(0.3),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Dropout(0.3),
        nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False),
        nn.BatchNorm2d(4 * width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(4 * width * (height // 4) * (breadth // 4), outputs),
    )
