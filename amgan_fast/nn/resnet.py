"""The residual networks of SNGAN (Miyato et al., arXiv 1802.05957, appendix B), for images from 16 x 16 on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from amgan_fast.nn.conditioning import TakesLabel, pass_through
from amgan_fast.nn.layers import UnflattenChannelsLast, input_noise, norm_and_activation
from amgan_fast.nn.leaky_dropout import LeakyReLUDropout
from amgan_fast.nn.options import ImageShape, NetworkOptions
from amgan_fast.nn.resampling import DoublingConv2d, HalvingConv2d, SumOverPositions

OPTIONS = NetworkOptions(spectral_norm=True, input_noise=0.0, dropout=0.0)


@dataclass(frozen=True)
class _Architecture:
    least_side: int
    """Of the images that it is for, in pixels."""
    generator: tuple[int, ...]
    """Channels of the smallest image, and after each block; every block doubles."""
    discriminator: tuple[int, ...]
    """Channels after each block."""
    halvings: int
    """How many blocks of the discriminator halve, the first ones."""

    @property
    def divisor(self) -> int:
        """Of the sides of its images."""
        return 2 ** max(len(self.generator) - 1, self.halvings)


_ARCHITECTURES = (
    _Architecture(128, (1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024), 5),
    _Architecture(64, (1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024), 5),
    _Architecture(48, (512, 256, 128, 64), (64, 128, 256, 512, 1024), 4),
    _Architecture(32, (256, 256, 256, 256), (128, 128, 128, 128), 2),
    _Architecture(16, (256, 256, 256), (128, 128, 128, 128), 2),
)
"""That for 32 x 32 (CIFAR-10), for 48 x 48 (STL-10) and for 128 x 128 (ImageNet) are tables of the paper, that for 64 x
64 is of the authors' code (pfnet-research/sngan_projection), which has the other two of 32 and 128 as well. That for 16
is the one for 32 with a block less in the generator."""


class DoublingBlock(TakesLabel):
    """The generator's residual block, [N, before, H, W] -> [N, after, 2 H, 2 W], with a label where batch norm is
    conditional.

    Normalization, ReLU, doubling and convolution, then the same without doubling; the shortcut is a convolution of 1 x
    1, computed before the image is doubled, which gives the same.
    """

    def __init__(self, before: int, after: int, options: NetworkOptions, classes: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_norm_and_relu(before, options, classes),
            DoublingConv2d(before, after),
            *_norm_and_relu(after, options, classes),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return pass_through(self.residual, x, label) + interpolate(self.shortcut(x), scale_factor=2.0)


class Block(nn.Module):
    """The discriminator's residual block, [N, before, H, W] -> [N, after, H, W], or half as high and wide.

    ReLU and convolution twice, then where it halves the mean of 2 x 2 pixels; the shortcut is that mean and a
    convolution of 1 x 1, or where neither is needed x itself. The ``first`` block is of images, to which no ReLU
    applies, and widens in its first convolution instead of its second.
    """

    def __init__(self, before: int, after: int, options: NetworkOptions, *, first: bool, halves: bool) -> None:
        super().__init__()
        hidden = after if first else before
        self.residual = nn.Sequential(
            *([] if first else [_relu(options)]),
            nn.Conv2d(before, hidden, 3, padding=1),
            _relu(options),
            HalvingConv2d(hidden, after) if halves else nn.Conv2d(hidden, after, 3, padding=1),
        )
        self.shortcut = nn.Sequential()
        if halves:
            self.shortcut.append(nn.AvgPool2d(2))
        if halves or before != after:
            self.shortcut.append(nn.Conv2d(before, after, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


def resnet_generator(inputs: int, image_shape: ImageShape, options: NetworkOptions, classes: int) -> nn.Sequential:
    """[N, inputs] -> [N, C, H, W] in (-1, 1): blocks that double, then batch norm, which in the authors' code is the
    same for all classes, ReLU and a convolution.

    As in the source convolutions have biases before batch norm too. Of 128 inputs and 3 channels 4,276,739 parameters
    for 32 x 32.
    """
    architecture, (height, breadth) = _architecture(image_shape), image_shape[1:]
    widths = [options.channels(count) for count in architecture.generator]
    scale = 2 ** (len(widths) - 1)
    height, breadth = height // scale, breadth // scale
    return nn.Sequential(
        nn.Linear(inputs, widths[0] * height * breadth),
        UnflattenChannelsLast(widths[0], height, breadth),
        *(DoublingBlock(before, after, options, classes) for before, after in pairwise(widths)),
        *_norm_and_relu(widths[-1], options),
        nn.Conv2d(widths[-1], image_shape[0], 3, padding=1),
        nn.Tanh(),
    )


def resnet_discriminator(image_shape: ImageShape, options: NetworkOptions) -> tuple[nn.Sequential, int]:
    """[N, C, H, W] -> features [N, F]: blocks, ReLU, the sum over positions; for 32 x 32 F is 128.

    There is no normalization but that of the weights: ``options.normalization`` is the generator's.
    """
    architecture = _architecture(image_shape)
    widths = [image_shape[0], *(options.channels(count) for count in architecture.discriminator)]
    blocks = [
        Block(before, after, options, first=i == 0, halves=i < architecture.halvings)
        for i, (before, after) in enumerate(pairwise(widths))
    ]
    return nn.Sequential(*input_noise(options), *blocks, _relu(options), SumOverPositions()), widths[-1]


@torch.no_grad()
def initialize(module: nn.Module) -> None:
    """Weights as Glorot and Bengio have them, uniform, with a gain of sqrt(2) in the 3 x 3 convolutions of blocks;
    biases 0."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, DoublingBlock | Block):  # after the layers in it
        for layer in module.residual:
            if isinstance(layer, nn.Conv2d):
                layer.weight *= math.sqrt(2)


def _architecture(image_shape: ImageShape) -> _Architecture:
    """The first whose images may have this size."""
    _, height, breadth = image_shape
    for one in _ARCHITECTURES:
        if min(height, breadth) >= one.least_side and height % one.divisor == breadth % one.divisor == 0:
            return one
    found = f"images for network 'resnet' are {height} x {breadth}"
    raise ValueError(f"{found}, wanted sides that are multiples of 4 and at least {_ARCHITECTURES[-1].least_side}")


def _norm_and_relu(channels: int, options: NetworkOptions, classes: int = 0) -> list[nn.Module]:
    if options.normalization == "none":
        return [nn.ReLU()]  # not in place: the shortcut takes the same
    return norm_and_activation(channels, options, slope=0.0, classes=classes)


def _relu(options: NetworkOptions) -> nn.Module:
    """Of a discriminator, with its dropout; never in place."""
    return LeakyReLUDropout(options.dropout, 0.0) if options.dropout else nn.ReLU()
