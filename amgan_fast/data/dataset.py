"""A labelled image set and the scaling of its images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Images are uint8 [N, C, H, W] with values 0..255; labels are int64 [N] with values 0..num_classes-1."""

    name: str
    num_classes: int
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def class_frequencies(self) -> Tensor:
        """p(c) of the training set, float64 [num_classes]."""
        return self.train_labels.bincount(minlength=self.num_classes).double() / len(self.train_labels)

    def fingerprint(self) -> str:
        """SHA-256 of all images and labels."""
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(part.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> Dataset:
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )


def to_float(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1) as the authors scale it: (u - 127.5) / 128."""
    return (images.float() - 127.5) / 128


def to_uint8(images: Tensor) -> Tensor:
    """The inverse of :func:`to_float`, rounded and clipped to 0..255."""
    return (images * 128 + 127.5).round().clamp(0, 255).to(torch.uint8)
