"""Scores that compare the features of samples with those of real images, of what one pass over each has kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from amgan_fast.evaluate.feature_collector import FeatureCollector
from amgan_fast.evaluate.feature_reference import FeatureReference
from amgan_fast.metrics import (
    ClassFrechetDistance,
    Diversity,
    DiversitySums,
    Estimate,
    EstimatedDifference,
    FeatureSample,
    FrechetDistance,
    KernelDistance,
    Memorisation,
    NearestDistances,
    Numbers,
    PrecisionRecall,
    class_frechet_distance,
    frechet_distance,
    kernel_distance,
    memorisation,
    precision_recall,
    suggested_bandwidth,
    welch,
)
from amgan_fast.progress import Progress

_T = TypeVar("_T")

_STEPS = 5
_FREQUENCIES = 512  # of diversity: seconds, where 1,024 take ten times as long and come somewhat nearer to all pairs
_FEW_HELD_OUT = 200  # of which is seen whether they are among the training images


@dataclass(frozen=True, repr=False)
class FeatureScores(Numbers):
    """Of one set of samples. Fields are None where they are not to be had: beside mean and covariance alone there is
    the Fréchet distance only.

    >>> import torch
    >>> from amgan_fast.evaluate import FeatureScores
    >>> from amgan_fast.evaluate.feature_scores import feature_rows
    >>> from amgan_fast.metrics import GaussianMoments, frechet_distance
    >>> mine, others = (GaussianMoments(mean, torch.eye(2)) for mean in (torch.ones(2), torch.zeros(2)))
    >>> distance = frechet_distance(mine, others)
    >>> feature_rows([FeatureScores(1000, None, 0, 0, 0, distance, None, None, None, None, None)])[0]
    ('Fréchet distance (lower is better)', ['2.0000'])
    """

    n: int
    """Samples."""
    n_reference: int | None
    """Real images; None: of mean and covariance, which do not tell."""
    kept: int
    """Samples whose features were kept: of the kernel distance and nearness to training images."""
    kept_reference: int
    """Real images that the kernel distance is of."""
    even: int
    """Samples, and real images, that precision, recall, density, coverage and diversity are of: as many of both, since
    how large these are depends on it."""
    frechet: FrechetDistance
    classes: ClassFrechetDistance | None
    """Class by class; None where classes are not known of both, or are too many for the memory."""
    kernel: KernelDistance | None
    precision_recall: PrecisionRecall | None
    diversity: Diversity | None
    memorisation: Memorisation | None
    """None where there are no held-out images, or not all training images were kept."""
    notes: tuple[str, ...] = ()
    """Why parts are missing that might be expected."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes them doubtful."""
        classes = () if self.classes is None or not self.classes.missing else self.classes.warnings[:1]
        return (*self.frechet.warnings, *classes)


def feature_scores(
    samples: FeatureCollector,
    reference: FeatureReference,
    held_out: FeatureCollector | None,
    what: str,
    progress: Progress,
) -> FeatureScores:
    """
    Args:
        samples: of the pass over them.
        held_out: of the pass over real images that are not the reference's; None: there was none, or these are they.
        what: the samples, for ``progress``.

    Raises:
        ValueError: samples and reference are of another number of features, or too few.
    """

    def step(done: int) -> None:
        progress(f"feature scores of {what}", done, _STEPS)

    parts = _Parts()
    step(0)
    n = samples.moments.samples
    frechet = frechet_distance(samples.moments, reference.moments)
    step(1)
    classes = None
    if samples.classes is not None and reference.classes is not None:
        mine, others = samples.classes, reference.classes
        classes = parts.of("distances within classes", lambda: class_frechet_distance(mine, others))
    elif samples.keeping.too_large:
        parts.notes.append("distances within classes: their moments would take more than 1 GiB")
    step(2)
    if reference.sample is None:
        return FeatureScores(n, None, 0, 0, 0, frechet, classes, None, None, None, None, tuple(parts.notes))
    kept, real = samples.sample, reference.sample
    if len(real.indices) > samples.keeping.most:
        real = real.thinned(samples.keeping.most)
    kernel = parts.of("kernel distance", lambda: kernel_distance(kept, real))
    step(3)
    # How large these are depends on how many there are: as many of both.
    even = min(len(kept.indices), len(real.indices))
    some, some_real = kept.thinned(even).features, real.thinned(even).features
    manifolds = parts.of("precision and recall", lambda: precision_recall(samples=some, reference=some_real))
    step(4)
    spread = parts.of("diversity", lambda: _diversity(some, suggested_bandwidth(some_real)))
    copied = None
    if held_out is not None:
        copied = parts.of("nearness to training images", lambda: _memorisation(kept, held_out.sample, reference.sample))
    step(_STEPS)
    return FeatureScores(
        n,
        reference.sample.samples,
        len(kept.indices),
        len(real.indices),
        even,
        frechet,
        classes,
        kernel,
        manifolds,
        spread,
        copied,
        tuple(parts.notes),
    )


