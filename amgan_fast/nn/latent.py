"""What a generator is fed with."""

from __future__ import annotations

import torch
from torch import Tensor


class LatentSource:
    """Draws z ~ N(0, I), and with predefined labels y ~ p(c) too.

    Args:
        size: the length of z.
        class_frequencies: p(c), [K], for predefined labels; None for dynamic ones: the generator sees noise only. The
            first draw brings them to its device, where they stay.

    >>> import torch
    >>> from amgan_fast.nn import LatentSource
    >>> source = LatentSource(32, class_frequencies=torch.full((10,), 0.1))
    >>> inputs, labels = source.draw(5, torch.Generator().manual_seed(0))
    >>> inputs.shape, labels.shape
    (torch.Size([5, 42]), torch.Size([5]))
    >>> inputs[:, 32:].argmax(1).equal(labels)
    True
    """

    def __init__(self, size: int, class_frequencies: Tensor | None = None) -> None:
        self.size = size
        self.class_frequencies = class_frequencies

    @property
    def num_labels(self) -> int | None:
        """K with predefined labels; None with dynamic ones."""
        return None if self.class_frequencies is None else len(self.class_frequencies)

    @property
    def width(self) -> int:
        """The number of columns a generator takes."""
        return self.size + (self.num_labels or 0)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """``(input [count, width], labels [count] or None)`` on the generator's device."""
        if self.class_frequencies is None:
            return self.noise(count, generator), None
        if self.class_frequencies.device != generator.device:  # once: no graph can capture a copy from the host
            self.class_frequencies = self.class_frequencies.to(generator.device)
        labels = torch.multinomial(self.class_frequencies, count, replacement=True, generator=generator)
        return self.with_labels(labels, generator), labels

    def with_labels(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Input for given labels: z and the one-hot label."""
        if self.class_frequencies is None:
            raise ValueError("labels were given to a source without class_frequencies, wanted noise only")
        # Not torch's one_hot, which reads the labels back to check their range.
        classes = torch.arange(len(self.class_frequencies), device=labels.device)
        hot = (labels[:, None] == classes).float()
        return torch.cat([self.noise(len(labels), generator), hot], 1)

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, self.size, generator=generator, device=generator.device)
