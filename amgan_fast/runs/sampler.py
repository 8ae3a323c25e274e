"""The generator that a run has left."""

from __future__ import annotations

from pathlib import Path

import torch

from amgan_fast.files import contents_of
from amgan_fast.nn import Sampler
from amgan_fast.runs.checkpoint import Checkpoint
from amgan_fast.runs.config import Config
from amgan_fast.runs.folder import RunFolder


def find_checkpoint(path: Path) -> tuple[RunFolder, Path]:
    """A run, and the checkpoint of it that is meant: its last one, or the one that ``path`` is.

    Raises:
        InputError: ``path`` is no run, nor a file in one.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import find_checkpoint
    >>> [found.name for found in map(lambda path: find_checkpoint(path)[1], [
    ...     Path("runs/digits"), Path("runs/digits/checkpoint.best.pt")])]
    ['checkpoint.pt', 'checkpoint.best.pt']
    """
    if path.is_file():
        return RunFolder.open(path.parent), path
    run = RunFolder.open(path)
    return run, run.checkpoint


def load_sampler(config: Config, path: Path, device: torch.device) -> Sampler:
    """The averaged generator of a checkpoint, in evaluation mode and frozen, with what it is fed with.

    Raises:
        InputError: the checkpoint is missing or damaged.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.runs import Config, find_checkpoint, load_sampler
    >>> run, path = find_checkpoint(Path("runs/digits"))
    >>> load_sampler(Config.load(run.config), path, torch.device("cpu")).latent.size
    32
    """
    checkpoint = Checkpoint.load(path)
    with contents_of(path):
        channels, height, width = checkpoint.image_shape
        with torch.random.fork_rng([]):  # the weights it starts with are thrown away
            sampler = config.build_sampler((channels, height, width), checkpoint.class_frequencies)
        sampler.generator.load_state_dict(checkpoint.averaged)
    sampler.generator.to(device).eval().requires_grad_(False)
    return sampler
