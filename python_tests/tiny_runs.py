"""Training runs of a few steps, for tests."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from amgan_fast.data import Dataset, load_dataset
from amgan_fast.evaluate import ScoringClassifier
from amgan_fast.runs import Config, cpu_threads
from amgan_fast.train import Result, train, train_classifier


def tiny_config(**options) -> Config:
    few = {"steps": 6, "log_every": 2, "score_every": 4, "score_samples": 200, "final_samples": 600}
    return Config.for_dataset("digits", **{**few, "device": "cpu", **options})


@functools.cache
def digits() -> Dataset:
    return load_dataset("digits")


@functools.cache
def digits_classifier() -> ScoringClassifier:
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


def tiny_run(out: Path, **options) -> Result:
    return train(tiny_config(**options), out)
