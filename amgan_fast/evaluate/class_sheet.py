"""A sheet of samples with a row a class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from amgan_fast.data import to_uint8
from amgan_fast.evaluate.gallery import GREY, Gallery, rows_are_classes
from amgan_fast.nn import Sampler

_DRAWN = 100  # samples a class that dynamic labels are picked from, in the order they come


def sheet_names(sampler: Sampler, class_names: tuple[str, ...] | None, rows: int) -> tuple[str, ...]:
    """What the rows of :func:`class_sheet` are called; nothing where they are no classes, or classes have no names."""
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
    return torch.full((rows, columns, *images.shape[1:]), GREY, dtype=torch.uint8) if sheet is None else sheet
