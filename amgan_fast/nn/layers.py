"""Layers that the networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amgan_fast.nn.batch_norm import BatchNormLeakyReLUDropout
from amgan_fast.nn.conditioning import ConditionalBatchNorm
from amgan_fast.nn.leaky_dropout import LeakyReLUDropout
from amgan_fast.nn.options import NetworkOptions
from amgan_fast.nn.virtual_batch_norm import VirtualBatchNorm

SLOPE = 0.2


class InputNoise(nn.Module):
    """Adds N(0, sigma^2) in training: the discriminator cannot lean on what is invisible."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        # In the order of the shape: on the CPU torch fills channels_last memory ten times slower, number by number.
        noise = torch.randn(images.shape, dtype=images.dtype, device=images.device)
        return torch.add(images, noise, alpha=self.sigma)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"


class UnflattenChannelsLast(nn.Module):
    """[N, H W C] -> [N, C, H, W] in ``channels_last`` memory format: a view, where ``nn.Unflatten`` would have the
    convolution after it copy."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.shape = (height, width, channels)

    def forward(self, rows: Tensor) -> Tensor:
        return rows.unflatten(1, self.shape).permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        return "height={}, width={}, channels={}".format(*self.shape)


class FlattenChannelsLast(nn.Module):
    """[N, C, H, W] -> [N, H W C], of ``channels_last`` images a view, and so is the gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1)


def activation(dropout: float = 0.0, slope: float = SLOPE) -> nn.Module:
    """Leaky ReLU, and dropout with this probability."""
    return LeakyReLUDropout(dropout, slope) if dropout else nn.LeakyReLU(slope, inplace=True)


def input_noise(options: NetworkOptions) -> list[nn.Module]:
    """The layer, if there is any."""
    return [InputNoise(options.input_noise)] if options.input_noise else []


def norm_and_activation(
    channels: int,
    options: NetworkOptions,
    dropout: float = 0.0,
    *,
    slope: float = SLOPE,
    of_images: bool = True,
    classes: int = 0,
) -> list[nn.Module]:
    """What follows a hidden layer, [N, channels, H, W], or [N, channels] if not ``of_images``: normalization, if there
    is any, leaky ReLU and dropout; with ``classes`` batch norm is conditional."""
    if options.normalization == "none":
        return [activation(dropout, slope)]
    if options.normalization == "virtual":
        return [VirtualBatchNorm(channels), activation(dropout, slope)]
    layer = nn.BatchNorm2d if of_images else nn.BatchNorm1d
    norm = layer(channels, affine=not classes, track_running_stats=options.running_statistics)
    if classes:
        return [ConditionalBatchNorm(norm, classes), activation(dropout, slope)]
    return [BatchNormLeakyReLUDropout(norm, dropout, slope)]
