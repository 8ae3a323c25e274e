"""Training runs of a few steps, for tests."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amgan_fast.data import Dataset, load_dataset
from amgan_fast.device import cpu_threads
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.runs import Config, RunFolder
from amgan_fast.tensor_files import load_tensors
from amgan_fast.train import Observer, Result, train, train_classifier


def tiny_config(**options) -> Config:
    few = {"steps": 6, "log_every": 2, "score_every": 4, "score_samples": 200, "final_samples": 600}
    return Config.for_dataset("digits", **{**few, "device": "cpu", **options})


@functools.cache
def digits() -> Dataset:
    return load_dataset("digits")


@functools.cache
def digits_classifier() -> TrainedClassifier:
    """Trained for a moment only."""
    with cpu_threads(1):
        return train_classifier(digits(), steps=60)


def use_classifier_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let ``folder`` be the user's cache, with :func:`digits_classifier` in it; returns the classifier's file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    file = folder / "amgan_fast" / f"classifier-digits-{digits().fingerprint()[:12]}.pt"
    file.parent.mkdir(parents=True)
    digits_classifier().save(file)
    return file


def write_digits(folder: Path, pictures: int | None = None) -> None:
    """classifier.pt, and the held-out digits as digits.npz with labels and in digits/ with a folder for each class,
    there the first ``pictures``, or all."""
    digits_classifier().save(folder / "classifier.pt")
    images, labels = digits().test_images, digits().test_labels
    np.savez(folder / "digits.npz", arr_0=images.permute(0, 2, 3, 1).numpy(), arr_1=labels.numpy())
    for i, (image, label) in enumerate(zip(images[:pictures], labels[:pictures], strict=True)):
        (folder / "digits" / str(int(label))).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / "digits" / str(int(label)) / f"{i:03}.png")


def train_classifiers_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of datasets that have none in the cache."""

    def moment(dataset: Dataset, observer: Observer) -> TrainedClassifier:
        return train_classifier(dataset, steps=20, observer=observer)

    monkeypatch.setattr("amgan_fast.train.classifier_training.train_classifier", moment)


def tiny_run(out: Path, **options) -> Result:
    return train(tiny_config(**options), out)


def assert_same_state(got, want, path=""):
    """Tensors to the bit."""
    assert type(got) is type(want), path
    if isinstance(want, dict):
        assert got.keys() == want.keys(), path
        for name in want:
            assert_same_state(got[name], want[name], f"{path}/{name}")
    elif isinstance(want, (list, tuple)):
        assert len(got) == len(want), path
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            assert_same_state(a, b, f"{path}/{i}")
    elif isinstance(want, torch.Tensor):
        assert torch.equal(got, want), path
    elif not path.endswith("/seconds"):
        assert got == want, path


def assert_same_run(got: Path, want: Path):
    a, b = RunFolder(got), RunFolder(want)
    assert_same_state(load_tensors(a.checkpoint), load_tensors(b.checkpoint))
    summaries = [json.loads(run.summary.read_text()) for run in (a, b)]
    assert summaries[0]["generated"] == summaries[1]["generated"]
    rows = [[json.loads(line) for line in run.metrics.read_text().splitlines()] for run in (a, b)]
    timed = ("seconds", "images_per_second")
    assert [{k: v for k, v in row.items() if k not in timed} for row in rows[0]] == [
        {k: v for k, v in row.items() if k not in timed} for row in rows[1]
    ]
    assert [grid.read_bytes() for grid in a.grids()] == [grid.read_bytes() for grid in b.grids()]
