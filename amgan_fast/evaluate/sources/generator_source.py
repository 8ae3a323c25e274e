"""Images as a generator makes them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.weights_digest import weights_sha256
from amgan_fast.evaluate.sources.source import Batch, Source, batch_ranges
from amgan_fast.nn import Sampler
from amgan_fast.nn.sampler import DRAWN_AT_ONCE
from amgan_fast.tensor_files import tensor_bytes


class GeneratorSource(Source):
    """Samples of a generator, always the same for a seed: whatever range is asked for, and in batches of any size.

    They are those of :meth:`amgan_fast.nn.Sampler.batches` from the same seed. Latents before ``start`` are drawn and
    dropped. The generator runs on whole draws of :attr:`unit` samples, 500, since last digits may depend on how many it
    makes at once.

    Args:
        sampler: its generator in evaluation mode; latents are drawn on its device, and images stay there.
        count: how many samples, at least 1.
        seed: of the latents. ``derive_seed(config.seed, Purpose.EVALUATION)`` of :mod:`amgan_fast.seeds` gives
            the samples that a run was scored with.
        name: whose samples they are, for the description.
        class_names: what each label is called that the generator is asked for; empty: by its number.

    Raises:
        InputError: ``count`` is below 1.
        ValueError: the generator is in training mode: samples would depend on those they are made with.

    >>> import torch
    >>> from amgan_fast.evaluate.sources import GeneratorSource
    >>> from amgan_fast.nn import LatentSource, Sampler
    >>> sampler = Sampler(torch.nn.Unflatten(1, (1, 8, 8)).eval(), LatentSource(64))
    >>> source = GeneratorSource(sampler, 1200, seed=0)
    >>> [len(batch.values) for batch in source.batches(1000)]
    [1000, 200]
    """

    kind = "images"
    unit = DRAWN_AT_ONCE
    is_computed = True

    def __init__(
        self,
        sampler: Sampler,
        count: int,
        *,
        seed: int,
        name: str = "a generator",
        class_names: tuple[str, ...] = (),
    ) -> None:
        if count < 1:
            raise InputError(f"samples is {count}, wanted at least 1")
        if sampler.generator.training:
            raise ValueError("generator is in training mode, wanted evaluation mode: generator.eval()")
        self.description = f"{count:,} samples of {name}"
        self.count = count
        self.num_labels = sampler.latent.num_labels
        self.class_names = class_names
        self.has_all_classes = bool(class_names)
        self.label_origin = name
        self.sampling = "random"
        self.skipped = []
        self._sampler = sampler
        self._seed = seed

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        first = start - start % self.unit
        random = torch.Generator(self._sampler.device).manual_seed(self._seed)
        draws = self._sampler.batches(self.count, random, start=first)
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

    def labels_before(self, start: int) -> Tensor | None:
        """As of :class:`Source`: labels are drawn with the latents, which are then dropped."""
        if self.num_labels is None:
            return None
        counts = torch.zeros(self.num_labels, dtype=torch.int64)
        random = torch.Generator(self._sampler.device).manual_seed(self._seed)
        for first, labels in zip(range(0, start, self.unit), self._sampler.labels(self.count, random), strict=False):
            counts += torch.bincount(labels[: start - first].cpu(), minlength=self.num_labels)
        return counts

    def _identity(self) -> bytes:
        latent = self._sampler.latent
        digests = [weights_sha256(self._sampler.generator), str(self._seed), str(latent.size)]
        frequencies = b"" if latent.class_frequencies is None else tensor_bytes(latent.class_frequencies)
        return " ".join(digests).encode() + frequencies


def _joined(parts: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    if len(parts) == 1:
        return parts[0]
    labels = [labels for _, labels in parts if labels is not None]
    return torch.cat([images for images, _ in parts]), torch.cat(labels) if labels else None
