"""Layers that the networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amgan_fast.nn.leaky_dropout import LeakyReLUDropout
from amgan_fast.nn.options import NetworkOptions
from amgan_fast.nn.virtual_batch_norm import VirtualBatchNorm


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


def activation(dropout: float = 0.0) -> nn.Module:
    """Leaky ReLU of slope 0.2, and dropout with this probability."""
    return LeakyReLUDropout(dropout, 0.2) if dropout else nn.LeakyReLU(0.2, inplace=True)


def input_noise(options: NetworkOptions) -> list[nn.Module]:
    """The layer, if there is any."""
    return [InputNoise(options.input_noise)] if options.input_noise else []


def normalization(channels: int, options: NetworkOptions, of_images: bool = True) -> list[nn.Module]:
    """The layer, if there is any: for [N, channels, H, W], or for [N, channels] if not ``of_images``."""
    if options.normalization == "none":
        return []
    if options.normalization == "virtual":
        return [VirtualBatchNorm(channels)]
    layer = nn.BatchNorm2d if of_images else nn.BatchNorm1d
    return [layer(channels, track_running_stats=options.running_statistics)]
