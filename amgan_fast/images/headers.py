"""The headers of a folder's image files, all read before any pixel is: what will not do shows first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from amgan_fast.errors import InputError, counted, some_of
from amgan_fast.images.decoding import ImageHeader, read_header, read_many_headers
from amgan_fast.images.listing import ImageListing
from amgan_fast.images.reading import FileReader, Unreadable, workers_for
from amgan_fast.progress import Progress


@dataclass(frozen=True, eq=False)
class Headers:
    """What a folder's image files say of themselves."""

    listing: ImageListing
    """All files."""
    good: dict[ImageHeader, list[int]]
    """Indices into ``listing`` of the files that can be used, by what their headers say."""
    bad: dict[int, Unreadable]
    """The others, and why."""

    @property
    def grey(self) -> bool:
        """Whether all that can be used are."""
        return all(header.grey for header in self.good)

    @property
    def usual_size(self) -> tuple[int, int] | None:
        """(H, W) of most of those that can be used; None where there are none."""
        counts: Counter[tuple[int, int]] = Counter()
        for header, indices in self.good.items():
            counts[header.size] += len(indices)
        return counts.most_common(1)[0][0] if counts else None

    def of_size(self, size: tuple[int, int] | None, whose: str = "most are") -> Headers:
        """The same with files of another size than this (H, W), of which ``whose`` says where it is from, among the
        bad ones."""
        if size is None:
            return self  # of which none is good
        good = {header: indices for header, indices in self.good.items() if header.size == size}
        bad = dict(self.bad)
        for header in self.good.keys() - good.keys():
            reason = f"{_pixels(header.size)} where {whose} {_pixels(size)}"
            bad |= {i: Unreadable(self.listing.folder / self.listing.names[i], reason) for i in self.good[header]}
        return replace(self, good=good, bad=bad)

    def usable(self, *, skip_bad: bool, remedy: str) -> tuple[ImageListing, tuple[int, int]]:
        """The files that can be used, and the (H, W) of most of them.

        Args:
            skip_bad: whether bad ones are left out, as long as there are others.
            remedy: what the user can do about bad ones.

        Raises:
            InputError: none can be used, or not all and bad ones are not to be left out.
        """
        found, size = len(self.listing), self.usual_size
        if size is None or (self.bad and not skip_bad):
            named = some_of([f"{self.listing.names[i]} ({self.bad[i].reason})" for i in sorted(self.bad)])
            raise InputError(
                f"{len(self.bad):,} of {counted(found, 'image')} of {self.listing.folder} cannot be used: {named}; "
                f"wanted images that can be read, of one size if they are not resized ({remedy})"
            )
        return self.listing.take([i for i in range(found) if i not in self.bad]), size

    def left_out(self) -> list[str]:
        """The bad ones by name, each with the reason."""
        return [str(self.bad[i]) for i in sorted(self.bad)]


def read_headers(listing: ImageListing, *, workers: int | None = 0, progress: Progress | None = None) -> Headers:
    """
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from amgan_fast.images import find_images, read_headers
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number, width in enumerate((8, 8, 9)):
    ...         Image.new("L", (width, 6)).save(Path(folder, f"{number}.png"))
    ...     headers = read_headers(find_images(Path(folder)))
    >>> headers.grey, headers.usual_size
    (True, (6, 8))
    >>> headers.of_size(headers.usual_size).bad[2].reason
    '6 x 9 where most are 6 x 8'

    Args:
        listing: of image files.
        workers: processes that read; 0: threads of this one; None: as many as are worth starting.
        progress: told how many headers have been read, and of how many.
    """
    if workers is None:
        workers = workers_for(len(listing) // 4)  # a header takes a quarter of the time of an image or less
    headers = Headers(listing, {}, {})
    files = FileReader(listing.folder, listing.names, read_header, read_many_headers)
    for i, header in enumerate(files.read_all(workers=workers, progress=progress, what="headers of image files")):
        if isinstance(header, Unreadable):
            headers.bad[i] = header
        else:
            headers.good.setdefault(header, []).append(i)
    return headers


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
