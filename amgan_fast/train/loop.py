"""A whole training run: data, classifier, steps, scores, and the files it leaves."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast import build_info
from amgan_fast.data import Batches, Dataset, to_float
from amgan_fast.device import cpu_threads, resolve_device
from amgan_fast.errors import InputError
from amgan_fast.evaluate import (
    Evaluation,
    ScoringClassifier,
    evaluate_generator,
    load_classifier,
    score_generator,
)
from amgan_fast.metrics.first_rows import without_score_warnings
from amgan_fast.nn import (
    LatentSource,
    Sampler,
    build_discriminator,
    build_generator,
    init_from_data,
    set_reference_batch,
)
from amgan_fast.processes import Share, copy_from_first, gather, local_device
from amgan_fast.runs import Config, RunFolder, load_last_checkpoint, put_previous_in_place, save_checkpoint
from amgan_fast.seeds import Purpose, derive_seed, random_stream
from amgan_fast.train.accuracy import DiscriminatorAccuracy, discriminator_accuracy
from amgan_fast.train.capture import CapturedStep
from amgan_fast.train.checks import check_run
from amgan_fast.train.classifier import cached_classifier
from amgan_fast.train.journal import Journal
from amgan_fast.train.observer import Observer
from amgan_fast.train.pictures import save_curves, save_samples
from amgan_fast.train.random_state import random_state, set_random_state
from amgan_fast.train.step import AdversarialStep, StepOptions
from amgan_fast.train.stopping import Stop, stop_on_signal


@dataclass(frozen=True)
class Result:
    """A finished run."""

    folder: RunFolder
    evaluation: Evaluation
    discriminator: DiscriminatorAccuracy | None = None
    """On all held-out images; None where the model's discriminator has no class outputs."""


class TrainingStopped(Exception):
    """Ctrl-C or SIGTERM came; :func:`resume` goes on."""

    def __init__(self, folder: RunFolder, step: int, number: signal.Signals) -> None:
        super().__init__(folder, step, number)  # what it is made of again in another process
        self.folder = folder
        self.step = step
        """Of the last checkpoint; 0 where there is none."""
        self.signal = number

    def __str__(self) -> str:
        saved = f"and saved at step {self.step}" if self.step else "before the first checkpoint"
        return f"stopped by {self.signal.name} {saved}"


def train(
    config: Config, out: Path | None = None, observer: Observer | None = None, share: Share | None = None
) -> Result:
    """Train, score and leave a run folder; on a CPU the same configuration gives the same run.

    Args:
        out: the run folder, which must be empty or not exist; None: a new one in ``runs/``.
        observer: told what happens; None: no one.
        share: of several processes in torch's default process group, this one; each takes its part of every batch.

    Raises:
        InputError: something in the configuration or ``out`` cannot be used, and nothing was trained; or a file
            cannot be written, and those before it are as they were.
        FloatingPointError: a loss is no longer finite; the last good checkpoint is named.
        TrainingStopped: a signal ended it; :func:`resume` goes on.
    """
    share = share or Share()
    observer = _of_first(observer, share)
    folder = RunFolder.new(out, config)
    if share.rank == 0:
        folder.check_unused()
    dataset = _dataset(config, observer, share)
    with _held(folder, share), _stopped_by_ctrl_c(folder):
        if share.rank == 0:
            folder.create(config)
        return _run(config, folder, dataset, None, observer, share)


def resume(path: Path, observer: Observer | None = None, share: Share | None = None) -> Result:
    """Go on with a run from its last checkpoint, as if it had not ended: on a CPU with the same weights to the bit.
    A run that has no checkpoint yet begins anew from its configuration.

    With another number of processes the run sees the same images and latents as before, but no longer to the bit what
    it would have become: each process normalises a part of another size of every batch, and all but the first draw
    new noise in their layers.

    Raises:
        InputError: ``path`` is no run or another process goes on with it, its configuration was changed since, or no
            checkpoint can be read.
        FloatingPointError, TrainingStopped: as :func:`train`.
    """
    share = share or Share()
    observer = _of_first(observer, share)
    folder = RunFolder.open(path)
    with _held(folder, share), _stopped_by_ctrl_c(folder):
        config = Config.load(folder.config)
        state = _last_state(folder, config, observer, share)
        return _run(config, folder, _dataset(config, observer, share), state, observer, share)


def _of_first(observer: Observer | None, share: Share) -> Observer:
    """Of several processes the first one tells what happens."""
    return observer if observer is not None and share.rank == 0 else Observer()


