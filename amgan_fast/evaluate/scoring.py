"""Samples through a classifier to scores, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from amgan_fast.metrics import ScoreAccumulator, Scores
from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.nn import Classifier, LatentSource

DRAWN_AT_ONCE = 500
"""Samples of a batch that :func:`generate` makes: with another number a seed would give others."""


@torch.no_grad()
def generate(
    generator: nn.Module, latent: LatentSource, count: int, random: torch.Generator, *, start: int = 0
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Batches of ``count`` samples in all: (images [N, C, H, W], the labels they were asked for or None).

    ``start``, a multiple of :data:`DRAWN_AT_ONCE`: samples before it are drawn, so that those from it on stay the
    same, and not generated.
    """
    for first in range(0, count, DRAWN_AT_ONCE):
        inputs, labels = latent.draw(min(DRAWN_AT_ONCE, count - first), random)
        if first >= start:
            yield generator(inputs), labels


@torch.no_grad()
def score_images(batches: Array | Iterable[Array], classifier: Classifier, reference: Tensor | None = None) -> Scores:
    """Scores of images [N, C, H, W], or of batches of them, float in [-1, 1], on the classifier's device."""
    device = next(classifier.parameters()).device
    scores = ScoreAccumulator(classifier.num_classes, device=device)
    for images in batches_of("images", batches):
        scores.update(classifier(images))
    return scores.compute(reference)


def score_generator(
    generator: nn.Module,
    latent: LatentSource,
    classifier: Classifier,
    reference: Tensor,
    *,
    samples: int,
    random: torch.Generator,
) -> Scores:
    """Scores of ``samples`` samples of a generator in evaluation mode; all are on the device of ``random``."""
    batches = (images for images, _ in generate(generator, latent, samples, random))
    return score_images(batches, classifier, reference)
