"""This package's own classifiers, trained and measured: what scores must know of them, and their file."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amgan_fast.data import Dataset, to_float
from amgan_fast.errors import InputError, in_one_line, some_of
from amgan_fast.evaluate.batch_size import fitting_batch_size
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.classifiers.inputs import Inputs
from amgan_fast.evaluate.classifiers.weights_digest import weights_sha256
from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.images import LazyImages
from amgan_fast.memory import to_device
from amgan_fast.metrics import (
    EntropyHistogram,
    RowTerms,
    Sampling,
    ScoreAccumulator,
    entropy_histogram,
    sampling_of_counts,
    without_score_warnings,
)
from amgan_fast.metrics.class_counts import ClassCounts
from amgan_fast.nn import Classifier, build_classifier
from amgan_fast.option_declarations import Resize
from amgan_fast.tensor_files import load_tensors, save_tensors

_BATCH_SIZE = 1000  # logits
_ACCURACY_TOLERANCE = 0.002  # devices and versions of PyTorch differ in last digits, and so in borderline images:
_BORDERLINE = 2  # in as many of a few hundred, where that part of them is less than one
_WANTED = "wanted one that amgan-fast train-classifier wrote, or the classifier.pt of a run"


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A trained classifier, in evaluation mode and frozen."""

    network: Classifier
    recipe: dict[str, Any]
    """How it was trained, as plain values: :func:`amgan_fast.train.train_classifier`."""
    reference: Tensor
    """Its mean class distribution on the training set, float64 [K]: the reference of the AM Score."""
    test_accuracy: float
    """On the held-out images."""
    training_entropy: EntropyHistogram
    """H(p(x)) of the training images. Where few are certain, the entropy terms of scores say more of the classifier
    than of what is scored: 99.6% below 0.05 nats in Zhou et al. (arXiv 1703.02000), on CIFAR-10."""
    held_out_entropy: EntropyHistogram
    dataset: str
    fingerprint: str
    """SHA-256 of the dataset it was trained and tested on."""
    reference_counts: Tensor | None = None
    """How often each class is its likeliest on the training set, int64, on the CPU: [K] where that was drawn at random,
    [K, K] by label where numbers of samples were fixed by class; None: the file is of an earlier version."""
    class_names: tuple[str, ...] | None = None
    """What that dataset calls its classes; None: by their numbers, or the file is of an earlier version."""

    def sha256(self) -> str:
        """Of its weights."""
        return weights_sha256(self.network)

    def for_images(
        self, name: str | None = None, *, resize: Resize = "none", dtype: torch.dtype = torch.float32
    ) -> ImageClassifier:
        """It takes images of one size, in range ``amgan``.

        Args:
            name: what it is called in a report; None: by architecture and dataset.
            resize: one of :data:`amgan_fast.evaluate.classifiers.inputs.RESIZES`.
            dtype: what to compute in; it was tested in float32.
        """
        channels, height, width = self.network.image_shape
        network = self.network if dtype == torch.float32 else copy.deepcopy(self.network).to(dtype)
        return ImageClassifier(
            name=name or f"{self.network.architecture} of {self.dataset}",
            network=network,
            inputs=Inputs((height, width), channels, resize, "amgan", dtype),
            device=next(network.parameters()).device,
            num_classes=self.network.num_classes,
            sha256=self.sha256(),
            test_accuracy=self.test_accuracy,
            tested_on=f"held-out {self.dataset}",
            reference=self.reference,
            reference_counts=self.reference_counts,
            dataset=self.dataset,
            fingerprint=self.fingerprint,
            class_names=self.class_names,
        )

    def to_dict(self) -> dict[str, Any]:
        """All but the weights, as plain values; counts are those of all labels."""
        counts = self.reference_counts
        totals = None if counts is None else counts.view(-1, counts.size(-1)).sum(0).tolist()
        reference = {"reference": self.reference.tolist(), "reference_counts": totals}
        return self._description() | reference | {"sha256": self.sha256()}

    def save(self, path: Path) -> None:
        tensors = {"reference": self.reference, "reference_counts": self.reference_counts}
        save_tensors(path, self._description() | tensors | {"network": self.network.state_dict()})

    def _description(self) -> dict[str, Any]:
        network = self.network
        return {
            "architecture": {"name": network.architecture, **network.sizes},
            "image_shape": list(network.image_shape),
            "num_classes": network.num_classes,
            "recipe": self.recipe,
            "test_accuracy": self.test_accuracy,
            "training_entropy": asdict(self.training_entropy),
            "held_out_entropy": asdict(self.held_out_entropy),
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "class_names": self.class_names and list(self.class_names),
        }


def measure_classifier(network: Classifier, dataset: Dataset, recipe: dict[str, Any]) -> TrainedClassifier:
    """Freeze a trained network, which is on the dataset's device, and measure what scores need to know of it.

    Args:
        recipe: how it was trained, to be recorded.

    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.evaluate import measure_classifier
    >>> from amgan_fast.nn import build_classifier
    >>> untrained = build_classifier("cnn", image_shape=(1, 8, 8), num_classes=10)
    >>> measured = measure_classifier(untrained, load_dataset("digits"), recipe={"steps": 0})
    >>> round(float(measured.reference.sum()), 3)
    1.0
    """
    network.eval().requires_grad_(False)
    training, held_out = (_logits(network, images) for images in (dataset.train_images, dataset.test_images))
    scores = ScoreAccumulator(dataset.num_classes, device=training.device)
    counts = ClassCounts(dataset.num_classes, strata=dataset.num_classes, device=training.device)
    for logits, labels in zip(training.split(_BATCH_SIZE), dataset.train_labels.split(_BATCH_SIZE), strict=True):
        rows = RowTerms(logits)
        scores.add(rows)
        counts.add(rows, labels)
    with without_score_warnings():  # the mean alone is kept
        reference = scores.compute().class_distribution
    return TrainedClassifier(
        network,
        recipe,
        torch.tensor(reference, dtype=torch.float64),
        _accuracy(held_out, dataset),
        entropy_histogram(training.split(_BATCH_SIZE)),
        entropy_histogram(held_out.split(_BATCH_SIZE)),
        dataset.name,
        dataset.fingerprint(),
        counts.table(_training_sampling(dataset)),
        dataset.class_names,
    )


