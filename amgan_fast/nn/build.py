"""Networks by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

from amgan_fast.nn import acgan128, conv, mlp, paper, resnet
from amgan_fast.nn.classifier import Classifier, SmallCNN
from amgan_fast.nn.conditioning import ClassEmbedding, Conditioned
from amgan_fast.nn.densenet import DenseNetBC
from amgan_fast.nn.discriminator import Discriminator
from amgan_fast.nn.minibatch_discrimination import MinibatchDiscrimination
from amgan_fast.nn.options import ImageShape, NetworkOptions
from amgan_fast.nn.own_networks import OwnDiscriminator, OwnGenerator
from amgan_fast.nn.spectral_norm import apply_spectral_norm
from amgan_fast.nn.virtual_batch_norm import ReferenceBatch, has_virtual_batch_norm
from amgan_fast.nn.weight_norm import apply_weight_norm

if TYPE_CHECKING:
    from amgan_fast.objectives import Objective

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True)
class NetworkPair:
    """A generator and a discriminator that belong together."""

    generator: Callable[[int, ImageShape, NetworkOptions, int], nn.Sequential]
    """(inputs, image_shape, options, classes of conditional batch norm or 0) -> layers."""
    discriminator: Callable[[ImageShape, NetworkOptions], tuple[nn.Sequential, int]]
    """(image_shape, options) -> (layers up to the last one, the number of features they give)."""
    options: NetworkOptions
    """Those of the source."""
    initialize: Callable[[nn.Module], None] = lambda module: None
    """Applied to every layer; the default leaves it as torch initializes it."""


NETWORKS: dict[str, NetworkPair] = {
    "mlp": NetworkPair(mlp.mlp_generator, mlp.mlp_discriminator, mlp.OPTIONS),
    "conv": NetworkPair(conv.conv_generator, conv.conv_discriminator, conv.OPTIONS),
    "paper": NetworkPair(paper.paper_generator, paper.paper_discriminator, paper.OPTIONS),
    "acgan128": NetworkPair(
        acgan128.acgan128_generator, acgan128.acgan128_discriminator, acgan128.OPTIONS, acgan128.initialize
    ),
    "resnet": NetworkPair(resnet.resnet_generator, resnet.resnet_discriminator, resnet.OPTIONS, resnet.initialize),
}
"""By the name that a configuration's ``network`` takes.

>>> from amgan_fast.nn import NETWORKS
>>> {name: network.options.dropout for name, network in NETWORKS.items()}
{'mlp': 0.3, 'conv': 0.3, 'paper': 0.3, 'acgan128': 0.5, 'resnet': 0.0}
"""

CLASSIFIERS: dict[str, type[Classifier]] = {
    classifier.architecture: classifier for classifier in (SmallCNN, DenseNetBC)
}
"""Classifiers by the name of their architecture.

