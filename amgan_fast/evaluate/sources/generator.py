"""Images as a generator makes them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from amgan_fast.data.ranges import batch_ranges
from amgan_fast.errors import InputError
from amgan_fast.evaluate.scoring import DRAWN_AT_ONCE, generate
from amgan_fast.evaluate.sources.source import Batch, Source
from amgan_fast.nn import LatentSource


class GeneratorSource(Source):
    """Samples of a generator, always the same for a seed: whatever range is asked for, and in batches of any size.

    They are those of :func:`amgan_fast.evaluate.generate` from the same seed. Latents before ``start`` are drawn and
    dropped. The generator runs on whole draws of :attr:`unit` samples, 500, since last digits may depend on how many it
    makes at once.

    Args:
        generator: [N, latent.width] -> float [N, C, H, W] in [-1, 1], in evaluation mode, on ``device``.
        latent: what it is fed with.
        count: how many samples, at least 1.
        seed: of the latents. ``derive_seed(config.seed, Purpose.EVALUATION)`` of :mod:`amgan_fast.seeds` gives
            the samples that a run was scored with.
        device: where latents are drawn and images stay.
        name: whose samples they are, for the description.
        class_names: what each label is called that the generator is asked for; empty: by its number.

    Raises:
        InputError: ``count`` is below 1.
        ValueError: the generator is in training mode: samples would depend on those they are made with.
    """

    kind = "images"
    unit = DRAWN_AT_ONCE

    def __init__(
        self,
        generator: nn.Module,
        latent: LatentSource,
        count: int,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        name: str = "a generator",
        class_names: tuple[str, ...] = (),
    ) -> None:
        if count < 1:
            raise InputError(f"samples is {count}, wanted at least 1")
        if generator.training:
            raise ValueError("generator is in training mode, wanted evaluation mode: generator.eval()")
        self.description = f"{count:,} samples of {name}"
        self.count = count
        self.num_labels = None if latent.class_frequencies is None else len(latent.class_frequencies)
        self.class_names = class_names
        self.has_all_classes = bool(class_names)
        self.label_origin = name
        self.skipped = []
        self._generator = generator
        self._latent = latent
        self._seed = seed
        self._device = device

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        first = start - start % self.unit
        random = torch.Generator(self._device).manual_seed(self._seed)
        draws = generate(self._generator, self._latent, self.count, random, start=first)
        held: list[tuple[Tensor, Tensor | None]] = []  # samples first to last, generated and not yet given away
        last = first
        for samples in batch_ranges(self.count, batch_size, start, stop):
            while last < samples.stop:
                held.append(next(draws))
                last += len(held[-1][0])
            images, labels = _joined(held)
            here = slice(samples.start - first, samples.stop - first)
            yield Batch(images[here], None if labels is None else labels[here])
            held = [(images[here.stop :], None if labels is None else labels[here.stop :])]
            first = samples.stop


def _joined(parts: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    if len(parts) == 1:
        return parts[0]
    labels = [labels for _, labels in parts if labels is not None]
    return torch.cat([images for images, _ in parts]), torch.cat(labels) if labels else None
