"""The networks of AC-GAN for 128 x 128 images (Odena et al., arXiv 1610.09585, appendix A)."""

from __future__ import annotations

from torch import nn

from amgan_fast.nn.layers import (
    FlattenChannelsLast,
    UnflattenChannelsLast,
    activation,
    input_noise,
    norm_and_activation,
)
from amgan_fast.nn.options import ImageShape, NetworkOptions, check_image_size

OPTIONS = NetworkOptions(input_noise=0.0, dropout=0.5)


def acgan128_generator(inputs: int, image_shape: ImageShape, options: NetworkOptions, classes: int) -> nn.Sequential:
    """[N, inputs] -> [N, C, 128, 128] in (-1, 1): 4 x 4 x 768, doubled five times by 5 x 5 deconvolutions, with ReLU.

    (The source does not print the 4 x 4; it follows from the five doublings.) For 110 inputs and 3 channels 12,736,963
    parameters.
    """
    check_image_size("acgan128", image_shape, 128)
    seed, *widths = (options.channels(count) for count in (768, 384, 256, 192, 64))
    layers: list[nn.Module] = [
        nn.Linear(inputs, seed * 4 * 4),
        UnflattenChannelsLast(seed, 4, 4),
        nn.ReLU(inplace=True),
    ]
    before = seed
    for width in widths:
        layers += [
            nn.ConvTranspose2d(before, width, 5, stride=2, padding=2, output_padding=1, bias=options.biases),
            *norm_and_activation(width, options, slope=0.0, classes=classes),
        ]
        before = width
    last = nn.ConvTranspose2d(before, image_shape[0], 5, stride=2, padding=2, output_padding=1)
    return nn.Sequential(*layers, last, nn.Tanh())


def acgan128_discriminator(image_shape: ImageShape, options: NetworkOptions) -> tuple[nn.Sequential, int]:
    """[N, C, 128, 128] -> features [N, 512 * 16 * 16]: six 3 x 3 convolutions, every other one of stride 2.

    For 3 channels, with the last layer for 11 outputs, 3,015,563 parameters.
    """
    check_image_size("acgan128", image_shape, 128)
    widths = [options.channels(count) for count in (16, 32, 64, 128, 256, 512)]
    layers: list[nn.Module] = [
        *input_noise(options),
        nn.Conv2d(image_shape[0], widths[0], 3, stride=2, padding=1),
        activation(options.dropout),
    ]
    for stride, before, width in zip((1, 2, 1, 2, 1), widths, widths[1:], strict=False):
        layers += [
            nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=options.biases),
            *norm_and_activation(width, options, options.dropout),
        ]
    return nn.Sequential(*layers, FlattenChannelsLast()), widths[-1] * 16 * 16


def initialize(module: nn.Module) -> None:
    """Weights from N(0, 0.02^2), biases 0; batch norm stays at scale 1 and offset 0."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
