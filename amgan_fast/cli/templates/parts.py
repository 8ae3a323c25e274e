"""Own parts for amgan-fast: a generator, a discriminator, a dataset and a model.

Each is named on the command line as module:name, from the folder that this file is in:

    amgan-fast train --generator parts:generator --discriminator parts:discriminator --dataset parts:dataset \
        --model parts:Model --steps 500

Use those that you need, in any combination with what has a name; change what you like. What begins with --set
generator_options. and --set discriminator_options. reaches the functions as arguments of these names, and is kept in
the run's config.toml; --set objective. reaches Model.

Random numbers of networks come from torch's default generator, so that a seed gives the same run, and a run that was
stopped goes on to the bit: do not seed it, and keep what changes from step to step in parameters and buffers, which
checkpoints have. A network that reads values of tensors back to Python (.item(), an if on a tensor) slows a GPU down;
one that does not may be replayed as a CUDA graph, with --set cuda_graph=on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate
from torch.nn.utils.parametrizations import spectral_norm

from amgan_fast.objectives import Objective

MOST_CHANNELS = 128
SEED_SIZE = 4  # pixels a side that the generator begins with, and the discriminator ends with, about


def generator(*, inputs: int, image_shape: tuple[int, int, int], labels: int, width: int = 16) -> nn.Module:
    """Rows [N, inputs] -> images [N, C, H, W] in [-1, 1].

    Args:
        inputs: how many columns a row has: z, and with predefined labels a one-hot label behind it.
        image_shape: (C, H, W) of the dataset's images.
        labels: how many of the columns are the label; 0 with dynamic labels.
        width: of the layers for whole images, here; any argument of yours can be set with --set
            generator_options.NAME=VALUE.
    """
    channels, height, breadth = image_shape
    widths = channels_by_size(image_shape, width)[::-1]
    first = (widths[0], height >> len(widths) - 1, breadth >> len(widths) - 1)
    return nn.Sequential(
        nn.Linear(inputs, math.prod(first)),
        nn.Unflatten(1, first),
        *(UpBlock(before, after) for before, after in pairwise(widths)),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, channels, 3, padding=1),
        nn.Tanh(),
    )


def discriminator(*, image_shape: tuple[int, int, int], width: int = 16) -> nn.Module:
    """Images [N, C, H, W] -> features [N, F]. The last layer, from features to logits, is the model's and comes behind
    it by itself; --set network_options.spectral_norm=true normalizes that one, too."""
    widths = channels_by_size(image_shape, width)
    return nn.Sequential(
        spectral_norm(nn.Conv2d(image_shape[0], width, 3, padding=1)),
        *(DownBlock(before, after) for before, after in pairwise(widths)),
        nn.ReLU(),
        SumOverPixels(),
    )


def dataset(data_dir: Any = None, image_size: int = 32) -> Mapping[str, Any]:
    """Images and labels. This one draws discs, squares and crosses; yours reads files.

    Return uint8 [N, C, H, W] and integers [N], or a sequence of pairs (image, label) such as a dataset of torchvision's
    (images are then tensors uint8 [C, H, W], or Pillow's); without "test", one image in ten is held out. Arguments are
    optional: data_dir and image_size are what --data-dir and --set image_size= say, where they say something. A folder
    of images with a folder for each class needs no code: --dataset image-folder --data-dir FOLDER.
    """
    random = np.random.default_rng(0)
    labels = np.arange(1200) % 3
    images = np.stack([draw(int(label), image_size, random) for label in labels])
    return {"train": (images, labels), "class_names": ["disc", "square", "cross"], "mirror_symmetric": True}


@dataclass(frozen=True)
class Model(Objective):
    """What the networks minimise: the hinge loss, and the cross-entropy of the class behind it.

    Logits are one column for real or generated, then one for each class. The docstring of Objective says what each
    method is given; only outputs and the two losses are required.
    """

    name = "hinge-with-classes"
    has_target_class = True
    has_realness = True
    has_class_logits = True
    class_weight: float = 0.5

    def outputs(self, num_classes: int) -> int:
        return 1 + num_classes

    def class_logits(self, logits: Tensor, num_classes: int) -> Tensor:
        return logits[:, 1:]

    def realness(self, logits: Tensor) -> Tensor:
        return logits[:, 0]

    def discriminator_loss(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        hinge = (1 - real_logits[:, 0]).relu().mean() + (1 + fake_logits[:, 0]).relu().mean()
        return hinge + self.class_weight * cross_entropy(real_logits[:, 1:], real_labels.long())

    def generator_loss(self, fake_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        classes = fake_logits[:, 1:]
        target = classes.detach().argmax(1) if labels is None else labels.long()
        return -fake_logits[:, 0].mean() + self.class_weight * cross_entropy(classes, target)


class UpBlock(nn.Module):
    """Twice as many pixels a side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(before, after, 3, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(interpolate(x, scale_factor=2))


class DownBlock(nn.Module):
    """Half as many pixels a side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            spectral_norm(nn.Conv2d(before, after, 3, padding=1)),
            nn.ReLU(),
            spectral_norm(nn.Conv2d(after, after, 3, padding=1)),
            nn.AvgPool2d(2),
        )
        self.shortcut = spectral_norm(nn.Conv2d(before, after, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(avg_pool2d(x, 2))


class SumOverPixels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def channels_by_size(image_shape: tuple[int, int, int], width: int) -> list[int]:
    """For whole images, for those of half their sides, and so on down to about SEED_SIZE pixels a side."""
    _, height, breadth = image_shape
    widths = [width]
    while min(height, breadth) >> len(widths) >= SEED_SIZE and not (height | breadth) % (1 << len(widths)):
        widths.append(min(2 * widths[-1], MOST_CHANNELS))
    return widths


def draw(label: int, size: int, random: np.random.Generator) -> np.ndarray:
    """uint8 [3, size, size]."""
    y, x = np.mgrid[:size, :size] - random.uniform(0.4, 0.6, (2, 1, 1)) * size
    radius = random.uniform(0.15, 0.35) * size
    inside = (
        x**2 + y**2 < radius**2,
        np.maximum(abs(x), abs(y)) < radius,
        (np.minimum(abs(x), abs(y)) < radius / 4) & (np.maximum(abs(x), abs(y)) < radius),
    )[label]
    colour = random.integers(100, 256, (3, 1, 1))
    return np.where(inside, colour, 20).astype(np.uint8)