def _training_sampling(dataset: Dataset) -> Sampling:
    if dataset.stratified:
        return "per-class"
    labels = dataset.train_labels.bincount(minlength=dataset.num_classes)
    return sampling_of_counts(labels)[0]


def read_classifier(path: Path, device: torch.device | str = "cpu") -> TrainedClassifier:
    """Load a classifier as its file says that it is.

    Raises:
        InputError: no such file, a damaged one, or one of something else.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.evaluate import measure_classifier, read_classifier
    >>> from amgan_fast.nn import build_classifier
    >>> untrained = measure_classifier(build_classifier("cnn", (1, 8, 8), 10), load_dataset("digits"), recipe={})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     untrained.save(Path(folder) / "classifier.pt")
    ...     print(read_classifier(Path(folder) / "classifier.pt").for_images().name)
    cnn of digits
    """
    state = load_tensors(path)
    if "network" in state and "architecture" not in state:
        raise InputError(f"{path} names no architecture, as files of earlier versions do not; {_WANTED} since")
    if "architecture" not in state:
        found = some_of(list(map(str, state))) or "nothing"
        raise InputError(f"{path} holds no classifier that fits (no architecture, but {found}), {_WANTED}")
    try:
        classifier = _rebuild(state)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:  # any content is possible
        raise InputError(f"{path} holds no classifier that fits ({in_one_line(error)}), {_WANTED}") from None
    classifier.network.to(device)
    return classifier


def load_classifier(path: Path, dataset: Dataset) -> TrainedClassifier:
    """Load a classifier to the dataset's device and test it again.

    Raises:
        InputError: no such file, a damaged one, one of another dataset, or one that tests otherwise than it says.

    >>> from pathlib import Path
    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.evaluate import load_classifier
    >>> load_classifier(Path("runs/digits/classifier.pt"), load_dataset("digits")).dataset
    'digits'
    """
    classifier = read_classifier(path, dataset.test_images.device)
    if classifier.fingerprint != dataset.fingerprint():
        raise InputError(f"{path} was trained on other data ({classifier.dataset}), wanted this {dataset.name}")
    accuracy = _accuracy(_logits(classifier.network, dataset.test_images), dataset)
    tolerance = max(_ACCURACY_TOLERANCE, _BORDERLINE / len(dataset.test_images))
    if abs(accuracy - classifier.test_accuracy) > tolerance * (1 + 1e-9):  # a difference of fractions is rounded
        raise InputError(f"{path} tests at {accuracy:.4f}, wanted {classifier.test_accuracy:.4f} as when it was saved")
    return replace(classifier, class_names=dataset.class_names)  # folders may have been renamed


def _rebuild(state: dict[str, Any]) -> TrainedClassifier:
    sizes = dict(state["architecture"])
    with torch.random.fork_rng([]):  # the weights it starts with are thrown away
        network = build_classifier(sizes.pop("name"), tuple(state["image_shape"]), state["num_classes"], **sizes)
    network.load_state_dict(state["network"])
    reference = state["reference"]
    if reference.shape != (network.num_classes,) or reference.dtype != torch.float64:
        raise ValueError(f"reference is {list(reference.shape)} of {reference.dtype}")
    counts = state.get("reference_counts")  # files of earlier versions have none
    if counts is not None and (
        counts.dtype != torch.int64 or counts.ndim not in (1, 2) or counts.size(-1) != network.num_classes
    ):
        raise ValueError(f"reference_counts are {list(counts.shape)} of {counts.dtype}")
    if counts is not None and not (counts.any() and (counts >= 0).all()):
        raise ValueError("reference_counts are none, or below 0")
    class_names = state.get("class_names")  # nor these
    if class_names is not None and len(class_names) != network.num_classes:
        raise ValueError(f"class_names are {len(class_names)}")
    return TrainedClassifier(
        network.eval().requires_grad_(False),
        dict(state["recipe"]),
        reference,
        float(state["test_accuracy"]),
        EntropyHistogram(**state["training_entropy"]),
        EntropyHistogram(**state["held_out_entropy"]),
        str(state["dataset"]),
        str(state["fingerprint"]),
        counts,
        None if class_names is None else tuple(map(str, class_names)),
    )


@torch.no_grad()
def _logits(network: Classifier, images: Tensor | LazyImages) -> Tensor:
    device = next(network.parameters()).device

    def run(batch: Tensor) -> Tensor:
        with full_precision():
            return network(to_float(to_device(batch, device)))

    size = fitting_batch_size(run, images[torch.zeros(1, dtype=torch.int64)], device)
    return torch.cat([run(batch) for batch in images.split(size)])


def _accuracy(logits: Tensor, dataset: Dataset) -> float:
    return (logits.argmax(1) == dataset.test_labels).double().mean().item()
