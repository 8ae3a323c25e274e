"""The classifier that guides a run, from a file or from the run's folder."""

from __future__ import annotations

from pathlib import Path

import torch

from amgan_fast.data import Dataset
from amgan_fast.errors import InputError
from amgan_fast.evaluate import TrainedClassifier, read_classifier
from amgan_fast.runs import Config, RunFolder


def read_guide(config: Config, folder: RunFolder, dataset: Dataset, device: torch.device) -> TrainedClassifier | None:
    """The one that the run's folder keeps, or for a new run that of the file; None: the run is not guided.

    Raises:
        InputError: no such file, a damaged one, or a classifier of other images or classes.
    """
    if not config.guidance:
        return None
    kept = folder.guidance_classifier
    path = kept if kept.is_file() else Path(config.guidance_classifier or "")
    if not path.is_file():
        raise InputError(f"guidance_classifier is {path}, wanted a file that amgan-fast train-classifier wrote")
    try:
        guide = read_classifier(path, device)
    except InputError as error:
        raise InputError(f"guidance_classifier: {error}") from None
    network = guide.network
    for what, found, wanted in (
        ("images", _shown(network.image_shape), _shown(dataset.image_shape)),
        ("classes", network.num_classes, dataset.num_classes),
    ):
        if found != wanted:
            raise InputError(
                f"guidance_classifier is {path}, whose {what} are {found}, wanted {wanted} as of {dataset.name}"
            )
    return guide


def notes_on_guide(guide: TrainedClassifier, judge: TrainedClassifier, dataset: Dataset) -> list[str]:
    """What a reader of the run's scores has to know of it, a line each.

    Args:
        judge: what scores are taken with.
    """
    notes = []
    if guide.fingerprint != dataset.fingerprint():
        notes.append(f"guidance_classifier was trained on other data ({guide.dataset})")
    if guide.sha256() == judge.sha256():
        notes.append(
            "guidance_classifier IS THE JUDGE: the run is scored with the very classifier that guides it, so its "
            "scores say that this one is pleased, and nothing of the images; guide with another (amgan-fast "
            "train-classifier --seed 1 ...)"
        )
    return notes


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
