"""What a discriminator offers beside its logits."""

from __future__ import annotations

from torch import Tensor, nn


class Discriminator(nn.Module):
    """Images [N, C, H, W] -> logits [N, outputs], by way of features [N, F].

    Args:
        body: images -> features.
        head: features -> logits, the last layer.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import Discriminator
    >>> discriminator = Discriminator(nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU()), nn.Linear(20, 11))
    >>> logits, features = discriminator.forward_with_features(torch.zeros(5, 1, 8, 8))
    >>> logits.shape, features.shape
    (torch.Size([5, 11]), torch.Size([5, 20]))
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))

    def features(self, images: Tensor) -> Tensor:
        """The activations before the last layer, [N, F]: what feature matching compares, in evaluation mode."""
        return self.body(images)

    def forward_with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``(logits [N, outputs], features [N, F])`` of one pass."""
        features = self.body(images)
        return self.head(features), features
