"""Trains the classifier that scores need, or takes it from the cache."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from amgan_fast import build_info
from amgan_fast.data import Batches, Dataset, to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.trained import (
    TrainedClassifier,
    load_classifier,
    measure_classifier,
    read_classifier,
)
from amgan_fast.files import file_name, write_json
from amgan_fast.lock import hold_file
from amgan_fast.nn import Classifier, build_classifier
from amgan_fast.progress import Observer
from amgan_fast.seeds import Purpose, random_stream
from amgan_fast.train.augmentation import Augmentation
from amgan_fast.train.capture import CapturedWork
from amgan_fast.train.checks import check_classifier
from amgan_fast.train.classifier_recipes import CLASSIFIER_RECIPES, ClassifierRecipe, build_optimizer
from amgan_fast.train.gradient_mode import with_gradients
from amgan_fast.train.moment import Numbers

_CHECK_EVERY = 20  # steps between two looks at the loss


def cached_classifier(dataset: Dataset, observer: Observer) -> TrainedClassifier:
    """The classifier of this dataset from the user's cache, trained first where there is none that fits.

    The cache is ``$XDG_CACHE_HOME/amgan_fast`` (``~/.cache/amgan_fast``), a file for each set of images. Of several
    processes that want the same one trains it and the others wait.

    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.train import Observer, cached_classifier
    >>> classifier = cached_classifier(load_dataset("digits"), Observer())
    """
    path = cached_classifier_path(dataset)
    kept = _kept(path, dataset, observer)
    if kept is not None:
        return kept
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            waited = stack.enter_context(hold_file(path, waiting=observer.message))
        except OSError:  # the classifier will not be kept
            waited = False
        kept = _kept(path, dataset, observer) if waited else None
        return _train_for_cache(path, dataset, observer) if kept is None else kept


def cached_classifier_path(dataset: Dataset) -> Path:
    """Where it is, or will be."""
    return _cache_folder() / f"classifier-{file_name(dataset.name)}-{dataset.fingerprint()[:12]}.pt"


def _kept(path: Path, dataset: Dataset, observer: Observer) -> TrainedClassifier | None:
    if not path.exists():
        return None
    try:
        classifier = load_classifier(path, dataset)
    except InputError as error:
        observer.message(f"classifier: the cached one cannot be used: {error}")
        return None
    observer.message(f"classifier: {path}, test accuracy {classifier.test_accuracy:.2%}")
    return classifier


def _train_for_cache(path: Path, dataset: Dataset, observer: Observer) -> TrainedClassifier:
    observer.message(f"classifier: training on {dataset.name}")
    classifier = train_classifier(dataset, observer=observer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        classifier.save(path)
        kept = f"kept in {path}"
    except (OSError, InputError) as error:  # the run folder gets its copy all the same
        kept = f"not kept for the next run: {error}"
    observer.message(f"classifier: test accuracy {classifier.test_accuracy:.2%}, {kept}")
    return classifier


@with_gradients
def train_classifier(
    dataset: Dataset,
    steps: int | None = None,
    observer: Observer | None = None,
    *,
    network: str = "cnn",
    epochs: int | None = None,
    seed: int = 0,
    **sizes: int,
) -> TrainedClassifier:
    """Train on the dataset's device, from the same seed unless told otherwise: runs that are compared share their
    classifier. On a CPU the same arguments give the same weights.

    Args:
        steps: batches; None: as ``epochs`` says.
        network: a name of :data:`amgan_fast.nn.CLASSIFIERS`, trained as
            :data:`amgan_fast.train.classifier_recipes.CLASSIFIER_RECIPES` says.
        epochs: how often each image is seen; None: the recipe's number.
        seed: of the weights, the order of the images, and their augmentation.
        sizes: of the architecture, where they are not its defaults: :func:`amgan_fast.nn.build_classifier`.

    Raises:
        InputError: an unknown network, images too small for it, or a number that is out of range.
        FloatingPointError: the loss is no longer finite.
        ValueError: both ``steps`` and ``epochs``.

    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.train import train_classifier
    >>> classifier = train_classifier(load_dataset("digits"), steps=2)  # far too few
    >>> classifier.reference.shape
    torch.Size([10])
    """
    if steps is not None and epochs is not None:
        raise ValueError(f"steps is {steps} and epochs is {epochs}, wanted only one of them")
    check_classifier(dataset, network, steps, epochs, seed, sizes)
    device = dataset.test_images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        classifier = build_classifier(network, dataset.image_shape, dataset.num_classes, **sizes).to(device)
        recipe = CLASSIFIER_RECIPES[network]
        augmentation = Augmentation.for_dataset(dataset) if recipe.augmented else None
        steps = steps or recipe.steps(len(dataset.train_images), epochs)
        batches = _AugmentedBatches(dataset, recipe, augmentation, seed)
        _train(classifier, batches, recipe, steps, observer or Observer())
    record = recipe.record(steps, len(dataset.train_images)) | {
        "augmentation": augmentation and asdict(augmentation),
        "seed": seed,
    }
    return measure_classifier(classifier, dataset, record)


def train_classifier_file(
    dataset: Dataset,
    *,
    out: Path,
    network: str = "densenet-bc",
    epochs: int | None = None,
    seed: int = 0,
    observer: Observer | None = None,
    **sizes: int,
) -> TrainedClassifier:
    """Train and write ``out``, and ``out`` with suffix .json beside it, which says what can be known of it: accuracy,
    entropies, reference, architecture, recipe, dataset, SHA-256 of the weights, versions.

    Where a process was killed between the two files, ``out`` is whole, and the next call writes its description.

    Args:
        out: a file that does not exist yet. Its folder is made.
        dataset: this and what follows as of :func:`train_classifier`.
        network: a name of :data:`amgan_fast.nn.CLASSIFIERS`.
        epochs: how often each image is seen.
        seed: of the weights, the order of the images, and their augmentation.
        observer: told how far it is.
        sizes: of the architecture.

    Raises:
        InputError: one of the files exists or cannot be written, or as :func:`train_classifier`.
        FloatingPointError: the loss is no longer finite; nothing was written.

    >>> from pathlib import Path
    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.train import train_classifier_file
    >>> classifier = train_classifier_file(load_dataset("digits"), out=Path("digits.pt"), network="cnn", epochs=1)
    >>> sorted(path.name for path in Path().glob("digits.*"))
    ['digits.json', 'digits.pt']
    """
    observer = observer or Observer()
    check_classifier(dataset, network, None, epochs, seed, sizes)
    description = _place_for(out)
    with ExitStack() as stack:
        with _unwritable_is_said(out):
            stack.enter_context(hold_file(out))
            _check_new(out, description)
        observer.message(dataset.describe())
        observer.message(f"classifier: training {network} on {dataset.name}")
        classifier = train_classifier(dataset, None, observer, network=network, epochs=epochs, seed=seed, **sizes)
        with _unwritable_is_said(out):
            classifier.save(out)
            _describe(description, classifier)
    observer.message(f"classifier: test accuracy {classifier.test_accuracy:.2%}, written to {out}")
    for name, entropy in (("training", classifier.training_entropy), ("held-out", classifier.held_out_entropy)):
        observer.message(f"classifier: {name} images: {entropy}")
    return classifier


def _describe(description: Path, classifier: TrainedClassifier) -> None:
    versions = {"version": build_info()["version"], "torch": torch.__version__}
    parameters = sum(parameter.numel() for parameter in classifier.network.parameters())
    write_json(description, classifier.to_dict() | {"parameters": parameters} | versions)


class _AugmentedBatches:
    """Images as networks take them, and labels, for ever."""

    def __init__(
        self, dataset: Dataset, recipe: ClassifierRecipe, augmentation: Augmentation | None, seed: int
    ) -> None:
        self.device = dataset.test_images.device
        self.random = random_stream(seed, Purpose.AUGMENTATION, self.device)
        self._augmentation = augmentation
        self._batches = Batches(
            dataset.train_images, dataset.train_labels, recipe.batch_size, seed=seed, device=self.device
        )

    def take(self) -> tuple[Tensor, ...]:
        """What :meth:`prepare` makes the next batch of."""
        return self._batches.take()

    def prepare(self, *taken: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = self._batches.gather(*taken)
        return to_float(images if self._augmentation is None else self._augmentation(images, self.random)), labels


def _train(
    classifier: Classifier, batches: _AugmentedBatches, recipe: ClassifierRecipe, steps: int, observer: Observer
) -> None:
    optimizer, schedule = build_optimizer(recipe, classifier.parameters(), steps)
    last_loss = torch.zeros(1, device=batches.device)

    def work(*taken: Tensor) -> None:
        images, labels = batches.prepare(*taken)
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(classifier(images), labels)
        loss.backward()
        optimizer.step()
        last_loss.copy_(loss.detach())

    advance: Callable[..., None] = work
    if _is_captured(batches.device, schedule):
        advance = CapturedWork(work, batches.device, random=[batches.random], constants=schedule.get_last_lr)
    coming: tuple[int, Numbers] | None = None
    for step in range(1, steps + 1):
        advance(*batches.take())
        schedule.step()
        if step % _CHECK_EVERY == 0:
            _check_loss(coming)  # it has come meanwhile
            coming = step, Numbers(last_loss)
        observer.progress("classifier", step, steps)
    _check_loss(coming)
    _check_loss((steps, Numbers(last_loss)))


def _is_captured(device: torch.device, schedule: LRScheduler) -> bool:
    """On a GPU, where rates and momentum stay for many steps: a graph has them written into it."""
    return device.type == "cuda" and isinstance(schedule, MultiStepLR)


def _check_loss(found: tuple[int, Numbers] | None) -> None:
    if found is not None:
        step, (loss,) = found[0], found[1].read()
        if not math.isfinite(loss):
            raise FloatingPointError(f"step {step}: the classifier's loss is {loss}, wanted a finite one")


def _place_for(out: Path) -> Path:
    """The file beside ``out``, once it is sure that both can be written."""
    if not out.name or out.is_dir():
        raise InputError(f"{out} is a folder, wanted a new file for --out")
    description = out.with_suffix(".json")
    if description == out:
        raise InputError(f"{out} is where the description goes, wanted --out with another suffix: .pt, say")
    folder = out.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}), wanted a folder for --out") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written to, wanted a folder for --out")
    return description


def _check_new(out: Path, description: Path) -> None:
    for path in (out, description):
        if path.exists():
            added = _complete(out, description) if path == out else ""
            raise InputError(f"{path} exists{added}, wanted a new file for --out")


def _complete(out: Path, description: Path) -> str:
    """Write the description that a killed process did not come to, and say so."""
    if description.exists():
        return ""
    try:
        _describe(description, read_classifier(out))
    except InputError:  # something else
        return ""
    return f" and had no {description.name}, which was written"


@contextmanager
def _unwritable_is_said(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}), wanted room for --out") from error


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amgan_fast"
