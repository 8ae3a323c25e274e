"""Samples through a classifier to scores, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from amgan_fast.metrics import ScoreAccumulator, Scores
from amgan_fast.nn import Classifier, LatentSource

_BATCH_SIZE = 500


@torch.no_grad()
def generate(
    generator: nn.Module, latent: LatentSource, count: int, random: torch.Generator
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Batches of ``count`` samples in all: (images [N, C, H, W], the labels they were asked for or None)."""
    for start in range(0, count, _BATCH_SIZE):
        inputs, labels = latent.draw(min(_BATCH_SIZE, count - start), random)
        yield generator(inputs), labels


@torch.no_grad()
def score_images(batches: Iterable[Tensor], classifier: Classifier, reference: Tensor | None = None) -> Scores:
    """Scores of images [N, C, H, W], float in [-1, 1], on the classifier's device."""
    device = next(classifier.parameters()).device
    scores = ScoreAccumulator(classifier.num_classes, device=device)
    for images in batches:
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
