"""Datasets that the user wrote.

``module:function`` is called without arguments, or with those of ``data_dir`` (a :class:`pathlib.Path`) and
``image_size`` that were given, by name. It returns a *part*, of which one image in ten of each class is then held out,
always the same ones; or a dict with

- ``"train"`` and ``"test"``: a part each; without ``"test"`` some are held out as above;
- ``"class_names"`` (optional): a list of texts, one for each class;
- ``"mirror_symmetric"`` (optional): True where left and right of every image may be swapped.

A part is a pair ``(images, labels)``: uint8 [N, C, H, W], a tensor or NumPy array (a memory map of a file will do), and
integers [N] from 0 up. Or it is a sequence of pairs (image, label), as torch's and torchvision's map-style datasets
are: each image uint8 [C, H, W] or one of Pillow, C of 1 or 3, all of one size. Such images are brought into memory, or
where they would fill more than half of it are read by worker processes when they are wanted.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.loader import Loader
from amgan_fast.data.strata import HELD_OUT, hold_out_per_class
from amgan_fast.errors import InputError, found
from amgan_fast.images import ImageItems, LazyImages, Unreadable, collect_images
from amgan_fast.images.image_items import ItemReader, to_image
from amgan_fast.memory import fits_in_half_of
from amgan_fast.progress import Progress
from amgan_fast.user_code import user_object, users_errors

_KEYS = ("train", "test", "class_names", "mirror_symmetric")
_OPTIONS = ("data_dir", "image_size")


def own_loader(spec: str) -> Loader:
    """Of ``module:function``.

    Raises:
        InputError: there is no such function.
    """
    function = user_object("dataset", spec)
    if not callable(function):
        raise InputError(f"dataset {spec}: it is {found(function)}, wanted a function")
    with users_errors(f"dataset {spec}: its arguments cannot be told", f"a function of some of {', '.join(_OPTIONS)}"):
        taken = inspect.signature(function).parameters

    def load(data_dir: Path | None, *, progress: Progress | None = None, image_size: int | None = None) -> Dataset:
        if data_dir is not None and "data_dir" not in taken:
            raise InputError(f"data_dir is {data_dir}, wanted none: {spec} has no argument of that name")
        given = {"data_dir": data_dir, "image_size": image_size}
        return _load(spec, function, {name: value for name, value in given.items() if value is not None}, progress)

    def load_as_is(data_dir: Path | None, *, progress: Progress | None = None) -> Dataset:
        return load(data_dir, progress=progress)

    def size_in(data_dir: Path | None) -> tuple[int, int] | None:
        given = {"data_dir": data_dir} if data_dir is not None and "data_dir" in taken else {}
        _returned[spec, _key(given)] = returned = _call(spec, function, given)
        part: Any = returned.get("train") if isinstance(returned, Mapping) else returned
        with users_errors(f"dataset {spec}: its first image cannot be used", "images [C, H, W]"):
            first = part[0][0]  # of a pair of arrays the first image, of a sequence of pairs the image of the first
            height, width = to_image(first).shape[1:]
        return int(height), int(width)

    return Loader(load if "image_size" in taken else load_as_is, size_in=size_in)


_returned: dict[tuple[str, tuple[tuple[str, Any], ...]], Any] = {}
"""What was asked for its size, until it is asked for itself: reading it may take long."""


def _key(given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(given.items()))


def _call(spec: str, function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    call = ", ".join(f"{name}=..." for name in given)
    with users_errors(f"dataset {spec}: it fails when called with ({call})", "a function that loads images and labels"):
        return function(**given)


def _load(spec: str, function: Callable[..., Any], given: Mapping[str, Any], progress: Progress | None) -> Dataset:
    key = spec, _key(given)
    returned = _returned.pop(key) if key in _returned else _call(spec, function, given)
    _returned.clear()
    said = returned if isinstance(returned, Mapping) else {"train": returned}
    if unknown := [key for key in said if key not in _KEYS]:
        raise InputError(
            f"dataset {spec}: it returns a dict with {found(unknown[0])}, wanted some of {', '.join(_KEYS)}"
        )
    if "train" not in said:
        raise InputError(f"dataset {spec}: it returns a dict without 'train', wanted images and labels there")
    names = _class_names(spec, said.get("class_names"))
    train = _Part.of(f"dataset {spec}" + (": train" if "test" in said else ""), said["train"], progress)
    test = _Part.of(f"dataset {spec}: test", said["test"], progress) if "test" in said else None
    classes = len(names) if names is not None else 1 + max(int(part.labels.max()) for part in (train, test) if part)
    for part in filter(None, (train, test)):
        part.check_classes(classes)
    if test is None:
        train, test = train.hold_out()
        held_out, stratified = HELD_OUT, True
    else:
        held_out, stratified = f"as of {spec}", False
        if test.images.shape[1:] != train.images.shape[1:]:
            shapes = [" x ".join(map(str, part.images.shape[1:])) for part in (test, train)]
            raise InputError(f"dataset {spec}: test images are {shapes[0]}, train images {shapes[1]}, wanted one shape")
    if (missing := test.labels.bincount(minlength=classes) == 0).any():
        raise InputError(f"{test.where} has no image of class {int(missing.nonzero()[0])}, wanted some of each class")
    mirrored = said.get("mirror_symmetric", False)
    if not isinstance(mirrored, bool):
        raise InputError(f"dataset {spec}: mirror_symmetric is {found(mirrored)}, wanted True or False")
    images = test.images
    return Dataset(
        spec,
        classes,
        train.images,
        train.labels,
        images if isinstance(images, Tensor) else images[torch.arange(len(images))],
        test.labels,
        mirror_symmetric=mirrored,
        held_out=held_out,
        stratified=stratified,
        class_names=names,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    where: str
    images: Tensor | LazyImages
    labels: Tensor

    @staticmethod
    def of(where: str, returned: Any, progress: Progress | None) -> _Part:
        """
        Raises:
            InputError: it is no part, or has images or labels that cannot be used.
        """
        if isinstance(returned, (tuple, list)) and len(returned) == 2 and _is_array(returned[0]):
            images = _as_tensor(f"{where}: images", returned[0])
            if images.dtype != torch.uint8 or images.ndim != 4 or images.size(1) not in (1, 3):
                shape = f"{list(images.shape)} of {images.dtype}"
                raise InputError(f"{where}: images are {shape}, wanted uint8 [N, C, H, W] with C of 1 or 3")
            return _Part(where, images, _labels(where, returned[1], len(images)))
        if not (hasattr(returned, "__getitem__") and hasattr(returned, "__len__")):
            wanted = "a pair (images, labels), or a sequence of pairs (image, label)"
            raise InputError(f"{where} is a {type(returned).__name__}, wanted {wanted}")
        with users_errors(f"{where}: its first item cannot be used", "a sequence of pairs (image, label)"):
            if not len(returned):
                raise ValueError("it has none")
            reader = ItemReader(returned, where)
        with users_errors(f"{where}: its labels cannot be read", "a sequence of pairs (image, label)"):
            known = getattr(returned, "targets", None)  # as torchvision's datasets have them, without reading images
            given = [returned[i][1] for i in range(len(returned))] if known is None else known
        labels = _labels(where, given, len(returned))
        if not fits_in_half_of(torch.device("cpu"), len(returned) * int(np.prod(reader.shape))):
            return _Part(where, ImageItems(returned, where), labels)
        read = map(_readable, reader.read_all(workers=0, progress=progress, what="images"))
        return _Part(where, collect_images(read, len(reader), reader.shape), labels)

    def check_classes(self, classes: int) -> None:
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest >= classes:
            raise InputError(f"{self.where}: labels are {lowest} to {highest}, wanted 0 to {classes - 1}")

    def hold_out(self) -> tuple[_Part, _Part]:
        counts = self.labels.bincount()
        if (few := counts < 2).any():
            label = int(few.nonzero()[0])
            found = f"{self.where} has {int(counts[label])} images of class {label}"
            raise InputError(f"{found}, wanted at least 2 where no test images are given: one is held out")
        return tuple(self._of_these(indices) for indices in hold_out_per_class(self.labels))  # type: ignore[return-value]

    def _of_these(self, indices: Tensor) -> _Part:
        images = self.images[indices] if isinstance(self.images, Tensor) else self.images.subset(indices)
        return _Part(self.where, images, self.labels[indices])


def _is_array(value: object) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _as_tensor(what: str, value: Any) -> Tensor:
    with users_errors(f"{what} cannot be used", "a tensor or an array"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writ")  # nothing here writes to it
        return torch.as_tensor(value).detach().cpu()


def _labels(where: str, value: Any, count: int) -> Tensor:
    labels = _as_tensor(f"{where}: labels", value if _is_array(value) else np.asarray(value))
    integer = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if not integer or labels.shape != (count,):
        wanted = f"integers [{count}], one for each image"
        raise InputError(f"{where}: labels are {list(labels.shape)} of {labels.dtype}, wanted {wanted}")
    if not count:
        raise InputError(f"{where}: it has no images, wanted some")
    return labels.long()


def _readable(image: np.ndarray | Unreadable) -> np.ndarray:
    if isinstance(image, Unreadable):
        raise image.refused("all uint8 and of one size")
    return image


def _class_names(spec: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(name, str) for name in value):
        raise InputError(f"dataset {spec}: class_names are {found(value)}, wanted a list of texts")
    return tuple(value)
