"""Convolutional networks, for images whose sides are multiples of 4."""

from __future__ import annotations

from torch import nn

from amgan_fast.nn.layers import (
    FlattenChannelsLast,
    UnflattenChannelsLast,
    activation,
    input_noise,
    norm_and_activation,
)
from amgan_fast.nn.options import ImageShape, NetworkOptions

OPTIONS = NetworkOptions()
_WIDTH = 32


def conv_generator(inputs: int, image_shape: ImageShape, options: NetworkOptions, classes: int) -> nn.Sequential:
    """[N, inputs] -> [N, C, H, W] in (-1, 1): 128 channels at a quarter of the size, doubled twice."""
    channels = image_shape[0]
    height, breadth = _quarter(image_shape)
    width, twice, four = (options.channels(factor * _WIDTH) for factor in (1, 2, 4))
    return nn.Sequential(
        nn.Linear(inputs, four * height * breadth, bias=options.biases),
        UnflattenChannelsLast(four, height, breadth),
        *norm_and_activation(four, options, classes=classes),
        nn.ConvTranspose2d(four, twice, 4, stride=2, padding=1, bias=options.biases),
        *norm_and_activation(twice, options, classes=classes),
        nn.ConvTranspose2d(twice, width, 4, stride=2, padding=1, bias=options.biases),
        *norm_and_activation(width, options, classes=classes),
        nn.Conv2d(width, channels, 3, padding=1),
        nn.Tanh(),
    )


def conv_discriminator(image_shape: ImageShape, options: NetworkOptions) -> tuple[nn.Sequential, int]:
    """[N, C, H, W] -> features [N, 8 H W]: three convolutions, to 128 channels at a quarter of the size."""
    channels = image_shape[0]
    height, breadth = _quarter(image_shape)
    width, twice, four = (options.channels(factor * _WIDTH) for factor in (1, 2, 4))
    layers = nn.Sequential(
        *input_noise(options),
        nn.Conv2d(channels, width, 4, stride=2, padding=1),
        activation(options.dropout),
        nn.Conv2d(width, twice, 4, stride=2, padding=1, bias=options.biases),
        *norm_and_activation(twice, options, options.dropout),
        nn.Conv2d(twice, four, 3, padding=1, bias=options.biases),
        *norm_and_activation(four, options, options.dropout),
        FlattenChannelsLast(),
    )
    return layers, four * height * breadth


def _quarter(image_shape: ImageShape) -> tuple[int, int]:
    _, height, breadth = image_shape
    if min(height, breadth) < 4 or height % 4 or breadth % 4:
        raise ValueError(f"images for network 'conv' are {height} x {breadth}, wanted sides that are multiples of 4")
    return height // 4, breadth // 4
