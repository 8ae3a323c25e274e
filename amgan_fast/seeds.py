"""Independent random streams from one seed, each for a purpose that is named here."""

from __future__ import annotations

import hashlib
from enum import Enum

import torch


class Purpose(Enum):
    """What a stream of random numbers is for. The texts decide what is drawn: with another text, the same seed gives
    another run."""

    NETWORKS = "networks"
    """The first weights of generator and discriminator, then the noise in their layers."""
    LAYERS_OF_PROCESS = "layers of process {rank}"
    """The noise in layers, of all processes of a run but the first."""
    LAYERS_OF_RESUMED_PROCESS = "layers of process {rank} of {ranks} from step {step}"
    """The same, where the run went on with another number of processes."""
    LATENT = "latent"
    """The latents, and predefined labels, of the training steps."""
    REGULARIZATION = "regularization"
    """What the discriminator's regularization draws: the noise of finite differences, and how images are augmented."""
    FIRST_BATCH = "first batch"
    """The latents that weight norm and virtual batch norm are set up with."""
    ORDER = "order"
    """The order of the labelled images."""
    UNLABELLED_ORDER = "unlabelled order"
    """The order of all images, where only some are labelled."""
    LABELLED = "labelled"
    """Which images are labelled, where only some are."""
    AUGMENTATION = "augmentation"
    """Crops and mirror images in a classifier's training."""
    SCORES_ON_THE_WAY = "scores on the way"
    """The latents of the samples that are scored in training."""
    OWN_METRICS = "own metrics"
    """What an observer's metrics draw."""
    PICTURES = "pictures"
    """The latents of a run's grids and of its samples.png."""
    EVALUATION = "evaluation"
    """The latents of the samples that a finished run is scored with."""
    SHEETS = "sheets"
    """The latents of the sheets of ``amgan-fast sample``."""
    MS_SSIM = "ms-ssim"
    """The latents of the samples whose MS-SSIM a comparison measures."""


def derive_seed(seed: int, purpose: Purpose, **numbers: int) -> int:
    """A seed in [0, 2^63) of its own for each purpose: what one stream draws never repeats in another.

    Args:
        numbers: those that stand in braces in the purpose's text.

    >>> from amgan_fast.seeds import Purpose, derive_seed
    >>> derive_seed(0, Purpose.ORDER) == derive_seed(0, Purpose.LATENT)
    False
    """
    digest = hashlib.sha256(f"{seed}/{purpose.value.format(**numbers)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def random_stream(seed: int, purpose: Purpose, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of random numbers on ``device``, seeded for its purpose.

    >>> import torch
    >>> from amgan_fast.seeds import Purpose, random_stream
    >>> torch.randint(10, (3,), generator=random_stream(0, Purpose.LATENT)).shape
    torch.Size([3])
    """
    return torch.Generator(device).manual_seed(derive_seed(seed, purpose))
