"""Labelled image sets as uint8, in memory where they fit, and endless batches from them."""

from amgan_fast.data.batches import Batches
from amgan_fast.data.dataset import Dataset, to_float, to_uint8
from amgan_fast.data.registry import DATASETS, load_dataset

__all__ = [
    "DATASETS",
    "Batches",
    "Dataset",
    "load_dataset",
    "to_float",
    "to_uint8",
]
