"""A trained generator from wherever it is."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import torch

from amgan_fast.device import resolve_device
from amgan_fast.files import contents_of
from amgan_fast.nn import Sampler
from amgan_fast.runs.config import Config
from amgan_fast.runs.folder import RunFolder
from amgan_fast.runs.generator_file import GeneratorFile
from amgan_fast.runs.sampler import find_checkpoint, load_sampler


def load_generator(
    path: str | os.PathLike[str], device: str | torch.device = "cpu", *, allow_code: Collection[str] = ()
) -> Sampler:
    """The averaged generator of a run, ready to sample: in evaluation mode and frozen, with what it is fed with.

    Neither the dataset nor a classifier is needed, and nothing that is read is executed but what is allowed.

    Args:
        path: the folder of a run, one of its checkpoints, or the .safetensors file of ``amgan-fast export``.
        device: ``"cpu"``, ``"cuda"``, ``"auto"``, or a :class:`torch.device`.
        allow_code: modules that what is there may name code of: that of an own generator.

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
    if path.is_dir() or (path.suffix == ".pt" and RunFolder(path.parent).config.is_file()):
        run, checkpoint = find_checkpoint(path)
        return load_sampler(Config.load(run.config, allow_code=allow_code), checkpoint, device)
    exported = GeneratorFile.load(path, allow_code=allow_code)
    with contents_of(path):
        sampler = exported.sampler()
    sampler.generator.to(device)
    return sampler
