"""What is said of a source once it has been gone through, in one part or in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from amgan_fast.errors import counted


@dataclass(frozen=True)
class Contents:
    """What there is, in a line for people: a text, or a number of images, some of which may be left out, and texts."""

    text: str
    images: int | None = None
    """Found, those left out included; None: the text says it."""
    ending: str = ""

    def without(self, left_out: int) -> str:
        """The line.

        >>> from amgan_fast.evaluate.sources.record import Contents
        >>> Contents(" of samples/", 20, ", 2 other files ignored").without(3)
        '17 images of samples/, 3 left out, 2 other files ignored'
        """
        if self.images is None:
            return self.text
        less = f", {left_out:,} left out" if left_out else ""
        return f"{counted(self.images - left_out, 'image')}{self.text}{less}{self.ending}"


@dataclass(frozen=True)
class SourceRecord:
    """Of a source, without its samples.

    >>> from amgan_fast.evaluate.sources.record import Contents, SourceRecord
    >>> parts = [SourceRecord("images", 20, "5ha", Contents(" of x/", 20), (name,)) for name in ("3.png", "7.png")]
    >>> SourceRecord.of_parts(parts).description
    '18 images of x/, 2 left out'
    """

    kind: str
    count: int
    """Samples in all, those left out included."""
    fingerprint: str
    """As of :meth:`Source.fingerprint`."""
    contents: Contents
    skipped: tuple[str, ...]
    """Samples left out, by name and reason."""

    def record(self) -> SourceRecord:
        """This one: so is asked a source, and what there was to say of one."""
        return self

    @property
    def description(self) -> str:
        return self.contents.without(len(self.skipped))

    @classmethod
    def of_parts(cls, parts: Sequence[SourceRecord]) -> SourceRecord:
        """Of parts of one source, in their order, each with what was left out of it."""
        skipped = dict.fromkeys(sample for part in parts for sample in part.skipped)
        return replace(parts[0], skipped=tuple(skipped))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SourceRecord:
        """
        Raises:
            KeyError, TypeError: it is of no :meth:`to_dict`.
        """
        contents, skipped = Contents(**values["contents"]), tuple(values["skipped"])
        return cls(**values | {"contents": contents, "skipped": skipped})
