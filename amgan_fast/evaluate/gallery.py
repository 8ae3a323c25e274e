"""Sheets of images with a row a class: of those that went by, and of a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

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


class Shown(Protocol):
    """Images that are made when they are asked for."""

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        """uint8 [M, C, H, W] of M of them: by indices, int64 [M], by a mask, bool [N], or a range."""


class Gallery:
    """Keeps the first images of each class, or of more than 20 classes the first of all, where they are; a few MB at
    most. Nothing waits for a GPU.

    Args:
        num_classes: the number of classes K.
        columns: images in a row.
    """

    def __init__(self, num_classes: int, columns: int = 12) -> None:
        self._num_classes = num_classes
        self._rows, self._columns = num_classes, columns
        self._groups, self._each = num_classes, columns  # images that are counted together, and how many of them
        if not rows_are_classes(num_classes):
            self._rows = _ROWS
            self._groups, self._each = 1, _ROWS * columns
        self._kept: Tensor | None = None  # uint8 [groups * each + 1, C, H, W], the last for all that are not wanted
        self._counts: Tensor  # int64 [groups], where the images are
        self._is_full = torch.tensor(False)

    @property
    def is_full(self) -> bool:
        """Whether none is missing; on a GPU that is known some time after the update that it is true from."""
        return bool(self._is_full)

    def update(self, images: Tensor | Shown, classes: Tensor) -> None:
        """Take what is still missing from images [N, C, H, W], uint8 or float in [-1, 1], of ``classes`` [N]; those of
        K or more belong to no row. On a CPU no others than these are made of :class:`Shown` ones."""
        if self.is_full or not len(classes):
            return
        if self._kept is None:
            first = images[:1]
            kept = (self._groups * self._each + 1, *first.shape[1:])
            self._kept = torch.full(kept, _GREY, dtype=torch.uint8, device=first.device)
            self._counts = torch.zeros(self._groups, dtype=torch.int64, device=first.device)
            self._is_full = torch.zeros((), dtype=torch.bool, pin_memory=first.is_cuda)
        places = self._take_places(classes.to(self._kept.device))
        if places.is_cuda:
            images = images[:]
        else:  # where it costs nothing to see which are wanted
            wanted = (places < len(self._kept) - 1).nonzero().squeeze(1)
            if not len(wanted):
                return
            images, places = images[wanted], places[wanted]
        self._kept.index_copy_(
            0, places, (images if images.dtype == torch.uint8 else to_uint8(images)).to(places.device)
        )
        # Never read before it has come, and true once and for all: an old value does no harm.
        self._is_full.copy_((self._counts >= self._each).all(), non_blocking=True)

    def state_dict(self) -> dict[str, Tensor | None]:
        """The images, uint8 [N, C, H, W], None where there are none, and the row of each, int64 [N]."""
        if self._kept is None:
            return {"images": None, "rows": torch.empty(0, dtype=torch.int64)}
        there = (torch.arange(self._each) < self._counts.cpu()[:, None]).flatten()
        rows = torch.arange(self._rows).repeat_interleave(self._columns)[there]
        return {"images": self._kept.cpu()[:-1][there] if len(rows) else None, "rows": rows}

    def merge_state(self, state: Mapping[str, Tensor | None]) -> None:
        """Take what is still missing from a :meth:`state_dict` of images that came after these."""
        images, rows = state["images"], state["rows"]
        if images is not None and rows is not None:
            self.update(images, rows)

    def sheet(self) -> Tensor | None:
        """uint8 [R, S, C, H, W] on the CPU, grey where there was no image; None where there was none at all."""
        return None if self._kept is None else self._kept[:-1].unflatten(0, (self._rows, self._columns)).cpu()

    def _take_places(self, classes: Tensor) -> Tensor:
        """int64 [N]: where each image goes."""
        belongs = classes < self._num_classes
        group = classes.clamp(max=self._groups - 1)
        is_of = (group[:, None] == torch.arange(self._groups, device=group.device)) & belongs[:, None]
        number = (is_of.cumsum(0) + self._counts - 1).gather(1, group[:, None]).squeeze(1)
        self._counts += is_of.sum(0)
        wanted = belongs & (number < self._each)
        return torch.where(wanted, group * self._each + number, self._groups * self._each)


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
        gallery.update(images, likeliest)
        if gallery.is_full:
            break
    sheet = gallery.sheet()
    return torch.full((rows, columns, *images.shape[1:]), _GREY, dtype=torch.uint8) if sheet is None else sheet
