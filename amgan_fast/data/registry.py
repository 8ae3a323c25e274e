"""Datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.digits import load_digits
from amgan_fast.data.fashion_mnist import load_fashion_mnist
from amgan_fast.errors import InputError

DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": load_digits,
    "fashion-mnist": load_fashion_mnist,
}
"""Loaders by the name that ``amgan-fast train --dataset`` takes; each takes the folder of --data-dir, or None."""


def load_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Load a dataset into CPU memory.

    Raises:
        InputError: an unknown name, or files that are missing or damaged.
    """
    if name not in DATASETS:
        raise InputError(f"dataset is {name!r}, wanted one of {', '.join(DATASETS)}")
    return DATASETS[name](None if data_dir is None else Path(data_dir))
