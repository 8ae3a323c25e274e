"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.nn.conv import conv_discriminator, conv_generator
from amgan_fast.nn.mlp import mlp_discriminator, mlp_generator

_Builder = Callable[[int, tuple[int, int, int]], nn.Module]

NETWORKS: dict[str, tuple[_Builder, _Builder]] = {
    "mlp": (mlp_generator, mlp_discriminator),
    "conv": (conv_generator, conv_discriminator),
}
"""(generator, discriminator) by the name that a configuration's ``network`` takes."""


def build_generator(network: str, inputs: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """[N, inputs] -> images [N, C, H, W] in (-1, 1)."""
    return _pair(network)[0](inputs, image_shape)


def build_discriminator(network: str, outputs: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """Images [N, C, H, W] -> logits [N, outputs]."""
    return _pair(network)[1](outputs, image_shape)


def _pair(network: str) -> tuple[_Builder, _Builder]:
    if network not in NETWORKS:
        raise InputError(f"network is {network!r}, wanted one of {', '.join(NETWORKS)}")
    return NETWORKS[network]
