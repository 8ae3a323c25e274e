"""AM-GAN in a training loop of your own: networks and optimisers are PyTorch's, losses and scores are the library's.

    python examples/plain_pytorch.py

trains on the 8 x 8 digits of scikit-learn, some seconds on one core. It prints the losses on the way, and the scores of
the generator before and after beside those of real digits. The folder of ``--out`` has ``samples.png``, a row a class.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.utils import save_image

from amgan_fast import objectives
from amgan_fast.data import load_dataset, to_float
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.metrics import ScoreAccumulator, Scores, scores
from amgan_fast.train import Observer, cached_classifier

LATENT, CLASSES, WIDTH = 32, 10, 256


def make_generator() -> nn.Module:
    """[N, 32] -> images [N, 1, 8, 8] in (-1, 1)."""
    return nn.Sequential(
        *(nn.Linear(LATENT, WIDTH), nn.BatchNorm1d(WIDTH), nn.LeakyReLU(0.2)),
        *(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.LeakyReLU(0.2)),
        *(nn.Linear(WIDTH, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))),
    )


def make_discriminator(outputs: int) -> nn.Module:
    """Images -> logits [N, outputs]."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, WIDTH), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        nn.Linear(WIDTH, outputs),
    )


def train(generator: nn.Module, discriminator: nn.Module, loader: DataLoader, steps: int) -> None:
    objective = objectives.AMGAN()
    generator_step, discriminator_step = (
        torch.optim.Adam(network.parameters(), lr=4e-4, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )
    step = 0
    while step < steps:
        for images, labels in loader:
            # The discriminator: real rows are of their class, generated ones of class K+1. No gradient goes further
            # back than the generated images, hence detach().
            generated = generator(torch.randn(len(images), LATENT)).detach()
            loss_d = objective.discriminator_loss(discriminator(images), labels, discriminator(generated))
            discriminator_step.zero_grad()
            loss_d.backward()
            discriminator_step.step()

            # The generator: with no labels each sample is drawn to the class that it is most like already, its dynamic
            # label. The discriminator passes gradients on, and needs none itself.
            discriminator.requires_grad_(False)
            loss_g = objective.generator_loss(discriminator(generator(torch.randn(len(images), LATENT))))
            generator_step.zero_grad()
            loss_g.backward()
            generator_step.step()
            discriminator.requires_grad_(True)

            step += 1
            if step % 250 == 0:
                print(f"step {step:>5}: loss of D {loss_d.item():.3f}, of G {loss_g.item():.3f}")
            if step == steps:
                return


@torch.no_grad()
def score(generator: nn.Module, judge: TrainedClassifier, count: int) -> Scores:
    """Of so many samples, a batch at a time: what is kept does not grow with their number."""
    generator.eval()  # batch norm by its running averages: a sample does not depend on those beside it
    accumulator, random = ScoreAccumulator(CLASSES), torch.Generator().manual_seed(1)
    for latents in torch.randn(count, LATENT, generator=random).split(1000):
        accumulator.update(judge.network(generator(latents)))
    generator.train()
    return accumulator.compute(reference=judge.reference)


@torch.no_grad()
def picture(generator: nn.Module, judge: TrainedClassifier, path: Path) -> None:
    """Ten samples of each class, by the judge."""
    generator.eval()
    images = generator(torch.randn(2000, LATENT, generator=torch.Generator().manual_seed(2)))
    classes = judge.network(images).argmax(1)
    rows: list[Tensor] = [images[classes == k][:10] for k in range(CLASSES)]
    sheet = torch.cat([torch.cat([row, -torch.ones(10 - len(row), 1, 8, 8)]) for row in rows])
    enlarged = sheet.repeat_interleave(4, 2).repeat_interleave(4, 3)
    save_image(enlarged, path, nrow=10, normalize=True, value_range=(-1, 1))
    generator.train()


def main(arguments: Sequence[str] | None = None) -> dict[str, Scores]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=10_000, help="that are scored")
    parser.add_argument("--out", type=Path, default=Path("runs/plain_pytorch"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    digits = load_dataset("digits")
    real = TensorDataset(to_float(digits.train_images), digits.train_labels)
    loader = DataLoader(real, batch_size=100, shuffle=True, drop_last=True)
    # Scores are of a classifier that has no part in the training.
    judge = cached_classifier(digits, Observer())
    print(f"the judge is right of {judge.test_accuracy:.1%} of the held-out digits")

    generator, discriminator = make_generator(), make_discriminator(objectives.AMGAN().outputs(CLASSES))
    found = {"untrained": score(generator, judge, options.samples)}
    train(generator, discriminator, loader, options.steps)
    found["trained"] = score(generator, judge, options.samples)
    # Real digits that nobody was trained on, in numbers of each class that were fixed (strata), not drawn at random.
    held_out = judge.network(to_float(digits.test_images))
    found["held-out real"] = scores(held_out, reference=judge.reference, strata=digits.test_labels)
    for name, of in found.items():
        low, high = of.am_score_ci95 or (math.nan, math.nan)
        print(f"{name:>14}: AM Score {of.am_score_corrected:.3f}, 95% interval {low:.3f} to {high:.3f}")
    print(found["trained"])
    picture(generator, judge, options.out / "samples.png")
    print(f"samples: {options.out / 'samples.png'}")
    return found


if __name__ == "__main__":
    main()
