"""The generator that a run has left."""

from __future__ import annotations

import torch

from amgan_fast.files import contents_of
from amgan_fast.nn import Sampler
from amgan_fast.runs.checkpoint import Checkpoint
from amgan_fast.runs.config import Config
from amgan_fast.runs.folder import RunFolder


def load_sampler(run: RunFolder, config: Config, device: torch.device) -> Sampler:
    """The averaged generator of a run's last checkpoint, in evaluation mode and frozen, with what it is fed with.

    Raises:
        InputError: the checkpoint is missing or damaged.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.runs import Config, RunFolder, load_sampler
    >>> run = RunFolder.open(Path("runs/digits"))
    >>> load_sampler(run, Config.load(run.config), torch.device("cpu")).latent.size
    32
    """
    checkpoint = Checkpoint.load(run.checkpoint)
    with contents_of(run.checkpoint):
        channels, height, width = checkpoint.image_shape
        with torch.random.fork_rng([]):  # the weights it starts with are thrown away
            sampler = config.build_sampler((channels, height, width), checkpoint.class_frequencies)
        sampler.generator.load_state_dict(checkpoint.averaged)
    sampler.generator.to(device).eval().requires_grad_(False)
    return sampler
