"""A discriminator of K+1 classes as a classifier from few labels: rows with and without one in a call of the loss.

    python examples/semi_supervised.py

has the labels of five digits of each class and of none of the other 1,387, and prints, in half a minute, how many of
360 held-out digits the discriminator knows, and how many the same network knows when it has been trained on the 50
labelled ones alone, with 95% intervals.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from amgan_fast import objectives
from amgan_fast.data import Dataset, load_dataset, to_float
from amgan_fast.metrics import share_interval
from amgan_fast.nn import build_discriminator, build_generator

LATENT, CLASSES, SHAPE = 32, 10, (1, 8, 8)


@dataclass(frozen=True)
class Accuracy:
    """On held-out images, with Wilson's 95% interval."""

    right: int
    n: int

    @property
    def share(self) -> float:
        return self.right / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        return share_interval(self.share, self.n)

    def __str__(self) -> str:
        low, high = self.ci95
        return f"{self.right} of {self.n}, {self.share:.1%}, 95% interval {low:.1%} to {high:.1%}"


@torch.no_grad()
def accuracy(network: nn.Module, digits: Dataset) -> Accuracy:
    network.eval()
    classes = network(to_float(digits.test_images))[:, :CLASSES].argmax(1)  # the generated class is no answer
    return Accuracy(int((classes == digits.test_labels).sum()), len(classes))


def endless(images: Tensor, labels: Tensor, batch: int) -> Iterator[list[Tensor]]:
    loader = DataLoader(TensorDataset(to_float(images), labels), min(batch, len(images)), shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def adam(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=4e-4, betas=(0.5, 0.999))


def train_gan(digits: Dataset, few: Dataset, steps: int) -> nn.Module:
    """The discriminator, which sees 50 labelled and 100 unlabelled images, and as many generated ones, in each step."""
    objective = objectives.AMGAN()
    generator = build_generator("mlp", LATENT, SHAPE)
    discriminator = build_discriminator("mlp", objective, CLASSES, SHAPE)
    generator_step, discriminator_step = adam(generator), adam(discriminator)
    without = torch.full_like(digits.train_labels, -1)
    labelled = endless(few.train_images, few.train_labels, 50)
    unlabelled = endless(digits.train_images, without, 100)
    for _ in range(steps):
        real, labels = (torch.cat(parts) for parts in zip(next(labelled), next(unlabelled), strict=True))
        generated = generator(torch.randn(len(real), LATENT)).detach()
        # A row with the label -1 only has to be real: -log D_r in the place of -log D_y.
        loss = objective.discriminator_loss(discriminator(real), labels, discriminator(generated))
        discriminator_step.zero_grad()
        loss.backward()
        discriminator_step.step()

        discriminator.requires_grad_(False)
        loss = objective.generator_loss(discriminator(generator(torch.randn(100, LATENT))))
        generator_step.zero_grad()
        loss.backward()
        generator_step.step()
        discriminator.requires_grad_(True)
    return discriminator


def train_on_labels_alone(few: Dataset, steps: int) -> nn.Module:
    """The same network."""
    network = build_discriminator("mlp", objectives.AMGAN(), CLASSES, SHAPE)
    step = adam(network)
    for images, labels in itertools.islice(endless(few.train_images, few.train_labels, 50), steps):
        loss = cross_entropy(network(images), labels)
        step.zero_grad()
        loss.backward()
        step.step()
    return network


def main(arguments: Sequence[str] | None = None) -> dict[str, Accuracy]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=5, help="labelled images")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    digits = load_dataset("digits")
    few = digits.labelled_subset(options.per_class, seed=options.seed)
    found = {
        "labelled rows alone": accuracy(train_on_labels_alone(few, options.steps), digits),
        "and unlabelled ones": accuracy(train_gan(digits, few, options.steps), digits),
    }
    for name, of in found.items():
        print(f"{name}: {of}")
    return found


if __name__ == "__main__":
    main()
