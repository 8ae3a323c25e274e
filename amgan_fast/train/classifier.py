"""Trains the classifier that scores need, or takes it from the cache."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from amgan_fast.data import Batches, Dataset, to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate import ScoringClassifier, load_classifier, measure_classifier
from amgan_fast.nn import Classifier
from amgan_fast.train.observer import Observer

_BATCH_SIZE = 128
_LEARNING_RATE = 2e-3
_EPOCHS_AT_LEAST = 3
_STEPS_AT_LEAST = 1500
_REPORT_EVERY = 20


def cached_classifier(dataset: Dataset, observer: Observer) -> ScoringClassifier:
    """The classifier of this dataset from the user's cache, trained first where there is none that fits.

    The cache is ``$XDG_CACHE_HOME/amgan_fast`` (``~/.cache/amgan_fast``).
    """
    path = _cache_folder() / f"classifier-{dataset.name}.pt"
    if path.exists():
        try:
            classifier = load_classifier(path, dataset)
            observer.message(f"classifier: {path}, test accuracy {classifier.test_accuracy:.2%}")
            return classifier
        except InputError as error:
            observer.message(f"classifier: the cached one cannot be used: {error}")
    observer.message(f"classifier: training on {dataset.name}")
    classifier = train_classifier(dataset, observer=observer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        classifier.save(path)
        kept = f"kept in {path}"
    except OSError as error:  # the run folder gets its copy all the same
        kept = f"not kept for the next run: {error}"
    observer.message(f"classifier: test accuracy {classifier.test_accuracy:.2%}, {kept}")
    return classifier


def train_classifier(dataset: Dataset, steps: int | None = None, observer: Observer | None = None) -> ScoringClassifier:
    """Train on the dataset's device, always from the same seed: runs that are compared share their classifier.

    Args:
        steps: batches of 128; None: three epochs, at least 1500.
    """
    device = dataset.train_images.device
    if steps is None:
        steps = max(_STEPS_AT_LEAST, _EPOCHS_AT_LEAST * len(dataset.train_images) // _BATCH_SIZE)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        network = Classifier(dataset.image_shape, dataset.num_classes).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=0.01, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
        batches = Batches(dataset.train_images, dataset.train_labels, _BATCH_SIZE, seed=0)
        for step, (images, labels) in zip(range(1, steps + 1), batches, strict=False):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(network(to_float(images)), labels).backward()
            optimizer.step()
            schedule.step()
            if observer is not None and step % _REPORT_EVERY == 0:
                observer.classifier_progress(step, steps)
    return measure_classifier(network, dataset)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amgan_fast"
