"""Files read in order, by this process or by several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from amgan_fast.data.decoding import why_unreadable

T = TypeVar("T")


@dataclass(frozen=True)
class Unreadable:
    """In place of what a file holds."""

    reason: str


def read_files(
    read: Callable[[Path], T], folder: Path, names: Sequence[str], ranges: Sequence[range], workers: int
) -> Iterator[list[T | Unreadable]]:
    """What ``read`` makes of each file, one range of ``names`` after the other.

    Args:
        read: a function that can be pickled; whatever it raises becomes an :class:`Unreadable`.
        folder: where the names begin.
        names: of all files.
        ranges: those to read, as indices into ``names``.
        workers: processes, each up to two ranges ahead; 0: this one, when asked.
    """
    return iter(
        DataLoader(
            _Files(read, folder, names),
            batch_sampler=map(list, ranges),
            num_workers=min(workers, len(ranges)),
            collate_fn=list,  # NumPy's arrays travel as bytes, tensors would take a file descriptor each
            generator=torch.Generator(),  # without one, it draws a seed from the global one
        )
    )


@dataclass(frozen=True)
class _Files(Dataset, Generic[T]):
    read: Callable[[Path], T]
    folder: Path
    names: Sequence[str]

    def __getitem__(self, number: int) -> T | Unreadable:
        try:
            return self.read(self.folder / self.names[number])
        except Exception as error:  # a damaged file fails in any way a decoder can
            return Unreadable(why_unreadable(error))
