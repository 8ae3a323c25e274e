"""Convolutions that double or halve images, and the sum over an image's positions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d


class DoublingConv2d(nn.Conv2d):
    """Every pixel as 2 x 2 of its kind, then a 3 x 3 convolution with padding: [N, C, H, W] -> [N, D, 2 H, 2 W].

    In one transposed convolution, since of nine weights those that meet the same pixel can be added before: four
    products a position instead of nine, and no image is doubled in memory. The weights are 3 x 3.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn.resampling import DoublingConv2d
    >>> layer, images = DoublingConv2d(2, 3), torch.randn(1, 2, 4, 4)
    >>> doubled = nn.Upsample(scale_factor=2)(images)
    >>> layer(images).allclose(nn.functional.conv2d(doubled, layer.weight, layer.bias, padding=1), atol=1e-5)
    True
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(channels, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        kernel = 4 * _means_of_four(self.weight.flip(2, 3).transpose(0, 1))
        return conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class HalvingConv2d(nn.Conv2d):
    """A 3 x 3 convolution with padding, then the mean of each 2 x 2 pixels: [N, C, H, W] -> [N, D, H / 2, W / 2].

    In one convolution of stride 2 with the means of weights: sixteen products instead of 36. The weights are 3 x 3.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn.resampling import HalvingConv2d
    >>> layer, images = HalvingConv2d(2, 3), torch.randn(1, 2, 4, 4)
    >>> convolved = nn.functional.conv2d(images, layer.weight, layer.bias, padding=1)
    >>> layer(images).allclose(nn.functional.avg_pool2d(convolved, 2), atol=1e-5)
    True
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(channels, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, _means_of_four(self.weight), self.bias, stride=2, padding=1)


class SumOverPositions(nn.Module):
    """[N, C, H, W] -> [N, C].

    >>> import torch
    >>> from amgan_fast.nn.resampling import SumOverPositions
    >>> SumOverPositions()(torch.ones(1, 2, 4, 4))
    tensor([[16., 16.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def _means_of_four(weight: Tensor) -> Tensor:
    """[.., 3, 3] -> [.., 4, 4]: the mean over every window of 2 x 2, of which those at the edge have zeros outside."""
    return avg_pool2d(weight, 2, stride=1, padding=1)
