"""Images in files: opened without executing anything; read by worker processes, all at once or when asked for."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from amgan_fast.errors import InputError, in_one_line

if TYPE_CHECKING:
    from PIL import Image

Progress = Callable[[int, int], None]
"""Called with the number of images read so far and the number there are."""

ReadImage = Callable[[Path], "np.ndarray[Any, Any] | None"]
"""Reads a file to uint8 [C, H, W], or to None where the set leaves that image out; may raise InputError. It goes to
other processes: a function of a module, or an object that can be pickled."""

_CHUNK = 256
_MOST_WORKERS = 8
_WORTH_WORKERS = 2000  # starting processes takes as long as reading this many small images


@contextmanager
def open_image(path: Path, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """A Pillow image.

    Args:
        formats: by Pillow's names: it goes by a file's content, not by its name, and has EPS executed by another
            program.

    Raises:
        InputError: it is damaged or of another format, even where that shows only while the image is used.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=formats) as image:
            yield image
    except InputError:
        raise
    except Exception as error:  # a damaged file fails in any way its decoder can
        found = f"{path} is damaged or no image ({in_one_line(error)})"
        raise InputError(f"{found}, wanted {' or '.join(formats)}") from error


def read_all(
    folder: Path, paths: Sequence[str], read: ReadImage, shape: tuple[int, int, int], progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Read N files into memory.

    Args:
        folder: what ``paths`` are relative to.
        shape: (C, H, W), what ``read`` reads every file to.

    Returns:
        Images uint8 [M, C, H, W], and bool [N]: which of the files they are of.

    Raises:
        InputError: a file that cannot be read.
    """
    images = torch.empty((len(paths), *shape), dtype=torch.uint8)
    used = []
    filled = 0
    for chunk, chunk_used in _read_once(_Files(folder, _array(paths), read, shape), progress):
        images[filled : filled + len(chunk)] = chunk
        used.append(chunk_used)
        filled += len(chunk)
    return images[:filled], torch.cat(used)


def which_can_be_read(
    folder: Path, paths: Sequence[str], read: ReadImage, shape: tuple[int, int, int], progress: Progress | None = None
) -> Tensor:
    """As :func:`read_all`, keeping no image: bool [N], False where ``read`` gives None."""
    return torch.cat([used for _, used in _read_once(_Files(folder, _array(paths), read, shape), progress)])


def workers_for(files: int) -> int:
    """How many processes are worth starting to read so many files once; 0: none beside this one."""
    return most_workers() if files >= _WORTH_WORKERS else 0


def most_workers(processes: int = 1) -> int:
    """How many workers each of these processes may have: the CPUs shared out, at least 1 and at most 8."""
    return max(1, min(_MOST_WORKERS, (os.cpu_count() or 1) // processes))


class ImageFiles:
    """Images that stay in their files; stands in for a uint8 tensor [N, C, H, W] that would not fit in memory.

    Args:
        folder: what ``paths`` are relative to.
        read: leaves no image out.
        shape: (C, H, W), what ``read`` reads every file to.
    """

    def __init__(self, folder: Path, paths: Sequence[str], read: ReadImage, shape: tuple[int, int, int]) -> None:
        self.device = torch.device("cpu")
        """Where the images are given that are asked for."""
        self._files = _Files(folder, _array(paths), read, shape)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self._files.shape))

    def __len__(self) -> int:
        return len(self._files.paths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return next(self.read([indices], workers=0)).to(self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """All images in order, ``size`` at a time."""
        batches = torch.arange(len(self)).split(size)
        return (images.to(self.device) for images in self.read(batches, workers=most_workers()))

    def read(self, batches: Iterable[Tensor], *, workers: int, pin_memory: bool = False) -> Iterator[Tensor]:
        """The images of each batch of indices, uint8 [B, C, H, W] on the CPU, read ahead by ``workers`` processes.

        Raises:
            InputError: (from ``next``) a file that cannot be read.
        """
        return (images for images, _ in _read(self._files, batches, workers=workers, pin_memory=pin_memory))

    def subset(self, indices: Tensor) -> ImageFiles:
        """These images, still in their files."""
        part = copy.copy(self)
        part._files = copy.copy(self._files)
        part._files.paths = self._files.paths[indices.cpu().numpy()]
        return part

    def to(self, device: torch.device | str) -> ImageFiles:
        """The same, given on this device; the files stay where they are."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        return moved

    def listing(self) -> bytes:
        """Shape, and every file's path and number of bytes: what tells one set from another without reading it."""
        sizes = (self._files.path(i).stat().st_size for i in range(len(self)))
        lines = (b"%b %d" % line for line in zip(self._files.paths.tolist(), sizes, strict=True))
        return b"\n".join([str(tuple(self.shape)).encode(), *lines])


class _Files:
    """What goes to the workers."""

    def __init__(self, folder: Path, paths: np.ndarray[Any, Any], read: ReadImage, shape: tuple[int, int, int]) -> None:
        self.folder = folder
        self.paths = paths
        self.read = read
        self.shape = shape

    def path(self, index: int) -> Path:
        return self.folder / os.fsdecode(self.paths[index])

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor] | InputError:
        """Called by DataLoader. An error is returned: raised here it would arrive as a page of traceback."""
        try:
            images = [self.read(self.path(index)) for index in indices]
        except InputError as error:
            return error
        used = np.array([image for image in images if image is not None], np.uint8).reshape(-1, *self.shape)
        return torch.from_numpy(used), torch.tensor([image is not None for image in images])


def _array(paths: Sequence[str]) -> np.ndarray[Any, Any]:
    # One block of bytes: workers would copy a list bit by bit, as they count references to its strings.
    return np.array([os.fsencode(path) for path in paths])


def _read_once(files: _Files, progress: Progress | None) -> Iterator[tuple[Tensor, Tensor]]:
    """All files in order: the images of some, and which of them those are."""
    count, done = len(files.paths), 0
    for images, used in _read(files, torch.arange(count).split(_CHUNK), workers=workers_for(count)):
        yield images, used
        done += len(used)
        if progress is not None:
            progress(done, count)


def _read(
    files: _Files, batches: Iterable[Tensor], *, workers: int, pin_memory: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    loader: DataLoader[Any] = DataLoader(
        files,  # type: ignore[arg-type]  # __getitems__ is all that is called
        batch_sampler=(batch.tolist() for batch in batches),
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # it draws a seed for its workers: not from the one that the run's numbers are of
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
