"""Scores of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from amgan_fast.data import Dataset, load_dataset, to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifier import ScoringClassifier, load_classifier
from amgan_fast.evaluate.scoring import score_generator, score_images
from amgan_fast.metrics import Scores
from amgan_fast.nn import LatentSource, build_generator
from amgan_fast.runs import Config, RunFolder, cpu_threads, derive_seed, load_checkpoint, resolve_device


@dataclass(frozen=True)
class Evaluation:
    """A generator's scores and, by the same classifier, those of real images it was not trained on."""

    generator: Scores
    held_out: Scores
    classifier_accuracy: float
    classifier_sha256: str

    def to_dict(self) -> dict:
        return {
            "generator": self.generator.to_dict(),
            "held_out": self.held_out.to_dict(),
            "classifier": {"test_accuracy": self.classifier_accuracy, "sha256": self.classifier_sha256},
        }


def evaluate(
    generator: nn.Module,
    latent: LatentSource,
    classifier: ScoringClassifier,
    dataset: Dataset,
    *,
    samples: int,
    seed: int,
) -> Evaluation:
    """Score ``samples`` samples, always the same for a seed, and the held-out images, on the dataset's device."""
    random = torch.Generator(dataset.test_images.device).manual_seed(derive_seed(seed, "evaluation"))
    held_out = (to_float(images) for images in dataset.test_images.split(1000))
    return Evaluation(
        score_generator(generator, latent, classifier.network, classifier.reference, samples=samples, random=random),
        score_images(held_out, classifier.network, classifier.reference),
        classifier.test_accuracy,
        classifier.sha256(),
    )


def evaluate_run(path: Path, *, samples: int = 50_000, device: str = "auto") -> Evaluation:
    """Score the averaged generator of a run again, with the run's own classifier and seed.

    Raises:
        InputError: ``path`` is no run, one of its files is damaged, or the dataset's files are not here.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}, wanted at least 1")
    run = RunFolder.open(path)
    config = Config.load(run.config)
    torch_device = resolve_device(device)
    dataset = load_dataset(config.dataset, config.data_dir).to(torch_device)
    generator, latent = load_generator(run, config, torch_device)
    classifier = load_classifier(run.classifier, dataset)
    with cpu_threads(config.threads):
        return evaluate(generator, latent, classifier, dataset, samples=samples, seed=config.seed)


def load_generator(run: RunFolder, config: Config, device: torch.device) -> tuple[nn.Module, LatentSource]:
    """The averaged generator of a run's last checkpoint, in evaluation mode, and what it is fed with."""
    state = load_checkpoint(run.checkpoint)
    try:
        latent = LatentSource(config.latent_size, state["class_frequencies"])
        generator = build_generator(config.network, latent.width, tuple(state["image_shape"]))
        generator.load_state_dict(state["averaged"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{run.checkpoint} does not fit {run.config.name} ({error})") from None
    return generator.to(device).eval().requires_grad_(False), latent
