"""Samples to score: a folder of images, an npz file of them, a file of logits, a dataset, a generator."""

from amgan_fast.evaluate.sources.arrays import LogitsSource, NpzSource
from amgan_fast.evaluate.sources.folder import ImageFolderSource
from amgan_fast.evaluate.sources.generator import GeneratorSource
from amgan_fast.evaluate.sources.memory import TensorSource
from amgan_fast.evaluate.sources.opening import open_source
from amgan_fast.evaluate.sources.source import Batch, Source

__all__ = [
    "Batch",
    "GeneratorSource",
    "ImageFolderSource",
    "LogitsSource",
    "NpzSource",
    "Source",
    "TensorSource",
    "open_source",
]
