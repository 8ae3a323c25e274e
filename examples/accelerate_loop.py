"""AM-GAN with Hugging Face Accelerate: the same loop in one process or in several, and one score of all their samples.

    pip install accelerate
    torchrun --nproc-per-node 2 examples/accelerate_loop.py

trains on the 8 x 8 digits of scikit-learn in two processes of a CPU, under a minute, each with half of every batch.
Then each scores half of the samples, and their sums are added up: what is printed is the score of all samples, to
rounding the one that a single process would give. The folder of ``--out`` has it in ``scores.json``, beside
``generator.safetensors``.

``accelerate launch examples/accelerate_loop.py`` does the same in one process, and on a machine with GPUs in one for
each. On CPUs ``accelerate launch --cpu --num_processes 2`` of version 1.15 starts a single process unless it is given
an MPI, hence torchrun.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from amgan_fast import objectives
from amgan_fast.data import load_dataset, to_float
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.metrics import ScoreAccumulator, Scores
from amgan_fast.nn import build_discriminator, build_generator
from amgan_fast.train import Observer, cached_classifier

try:
    from accelerate import Accelerator
    from accelerate.utils import broadcast, set_seed
except ImportError as error:
    raise SystemExit(f"{error}; this example needs: pip install accelerate") from error

LATENT, CLASSES, SHAPE, BATCH = 32, 10, (1, 8, 8), 100


class Both(nn.Module):
    """The discriminator's two passes as one call: several processes want one before each backward."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(real), self.network(generated)


def latents_to_score(count: int) -> Tensor:
    """The same in every process."""
    return torch.randn(count, LATENT, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def score(accelerator: Accelerator, generator: nn.Module, judge: TrainedClassifier, count: int) -> Scores:
    """Of all samples, on every process, each of which has classified its own part of them."""
    generator, judges = accelerator.unwrap_model(generator).eval(), judge.network.to(accelerator.device)
    # Weights are the same everywhere; the averages of batch norm are each process's own, and one generator is scored.
    generator.load_state_dict(broadcast(generator.state_dict()))
    rank, ranks = accelerator.process_index, accelerator.num_processes
    first, stop = count * rank // ranks, count * (rank + 1) // ranks
    # Blocks of samples, which the interval rests on, are filled in turn: ``start`` samples go before the first here.
    accumulator = ScoreAccumulator(CLASSES, start=first, device=accelerator.device)
    for latents in latents_to_score(count)[first:stop].split(1000):
        accumulator.update(judges(generator(latents.to(accelerator.device))))
    if ranks > 1:
        accumulator.all_reduce()  # a few thousand sums, not the logits, whatever the number of samples
    generator.train()
    return accumulator.compute(reference=judge.reference)


def train(accelerator: Accelerator, loader: DataLoader, steps: int) -> nn.Module:
    objective = objectives.AMGAN()
    generator = build_generator("mlp", LATENT, SHAPE)
    discriminator = build_discriminator("mlp", objective, CLASSES, SHAPE)
    optimizers = [torch.optim.Adam(network.parameters(), 4e-4, (0.5, 0.999)) for network in (generator, discriminator)]
    generator, both, generator_step, discriminator_step, loader = accelerator.prepare(
        generator, Both(discriminator), *optimizers, loader
    )
    step = 0
    while step < steps:
        for images, labels in loader:
            with torch.no_grad():  # the generated images are given: no gradient goes into the generator
                generated = generator(torch.randn(len(images), LATENT, device=accelerator.device))
            real_logits, generated_logits = both(images, generated)
            loss_d = objective.discriminator_loss(real_logits, labels, generated_logits)
            discriminator_step.zero_grad()
            accelerator.backward(loss_d)
            discriminator_step.step()

            # By the discriminator itself, not by what averages its gradients over processes: it has none here.
            discriminator.requires_grad_(False)
            generated = generator(torch.randn(len(images), LATENT, device=accelerator.device))
            loss_g = objective.generator_loss(discriminator(generated))
            generator_step.zero_grad()
            accelerator.backward(loss_g)
            generator_step.step()
            discriminator.requires_grad_(True)

            step += 1
            if step % 250 == 0:
                accelerator.print(f"step {step:>5}: loss of D {loss_d.item():.3f}, of G {loss_g.item():.3f}")
            if step == steps:
                break
    return generator


def main(arguments: Sequence[str] | None = None) -> Scores:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=10_001, help="that are scored, by all processes together")
    parser.add_argument("--out", type=Path, default=Path("runs/accelerate_loop"))
    options = parser.parse_args(arguments)

    # It has to be said: otherwise processes on CPUs know nothing of each other.
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    digits = load_dataset("digits")
    judge = cached_classifier(digits, Observer())  # trained by one process the first time, kept for all
    set_seed(0, device_specific=True)  # other latents in each process; the first weights are those of process 0

    real = TensorDataset(to_float(digits.train_images), digits.train_labels)
    ranks = accelerator.num_processes
    loader = DataLoader(real, batch_size=BATCH // ranks, shuffle=True, drop_last=True)
    generator = train(accelerator, loader, options.steps)
    found = score(accelerator, generator, judge, options.samples)
    accelerator.print(f"scored by {ranks} process{'es' * (ranks > 1)}:\n{found}")
    if accelerator.is_main_process:
        options.out.mkdir(parents=True, exist_ok=True)
        save_file(accelerator.unwrap_model(generator).state_dict(), options.out / "generator.safetensors")
        (options.out / "scores.json").write_text(found.to_json())
    accelerator.end_training()
    return found


if __name__ == "__main__":
    main()
