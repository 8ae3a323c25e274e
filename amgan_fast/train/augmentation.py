"""Random crops and mirror images, a batch at a time, on the device of the images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from amgan_fast.data import Dataset


@dataclass(frozen=True)
class Augmentation:
    """Shifts every image of a batch by up to ``padding`` pixels each way, and mirrors half of them.

    A shifted image is a crop of its own size from the image in a black frame, as torchvision's RandomCrop makes it;
    all places are equally likely.
    """

    padding: int
    """Pixels: the width of the frame."""
    mirrored: bool

    @staticmethod
    def for_dataset(dataset: Dataset) -> Augmentation:
        """Padding is an eighth of the smaller side, the usual 4 of 32 pixels."""
        padding = max(1, round(min(dataset.image_shape[1:]) / 8))
        return Augmentation(padding, dataset.mirror_symmetric)

    def __call__(self, images: Tensor, random: torch.Generator) -> Tensor:
        """[N, C, H, W] -> the same, of the same dtype, black being 0; ``random`` is on the images' device."""
        top, left = _draw(2 * self.padding + 1, (2, len(images)), random)
        mirror = _draw(2, (len(images),), random).bool() if self.mirrored else None
        return crop(pad(images, (self.padding,) * 4), (images.size(2), images.size(3)), top, left, mirror)


def crop(images: Tensor, size: tuple[int, int], top: Tensor, left: Tensor, mirror: Tensor | None = None) -> Tensor:
    """Cut a piece out of every image: all with one gather.

    Args:
        images: [N, C, H, W].
        size: (h, w) of the pieces.
        top: int64 [N], the first row of each piece, 0 to H - h.
        left: int64 [N], its first column, 0 to W - w.
        mirror: bool [N], whether left and right are exchanged; None: nowhere.

    Returns:
        [N, C, h, w].
    """
    rows = top[:, None] + torch.arange(size[0], device=images.device)
    columns = left[:, None] + torch.arange(size[1], device=images.device)
    if mirror is not None:
        columns = torch.where(mirror[:, None], columns.flip(1), columns)
    number = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.size(1), device=images.device)[:, None, None]
    return images[number, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _draw(below: int, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    return torch.randint(below, shape, generator=random, device=random.device)
