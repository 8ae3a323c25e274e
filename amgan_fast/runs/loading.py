"""A trained generator from wherever it is."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from amgan_fast.device import resolve_device
from amgan_fast.files import contents_of
from amgan_fast.nn import Sampler
from amgan_fast.runs.config import Config
from amgan_fast.runs.folder import RunFolder
from amgan_fast.runs.generator_file import GeneratorFile
from amgan_fast.runs.sampler import load_sampler


def load_generator(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Sampler:
    """The averaged generator of a run, ready to sample: in evaluation mode and frozen, with what it is fed with.

    Neither the dataset nor a classifier is needed, and nothing that is read is executed.

    Args:
        path: the folder of a run, or the .safetensors file of ``amgan-fast export``.
        device: ``"cpu"``, ``"cuda"``, ``"auto"``, or a :class:`torch.device`.

    Raises:
        InputError: what is there is neither, or damaged.

    >>> import torch
    >>> import amgan_fast
    >>> sampler = amgan_fast.load_generator("runs/digits")
    >>> images, labels = next(sampler.batches(16, torch.Generator().manual_seed(0)))
    >>> images.shape, bool((images.abs() <= 1).all()), labels
    (torch.Size([16, 1, 8, 8]), True, None)
    """
    path = Path(path)
    device = resolve_device(device) if isinstance(device, str) else device
    if path.is_dir():
        run = RunFolder.open(path)
        return load_sampler(run, Config.load(run.config), device)
    exported = GeneratorFile.load(path)
    with contents_of(path):
        sampler = exported.sampler()
    sampler.generator.to(device)
    return sampler
