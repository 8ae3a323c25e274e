"""Fully connected networks, for images of a few pixels."""

from __future__ import annotations

import math

from torch import nn

from amgan_fast.nn.layers import activation, input_noise, norm_and_activation
from amgan_fast.nn.options import ImageShape, NetworkOptions

OPTIONS = NetworkOptions()
_WIDTH = 256


def mlp_generator(inputs: int, image_shape: ImageShape, options: NetworkOptions, classes: int) -> nn.Sequential:
    """[N, inputs] -> [N, C, H, W] in (-1, 1): two hidden layers of 256."""
    width = options.channels(_WIDTH)
    return nn.Sequential(
        nn.Linear(inputs, width, bias=options.biases),
        *norm_and_activation(width, options, of_images=False, classes=classes),
        nn.Linear(width, width, bias=options.biases),
        *norm_and_activation(width, options, of_images=False, classes=classes),
        nn.Linear(width, math.prod(image_shape)),
        nn.Tanh(),
        nn.Unflatten(1, image_shape),
    )


def mlp_discriminator(image_shape: ImageShape, options: NetworkOptions) -> tuple[nn.Sequential, int]:
    """[N, C, H, W] -> features [N, 256]: three hidden layers. Batch norm is essential: without it classes drop out."""
    width = options.channels(_WIDTH)
    layers = nn.Sequential(
        *input_noise(options),
        nn.Flatten(),
        nn.Linear(math.prod(image_shape), width),
        activation(options.dropout),
        nn.Linear(width, width, bias=options.biases),
        *norm_and_activation(width, options, options.dropout, of_images=False),
        nn.Linear(width, width, bias=options.biases),
        *norm_and_activation(width, options, options.dropout, of_images=False),
    )
    return layers, width
