"""Samples through a classifier to scores, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.metrics import Array, Scores, batches_of, scores
from amgan_fast.nn import Classifier, Sampler


@torch.no_grad()
def score_images(
    batches: Array | Iterable[Array],
    classifier: Classifier,
    reference: Tensor | None = None,
    *,
    strata: Array | None = None,
) -> Scores:
    """Scores of images [N, C, H, W], or of batches of them, float in [-1, 1], on the classifier's device.

    Args:
        strata: [N], the class of each where so many of each class were taken; None: they were drawn at random.

    >>> import torch
    >>> from amgan_fast.evaluate import score_images
    >>> from amgan_fast.nn import build_classifier
    >>> classifier = build_classifier("cnn", image_shape=(1, 8, 8), num_classes=10).eval()
    >>> score_images([torch.rand(60, 1, 8, 8), torch.rand(40, 1, 8, 8)], classifier).n
    100
    """

    def classified(images: Tensor) -> Tensor:
        with full_precision():
            return classifier(images)

    return scores(map(classified, batches_of("images", batches)), reference, strata=strata)


def score_generator(
    sampler: Sampler,
    classifier: Classifier,
    reference: Tensor,
    *,
    samples: int,
    random: torch.Generator,
) -> Scores:
    """Scores of ``samples`` samples of a generator in evaluation mode; all are on the device of ``random``.

    >>> import torch
    >>> from amgan_fast.evaluate import score_generator
    >>> from amgan_fast.nn import LatentSource, Sampler, build_classifier
    >>> classifier = build_classifier("cnn", image_shape=(1, 8, 8), num_classes=10).eval()
    >>> sampler = Sampler(torch.nn.Unflatten(1, (1, 8, 8)), LatentSource(64))
    >>> random = torch.Generator().manual_seed(0)
    >>> score_generator(sampler, classifier, torch.full((10,), 0.1), samples=100, random=random).n
    100
    """
    batches = (images for images, _ in sampler.batches(samples, random))
    return score_images(batches, classifier, reference)
