"""Layers that torch.nn does not have."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InputNoise(nn.Module):
    """Adds N(0, sigma^2) in training: the discriminator cannot lean on what is invisible."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, images: Tensor) -> Tensor:
        return torch.add(images, torch.randn_like(images), alpha=self.sigma) if self.training else images

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"
