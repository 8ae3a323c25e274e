"""A generator together with what it is fed with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from amgan_fast.nn.latent import LatentSource

DRAWN_AT_ONCE = 500
"""Samples of a batch that :meth:`Sampler.batches` makes: with another number a seed would give others."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """Makes samples from random numbers.

    >>> from torch import nn
    >>> import torch
    >>> from amgan_fast.nn import LatentSource, Sampler
    >>> sampler = Sampler(nn.Linear(4, 2), LatentSource(4))
    >>> [tuple(images.shape) for images, labels in sampler.batches(700, torch.Generator().manual_seed(0))]
    [(500, 2), (200, 2)]
    """

    generator: nn.Module
    """[N, latent.width] -> float [N, C, H, W] in [-1, 1]."""
    latent: LatentSource

    @property
    def device(self) -> torch.device:
        """Where the generator's weights are; the CPU if it has none."""
        weight = next(chain(self.generator.parameters(), self.generator.buffers()), None)
        return torch.device("cpu") if weight is None else weight.device

    @torch.no_grad()
    def batches(
        self, count: int, random: torch.Generator, *, start: int = 0, labels: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Batches of ``count`` samples in all: (images [N, C, H, W], the labels they were asked for or None).

        Args:
            random: on the generator's device.
            start: a multiple of :data:`DRAWN_AT_ONCE`: samples before it are drawn, so that those from it on stay the
                same, and not generated.
            labels: int64 [count], to ask for; None: they are drawn.

        Raises:
            ValueError: ``labels`` for a generator that takes none.
        """
        for first in range(0, count, DRAWN_AT_ONCE):
            number = min(DRAWN_AT_ONCE, count - first)
            if labels is None:
                inputs, asked = self.latent.draw(number, random)
            else:
                asked = labels[first : first + number].to(random.device)
                inputs = self.latent.with_labels(asked, random)
            if first >= start:
                yield self.generator(inputs), asked

    def labels(self, count: int, random: torch.Generator) -> Iterator[Tensor]:
        """The labels that :meth:`batches` asks for, of all its batches, without images; none where they are dynamic."""
        for first in range(0, count, DRAWN_AT_ONCE):
            _, labels = self.latent.draw(min(DRAWN_AT_ONCE, count - first), random)
            if labels is not None:
                yield labels

    @torch.no_grad()
    def of_classes(self, labels: Tensor, random: torch.Generator) -> Tensor:
        """Images [N, C, H, W] of the classes in ``labels``, int64 [N], which are predefined."""
        return self.generator(self.latent.with_labels(labels, random))