def _held(folder: RunFolder, share: Share) -> AbstractContextManager[None]:
    """Of several processes the first one writes."""
    return folder.hold() if share.rank == 0 else nullcontext()


@contextmanager
def _stopped_by_ctrl_c(folder: RunFolder) -> Iterator[None]:
    """While steps are taken :func:`stop_on_signal` comes first; before and after them there is nothing to be saved."""
    try:
        yield
    except KeyboardInterrupt:
        step = load_last_checkpoint(folder.checkpoint)[0]["step"]["steps"] if folder.has_checkpoint else 0
        raise TrainingStopped(folder, step, signal.SIGINT) from None


def _last_state(folder: RunFolder, config: Config, observer: Observer, share: Share) -> dict[str, Any] | None:
    """Of the last checkpoint that is whole, which then has the last one's name; None where none was written."""
    if not folder.has_checkpoint:
        observer.message(f"{folder.path} has no {folder.checkpoint.name} yet: starting from its {folder.config.name}")
        return None
    state, damage = load_last_checkpoint(folder.checkpoint)
    if changed := config.differences(state.get("config", {})):
        raise InputError(
            f"{folder.checkpoint} was trained with another configuration than {folder.config.name} has now: "
            f"{'; '.join(changed)}; wanted the same, or a new run"
        )
    if damage:
        observer.message(damage)
        gather(None, share)  # every process has read what now gets another name
        if share.rank == 0:
            put_previous_in_place(folder.checkpoint)
    return state


def _dataset(config: Config, observer: Observer, share: Share) -> Dataset:
    """The images on the device, once it is sure that the run can be one of so many processes there."""
    device = local_device(resolve_device(config.device))
    if config.batch_size % share.ranks:
        raise InputError(f"batch_size is {config.batch_size}, wanted a multiple of the {share.ranks} processes")
    if config.cuda_graph and device.type != "cuda":
        raise InputError(f"cuda_graph is true and the device {device}, wanted a CUDA device or false")
    dataset = config.load_dataset(observer.loaded)
    observer.message(dataset.describe())
    check_run(config, dataset, device, share.ranks)
    if config.batch_size > (count := len(dataset.train_images)):
        observer.message(f"batch_size is {config.batch_size}: a batch has some of the {count} images more than once")
    return dataset.to_if_it_fits(device)


