"""The classifier that scores are computed with, and what must be known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.data import Dataset, to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate.scoring import score_images
from amgan_fast.nn import Classifier
from amgan_fast.runs import load_checkpoint, save_checkpoint

_BATCH_SIZE = 1000
_ACCURACY_TOLERANCE = 0.002  # devices and versions of PyTorch differ in last digits, and so in borderline images


@dataclass(frozen=True)
class ScoringClassifier:
    """A trained classifier, in evaluation mode and frozen."""

    network: Classifier
    reference: Tensor
    """Its mean class distribution on the training set, float64 [K]: the reference of the AM Score."""
    test_accuracy: float
    """On the held-out images."""
    dataset: str
    fingerprint: str
    """SHA-256 of the dataset it was trained and tested on."""

    def sha256(self) -> str:
        """Of its weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        save_checkpoint(
            path,
            {
                "network": self.network.state_dict(),
                "image_shape": list(self.network.image_shape),
                "num_classes": self.network.num_classes,
                "reference": self.reference,
                "test_accuracy": self.test_accuracy,
                "dataset": self.dataset,
                "fingerprint": self.fingerprint,
            },
        )


def measure_classifier(network: Classifier, dataset: Dataset) -> ScoringClassifier:
    """Freeze a trained network, which is on the dataset's device, and measure what scores need to know of it."""
    network.eval().requires_grad_(False)
    real = score_images((to_float(images) for images in dataset.train_images.split(_BATCH_SIZE)), network)
    reference = torch.tensor(real.class_distribution, dtype=torch.float64)
    return ScoringClassifier(network, reference, _accuracy(network, dataset), dataset.name, dataset.fingerprint())


def load_classifier(path: Path, dataset: Dataset) -> ScoringClassifier:
    """Load a classifier to the dataset's device and test it again.

    Raises:
        InputError: no such file, a damaged one, one of another dataset, or one that tests otherwise than it says.
    """
    state = load_checkpoint(path)
    try:
        network = Classifier(tuple(state["image_shape"]), state["num_classes"])
        network.load_state_dict(state["network"])
        classifier = ScoringClassifier(
            network.to(dataset.test_images.device).eval().requires_grad_(False),
            *(state[name] for name in ("reference", "test_accuracy", "dataset", "fingerprint")),
        )
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} holds no classifier that fits ({error}), wanted a run's classifier.pt") from None
    if classifier.fingerprint != dataset.fingerprint():
        raise InputError(f"{path} was trained on other data ({classifier.dataset}), wanted this {dataset.name}")
    accuracy = _accuracy(network, dataset)
    if abs(accuracy - classifier.test_accuracy) > _ACCURACY_TOLERANCE:
        raise InputError(f"{path} tests at {accuracy:.4f}, wanted {classifier.test_accuracy:.4f} as when it was saved")
    return classifier


@torch.no_grad()
def _accuracy(network: Classifier, dataset: Dataset) -> float:
    logits = torch.cat([network(to_float(images)) for images in dataset.test_images.split(_BATCH_SIZE)])
    return (logits.argmax(1) == dataset.test_labels).double().mean().item()
