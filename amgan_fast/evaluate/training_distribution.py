"""The class distribution of a training set, from what there is of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.errors import InputError, counted, shown
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.classifiers.trained import read_classifier
from amgan_fast.evaluate.feature_extraction import FeatureExtraction
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluate.passes import Pass, Passed
from amgan_fast.evaluate.printed import contents_of_printed, read_printed
from amgan_fast.evaluate.sources import Source
from amgan_fast.evaluate.sources.npy import damage_named, read_npy_header, read_rows
from amgan_fast.evaluate.sources.record import SourceRecord
from amgan_fast.evaluation_request import Settings
from amgan_fast.metrics import PROBABILITIES_FOR_LOGITS, Sampling, as_distribution
from amgan_fast.metrics.distribution import SampledDistribution
from amgan_fast.processes import Share
from amgan_fast.progress import Progress


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
    class_counts: Tensor | None = None
    """int64, how often each class is the likeliest: [K] of samples drawn at random, else [S, K] by label. None: not
    known."""
    passed: Passed | None = None
    """What it was measured by; None: it was given."""
    origin: str = "given"
    """Where it is from."""
    sampling: Sampling | None = None
    """How its samples were drawn, which :attr:`sampled` goes by; None: it is taken as exact."""
    sampling_reason: str | None = None
    """Why that is taken to be so."""

    @property
    def reference(self) -> Tensor | SampledDistribution:
        """For scores."""
        return self.probabilities if self.sampled is None else self.sampled

    def shares_for(self, samples: Source | SourceRecord) -> Tensor | None:
        """:attr:`class_shares`, to compare the labels of others with; of these very samples they would tell nothing."""
        mine = None if self.passed is None else self.passed.source.record()
        return None if mine and mine.fingerprint == samples.record().fingerprint else self.class_shares

    @classmethod
    def of_classifier(cls, classifier: ImageClassifier) -> TrainingDistribution | None:
        """What it carries of its training set."""
        if classifier.reference is None:
            return None
        return cls(classifier.reference, class_counts=classifier.reference_counts, origin="the classifier's own")

    @classmethod
    def of(cls, distribution: Tensor, *, probability_like: bool = False) -> TrainingDistribution:
        """``probability_like``: of the scores that it is from."""
        return cls(distribution, (PROBABILITIES_FOR_LOGITS,) if probability_like else ())  # no order matters here


def read_training_distribution(path: Path) -> TrainingDistribution | None:
    """K probabilities from a .json that ``amgan-fast evaluate --json`` printed for the training set, a .npy of them, or
    the .pt of a classifier of this package, which carries those of its own; None for anything else: samples of the
    training set, to be scored themselves.

    Raises:
        InputError: a .json, a vector or a .pt that holds something else.
    """
    if path.is_dir():
        return None
    if path.suffix == ".json":
        return replace(_from_json(path), origin=f"scores of {path}")
    if path.suffix == ".pt":
        trained = read_classifier(path)
        return TrainingDistribution(
            trained.reference, class_counts=trained.reference_counts, origin=f"that of the classifier {path}"
        )
    if path.suffix == ".npy" and path.is_file():
        vector = _from_vector(path)
        return None if vector is None else TrainingDistribution(vector, origin=str(path))
    return None


def measure_training_distribution(
    source: Source,
    classifier: ImageClassifier | None,
    settings: Settings,
    share: Share,
    progress: Progress | None = None,
    *,
    features: FeatureExtraction | None = None,
) -> TrainingDistribution:
    """The mean class distribution of a training set: one pass over it.

    Args:
        features: that are kept in it, too; None: none are.

    Raises:
        InputError: as :func:`amgan_fast.evaluate.evaluate`.
    """
    kept = None if features is None else features.of_reference()
    training = Pass(source, classifier, None, settings.for_real(source.count), share, progress, features=kept)
    return distribution_of(training.passed, training.run())


def distribution_of(passed: Passed, measured: Measurements) -> TrainingDistribution:
    """Of a pass over a training set, or of merged parts of it."""
    vector = torch.tensor(measured.scores.class_distribution, dtype=torch.float64)
    found = TrainingDistribution.of(vector, probability_like=measured.scores.probability_like)
    return replace(
        found,
        warnings=found.warnings + ((passed.dark,) if passed.dark else ()) + _left_out(passed.source),
        origin=passed.source.description,
        sampled=SampledDistribution(passed.collector.design()),
        class_shares=passed.collector.class_shares(),
        class_counts=measured.class_counts,
        passed=passed,
        sampling=measured.scores.sampling,
        sampling_reason=measured.sampling_reason,
    )


def _left_out(source: Source | SourceRecord) -> tuple[str, ...]:
    if not source.skipped:
        return ()
    return (f"{counted(len(source.skipped), 'image')} that cannot be used, the first: {source.skipped[0]}",)


def _from_json(path: Path) -> TrainingDistribution:
    printed = read_printed(path)
    with contents_of_printed(path):
        generated = printed["generated"]
        scores, counts = generated["scores"], generated.get("class_counts")  # of earlier versions there are none
        numbers = [float(number) for number in scores["class_distribution"]]
        probability_like = "probability_like" in scores and scores["probability_like"] is True
    found = TrainingDistribution.of(_checked(path, numbers), probability_like=probability_like)
    return found if counts is None else replace(found, class_counts=_counts(path, counts, len(numbers)))


def _counts(path: Path, counts: object, num_classes: int) -> Tensor:
    whole = isinstance(counts, list) and all(type(count) is int and 0 <= count < 2**53 for count in counts)
    if not (isinstance(counts, list) and whole and len(counts) == num_classes and any(counts)):
        raise InputError(f"{path} has class_counts = {shown(counts)}, wanted {num_classes} counts of samples")
    return torch.tensor(counts)


def _from_vector(path: Path) -> Tensor | None:
    with damage_named(str(path)), path.open("rb") as file:
        header = read_npy_header(file, str(path), os.fstat(file.fileno()).st_size)
        if len(header.shape) != 1:
            return None
        if header.dtype.kind not in "fiu":
            raise InputError(f"{path} is {header}, wanted K probabilities or logits [N, K]")
        values = read_rows(file, header, header.shape[0])
    return _checked(path, values.astype(np.float64))


def _checked(path: Path, vector: Sequence[float] | np.ndarray) -> Tensor:
    try:
        return as_distribution(vector, len(vector))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None
