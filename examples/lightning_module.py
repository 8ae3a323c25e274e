"""AM-GAN as a LightningModule with two optimisers, and scores of a validation pass as torchmetrics metrics.

    pip install lightning torchmetrics
    python examples/lightning_module.py

trains on the 8 x 8 digits of scikit-learn, under a minute on one core, and scores samples four times on the way. It
prints the AM Score and the Inception Score of each validation pass with their intervals; the folder of ``--out`` has
them in ``metrics.csv``, beside the losses.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from amgan_fast import objectives
from amgan_fast.data import load_dataset, to_float
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.nn import build_discriminator, build_generator
from amgan_fast.train import Observer, cached_classifier

try:
    import lightning
    from lightning.pytorch.loggers import CSVLogger

    from amgan_fast.metrics.modules import AMScore, CorrectedScores
except ImportError as error:
    raise SystemExit(f"{error}; this example needs: pip install lightning torchmetrics") from error

LATENT, CLASSES, SHAPE = 32, 10, (1, 8, 8)


class AMGAN(lightning.LightningModule):
    """Batches of training are (images, labels), of validation latents to be scored."""

    def __init__(self, judge: TrainedClassifier) -> None:
        super().__init__()
        self.automatic_optimization = False  # Lightning's own is for one optimiser
        self.objective = objectives.AMGAN()
        self.generator = build_generator("mlp", LATENT, SHAPE)
        self.discriminator = build_discriminator("mlp", self.objective, CLASSES, SHAPE)
        # The metrics hold the classifier, frozen: it moves with the module, and stays in evaluation mode.
        self.am_score = AMScore(judge.reference, feature=judge.network)
        self.corrected = CorrectedScores(CLASSES, judge.reference, feature=judge.network)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        networks = (self.generator, self.discriminator)
        return [torch.optim.Adam(network.parameters(), lr=4e-4, betas=(0.5, 0.999)) for network in networks]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        images, labels = batch
        generator_step, discriminator_step = self.optimizers()

        # A toggled optimiser's parameters alone take gradients: none is computed for the player whose turn it is not.
        # The generator's are off here, so generated images are detached from it.
        with self.toggled_optimizer(discriminator_step):
            generated = self.generator(torch.randn(len(images), LATENT, device=self.device))
            assert not generated.requires_grad
            loss = self.objective.discriminator_loss(self.discriminator(images), labels, self.discriminator(generated))
            discriminator_step.zero_grad()
            self.manual_backward(loss)
            discriminator_step.step()
            self.log("loss_d", loss)

        with self.toggled_optimizer(generator_step):
            generated = self.generator(torch.randn(len(images), LATENT, device=self.device))
            loss = self.objective.generator_loss(self.discriminator(generated))
            generator_step.zero_grad()
            self.manual_backward(loss)
            generator_step.step()
            self.log("loss_g", loss)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        generated = self.generator(batch[0])  # Lightning has put the networks into evaluation mode
        self.am_score.update(generated)
        self.corrected.update(generated)
        self.log("am_score", self.am_score)  # a metric of one number: Lightning computes it in the end, and resets it

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            return
        found = self.corrected.compute()  # several: a score less its bias, and its interval
        self.corrected.reset()
        self.log_dict({f"corrected_{name}": value.float() for name, value in found.items()})
        texts = [
            f"{name} {found[name]:.3f} ({found[f'{name}_low']:.3f} to {found[f'{name}_high']:.3f})"
            for name in ("am_score", "inception_score")
        ]
        self.print(f"step {self.trainer.global_step // 2:>5}: {', '.join(texts)}")


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=5000, help="that are scored each time")
    parser.add_argument("--out", type=Path, default=Path("runs/lightning_module"))
    options = parser.parse_args(arguments)
    lightning.seed_everything(0, verbose=False)

    digits = load_dataset("digits")
    real = TensorDataset(to_float(digits.train_images), digits.train_labels)
    latents = TensorDataset(torch.randn(options.samples, LATENT, generator=torch.Generator().manual_seed(1)))
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        max_steps=2 * options.steps,  # Lightning counts the steps of both optimisers
        check_val_every_n_epoch=None,
        val_check_interval=max(1, options.steps // 4),  # batches
        logger=CSVLogger(options.out.parent, name=options.out.name, version=""),
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        AMGAN(cached_classifier(digits, Observer())),
        DataLoader(real, batch_size=100, shuffle=True, drop_last=True),
        DataLoader(latents, batch_size=1000),
    )
    print(f"losses and scores: {options.out / 'metrics.csv'}")
    return {name: float(value) for name, value in trainer.logged_metrics.items()}


if __name__ == "__main__":
    main()
