"""Random changes of images through which gradients go (Zhao et al., "Differentiable Augmentation for Data-Efficient GAN
Training", arXiv 2006.10738)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from amgan_fast.precision import at_least_float32
from amgan_fast.processes import Share

DRAWS = 12
"""Numbers that the changes of an image are made of: whether each of five takes place, then how."""

_SHIFT = 1 / 8  # of a side, at most
_CUT = 1 / 2  # of each side


def randomly_changed(images: Tensor, uniform: Tensor, probability: Tensor) -> Tensor:
    """Images whose brightness, saturation, contrast and place were changed and of which a square was cut out, each by
    itself with ``probability``.

    Brightness moves by up to half of 1, saturation is multiplied by 0 to 2 and contrast by 1/2 to 3/2. An image is
    moved by up to an eighth of each side, and the square has half of each. What is new there is 0, which is grey.

    >>> import torch
    >>> from amgan_fast.train.random_changes import DRAWS, randomly_changed
    >>> images, never = torch.rand(2, 1, 4, 4), torch.zeros(())
    >>> torch.equal(randomly_changed(images, torch.rand(2, DRAWS), never), images)
    True

    Args:
        images: [N, C, H, W] in [-1, 1]; half precision is computed, and comes back, in float32.
        uniform: [N, DRAWS], from [0, 1).
        probability: a scalar on the device.
    """
    images = at_least_float32(images)
    chosen = (uniform[:, :5] < probability).to(images.dtype)
    brightness, saturation, contrast = (
        chosen[:, i, None, None, None] * (uniform[:, 5 + i, None, None, None] - 0.5) for i in range(3)
    )
    images = images + brightness
    images = _away_from(images.mean(1, keepdim=True), images, 2 * saturation)
    images = _away_from(images.mean((1, 2, 3), keepdim=True), images, contrast)
    images = moved(images, uniform[:, 8:10], chosen[:, 3, None])
    return images * _uncut(images, uniform[:, 10:12], chosen[:, 4, None, None, None])


def uniform_rows(count: int, width: int, random: torch.Generator, share: Share) -> Tensor:
    """This process's ``count`` rows of what one process would draw from [0, 1), [count, width]."""
    drawn = torch.rand(count * share.ranks, width, generator=random, device=random.device)
    return drawn[share.rows(count)]


def _away_from(mean: Tensor, images: Tensor, by: Tensor) -> Tensor:
    """Those of ``by`` 0 to the bit."""
    return images + by * (images - mean)


def moved(images: Tensor, uniform: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Images moved by up to an eighth of each side, 0 where they come from outside; all by one gather, which leaves
    channels innermost in memory.

    Args:
        images: [N, C, H, W].
        uniform: [N, 2], from [0, 1): how far down and to the right.
        chosen: [N, 1], 0 for images that stay where they are, else 1; None: all move.
    """
    sides = images.shape[2:]
    reaches = [int(side * _SHIFT + 0.5) for side in sides]
    padded = pad(images, (reaches[1], reaches[1], reaches[0], reaches[0])).permute(0, 2, 3, 1)
    rows, columns = (
        reach
        + torch.arange(side, device=images.device)
        + ((uniform[:, i, None] * (2 * reach + 1)).floor() - reach).mul(1 if chosen is None else chosen).long()
        for i, (side, reach) in enumerate(zip(sides, reaches, strict=True))
    )
    number = torch.arange(len(images), device=images.device)
    return padded[number[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _uncut(images: Tensor, uniform: Tensor, chosen: Tensor) -> Tensor:
    """0 in the square and 1 elsewhere, [N, 1, H, W]. Its middle is anywhere in the image."""
    inside = []
    for i, side in enumerate(images.shape[2:]):
        size = int(side * _CUT + 0.5)
        first = (uniform[:, i, None] * (side + 1 - size % 2)).floor() - size // 2
        place = torch.arange(side, device=images.device)
        inside.append((place >= first) & (place < first + size))
    rows, columns = inside
    return 1 - chosen * (rows[:, None, :, None] & columns[:, None, None, :])
