"""A whole training run: data, classifier, steps, scores, and the files it leaves."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amgan_fast import build_info, objectives
from amgan_fast.data import Dataset, load_dataset, to_float, training_batches
from amgan_fast.evaluate import Evaluation, ScoringClassifier, evaluate_generator, score_generator
from amgan_fast.nn import LatentSource, build_discriminator, build_generator
from amgan_fast.runs import Config, RunFolder, cpu_threads, derive_seed, resolve_device, save_checkpoint
from amgan_fast.train.classifier import cached_classifier
from amgan_fast.train.observer import Observer
from amgan_fast.train.pictures import save_curves, save_samples
from amgan_fast.train.step import AdversarialStep


@dataclass(frozen=True)
class Result:
    """A finished run."""

    folder: RunFolder
    evaluation: Evaluation


def train(config: Config, out: Path | None = None, observer: Observer | None = None) -> Result:
    """Train, score and leave a run folder; on a CPU the same configuration gives the same run.

    Args:
        out: the run folder, which must be empty or not exist; None: a new one in ``runs/``.

    Raises:
        InputError: something in the configuration or ``out`` cannot be used; nothing was trained.
        FloatingPointError: a loss is no longer finite.
    """
    observer = observer or Observer()
    device = resolve_device(config.device)
    dataset = load_dataset(config.dataset, config.data_dir).to(device)
    folder = RunFolder.create(out, config)
    observer.message(f"run: {folder.path} on {device}")
    with cpu_threads(config.threads), torch.random.fork_rng([device] if device.type == "cuda" else []):
        classifier = cached_classifier(dataset, observer)
        classifier.save(folder.classifier)
        torch.manual_seed(derive_seed(config.seed, "networks"))
        return _Run(config, dataset, classifier, folder, observer).train()


class _Run:
    def __init__(
        self, config: Config, dataset: Dataset, classifier: ScoringClassifier, folder: RunFolder, observer: Observer
    ) -> None:
        device = dataset.train_images.device
        objective = objectives.MODELS[config.model]()
        frequencies = dataset.class_frequencies() if config.labels == "predefined" else None
        latent = LatentSource(config.latent_size, frequencies)
        outputs = objective.outputs(dataset.num_classes)
        generator = build_generator(config.network, latent.width, dataset.image_shape)
        discriminator = build_discriminator(config.network, outputs, dataset.image_shape)
        self.config = config
        self.dataset = dataset
        self.classifier = classifier
        self.folder = folder
        self.observer = observer
        self.device = device
        self.latent = latent
        self.step = AdversarialStep(
            generator.to(device),
            discriminator.to(device),
            objective,
            latent,
            self._random("latent"),
            generator_lr=config.generator_lr,
            discriminator_lr=config.discriminator_lr,
            ema_decay=config.ema_decay,
        )
        self.rows: list[dict[str, Any]] = []

    def train(self) -> Result:
        config = self.config
        order = derive_seed(config.seed, "order")
        batches = training_batches(self.dataset, config.batch_size, seed=order)
        self.observer.started(config.steps)
        seconds = 0.0
        timer = _Timer()
        for step, (images, labels) in zip(range(1, config.steps + 1), batches, strict=False):
            self.step(to_float(images), labels)
            last = step == config.steps
            if step % config.log_every == 0 or last:
                row = self._losses(step)
                steps = step - (self.rows[-1]["step"] if self.rows else 0)
                elapsed = timer.lap()
                seconds += elapsed
                row |= {"seconds": seconds, "images_per_second": steps * config.batch_size / elapsed}
                if step % config.score_every == 0 or last:
                    row |= self._scores()
                    self._save_checkpoint()
                self._log(row)
                timer.lap()  # scoring is not training time
        return self._finish(seconds)

    def _losses(self, step: int) -> dict[str, Any]:
        discriminator_loss, generator_loss = self.step.pop_losses()
        if not math.isfinite(discriminator_loss + generator_loss):
            raise FloatingPointError(
                f"step {step}: discriminator loss {discriminator_loss}, generator loss {generator_loss}; "
                "wanted finite losses"
            )
        return {"step": step, "discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def _scores(self) -> dict[str, Any]:
        scores = score_generator(
            self.step.averaged,
            self.latent,
            self.classifier.network,
            self.classifier.reference,
            samples=self.config.score_samples,
            random=self._random("scores on the way"),
        )
        names = ("am_score", "kl_reference", "mean_entropy", "inception_score")
        return {name: getattr(scores, name) for name in names}

    def _log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.folder.append_metrics(row)
        self.observer.logged(row)

    def _save_checkpoint(self) -> None:
        state = {"image_shape": list(self.dataset.image_shape), "class_frequencies": self.latent.class_frequencies}
        save_checkpoint(self.folder.checkpoint, state | self.step.state_dict())

    def _finish(self, seconds: float) -> Result:
        config, folder, averaged = self.config, self.folder, self.step.averaged
        result = evaluate_generator(
            averaged,
            self.latent,
            self.classifier,
            self.dataset,
            samples=config.final_samples,
            seed=config.seed,
            progress=self.observer.evaluated,
        )
        assert result.held_out is not None
        save_samples(folder.samples, averaged, self.latent, self.classifier.network, self._random("pictures"))
        save_curves(folder.curves, self.rows, result.held_out.scores)
        folder.write_summary(
            {
                "config": config.to_dict(),
                **result.to_dict(),
                "training": {
                    "seconds": seconds,
                    "images_per_second": config.steps * config.batch_size / seconds,
                    "device": str(self.device),
                    "threads": torch.get_num_threads(),
                },
                "build": build_info(),
            }
        )
        return Result(folder, result)

    def _random(self, purpose: str) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(derive_seed(self.config.seed, purpose))


class _Timer:
    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        return seconds
