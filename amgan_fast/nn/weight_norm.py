"""Weight normalization of whole networks, and its data-dependent initialization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from amgan_fast.precision import at_least_float32

_WeightedLayer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class _WeightNorm(parametrizations._WeightNorm):
    """Torch's, with the weight in memory as v is: torch's own has it contiguous, and of channels_last images every
    convolution would then copy it, or leave that format where there is one channel."""

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        weight = super().forward(weight_g, weight_v)
        if weight_v.dim() == 4 and weight_v.is_contiguous(memory_format=torch.channels_last):
            return weight.contiguous(memory_format=torch.channels_last)
        return weight


def apply_weight_norm(network: nn.Module) -> None:
    """Let every linear layer and convolution of ``network`` have the weight g v / ||v||, g for each output channel.

    The weights keep their values, and within :func:`torch.nn.utils.parametrize.cached` each is computed once. Source:
    Salimans and Kingma, arXiv 1602.07868, as :func:`torch.nn.utils.parametrizations.weight_norm` has it.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import apply_weight_norm
    >>> layer = nn.Linear(4, 3)
    >>> apply_weight_norm(layer)
    >>> [(name, list(p.shape)) for name, p in layer.parametrizations.weight.named_parameters()]  # g and v
    [('original0', [3, 1]), ('original1', [3, 4])]
    """
    for layer in list(network.modules()):
        if isinstance(layer, _WeightedLayer):
            norm = _WeightNorm(dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
            parametrize.register_parametrization(layer, "weight", norm, unsafe=True)


@torch.no_grad()
def init_from_data(network: nn.Module, batch: Tensor) -> None:
    """Set g and the bias of every weight-normalized layer so that on ``batch`` its outputs have mean 0 and variance 1.

    One forward pass, layer after layer, each on what the layers before it give after they were set; over rows and
    positions, for each output channel. A layer without a bias keeps its mean: batch norm comes next and removes it.
    Dropout and noise act as the network's mode has it (training mode is meant). Source: Salimans and Kingma, arXiv
    1602.07868, section 3.

    Args:
        batch: what the network takes, a hundred rows or more.

    Raises:
        ValueError: ``network`` has no weight-normalized layer.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import apply_weight_norm, init_from_data
    >>> layer, batch = nn.Linear(4, 3), 10 + torch.randn(100, 4)
    >>> apply_weight_norm(layer)
    >>> init_from_data(layer, batch)
    >>> layer(batch).mean(0).allclose(torch.zeros(3), atol=1e-4)
    True
    """
    layers = [layer for layer in network.modules() if _is_normalized(layer)]
    if not layers:
        raise ValueError("network has no weight-normalized layer, wanted one built with weight_norm=True")
    handles = [layer.register_forward_hook(_standardize) for layer in layers]
    try:
        network(batch)
    finally:
        for handle in handles:
            handle.remove()


def _is_normalized(layer: nn.Module) -> bool:
    return (
        isinstance(layer, _WeightedLayer)
        and parametrize.is_parametrized(layer, "weight")
        and isinstance(layer.parametrizations["weight"][0], parametrizations._WeightNorm)  # type: ignore[index]
    )


def _standardize(layer: Any, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
    """A forward hook: sets the layer's scale and bias, and returns its outputs as they are with these."""
    channels = at_least_float32(outputs.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1))
    variance, mean = torch.var_mean(channels, 1, correction=0)
    scale = torch.rsqrt(variance + 1e-10)  # finite for a channel that is constant
    norms = layer.parametrizations.weight.original0
    norms.mul_(scale.view_as(norms))
    if layer.bias is not None:
        layer.bias.sub_(mean).mul_(scale)
    return layer.forward(*inputs)
