"""Networks in PyTorch's own layers alone, to be run where this package is not."""

from __future__ import annotations

import copy

from torch import nn

from amgan_fast.nn.batch_norm import BatchNormLeakyReLUDropout
from amgan_fast.nn.leaky_dropout import LeakyReLUDropout


def with_plain_layers(network: nn.Module) -> nn.Module:
    """A copy, in evaluation mode, whose fused layers are the PyTorch layers that they stand for, with the same weights.

    >>> import torch
    >>> from amgan_fast.nn import LeakyReLUDropout, with_plain_layers
    >>> with_plain_layers(torch.nn.Sequential(LeakyReLUDropout(p=0.5, slope=0.2)))
    Sequential(
      (0): LeakyReLU(negative_slope=0.2)
    )
    """
    network = copy.deepcopy(network).eval()
    if (plain := _plain(network)) is not None:
        return plain
    for module in list(network.modules()):
        for name, part in module.named_children():
            if (plain := _plain(part)) is not None:
                setattr(module, name, plain)
    return network


def _plain(layer: nn.Module) -> nn.Module | None:
    """Without dropout, which evaluation mode has none of; None: the layer is no fused one."""
    if isinstance(layer, LeakyReLUDropout):
        return nn.LeakyReLU(layer.slope).eval()
    if isinstance(layer, BatchNormLeakyReLUDropout):
        return nn.Sequential(layer.norm, nn.LeakyReLU(layer.slope)).eval()
    return None
