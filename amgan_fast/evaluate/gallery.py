"""Some of the images that went by, for a sheet."""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.data import to_uint8

_ROWS_OF_CLASSES = 20  # with more classes rows would show a few of them only
_ROWS = 10
GREY = 128
"""Where there is no image."""


def rows_are_classes(rows: int) -> bool:
    """Whether a :class:`Gallery` of so many classes has a row for each."""
    return rows <= _ROWS_OF_CLASSES


class Gallery:
    """Keeps the first images of each class, or of more than 20 classes the first of all; a few MB at most.

    Args:
        num_classes: the number of classes K.
        columns: images in a row.
    """

    def __init__(self, num_classes: int, columns: int = 12) -> None:
        self._by_class = rows_are_classes(num_classes)
        self._columns = columns
        self._rows: list[list[Tensor]] = [[] for _ in range(num_classes if self._by_class else _ROWS)]
        self._missing = len(self._rows) * columns

    @property
    def is_full(self) -> bool:
        return not self._missing

    def update(self, images: Tensor, classes: Tensor) -> None:
        """Take what is still missing from images [N, C, H, W], uint8 or float in [-1, 1], of ``classes`` [N]."""
        if self.is_full:
            return
        for i, label in enumerate(classes.tolist()):
            row = self._row(label)
            if row is not None and len(row) < self._columns:
                row.append((images[i] if images.dtype == torch.uint8 else to_uint8(images[i])).cpu())
                self._missing -= 1

    def sheet(self) -> Tensor | None:
        """uint8 [R, S, C, H, W] on the CPU, grey where there was no image; None where there was none at all."""
        first = next((image for row in self._rows for image in row), None)
        if first is None:
            return None
        sheet = torch.full((len(self._rows), self._columns, *first.shape), GREY, dtype=torch.uint8)
        for images, row in zip(self._rows, sheet, strict=True):
            if images:
                row[: len(images)] = torch.stack(images)
        return sheet

    def _row(self, label: int) -> list[Tensor] | None:
        if self._by_class:
            return self._rows[label]
        return next((row for row in self._rows if len(row) < self._columns), None)
