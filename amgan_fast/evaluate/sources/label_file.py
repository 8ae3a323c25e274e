"""Labels of samples in a file of their own."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.errors import InputError, some_of
from amgan_fast.evaluate.sources.npy import damage_named, read_labels, read_npy_header
from amgan_fast.images import in_class_order

_DIGITS = re.compile(r"[0-9]+")


def read_label_array(path: str | Path, count: int) -> Tensor:
    """Labels in a .npy file, in the order of the samples: int64 [``count``].

    Raises:
        InputError: a file that is damaged, or holds other than ``count`` integers of 0 or more.
    """
    with damage_named(str(path)), Path(path).open("rb") as file:
        header = read_npy_header(file, str(path), os.fstat(file.fileno()).st_size)
        return read_labels(file, header, str(path), count)


def read_file_labels(path: str | Path, names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Labels of the files ``names``, which are sorted as text: a .csv or a .npy.

    A .csv has a line ``file,label`` for each, in any order; lines of other files, a heading too, are passed over. Its
    labels are class names. A .npy has integers in the order of the sorted names, and is refused where names are in
    another order by the numbers in them (``10.png`` before ``2.png``): nobody knows which was meant.

    Returns:
        int64 [N], and what each label is called; no names for a .npy: labels are numbers.

    Raises:
        InputError: a file that is damaged, or lacks labels.
    """
    if Path(path).suffix.lower() == ".csv":
        return _from_csv(Path(path), names)
    labels = read_label_array(path, len(names))
    by_number = _in_order_of_numbers(names)
    if pair := next(((a, b) for a, b in zip(names, by_number, strict=True) if a != b), None):
        raise InputError(
            f"{path} has labels without names, and the order of files is not clear: {pair[0]} comes before {pair[1]} "
            "as text, and after it by number; wanted numbers of one width, or a .csv of lines file,label"
        )
    return labels, ()


def _in_order_of_numbers(names: Sequence[str]) -> list[str]:
    """Names that differ in numbers alone sorted by these; others as they are."""
    if len({_DIGITS.sub("0", name) for name in names}) > 1:
        return list(names)
    return sorted(names, key=lambda name: [int(digits) for digits in _DIGITS.findall(name)])


def _from_csv(path: Path, names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    wanted = "wanted a line file,label for each image"
    with damage_named(str(path)), path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if bad := next((row for row in rows if len(row) != 2), None):
        raise InputError(f"{path} has the line {','.join(bad)!r}, {wanted}")
    known = dict.fromkeys(names)
    found: dict[str, str] = {}
    for name, label in rows:
        if name in known and found.setdefault(name, label.strip()) != label.strip():
            raise InputError(f"{path} has {name} as {found[name]} and as {label.strip()}, wanted one label each")
    if missing := [name for name in names if not found.get(name)]:
        raise InputError(f"{path} lacks {len(missing):,} of {len(names):,} images ({some_of(missing)}), {wanted}")
    classes = tuple(in_class_order(sorted(set(found.values()))))
    place = {name: label for label, name in enumerate(classes)}
    return torch.tensor([place[found[name]] for name in names]), classes
