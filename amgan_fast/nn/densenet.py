"""DenseNet-BC for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amgan_fast.nn.classifier import Classifier
from amgan_fast.option_checks import check_range

_BLOCKS = 3


class DenseNetBC(Classifier):
    """DenseNet-BC as Huang et al. (arXiv 1608.06993, section 4) use it for CIFAR: the classifier of the AM-GAN paper.

    A 3x3 convolution to 2k channels, three blocks of (depth - 4) / 6 bottleneck layers (1x1 to 4k channels, 3x3 to
    k), a transition that halves channels and sides between blocks, and global average pooling.

    Args:
        depth: 6 n + 4 layers, n at least 1.
        growth: k, the channels that a layer adds.

    Raises:
        ValueError: another depth or growth.
    """

    architecture = "densenet-bc"

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, depth: int = 40, growth: int = 40) -> None:
        from torchvision.models.densenet import DenseNet

        super().__init__(image_shape, num_classes, depth=depth, growth=growth)
        check_range("depth", depth, 10, 1_000)
        check_range("growth", growth, 1, 10_000)
        layers, rest = divmod(depth - 4, 2 * _BLOCKS)
        if rest:
            raise ValueError(f"depth is {depth}, wanted 6 n + 4, n at least 1: 40, say")
        self.layers = DenseNet(growth, (layers,) * _BLOCKS, num_init_features=2 * growth, num_classes=num_classes)
        # torchvision's first layers are those for ImageNet: they shrink images to a quarter.
        features = self.layers.features
        features.conv0 = nn.Conv2d(image_shape[0], 2 * growth, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(features.conv0.weight)  # as torchvision does for all convolutions
        for name in ("norm0", "relu0", "pool0"):
            delattr(features, name)
        self.to(memory_format=torch.channels_last)  # a third faster on a CPU

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
