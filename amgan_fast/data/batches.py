"""An endless stream of shuffled batches from tensors in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class Batches:
    """Shuffled batches (images as they are, labels) for ever: every epoch is a new permutation, none is cut short.

    The order comes from its own CPU generator, so that neither the device nor other draws change it. A batch that
    reaches the end of an epoch is completed from the next.
    """

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, *, seed: int) -> None:
        if len(images) != len(labels) or not len(images):
            raise ValueError(f"images are {len(images)} and labels {len(labels)}, wanted as many, at least 1")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, wanted at least 1")
        self._images = images
        self._labels = labels
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64, device=images.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        while len(self._order) < self._batch_size:
            epoch = torch.randperm(len(self._images), generator=self._generator)
            self._order = torch.cat([self._order, epoch.to(self._order.device)])
        batch, self._order = self._order.split([self._batch_size, len(self._order) - self._batch_size])
        return self._images[batch], self._labels[batch]
