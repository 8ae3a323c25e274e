"""scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path

import torch

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.loader import Loader


def load_digits(data_dir: Path | None = None) -> Dataset:
    """1797 handwritten digits of 8x8 pixels (UCI), which come with scikit-learn: 1437 to train on, 360 held out.

    The split is stratified and always the same. ``data_dir`` is not needed: there is nothing to download.
    """
    from sklearn import datasets, model_selection

    source = datasets.load_digits()
    images = torch.from_numpy(source.images).mul(255 / 16).round().to(torch.uint8)[:, None]  # the source has 0..16
    labels = torch.from_numpy(source.target).long()
    train, test = model_selection.train_test_split(
        torch.arange(len(labels)).numpy(), test_size=360, stratify=source.target, random_state=0
    )
    parts = (images[train], labels[train], images[test], labels[test])
    return Dataset("digits", 10, *parts, held_out="stratified", stratified=True)


DIGITS = Loader(load_digits, size=(8, 8))