>>> from amgan_fast.nn import CLASSIFIERS
>>> list(CLASSIFIERS)
['cnn', 'densenet-bc']
"""


def network_options(network: str, **changes: Any) -> NetworkOptions:
    """The options of a network's source, with changes; a change to None is none.

    Raises:
        ValueError: no such network, or a value out of its range.

    >>> from amgan_fast.nn import network_options
    >>> network_options("paper").weight_norm, network_options("paper", dropout=0.1).dropout
    (True, 0.1)
    """
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(_source(network).options, **given)


def build_generator(
    network: str,
    inputs: int,
    image_shape: ImageShape,
    options: NetworkOptions | None = None,
    *,
    classes: int = 0,
    own: OwnGenerator | None = None,
) -> nn.Module:
    """[N, inputs] -> images [N, C, H, W] in (-1, 1).

    Args:
        network: a name of :data:`NETWORKS`.
        options: None: those of the network's source.
        classes: how many of the inputs, the last ones, are a one-hot label.
        own: makes the generator instead, and has it as it is, without ``options``.

    Raises:
        ValueError: no such network, it does not make images of this shape, or there is no label for ``conditioning``.

    >>> import torch
    >>> from amgan_fast.nn import build_generator
    >>> build_generator("conv", inputs=32, image_shape=(3, 16, 16))(torch.randn(5, 32)).shape
    torch.Size([5, 3, 16, 16])
    """
    source = _source(network)
    options = options or source.options
    if own is not None:
        return own(inputs, image_shape, classes)
    layers = _generator(source, inputs, image_shape, options, classes).apply(source.initialize)
    return _with_weight_norm(_with_reference(layers, (inputs,)), options)


def build_discriminator(
    network: str,
    objective: Objective,
    num_classes: int,
    image_shape: ImageShape,
    options: NetworkOptions | None = None,
    *,
    own: OwnDiscriminator | None = None,
) -> Discriminator:
    """Images [N, C, H, W] -> logits [N, outputs], as many as the objective has with so many classes.

    Args:
        network: a name of :data:`NETWORKS`.
        objective: what makes the last layer.
        options: None: those of the network's source.
        own: makes all but the last layer instead; of ``options`` it has spectral normalization, minibatch
            discrimination and weight normalization.

    Raises:
        ValueError: no such network, or it does not take images of this shape.

    >>> import torch
    >>> from amgan_fast.nn import build_discriminator
    >>> from amgan_fast.objectives import AMGAN
    >>> discriminator = build_discriminator("conv", AMGAN(), num_classes=10, image_shape=(3, 16, 16))
    >>> discriminator(torch.zeros(5, 3, 16, 16)).shape
    torch.Size([5, 11])
    """
    source = _source(network)
    options = options or source.options
    body: nn.Module
    if own is None:
        layers, features = source.discriminator(image_shape, options)
        body = _with_reference(layers.apply(source.initialize), image_shape)
    else:
        body, features = own(image_shape)
    if options.minibatch_discrimination:
        # After the reference batch has left: samples are compared with each other only.
        discrimination = MinibatchDiscrimination(features)
        body = nn.Sequential(body, discrimination)
        features += discrimination.kernels
    head = objective.build_head(features, num_classes)
    if own is None:
        head.apply(source.initialize)
    discriminator = Discriminator(body, head)
    if options.spectral_norm:
        apply_spectral_norm(discriminator)
        return discriminator
    return _with_weight_norm(discriminator, options)


def build_classifier(
    architecture: str, image_shape: tuple[int, int, int], num_classes: int, **sizes: int
) -> Classifier:
    """Images [N, C, H, W] in [-1, 1] -> logits [N, num_classes].

    Args:
        architecture: a name of :data:`CLASSIFIERS`.
        sizes: its own arguments, where they are not the defaults: ``width`` of ``"cnn"``, ``depth`` and ``growth``
            of ``"densenet-bc"``.

    Raises:
        ValueError: an unknown name, images too small, or sizes that the architecture cannot be made from.
        TypeError: a number that the architecture does not have.

    >>> import torch
    >>> from amgan_fast.nn import build_classifier
    >>> classifier = build_classifier("cnn", image_shape=(3, 16, 16), num_classes=10, width=8)
    >>> classifier(torch.zeros(5, 3, 16, 16)).shape
    torch.Size([5, 10])
    """
    if architecture not in CLASSIFIERS:
        raise ValueError(f"architecture is {architecture!r}, wanted one of {', '.join(CLASSIFIERS)}")
    if min(image_shape[1:]) < 4:
        raise ValueError(f"images are {image_shape[1]} x {image_shape[2]}, wanted at least 4 x 4")
    return CLASSIFIERS[architecture](image_shape, num_classes, **sizes)


def _source(network: str) -> NetworkPair:
    if network not in NETWORKS:
        raise ValueError(f"network is {network!r}, wanted one of {', '.join(NETWORKS)}")
    return NETWORKS[network]


def _generator(
    source: NetworkPair, inputs: int, image_shape: ImageShape, options: NetworkOptions, classes: int
) -> nn.Module:
    if options.conditioning == "concatenation":
        return source.generator(inputs, image_shape, options, 0)
    if not 0 < classes < inputs:
        wanted = f"1 to {inputs - 1} of {inputs} inputs for conditioning {options.conditioning!r}"
        raise ValueError(f"classes is {classes}, wanted {wanted}")
    size = inputs - classes
    if options.conditioning == "embedding":
        return nn.Sequential(ClassEmbedding(size, classes), *source.generator(2 * size, image_shape, options, 0))
    return Conditioned(source.generator(size, image_shape, options, classes), classes)


def _with_reference(layers: nn.Module, row_shape: tuple[int, ...]) -> nn.Module:
    return ReferenceBatch(layers, row_shape) if has_virtual_batch_norm(layers) else layers


def _with_weight_norm(network: _Network, options: NetworkOptions) -> _Network:
    if options.weight_norm:
        apply_weight_norm(network)
    return network
