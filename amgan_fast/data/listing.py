"""Which images a folder holds, and of which classes: the one rule, for training and for evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from amgan_fast.data.class_names import in_class_order, is_number
from amgan_fast.data.decoding import IMAGE_FORMATS, IMAGE_SUFFIXES
from amgan_fast.errors import InputError


@dataclass(frozen=True)
class ImageListing:
    """The images of a folder, in a fixed order."""

    names: list[str]
    """Paths below the folder, class by class, sorted within: a folder's own files before those of its subfolders."""
    labels: list[int] | None
    """The class of each, as an index into ``class_names``; None where there are no class folders."""
    class_names: tuple[str, ...]
    """Of the class folders, in the order of :func:`in_class_order`; none where there are none."""
    others: int
    """Files that are no images by their suffix."""


def find_images(folder: Path, *, allow_empty: bool = False) -> ImageListing:
    """Images directly in a folder, or else those anywhere below each of its subfolders, each one a class.

    Names that begin with a dot are passed over; links are followed.

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
    in_folders = sum(map(len, by_class.values()))
    if not beside and not in_folders:
        raise InputError(
            f"{folder} holds no image ({counted(others, 'other file')}), wanted files of {', '.join(IMAGE_FORMATS)}"
        )
    if beside and in_folders:
        raise InputError(
            f"{folder} holds {counted(len(beside), 'image')} beside its subfolders and {in_folders:,} in them, wanted "
            "all of them directly in it, or in one subfolder a class"
        )
    if beside:
        return ImageListing(beside, None, (), others)
    if (empty := [class_name for class_name, names in by_class.items() if not names]) and not allow_empty:
        raise InputError(
            f"{folder} has {counted(len(by_class), 'subfolder')}, {len(empty)} without an image ({some_of(empty)}) and "
            f"the others with {in_folders:,}; wanted images in each, one subfolder a class"
        )
    _refuse_the_same_number(folder, by_class)
    names = [name for images in by_class.values() for name in images]
    labels = [label for label, images in enumerate(by_class.values()) for _ in images]
    return ImageListing(names, labels, tuple(by_class), others)


def counted(count: int, noun: str) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some_of(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


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
