"""The class distribution of a training set, from what there is of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.errors import InputError, counted, in_one_line
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.passes import Pass
from amgan_fast.evaluate.sources import Source
from amgan_fast.evaluate.sources.npy import damage_named, read_npy_header, read_rows
from amgan_fast.evaluation_request import Settings
from amgan_fast.metrics import PROBABILITIES_FOR_LOGITS, as_distribution
from amgan_fast.metrics.distribution import SampledDistribution
from amgan_fast.processes import Share
from amgan_fast.progress import Progress

_PRINTED = "what amgan-fast evaluate --json printed"


@dataclass(frozen=True, eq=False)
class TrainingDistribution:
    """The class distribution of a training set."""

    probabilities: Tensor
    """float64 [K], on the CPU."""
    warnings: tuple[str, ...] = ()
    """What makes it doubtful."""
    sampled: SampledDistribution | None = None
    """The same with what its own error follows from, where its samples were scored here; None: it is taken as exact."""
    class_shares: Tensor | None = None
    """float64 [K]: the parts of the training set that have the label of each class; None: not known."""

    @property
    def reference(self) -> Tensor | SampledDistribution:
        """For scores."""
        return self.probabilities if self.sampled is None else self.sampled

    @classmethod
    def of(cls, distribution: Tensor, *, probability_like: bool = False) -> TrainingDistribution:
        """``probability_like``: of the scores that it is from."""
        return cls(distribution, (PROBABILITIES_FOR_LOGITS,) if probability_like else ())  # no order matters here


def read_training_distribution(path: Path) -> TrainingDistribution | None:
    """K probabilities from a .json that ``amgan-fast evaluate --json`` printed for the training set, or a
    .npy of them; None for anything else: samples of the training set, to be scored themselves.

    Raises:
        InputError: a .json or a vector that holds something else.
    """
    if path.is_dir():
        return None
    if path.suffix == ".json":
        return _from_json(path)
    if path.suffix == ".npy" and path.is_file():
        return _from_vector(path)
    return None


def measure_training_distribution(
    source: Source,
    classifier: ImageClassifier | None,
    settings: Settings,
    share: Share,
    progress: Progress | None = None,
) -> TrainingDistribution:
    """The mean class distribution of a training set: one pass over it.

    Raises:
        InputError: as :func:`amgan_fast.evaluate.evaluate`.
    """
    splits = min(10, source.count)  # of which blocks follow, and from these its error
    settings = replace(settings, splits=splits, contiguous=False, modes=False, sampling="auto", compat=None)
    training = Pass(source, classifier, None, settings, share, progress)
    scores = training.run().scores
    vector = torch.tensor(scores.class_distribution, dtype=torch.float64)
    found = TrainingDistribution.of(vector, probability_like=scores.probability_like)
    return replace(
        found,
        warnings=found.warnings + _left_out(source),
        sampled=training.distribution(),
        class_shares=training.class_shares(),
    )


def _left_out(source: Source) -> tuple[str, ...]:
    if not source.skipped:
        return ()
    return (f"{counted(len(source.skipped), 'image')} that cannot be used, the first: {source.skipped[0]}",)


def _from_json(path: Path) -> TrainingDistribution:
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))["generated"]["scores"]
        numbers = [float(number) for number in scores["class_distribution"]]
        probability_like = "probability_like" in scores and scores["probability_like"] is True
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}), wanted {_PRINTED}") from None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else in_one_line(error)
        raise InputError(f"{path} holds no scores ({reason}), wanted {_PRINTED}") from None
    return TrainingDistribution.of(_checked(path, numbers), probability_like=probability_like)


def _from_vector(path: Path) -> TrainingDistribution | None:
    with damage_named(str(path)), path.open("rb") as file:
        header = read_npy_header(file, str(path), os.fstat(file.fileno()).st_size)
        if len(header.shape) != 1:
            return None
        if header.dtype.kind not in "fiu":
            raise InputError(f"{path} is {header}, wanted K probabilities or logits [N, K]")
        values = read_rows(file, header, header.shape[0])
    return TrainingDistribution(_checked(path, values.astype(np.float64)))


def _checked(path: Path, vector: Sequence[float] | np.ndarray) -> Tensor:
    try:
        return as_distribution(vector, len(vector))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None
