"""Which images a folder holds, and of which classes: the one rule, for training and for evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.errors import InputError, counted, some_of
from amgan_fast.images.class_names import in_class_order, is_number
from amgan_fast.images.decoding import IMAGE_FORMATS, IMAGE_SUFFIXES


@dataclass(frozen=True, eq=False)
class ImageListing:
    """The images of a folder, in a fixed order."""

    folder: Path
    names: list[str]
    """Paths below the folder, class by class, sorted within: a folder's own files before those of its subfolders."""
    labels: Tensor | None
    """int64, the class of each, as an index into ``class_names``; None where there are no class folders."""
    class_names: tuple[str, ...]
    """Of the class folders, in the order of :func:`in_class_order`; none where there are none."""
    others: int
    """Files that are no images by their suffix."""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: Sequence[int]) -> ImageListing:
        """These images alone, of the same classes."""
        labels = None if self.labels is None else self.labels[list(indices)]
        return replace(self, names=[self.names[i] for i in indices], labels=labels)


def find_images(folder: Path, *, allow_empty: bool = False) -> ImageListing:
    """Images directly in a folder, or else those anywhere below each of its subfolders, each one a class.

    Names that begin with a dot are passed over; links are followed.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from amgan_fast.images import find_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for class_name in ("10", "2"):
    ...         Path(folder, class_name).mkdir()
    ...         Image.new("L", (8, 6)).save(Path(folder, class_name, "a.png"))
    ...     listing = find_images(Path(folder))
    >>> listing.names, listing.labels, listing.class_names
    (['2/a.png', '10/a.png'], tensor([0, 1]), ('2', '10'))

    Args:
        allow_empty: take a subfolder without images for a class that has none.

    Raises:
        InputError: no folder, no images, images both beside and in subfolders, a subfolder without any, or two whose
            names are the same number.
    """
    if not folder.is_dir():
        found = "is no folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {found}, wanted a folder of images")
    entries = list(_entries(folder))
    beside, others = _images(name for name, is_folder in entries if not is_folder)
    by_class: dict[str, list[str]] = {}
    for class_name in in_class_order([name for name, is_folder in entries if is_folder]):
        by_class[class_name], more = _images(_files_below(folder, class_name))
        others += more
    in_folders = [name for names in by_class.values() for name in names]
    _refuse_none_and_both(folder, len(beside), len(in_folders), others)
    if beside:
        return ImageListing(folder, beside, None, (), others)
    _refuse_an_empty_class(folder, by_class, allow_empty)
    _refuse_the_same_number(folder, by_class)
    labels = torch.arange(len(by_class)).repeat_interleave(torch.tensor([len(names) for names in by_class.values()]))
    return ImageListing(folder, in_folders, labels, tuple(by_class), others)


def _refuse_none_and_both(folder: Path, beside: int, in_folders: int, others: int) -> None:
    if not beside and not in_folders:
        raise InputError(
            f"{folder} holds no image ({counted(others, 'other file')}), wanted files of {', '.join(IMAGE_FORMATS)}"
        )
    if beside and in_folders:
        raise InputError(
            f"{folder} holds {counted(beside, 'image')} beside its subfolders and {in_folders:,} in them, wanted "
            "all of them directly in it, or in one subfolder a class"
        )


def _refuse_an_empty_class(folder: Path, by_class: dict[str, list[str]], allow_empty: bool) -> None:
    empty = [class_name for class_name, names in by_class.items() if not names]
    if empty and not allow_empty:
        images = sum(map(len, by_class.values()))
        raise InputError(
            f"{folder} has {counted(len(by_class), 'subfolder')}, {len(empty)} without an image ({some_of(empty)}) and "
            f"the others with {images:,}; wanted images in each, one subfolder a class"
        )


def _refuse_the_same_number(folder: Path, class_names: Iterable[str]) -> None:
    if not all(map(is_number, class_names)):
        return
    first: dict[int, str] = {}
    for name in class_names:
        if (other := first.setdefault(int(name), name)) != name:
            raise InputError(f"{folder} has subfolders {other} and {name}, wanted one for each number")


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a folder)."""
    try:
        with os.scandir(folder) as entries:
            yield from ((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from None


def _files_below(folder: Path, class_name: str) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise _unreadable(error)

    seen = set()
    for parent, folders, files in os.walk(folder / class_name, onerror=stop, followlinks=True):
        if (place := os.path.realpath(parent)) in seen:
            raise InputError(f"{parent} leads to {place} a second time, wanted every image once")
        seen.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(parent, folder)
        yield from (os.path.join(below, name) for name in files if not name.startswith("."))


def _images(names: Iterator[str]) -> tuple[list[str], int]:
    """The images among them, sorted, and how many others there are."""
    images, others = [], 0
    for name in names:
        if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
            images.append(name)
        else:
            others += 1
    return sorted(images, key=os.path.split), others


def _unreadable(error: OSError) -> InputError:
    return InputError(f"{error.filename} cannot be read ({error.strerror}), wanted a folder that can")