class _Parts:
    """Scores of which one that is not to be had leaves the others."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def of(self, name: str, measure: Callable[[], _T]) -> _T | None:
        try:
            return measure()
        except ValueError as error:  # too few samples, or all alike
            self.notes.append(f"{name}: {error}")
            return None


def _memorisation(kept: FeatureSample, held_out: FeatureSample, training: FeatureSample | None) -> Memorisation:
    if training is None or not training.is_whole:
        found = 0 if training is None else len(training.indices)
        raise ValueError(f"{found:,} of the real images were kept, wanted all (--feature-samples of their --state)")
    few = held_out.features[:_FEW_HELD_OUT]
    nearest = NearestDistances(few)
    nearest.update(training.features)
    if bool((nearest.compute() == 0).double().mean() > 0.5):
        raise ValueError("most held-out images are among the real ones that samples are compared with, wanted others")
    return memorisation(kept, held_out=held_out, training=training)


def _diversity(features: Tensor, bandwidth: float) -> Diversity:
    sums = DiversitySums(features.size(1), bandwidth, components=_FREQUENCIES)
    sums.update(features)
    return sums.compute()


def feature_rows(sets: Sequence[FeatureScores | None]) -> list[tuple[str, list[str]]]:
    """(name, a cell for each set of samples), as of :func:`amgan_fast.evaluate.score_rows`; none where no one asked."""
    rows: list[tuple[str, list[str]]] = []
    for name, cell in _ROWS:
        cells = ["-" if one is None else cell(one) for one in sets]
        if any(text != "-" for text in cells):
            rows.append((name, cells))
    return rows


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def _range(interval: tuple[float, float] | None, digits: int = 4) -> str:
    return "-" if interval is None else " to ".join(_number(end, digits) for end in interval)


_Cell = Callable[[FeatureScores], str]


def _of(part: str, field: str, digits: int = 4) -> _Cell:
    """A number of a part that may not be there; of a field that ends in ci95, its two ends."""
    text: Callable[..., str] = _range if field.endswith("ci95") else _number

    def cell(one: FeatureScores) -> str:
        found = getattr(one, part)
        return "-" if found is None else text(getattr(found, field), digits)

    return cell


def _if_enough(cell: _Cell, few: Callable[[FeatureScores], bool]) -> _Cell:
    """With a word of it where there are too few samples for it."""

    def marked(one: FeatureScores) -> str:
        text = cell(one)
        return f"{text} (too few samples)" if text != "-" and few(one) else text

    return marked


def _few(one: FeatureScores) -> bool:
    return one.frechet.few_samples


def _few_of_classes(one: FeatureScores) -> bool:
    return one.classes is not None and bool(one.classes.warnings)


_INTERVAL = "  95% interval"
_KERNEL_DIGITS = 5  # the distances of good models are below 0.01

_ROWS: tuple[tuple[str, _Cell], ...] = (
    ("Fréchet distance (lower is better)", _of("frechet", "value")),
    ("  corrected for its bias", _if_enough(_of("frechet", "corrected"), _few)),
    ("  95% interval of that", _of("frechet", "ci95")),
    ("  mean of those within classes", _of("classes", "value")),
    ("    corrected", _if_enough(_of("classes", "corrected"), _few_of_classes)),
    ("    95% interval of that", _of("classes", "ci95")),
    ("Kernel distance (lower is better)", _of("kernel", "value", _KERNEL_DIGITS)),
    (_INTERVAL, _of("kernel", "ci95", _KERNEL_DIGITS)),
    ("  samples, real images", lambda one: f"{one.kept:,}, {one.kept_reference:,}" if one.kept else "-"),
    ("samples, and real images, from here on", lambda one: f"{one.even:,}" if one.even else "-"),
    ("Precision (higher is better)", _of("precision_recall", "precision")),
    (_INTERVAL, _of("precision_recall", "precision_ci95")),
    ("Recall (higher is better)", _of("precision_recall", "recall")),
    (_INTERVAL, _of("precision_recall", "recall_ci95")),
    ("Density (higher is better)", _of("precision_recall", "density")),
    (_INTERVAL, _of("precision_recall", "density_ci95")),
    ("Coverage (higher is better)", _of("precision_recall", "coverage")),
    (_INTERVAL, _of("precision_recall", "coverage_ci95")),
    ("Vendi score, diversity", _of("diversity", "vendi", 2)),
    (_INTERVAL, _of("diversity", "vendi_ci95", 2)),
    ("RKE, diversity", _of("diversity", "rke", 2)),
    (_INTERVAL, _of("diversity", "rke_ci95", 2)),
    ("nearer to training than held-out (0.5)", _of("memorisation", "nearer")),
    (_INTERVAL, _of("memorisation", "nearer_ci95")),
)

FEATURE_SCORES = {
    "frechet": "Fréchet distance, corrected",
    "classes": "  within classes, mean, corrected",
    "kernel": "Kernel distance",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
}
"""What each is called of which there is a difference."""


_NEIGHBOURS = ("precision", "recall", "density", "coverage")


def feature_differences(first: FeatureScores, second: FeatureScores) -> dict[str, EstimatedDifference]:
    """Of each, the first set's less the second's, by the keys of :data:`FEATURE_SCORES`, where both are known.

    Precision and what else depends on how many samples there are is left out where these numbers differ. Samples are
    taken as independent. Both are compared with the same real images, whose error the intervals have twice: they are
    rather too wide.
    """
    alike = [name for name in FEATURE_SCORES if first.even == second.even or name not in _NEIGHBOURS]
    pairs = {name: [_estimate(name, one) for one in (first, second)] for name in alike}
    found = {name: welch(a, b) for name, (a, b) in pairs.items() if a is not None and b is not None}
    return {name: one for name, one in found.items() if one is not None}


def _estimate(name: str, scores: FeatureScores) -> Estimate | None:
    neighbours = scores.precision_recall
    if name in _NEIGHBOURS:
        return None if neighbours is None else neighbours.estimates[name]
    part: FrechetDistance | ClassFrechetDistance | KernelDistance | None = getattr(scores, name)
    return None if part is None else part.estimate
