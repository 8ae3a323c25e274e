"""Sheets of images with a row a class: of those that went by, and of a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from amgan_fast.data import to_uint8
from amgan_fast.nn import Sampler

_ROWS_OF_CLASSES = 20  # with more classes rows would show a few of them only
_ROWS = 10
_DRAWN = 100  # samples a class that dynamic labels are picked from, in the order they come
_GREY = 128  # where there is no image


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

    def state_dict(self) -> dict[str, Tensor | None]:
        """The images, uint8 [N, C, H, W], None where there are none, and the row of each, int64 [N]."""
        images = [image for row in self._rows for image in row]
        rows = torch.tensor([place for place, row in enumerate(self._rows) for _ in row], dtype=torch.int64)
        return {"images": torch.stack(images) if images else None, "rows": rows}

    def merge_state(self, state: Mapping[str, Tensor | None]) -> None:
        """Take what is still missing from a :meth:`state_dict` of images that came after these."""
        images, rows = state["images"], state["rows"]
        if images is not None and rows is not None:
            self.update(images, rows)

    def sheet(self) -> Tensor | None:
        """uint8 [R, S, C, H, W] on the CPU, grey where there was no image; None where there was none at all."""
        first = next((image for row in self._rows for image in row), None)
        if first is None:
            return None
        sheet = torch.full((len(self._rows), self._columns, *first.shape), _GREY, dtype=torch.uint8)
        for images, row in zip(self._rows, sheet, strict=True):
            if images:
                row[: len(images)] = torch.stack(images)
        return sheet

    def _row(self, label: int) -> list[Tensor] | None:
        if self._by_class:
            return self._rows[label]
        return next((row for row in self._rows if len(row) < self._columns), None)


def sheet_names(sampler: Sampler, class_names: tuple[str, ...] | None, rows: int) -> tuple[str, ...]:
    """What the rows of :func:`class_sheet` are called; nothing where they are no classes, or classes have no names.

    >>> import torch
    >>> from amgan_fast.evaluate import sheet_names
    >>> from amgan_fast.nn import LatentSource, Sampler
    >>> sheet_names(Sampler(torch.nn.Identity(), LatentSource(4)), ("cat", "dog", "owl"), rows=2)
    ('cat', 'dog')
    """
    by_class = sampler.latent.num_labels is not None or rows_are_classes(rows)
    return class_names[:rows] if class_names and by_class else ()


@torch.no_grad()
def class_sheet(
    sampler: Sampler,
    classify: Callable[[Tensor], Tensor],
    random: torch.Generator,
    *,
    num_classes: int,
    rows: int,
    columns: int,
) -> Tensor:
    """uint8 [R, columns, C, H, W], on the CPU: samples of the first ``rows`` of ``num_classes`` classes, a row each.

    With predefined labels a row is what the generator was asked for; with dynamic ones it is the first samples that
    the classifier, images -> logits [N, K], assigns to the class, and ends in grey where there are no more. Of more
    than 20 classes with dynamic labels the rows are the first samples in their order (:class:`Gallery`).

    >>> import torch
    >>> from amgan_fast.evaluate import class_sheet
    >>> from amgan_fast.nn import LatentSource, Sampler
    >>> sampler = Sampler(torch.nn.Unflatten(1, (1, 2, 2)), LatentSource(4))
    >>> random = torch.Generator().manual_seed(0)
    >>> class_sheet(sampler, torch.nn.Flatten(), random, num_classes=4, rows=3, columns=5).shape
    torch.Size([3, 5, 1, 2, 2])
    """
    if sampler.latent.num_labels is not None:
        labels = torch.arange(rows, device=random.device).repeat_interleave(columns)
        return to_uint8(sampler.of_classes(labels, random)).cpu().unflatten(0, (rows, columns))
    gallery = Gallery(rows, columns=columns)
    for images, _ in sampler.batches(_DRAWN * num_classes, random):
        likeliest = classify(images).argmax(1)
        shown = likeliest < rows
        gallery.update(images[shown], likeliest[shown])
        if gallery.is_full:
            break
    sheet = gallery.sheet()
    return torch.full((rows, columns, *images.shape[1:]), _GREY, dtype=torch.uint8) if sheet is None else sheet
