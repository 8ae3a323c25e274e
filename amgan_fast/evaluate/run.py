"""Evaluation of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from amgan_fast.data import Dataset
from amgan_fast.device import cpu_threads, resolve_device
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifier import ScoringClassifier, load_classifier
from amgan_fast.evaluate.evaluation import Evaluation, evaluate
from amgan_fast.evaluate.measurements import Settings
from amgan_fast.evaluate.passes import Progress, of_files
from amgan_fast.evaluate.sources import GeneratorSource, TensorSource
from amgan_fast.nn import LatentSource, build_generator
from amgan_fast.processes import Share
from amgan_fast.runs import Config, RunFolder
from amgan_fast.seeds import Purpose, derive_seed
from amgan_fast.tensor_files import load_tensors


@dataclass(frozen=True, eq=False)
class OpenRun:
    """A finished run: its averaged generator, and what it is judged by."""

    config: Config
    generator: nn.Module
    latent: LatentSource
    classifier: ScoringClassifier
    dataset: Dataset

    def source(self, samples: int) -> GeneratorSource:
        """Samples that are always the same for the run's seed."""
        return _generated(self.generator, self.latent, self.dataset, samples, self.config.seed)


def open_run(path: Path, device: torch.device, progress: Progress | None = None) -> OpenRun:
    """
    Args:
        progress: called while files of single images are read.

    Raises:
        InputError: ``path`` is no run, one of its files is damaged, or the dataset's files are not here.
    """
    run = RunFolder.open(path)
    run.require_trained()
    config = Config.load(run.config)
    dataset = config.load_dataset(of_files(progress)).to(device)
    generator, latent = load_generator(run, config, device)
    return OpenRun(config, generator, latent, load_classifier(run.classifier, dataset), dataset)


def evaluate_generator(
    generator: nn.Module,
    latent: LatentSource,
    classifier: ScoringClassifier,
    dataset: Dataset,
    *,
    samples: int,
    seed: int,
    progress: Progress | None = None,
    share: Share | None = None,
) -> Evaluation:
    """Score ``samples`` samples, always the same for a seed, beside the held-out images, on the dataset's device."""
    return evaluate(
        _generated(generator, latent, dataset, samples, seed),
        classifier.for_images(),
        held_out=held_out_images(dataset),
        settings=_fitting(samples, dataset),
        progress=progress,
        share=share,
    )


def evaluate_run(path: Path, *, samples: int = 50_000, device: str = "auto") -> Evaluation:
    """Score the averaged generator of a run again, with the run's own classifier and seed.

    Raises:
        InputError: as :func:`open_run`, or ``samples`` below 1.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}, wanted at least 1")
    run = open_run(path, resolve_device(device))
    with cpu_threads(run.config.threads):
        return evaluate_generator(
            run.generator, run.latent, run.classifier, run.dataset, samples=samples, seed=run.config.seed
        )


def held_out_images(dataset: Dataset) -> TensorSource:
    """The images that no one trained on."""
    count = len(dataset.test_images)
    description = f"{count:,} held-out images of {dataset.name}"
    return TensorSource(dataset.test_images, dataset.test_labels, description, dataset.names)


def training_images(dataset: Dataset) -> TensorSource:
    count = len(dataset.train_images)
    description = f"{count:,} training images of {dataset.name}"
    return TensorSource(dataset.train_images, dataset.train_labels, description, dataset.names)


def load_generator(run: RunFolder, config: Config, device: torch.device) -> tuple[nn.Module, LatentSource]:
    """The averaged generator of a run's last checkpoint, in evaluation mode, and what it is fed with."""
    state = load_tensors(run.checkpoint)
    try:
        latent = LatentSource(config.latent_size, state["class_frequencies"])
        generator = build_generator(
            config.network, latent.width, tuple(state["image_shape"]), config.build_network_options()
        )
        generator.load_state_dict(state["averaged"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{run.checkpoint} does not fit {run.config.name} ({error})") from None
    return generator.to(device).eval().requires_grad_(False), latent


def _generated(
    generator: nn.Module, latent: LatentSource, dataset: Dataset, samples: int, seed: int
) -> GeneratorSource:
    return GeneratorSource(
        generator,
        latent,
        samples,
        seed=derive_seed(seed, Purpose.EVALUATION),
        device=dataset.test_images.device,
        name=f"a generator of {dataset.name}",
        class_names=dataset.names,
    )


def _fitting(samples: int, dataset: Dataset) -> Settings:
    """A few samples of a test or a first try are scored too, in fewer splits."""
    return Settings(splits=min(10, samples, len(dataset.test_images)))
