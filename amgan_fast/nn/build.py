"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.nn.classifier import Classifier, SmallCNN
from amgan_fast.nn.conv import conv_discriminator, conv_generator
from amgan_fast.nn.densenet import DenseNetBC
from amgan_fast.nn.mlp import mlp_discriminator, mlp_generator

_Builder = Callable[[int, tuple[int, int, int]], nn.Module]

NETWORKS: dict[str, tuple[_Builder, _Builder]] = {
    "mlp": (mlp_generator, mlp_discriminator),
    "conv": (conv_generator, conv_discriminator),
}
"""(generator, discriminator) by the name that a configuration's ``network`` takes."""

CLASSIFIERS: dict[str, type[Classifier]] = {
    classifier.architecture: classifier for classifier in (SmallCNN, DenseNetBC)
}
"""Classifiers by the name of their architecture."""


def build_generator(network: str, inputs: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """[N, inputs] -> images [N, C, H, W] in (-1, 1)."""
    return _pair(network)[0](inputs, image_shape)


def build_discriminator(network: str, outputs: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """Images [N, C, H, W] -> logits [N, outputs]."""
    return _pair(network)[1](outputs, image_shape)


def build_classifier(
    architecture: str, image_shape: tuple[int, int, int], num_classes: int, **numbers: int
) -> Classifier:
    """Images [N, C, H, W] in [-1, 1] -> logits [N, num_classes].

    Args:
        architecture: a name of :data:`CLASSIFIERS`.
        numbers: its own arguments, where they are not the defaults: ``width`` of ``"cnn"``, ``depth`` and ``growth``
            of ``"densenet-bc"``.

    Raises:
        InputError: an unknown name, images too small, or numbers that the architecture cannot be made from.
        TypeError: a number that the architecture does not have.
    """
    if architecture not in CLASSIFIERS:
        raise InputError(f"architecture is {architecture!r}, wanted one of {', '.join(CLASSIFIERS)}")
    if min(image_shape[1:]) < 4:
        raise InputError(f"images are {image_shape[1]} x {image_shape[2]}, wanted at least 4 x 4")
    return CLASSIFIERS[architecture](image_shape, num_classes, **numbers)


def _pair(network: str) -> tuple[_Builder, _Builder]:
    if network not in NETWORKS:
        raise InputError(f"network is {network!r}, wanted one of {', '.join(NETWORKS)}")
    return NETWORKS[network]
