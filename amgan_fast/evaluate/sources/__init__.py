"""Samples to score: a folder of images, an npz file of them, a file of logits, a dataset, a generator."""

from amgan_fast.evaluate.sources.folder_source import ImageFolderSource
from amgan_fast.evaluate.sources.generator_source import GeneratorSource
from amgan_fast.evaluate.sources.logits_source import LogitsSource
from amgan_fast.evaluate.sources.npz_source import NpzSource
from amgan_fast.evaluate.sources.opening import open_source
from amgan_fast.evaluate.sources.source import Batch, Source
from amgan_fast.evaluate.sources.tensor_source import TensorSource

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
