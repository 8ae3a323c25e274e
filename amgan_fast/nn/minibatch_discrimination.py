"""Minibatch discrimination: a sample is seen beside the others of its batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amgan_fast.precision import at_least_float32


class MinibatchDiscrimination(nn.Module):
    """Appends to every row f_i of [N, features] how near the others of the batch are, in B ways: [N, features + B].

    M_i = f_i T in R^{B x C}, and o_b(x_i) = sum over j != i of exp(-||M_{i,b} - M_{j,b}||_1). Source: Salimans et al.,
    arXiv 1606.03498, section 3.2, with the B and C of their published code; T starts as ``nn.Linear`` does. Computed
    in float32 (float64 stays), keeping 2 B N^2 numbers for backward: 8 MB for 100 rows, 200 MB for 500.

    Args:
        features: the length of f_i.
        kernels: B.
        dimensions: C.

    >>> import torch
    >>> from amgan_fast.nn import MinibatchDiscrimination
    >>> layer = MinibatchDiscrimination(features=4, kernels=3)
    >>> layer(torch.ones(5, 4))[0]  # the row, and how near the four others are: they are the same
    tensor([1., 1., 1., 1., 4., 4., 4.], grad_fn=<SelectBackward0>)
    """

    def __init__(self, features: int, kernels: int = 100, dimensions: int = 5) -> None:
        super().__init__()
        self.kernels = kernels
        self.dimensions = dimensions
        self.projection = nn.Linear(features, kernels * dimensions, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        projected = self.projection(features).unflatten(1, (self.kernels, self.dimensions)).transpose(0, 1)
        projected = at_least_float32(projected)
        distances = torch.cdist(projected, projected, p=1.0)  # [B, N, N]
        nearness = (-distances).exp().sum(2) - 1  # without the row itself, whose distance is 0
        return torch.cat([features, nearness.T.to(features.dtype)], 1)

    def extra_repr(self) -> str:
        return f"kernels={self.kernels}, dimensions={self.dimensions}"
