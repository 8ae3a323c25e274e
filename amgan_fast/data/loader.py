"""How a dataset is loaded, and what is known of it before it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amgan_fast.data.dataset import Dataset


@dataclass(frozen=True)
class Loader:
    """One dataset."""

    load: Callable[..., Dataset]
    """Takes the folder of --data-dir, or None, and by their names those options of
    :func:`amgan_fast.data.load_dataset` that make sense for it."""
    size: tuple[int, int] | None = None
    """(H, W) of its images; None: that depends on the folder."""
    size_in: Callable[[Path | None], tuple[int, int] | None] | None = None
    """The same of such a folder; None where it cannot be told."""

    def takes(self, option: str) -> bool:
        return option in inspect.signature(self.load).parameters
