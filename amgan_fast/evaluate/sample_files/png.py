"""Samples in a folder of PNG files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.ahead import called_ahead
from amgan_fast.files import whole_folder
from amgan_fast.images import most_workers

LABELS = "labels.csv"
_FILES_AT_A_TIME = 50
_LONGEST_NAME = 255  # bytes, of most file systems


def write_png_folder(
    path: Path,
    count: int,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    *,
    class_names: Sequence[str] = (),
    by_class: bool = False,
) -> None:
    """Numbered files, ``000.png`` to ``999.png`` of a thousand: names in the order of text are in that of the samples.

    Labels are in ``labels.csv``, lines of file and class, which ``amgan-fast evaluate --labels`` takes; with
    ``by_class`` in the names of folders instead.

    Args:
        path: the folder takes its place once it is whole.
        count: N.
        batches: uint8 [n, C, H, W], C 1 or 3, and int64 [n] or None, N samples in all.
        class_names: what each label is called; empty, or a name that no folder can have: by its number.
        by_class: a folder for each class instead of ``labels.csv``. It takes labels.

    Raises:
        OSError: a file cannot be written; nothing is left then.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.evaluate.sample_files.png import write_png_folder
    >>> images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    >>> write_png_folder(Path("black"), 2, [(images, torch.tensor([1, 0]))], class_names=("cat", "dog"))
    >>> Path("black/labels.csv").read_text().split()
    ['file,label', '0.png,dog', '1.png,cat']
    """
    digits = len(str(count - 1))
    asked: list[Tensor] = []
    with whole_folder(path) as folder:

        def calls() -> Iterator[Callable[[], None]]:
            first = 0
            for images, labels in batches:
                if labels is not None:
                    asked.append(labels)
                names = [f"{number:0{digits}}.png" for number in range(first, first + len(images))]
                if by_class and labels is not None:
                    names = [
                        f"{_folder(class_names, k)}/{name}" for k, name in zip(labels.tolist(), names, strict=True)
                    ]
                    for name in {name.partition("/")[0] for name in names}:
                        (folder / name).mkdir(exist_ok=True)
                first += len(images)
                for place in range(0, len(images), _FILES_AT_A_TIME):
                    here = slice(place, place + _FILES_AT_A_TIME)
                    yield partial(_write, folder, names[here], images[here])

        with closing(called_ahead(calls(), most_workers())) as written:
            for _ in written:
                pass
        if asked and not by_class:
            _write_labels(folder / LABELS, digits, torch.cat(asked), class_names)


def _write(folder: Path, names: Sequence[str], images: Tensor) -> None:
    from PIL import Image

    for name, pixels in zip(names, images.permute(0, 2, 3, 1).numpy(), strict=True):
        Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)).save(folder / name)


def _write_labels(path: Path, digits: int, labels: Tensor, class_names: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("file", "label"))
        for number, label in enumerate(labels.tolist()):
            lines.writerow((f"{number:0{digits}}.png", class_names[label] if class_names else label))


def _folder(class_names: Sequence[str], label: int) -> str:
    """Of one class. Names that lead elsewhere, or that no one lists, are not taken, nor any of the others then."""
    if class_names and all(map(_can_be_a_folder, class_names)):
        return class_names[label]
    return str(label)


def _can_be_a_folder(name: str) -> bool:
    text = name.encode(errors="surrogateescape")
    return 0 < len(text) <= _LONGEST_NAME and not name.startswith(".") and not set(name) & {"/", "\0"}
