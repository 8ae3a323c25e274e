"""The headers of a folder's image files, all read before any pixel is: what will not do shows first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from amgan_fast.data.decoding import ImageHeader, read_header
from amgan_fast.data.file_reading import Unreadable, read_files
from amgan_fast.data.listing import counted, some_of
from amgan_fast.data.ranges import batch_ranges
from amgan_fast.errors import InputError

_AT_ONCE = 256


@dataclass(frozen=True)
class Headers:
    """What a folder's image files say of themselves."""

    names: Sequence[str]
    """Of all files."""
    good: dict[ImageHeader, list[int]]
    """Indices into ``names`` of the files that can be used, by what their headers say."""
    bad: dict[int, str]
    """The others, and why."""

    def kept(self) -> list[int]:
        """Indices of the files that can be used, ascending."""
        return [i for i in range(len(self.names)) if i not in self.bad]

    @property
    def grey(self) -> bool:
        """Whether all that can be used are."""
        return all(header.grey for header in self.good)

    @property
    def usual_size(self) -> tuple[int, int] | None:
        """(H, W) of most of those that can be used; None where there are none."""
        counts: Counter[tuple[int, int]] = Counter()
        for header, numbers in self.good.items():
            counts[header.size] += len(numbers)
        return counts.most_common(1)[0][0] if counts else None

    def of_size(self, size: tuple[int, int] | None, whose: str = "most are") -> Headers:
        """The same with files of another size than this (H, W), of which ``whose`` says where it is from, among the
        bad ones."""
        good = {header: numbers for header, numbers in self.good.items() if header.size == size}
        bad = dict(self.bad)
        for header in self.good.keys() - good.keys():
            assert size is not None  # as there are good ones
            bad |= dict.fromkeys(self.good[header], f"{_pixels(header.size)} where {whose} {_pixels(size)}")
        return Headers(self.names, good, bad)

    def check(self, folder: Path, *, skip_bad: bool, remedy: str) -> None:
        """
        Args:
            folder: where the files are.
            skip_bad: whether bad ones are left out, as long as there are others.
            remedy: what the user can do about bad ones.

        Raises:
            InputError: none can be used, or not all and bad ones are not to be left out.
        """
        found = len(self.names)
        if self.bad and (len(self.bad) == found or not skip_bad):
            named = some_of([f"{self.names[i]} ({self.bad[i]})" for i in sorted(self.bad)])
            raise InputError(
                f"{len(self.bad):,} of {counted(found, 'image')} of {folder} cannot be used: {named}; wanted files "
                f"that can be read, of one size if they are not resized ({remedy})"
            )


def read_headers(
    folder: Path, names: Sequence[str], *, workers: int = 0, progress: Callable[[int, int], None] | None = None
) -> Headers:
    """
    Args:
        folder: where the names begin.
        names: of image files.
        workers: processes that read; 0: this one.
        progress: told how many headers have been read, and of how many.
    """
    good: dict[ImageHeader, list[int]] = {}
    bad: dict[int, str] = {}
    ranges = list(batch_ranges(len(names), _AT_ONCE))
    for samples, found in zip(ranges, read_files(read_header, folder, names, ranges, workers), strict=True):
        for i, header in zip(samples, found, strict=True):
            if isinstance(header, Unreadable):
                bad[i] = header.reason
            else:
                good.setdefault(header, []).append(i)
        if progress is not None:
            progress(samples.stop, len(names))
    return Headers(names, good, bad)


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
