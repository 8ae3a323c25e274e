"""Spectral normalization of whole networks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from amgan_fast.precision import without_autocast


class _SpectralNorm(parametrizations._SpectralNorm):
    """Torch's, in the dtype of the weight under autocast too: there CUDA would multiply in bfloat16, and torch would
    not take the product of the result with a float32 vector."""

    def forward(self, weight: Tensor) -> Tensor:
        with without_autocast(weight.device):
            return super().forward(weight)


def apply_spectral_norm(network: nn.Module) -> None:
    """Divide the weight of every linear layer and convolution of ``network`` by its largest singular value. A layer
    whose weight is a function of other parameters already stays as it is.

    That is estimated by one step of the power method, from two vectors that are kept, whenever the weight is computed
    in training mode; within :func:`torch.nn.utils.parametrize.cached` it is computed once. In evaluation mode the
    vectors stay as they are. A convolution's weight is the matrix [output channels, all else]. Source: Miyato et al.,
    "Spectral Normalization for Generative Adversarial Networks", arXiv 1802.05957, as
    :func:`torch.nn.utils.parametrizations.spectral_norm` has it.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import apply_spectral_norm
    >>> layer = nn.Linear(4, 3)
    >>> apply_spectral_norm(layer)
    >>> for _ in range(100):
    ...     output = layer(torch.zeros(1, 4))
    >>> round(torch.linalg.matrix_norm(layer.weight, 2).item(), 3)
    1.0
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and "weight" in layer._parameters:
            norm = _SpectralNorm(layer.weight, dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
            parametrize.register_parametrization(layer, "weight", norm)