def _run(
    config: Config, folder: RunFolder, dataset: Dataset, state: dict[str, Any] | None, observer: Observer, share: Share
) -> Result:
    device = dataset.test_images.device
    observer.message(f"run: {folder.path} on {device}")
    for note in config.notes():
        observer.message(note)
    with (
        cpu_threads(config.threads),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        classifier = _classifier(folder, dataset, state, observer, share)
        torch.manual_seed(derive_seed(config.seed, Purpose.NETWORKS))
        run = _Run(config, dataset, classifier, folder, observer, share)
        if state is None:
            run.journal.go_back_to(0)
        else:
            run.load_state_dict(state)
        return run.train()


def _classifier(
    folder: RunFolder, dataset: Dataset, state: dict[str, Any] | None, observer: Observer, share: Share
) -> ScoringClassifier:
    """The run's own."""
    if state is not None:
        return load_classifier(folder.classifier, dataset)
    classifier = cached_classifier(dataset, observer)
    if share.rank == 0:
        classifier.save(folder.classifier)
    return classifier


class _Run:
    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        classifier: ScoringClassifier,
        folder: RunFolder,
        observer: Observer,
        share: Share,
    ) -> None:
        device = dataset.test_images.device
        objective = config.build_objective()
        frequencies = dataset.class_frequencies() if config.labels == "predefined" else None
        options = config.build_network_options()
        latent = LatentSource(config.latent_size, frequencies)
        outputs = objective.outputs(dataset.num_classes)
        generator = build_generator(config.network, latent.width, dataset.image_shape, options).to(device)
        discriminator = build_discriminator(config.network, outputs, dataset.image_shape, options).to(device)
        self.config = config
        self.dataset = dataset
        self.classifier = classifier
        self.folder = folder
        self.observer = observer
        self.share = share
        self.device = device
        self.latent = latent
        self.batches, self.unlabelled = self._batches()
        if options.normalization == "virtual" or options.weight_norm:
            noise, real = self._first_batch()
            if options.normalization == "virtual":
                set_reference_batch(generator, noise)
                set_reference_batch(discriminator, real)
            if options.weight_norm:
                init_from_data(generator, noise)
                init_from_data(discriminator, real)
        self.random = self._random(Purpose.LATENT)
        channels_last = any(isinstance(layer, nn.Conv2d) for layer in discriminator.modules())
        self.step = AdversarialStep(
            generator,
            discriminator,
            objective,
            latent,
            self.random,
            StepOptions(
                generator_lr=config.generator_lr,
                discriminator_lr=config.discriminator_lr,
                ema_decay=config.ema_decay,
                halve_every=config.halve_every,
                bfloat16=config.precision == "bfloat16",
                compile=config.compile,
                channels_last=channels_last,
                feature_matching=config.feature_matching,
                historical_averaging=config.historical_averaging,
            ),
            share,
        )
        self.sampler = Sampler(self.step.averaged, latent)
        self.journal = Journal(folder, observer, writes=share.rank == 0)
        self.seconds = 0.0
        self.last_good: int | None = None
        if share.rank:  # noise and dropout of its own; process 0 goes on as one alone would
            torch.manual_seed(derive_seed(config.seed, Purpose.LAYERS_OF_PROCESS, rank=share.rank))

    def train(self) -> Result:
        with stop_on_signal() as stop:
            self._train(stop)
        return self._finish()

    def _train(self, stop: Stop) -> None:
        config, step = self.config, self.step
        advance = CapturedStep(step, self.random) if config.cuda_graph else step
        self.observer.started(config.steps, step.steps)
        timer = _Timer()
        for images, labels, unlabelled in self._real():
            advance(images, labels, unlabelled)
            last = step.steps == config.steps
            if step.steps % config.log_every == 0 or last:
                row = self._losses()
                elapsed = timer.lap()
                self.seconds += elapsed
                images_seen = (step.steps - self.journal.last_step) * config.batch_size
                row |= {"seconds": self.seconds, "images_per_second": images_seen / elapsed}
                if step.steps % config.score_every == 0 or last:
                    row |= self._scores()
                    self.journal.grid(step.steps, self.sampler, self._random(Purpose.PICTURES))
                self.journal.log(row)
                timer.lap()  # scoring and writing are no training time
            if step.steps % config.checkpoint_every == 0 or last or stop.signal:
                self._save_checkpoint()
            if stop.signal:
                raise TrainingStopped(self.folder, step.steps, stop.signal)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        try:
            self.step.load_state_dict(state["step"])
            self.batches.load_state_dict(state["batches"])
            if self.unlabelled is not None:
                self.unlabelled.load_state_dict(state["unlabelled"])
            self._set_random_state(state["random"])
            self.seconds = state["seconds"]
            self.last_good = self.step.steps
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise InputError(f"{self.folder.checkpoint} does not fit its configuration ({error})") from error
        self.journal.go_back_to(self.step.steps)

    def _set_random_state(self, states: list[dict[str, Any]]) -> None:
        """Of every process that wrote the checkpoint, in their order: latents are drawn alike by all of them, noise in
        layers is each one's own."""
        rank, ranks = self.share.rank, self.share.ranks
        if len(states) == ranks:
            set_random_state(states[rank], self.device, {"latent": self.random})
            return
        self.observer.message(
            f"processes: {len(states)} until now, {ranks} from here on, with the same images and latents, but no "
            "longer to the bit what the run would have become"
        )
        set_random_state(states[0], self.device, {"latent": self.random})
        if rank:
            numbers = {"rank": rank, "ranks": ranks, "step": self.step.steps}
            torch.manual_seed(derive_seed(self.config.seed, Purpose.LAYERS_OF_RESUMED_PROCESS, **numbers))

    def _batches(self) -> tuple[Batches, Batches | None]:
        """Labelled images, and all images where only some are labelled."""
        config, share = self.config, self.share

        def stream(dataset: Dataset, purpose: Purpose) -> Batches:
            seed = derive_seed(config.seed, purpose)
            images, labels = dataset.train_images, dataset.train_labels
            return Batches(images, labels, config.batch_size, seed=seed, device=self.device, share=share)

        if config.labelled_per_class is None:
            return stream(self.dataset, Purpose.ORDER), None
        chosen = derive_seed(config.seed, Purpose.LABELLED)
        labelled = self.dataset.labelled_subset(config.labelled_per_class, seed=chosen)
        return stream(labelled, Purpose.ORDER), stream(self.dataset, Purpose.UNLABELLED_ORDER)

    def _first_batch(self) -> tuple[Tensor, Tensor]:
        """Latent inputs and real images, the same for every process and always."""
        config, images = self.config, self.dataset.train_images
        noise = self.latent.draw(config.batch_size, self._random(Purpose.FIRST_BATCH))[0]
        indices = torch.arange(config.batch_size) % len(images)
        return noise, to_float(images[indices].to(self.device))

    def _real(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Batches of real images, labelled and not, for the steps to come."""
        for _ in range(self.step.steps, self.config.steps):
            images, labels = next(self.batches)
            unlabelled = None if self.unlabelled is None else to_float(next(self.unlabelled)[0])
            yield to_float(images), labels, unlabelled

    def _losses(self) -> dict[str, Any]:
        step = self.step.steps
        discriminator_loss, generator_loss = self.step.pop_losses()
        if not math.isfinite(discriminator_loss + generator_loss):
            raise FloatingPointError(
                f"step {step}: discriminator loss {discriminator_loss}, generator loss {generator_loss}; "
                f"wanted finite losses; {self._last_good()}"
            )
        return {"step": step, "discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def _scores(self) -> dict[str, Any]:
        try:
            with without_score_warnings():  # of corrected scores and intervals, which are not logged
                scores = score_generator(
                    self.sampler,
                    self.classifier.network,
                    self.classifier.reference,
                    samples=self.config.score_samples,
                    random=self._random(Purpose.SCORES_ON_THE_WAY),
                )
        except ValueError as error:  # samples that are not finite, of weights that still are or no longer
            found = f"step {self.step.steps}: samples cannot be scored ({error})"
            raise FloatingPointError(f"{found}; {self._last_good()}") from error
        names = ("am_score", "kl_reference", "mean_entropy", "inception_score", "class_distribution")
        row = {name: getattr(scores, name) for name in names}
        if accuracy := self._discriminator_accuracy(self.config.score_samples):
            row |= {"discriminator_accuracy": accuracy.accuracy, "discriminator_accuracy_ci95": list(accuracy.ci95)}
        return row

    def _discriminator_accuracy(self, most: int | None = None) -> DiscriminatorAccuracy | None:
        step, size = self.step, self.config.batch_size // self.share.ranks
        return discriminator_accuracy(step.discriminator, step.objective, self.dataset, batch_size=size, most=most)

    def _save_checkpoint(self) -> None:
        random = gather(random_state(self.device, {"latent": self.random}), self.share)
        if not self.step.is_finite():
            raise FloatingPointError(f"step {self.step.steps}: weights that are not finite; {self._last_good()}")
        if self.share.rank == 0:
            state = {
                "config": self.config.to_dict(),
                "image_shape": list(self.dataset.image_shape),
                "class_frequencies": self.latent.class_frequencies,
                "averaged": self.step.averaged.state_dict(),
                "step": self.step.state_dict(),
                "batches": self.batches.state_dict(),
                "unlabelled": None if self.unlabelled is None else self.unlabelled.state_dict(),
                "random": random,
                "seconds": self.seconds,
            }
            self.journal.sync()
            save_checkpoint(self.folder.checkpoint, state)
            self.last_good = self.step.steps

    def _last_good(self) -> str:
        if self.last_good is None:
            return "no checkpoint was written yet"
        return f"the last good checkpoint is {self.folder.checkpoint} of step {self.last_good}"

    def _finish(self) -> Result:
        config, folder = self.config, self.folder
        copy_from_first(self.step.averaged, self.share)  # statistics of batch normalisation are each process's own
        result = evaluate_generator(
            self.sampler,
            self.classifier,
            self.dataset,
            samples=config.final_samples,
            seed=config.seed,
            progress=self.observer.evaluated,
            share=self.share,
        )
        accuracy = self._discriminator_accuracy()
        if self.share.rank == 0:
            save_samples(folder.samples, self.sampler, self.classifier, self._random(Purpose.PICTURES))
            assert result.held_out is not None
            save_curves(folder.curves, self.journal.rows, result.held_out.scores)
            folder.write_summary(
                {
                    "config": config.to_dict(),
                    **result.to_dict(),
                    "discriminator": accuracy and accuracy.to_dict(),
                    "training": {
                        "seconds": self.seconds,
                        "images_per_second": config.steps * config.batch_size / self.seconds,
                        "device": str(self.device),
                        "threads": torch.get_num_threads(),
                        "processes": self.share.ranks,
                    },
                    "build": build_info(),
                }
            )
        self.journal.close()
        return Result(folder, result, accuracy)

    def _random(self, purpose: Purpose) -> torch.Generator:
        return random_stream(self.config.seed, purpose, self.device)


class _Timer:
    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        return seconds
