"""Evaluation of a training run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from amgan_fast.data import Dataset
from amgan_fast.device import cpu_threads, resolve_device
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.trained import TrainedClassifier, load_classifier
from amgan_fast.evaluate.evaluation import Evaluation, evaluate
from amgan_fast.evaluate.sources import GeneratorSource, TensorSource
from amgan_fast.evaluation_request import Settings
from amgan_fast.nn import Sampler
from amgan_fast.processes import Share
from amgan_fast.progress import Progress
from amgan_fast.seeds import Purpose, derive_seed, random_stream

if TYPE_CHECKING:
    from amgan_fast.runs import Config


@dataclass(frozen=True, eq=False)
class OpenRun:
    """A finished run: its averaged generator, and what it is judged by.

    >>> from amgan_fast.evaluate import open_run
    >>> images, labels = open_run("runs/digits").samples(100)
    >>> images.shape, labels.shape
    (torch.Size([100, 1, 8, 8]), torch.Size([100]))
    """

    config: Config
    sampler: Sampler
    classifier: TrainedClassifier
    dataset: Dataset
    """On the run's device; training images that do not fit there are where they were, as in training."""

    def source(self, samples: int) -> GeneratorSource:
        """Samples that are always the same for the run's seed."""
        return _generated(self.sampler, self.dataset, samples, self.config.seed)

    def samples(self, count: int, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Images, float [N, C, H, W] in [-1, 1], and their classes, int64 [N]: those that the generator was asked for,
        or with dynamic labels those that the run's classifier sees.

        Args:
            random: what latents are drawn from, on the run's device; None: as for the run's own scores, of which
                these are the first samples where ``count`` is a multiple of 500.

        Raises:
            InputError: ``count`` below 1.
        """
        if count < 1:
            raise InputError(f"count is {count}, wanted at least 1")
        device = self.sampler.device
        random = random_stream(self.config.seed, Purpose.EVALUATION, device) if random is None else random
        judge = self.classifier.for_images()
        with cpu_threads(self.config.threads):
            parts = [
                (images, judge.logits(images).argmax(1) if labels is None else labels)
                for images, labels in self.sampler.batches(count, random)
            ]
        images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        return images, labels


def open_run(
    path: Path | str,
    device: torch.device | str = "auto",
    progress: Progress | None = None,
    *,
    allow_code: Collection[str] = (),
) -> OpenRun:
    """A finished run, to make samples of and to score.

    Args:
        path: of its folder, or of one of the checkpoints in it, such as checkpoint.best.pt.
        device: as of :func:`amgan_fast.device.resolve_device`, or a device.
        progress: called while files of single images are read.
        allow_code: modules that its configuration may name code of, such as an own generator.

    Raises:
        InputError: ``path`` is no run, one of its files is damaged, or the dataset's files are not here.

    >>> from amgan_fast.evaluate import open_run
    >>> run = open_run("runs/digits")
    >>> run.config.model, run.dataset.name
    ('amgan', 'digits')
    """
    # Here: an evaluation of anything else needs no losses and locks, which runs bring along.
    from amgan_fast.runs import Config, find_checkpoint, load_sampler

    run, checkpoint = find_checkpoint(Path(path))
    run.require_trained()
    device = resolve_device(device) if isinstance(device, str) else device
    config = Config.load(run.config, allow_code=allow_code)
    dataset = config.load_dataset(progress).to_if_it_fits(device)
    return OpenRun(config, load_sampler(config, checkpoint, device), load_classifier(run.classifier, dataset), dataset)


def evaluate_generator(
    sampler: Sampler,
    classifier: TrainedClassifier,
    dataset: Dataset,
    *,
    samples: int,
    seed: int,
    progress: Progress | None = None,
    share: Share | None = None,
) -> Evaluation:
    """Score ``samples`` samples, always the same for a seed, beside the held-out images, on the dataset's device.

    >>> import torch
    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.evaluate import evaluate_generator, measure_classifier
    >>> from amgan_fast.nn import LatentSource, Sampler, build_classifier
    >>> digits = load_dataset("digits")
    >>> classifier = measure_classifier(build_classifier("cnn", (1, 8, 8), 10), digits, recipe={})
    >>> sampler = Sampler(torch.nn.Unflatten(1, (1, 8, 8)).eval(), LatentSource(64))
    >>> evaluation = evaluate_generator(sampler, classifier, digits, samples=100, seed=0)
    >>> evaluation.source, evaluation.held_out_source
    ('100 samples of a generator of digits', '360 held-out images of digits')
    """
    return evaluate(
        _generated(sampler, dataset, samples, seed),
        classifier.for_images(),
        held_out=TensorSource.held_out(dataset),
        settings=_fitting(samples, dataset),
        progress=progress,
        share=share,
    )


def _generated(sampler: Sampler, dataset: Dataset, samples: int, seed: int) -> GeneratorSource:
    return GeneratorSource(
        sampler,
        samples,
        seed=derive_seed(seed, Purpose.EVALUATION),
        name=f"a generator of {dataset.name}",
        class_names=dataset.names,
    )


def _fitting(samples: int, dataset: Dataset) -> Settings:
    """A few samples of a test or a first try are scored too, in fewer splits."""
    return Settings(splits=min(10, samples, len(dataset.test_images)))
