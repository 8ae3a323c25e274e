"""Files and other things read in order, by threads of this process or by other processes."""

from __future__ import annotations

import copy
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from amgan_fast.ahead import called_ahead
from amgan_fast.errors import InputError
from amgan_fast.images.decoding import why_unreadable
from amgan_fast.progress import Progress

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

T = TypeVar("T")

_AT_ONCE = 256
_MOST_WORKERS = 8
_WORTH_WORKERS = 2000  # starting processes takes as long as reading this many small images


@dataclass(frozen=True)
class Unreadable:
    """In place of what a file holds."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    def refused(self, remedy: str) -> InputError:
        """
        Args:
            remedy: what the user can do about it.
        """
        return InputError(f"{self}; wanted images that can be read ({remedy})")


class Reader(Dataset, Generic[T]):
    """Things by their place, which are read when they are asked for; what goes to other processes where these read."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> T | Unreadable: ...

    def __getitems__(self, indices: Sequence[int]) -> list[T | Unreadable]:
        """Of these; what a DataLoader asks a batch by."""
        return [self[i] for i in indices]

    @abstractmethod
    def identity(self) -> bytes:
        """What tells one set from another without reading all of it."""

    @abstractmethod
    def take(self, indices: Sequence[int]) -> Self:
        """Of these alone."""

    def read(
        self,
        batches: Iterable[Sequence[int]],
        *,
        workers: int,
        collate: Callable[[list[T | Unreadable]], Any] = list,
        pin_memory: bool = False,
    ) -> Iterator[Any]:
        """What is there, one batch of indices after the other, in lists.

        Args:
            batches: may be endless.
            workers: processes, each up to two batches ahead; 0: this one, when asked.
            collate: makes something else of the list, where it is read. NumPy's arrays travel as bytes, tensors in
                shared memory and with a file descriptor each.
            pin_memory: have tensors in memory that CUDA copies from without waiting.
        """
        return iter(
            DataLoader(
                self,
                batch_sampler=map(list, batches),
                num_workers=workers,
                collate_fn=collate,
                pin_memory=pin_memory,
                generator=torch.Generator(),  # it draws a seed for its workers: not from the one that numbers are of
            )
        )

    def read_ahead(
        self,
        batches: Iterable[Sequence[int]],
        *,
        threads: int,
        collate: Callable[[list[T | Unreadable]], Any] = list,
    ) -> Iterator[Any]:
        """As :meth:`read`, by threads of this process, which need no time to start and little memory: each reads a
        batch, and one is ready. Decoders let others compute meanwhile; Python is run by one thread at a time.

        Args:
            threads: at least 1.
        """

        def read(batch: Sequence[int]) -> Any:
            return collate(self.__getitems__(batch))

        return called_ahead((partial(read, batch) for batch in batches), threads)

    def read_all(
        self, *, workers: int | None = None, progress: Progress | None = None, what: str = "image files"
    ) -> Iterator[T | Unreadable]:
        """What is there, each once.

        Args:
            workers: 0: threads of this process; None: as many as are worth starting.
            progress: told ``what`` is read.
        """
        if workers is None:
            workers = workers_for(len(self))
        starts = range(0, len(self), _AT_ONCE)
        batches = (range(first, min(first + _AT_ONCE, len(self))) for first in starts)
        batches_read = (
            self.read(batches, workers=min(workers, len(starts)))
            if workers
            else self.read_ahead(batches, threads=most_workers())
        )
        for first, found in zip(starts, batches_read, strict=True):
            yield from found
            if progress is not None:
                progress(what, first + len(found), len(self))


class FileReader(Reader[T]):
    """Files, and how each is read.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from amgan_fast.images import FileReader
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "a.txt").write_text("7")
    ...     files = FileReader(Path(folder), ["a.txt", "b.txt"], Path.read_text)
    ...     first, second = files.read_all()
    1
    >>> first, second.reason
    ('7', 'No such file or directory')

    Args:
        folder: where the names begin.
        names: of all files.
        read: a function of a module, or an object that can be pickled; whatever it raises becomes an
            :class:`Unreadable`.
        read_many: the same of paths, uint8 [N, W] with zeros behind each, for those that it can read at once; None for
            those that ``read`` is to read.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        read: Callable[[Path], T],
        read_many: Callable[[Tensor], Sequence[T | None]] | None = None,
    ) -> None:
        self._folder = folder
        # One block of bytes: workers would copy a list bit by bit, as they count references to its strings.
        self._names = np.array([os.fsencode(name) for name in names])
        self._read = read
        self._read_many = read_many

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> T | Unreadable:
        try:
            return self._read(self.path(index))
        except Exception as error:  # a damaged file fails in any way a decoder can
            return Unreadable(self.path(index), why_unreadable(error))

    def __getitems__(self, indices: Sequence[int]) -> list[T | Unreadable]:
        if self._read_many is None or not len(indices):
            return super().__getitems__(indices)
        paths = np.char.add(os.fsencode(os.path.join(self._folder, "")), self._names[np.asarray(indices, np.int64)])
        found = self._read_many(torch.from_numpy(paths.view(np.uint8).reshape(len(paths), -1)))
        return [self[i] if one is None else one for i, one in zip(indices, found, strict=True)]

    def path(self, index: int) -> Path:
        return self._folder / self.name(index)

    def name(self, index: int) -> str:
        """Its path below the folder."""
        return os.fsdecode(self._names[index])

    def identity(self) -> bytes:
        """Every file's name and number of bytes."""
        return os.fsencode("\n".join(f"{self.name(i)} {self.path(i).stat().st_size}" for i in range(len(self))))

    def take(self, indices: Sequence[int]) -> Self:
        part = copy.copy(self)
        part._names = self._names[np.asarray(indices, np.int64)]
        return part


def workers_for(files: int) -> int:
    """How many processes are worth starting to read so many files once; 0: none beside this one."""
    return most_workers() if files >= _WORTH_WORKERS else 0


def most_workers(processes: int = 1) -> int:
    """How many workers each of these processes may have: the CPUs shared out, at least 1 and at most 8."""
    return max(1, min(_MOST_WORKERS, (os.cpu_count() or 1) // processes))
