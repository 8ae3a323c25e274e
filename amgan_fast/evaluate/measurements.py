"""Everything that is measured of a set of samples, from one pass over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from amgan_fast.evaluate.class_labels import Labelling
from amgan_fast.evaluate.feature_collector import FeatureCollector, FeatureKeeping
from amgan_fast.evaluate.feature_scores import FeatureScores
from amgan_fast.evaluate.gallery import Gallery, Shown
from amgan_fast.evaluate.other_tools import compat_scores, compat_sums
from amgan_fast.evaluate.sampling_choice import may_be_per_class, sampling_of
from amgan_fast.evaluation_request import Settings
from amgan_fast.metrics import (
    ClassSums,
    CompatScore,
    Copies,
    CopyCounts,
    EntropyCounts,
    EntropyHistogram,
    LabelBalance,
    LabelSums,
    ModeDrop,
    PerClass,
    RowTerms,
    ScoreAccumulator,
    Scores,
    StratumSums,
    as_distribution,
    mode_drop,
    row_hashes,
    without_score_warnings,
)
from amgan_fast.metrics.class_counts import ClassCounts
from amgan_fast.metrics.designs import Design
from amgan_fast.metrics.distribution import DistributionLike

_SUMS_BYTES = 2**27  # of the sums of each class, from which modes are dropped
_MODE_DROP_WORK = 2**24  # blocks x classes x classes x orders: some seconds
_PARTS = ("scores", "entropy", "balance", "modes", "classes", "copies", "features")


@dataclass(frozen=True, eq=False)
class Measurements:
    """Of one set of samples. Fields are None where they are not to be had.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate import Request, evaluate_request
    >>> np.save("logits.npy", 9 * np.eye(4, dtype=np.float32).repeat(25, axis=0))
    >>> measured = evaluate_request(Request(logits=Path("logits.npy"))).generated
    >>> measured.scores.n, measured.entropy.n, measured.balance
    (100, 100, None)
    """

    scores: Scores
    entropy: EntropyHistogram
    balance: LabelBalance | None
    """Against the reference; None without one."""
    label_accuracy: float | None
    """The fraction of samples whose likeliest class is their label; None where there are no labels."""
    modes: ModeDrop | None
    """Scores of samples by likeliest class, as classes are left out."""
    gallery: Tensor | None
    """uint8 [R, S, C, H, W], on the CPU: a row the first samples of a class, grey where there are no more; of more than
    20 classes the first samples in their order. None for logits."""
    label_note: str | None = None
    """Why there is no :attr:`label_accuracy` although samples have labels."""
    classes: PerClass | None = None
    """Of the samples with each label; None where there are no labels."""
    sampling_reason: str = "no labels that could tell otherwise"
    """Why samples were taken to be drawn as :attr:`Scores.sampling` has it."""
    compat: dict[str, CompatScore] | None = None
    """Inception Scores by the rules of other tools; None where :attr:`Settings.compat` names none."""
    copies: Copies | None = None
    """How many of the samples, or of the rows where there are no others, are the same. None: of an earlier version."""
    class_counts: Tensor | None = None
    """int64, on the CPU: how often each class is the likeliest, [K] of samples drawn at random, else [S, K] by label.
    None: not counted."""
    features: FeatureScores | None = None
    """Scores that compare features with those of real images; None: no one asked."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the scores doubtful."""
        copied = None if self.copies is None else self.copies.warning
        features = () if self.features is None else self.features.warnings
        return (*self.scores.warnings, *([copied] if copied else []), *features)

    def to_dict(self) -> dict[str, Any]:
        """Without pictures, and without counts by label."""
        parts = {name: getattr(self, name) for name in _PARTS}
        dicts = {name: part and part.to_dict() for name, part in parts.items()}
        texts = {name: getattr(self, name) for name in ("label_accuracy", "label_note", "sampling_reason")}
        compat = None if self.compat is None else {name: score.to_dict() for name, score in self.compat.items()}
        counts = self.class_counts
        random = None if counts is None or counts.ndim > 1 else counts.tolist()
        return dicts | texts | {"compat": compat, "class_counts": random, "warnings": list(self.warnings)}


class Collector:
    """Takes logits or probabilities, labels and images batch by batch; the state does not grow with the samples.

    Args:
        num_classes: the number of classes K.
        count: samples to come, of all processes.
        settings: how they are scored.
        device: of the logits.
        from_logits: False: they are probabilities.
        labels: what is known of their labels; None: there are none.
        start: samples that other processes take before the first one here.
        turns: [S], of these samples with each label; None: none.
        features: what is kept of their features; None: nothing.
    """

    def __init__(
        self,
        num_classes: int,
        count: int,
        settings: Settings,
        device: torch.device,
        *,
        from_logits: bool = True,
        labels: Labelling | None = None,
        start: int = 0,
        turns: Tensor | None = None,
        features: FeatureKeeping | None = None,
    ) -> None:
        self._from_logits = from_logits
        self.samples = 0
        """Rows taken by this process, those left out included."""
        self._settings = settings
        self._scores = ScoreAccumulator(
            num_classes,
            blocks=settings.blocks,
            splits=settings.splits,
            num_samples=count if settings.contiguous else None,
            skip_non_finite=settings.skip_non_finite,
            start=start,
            device=device,
        )
        self._compat = compat_sums(settings, num_classes, count, start, device)
        self._entropies = EntropyCounts(num_classes, device=device)
        self._copies = CopyCounts(device)
        self._blocks = min(20, _SUMS_BYTES // (24 * num_classes**2))
        self._classes = None
        if settings.modes and self._blocks:
            self._classes = ClassSums(num_classes, blocks=self._blocks, start=start, device=device)
        self._gallery = Gallery(num_classes)
        self._labels = labels
        self._by_label = None
        if labels is not None:
            self._by_label = LabelSums(num_classes, labels.number, classes=labels.classes, device=device)
        self._strata = None
        if labels is not None and may_be_per_class(settings, labels):
            self._strata = StratumSums(num_classes, labels.number, splits=settings.splits, turns=turns, device=device)
        by_label = None if self._strata is None else self._strata.strata
        self._counts = ClassCounts(num_classes, strata=by_label, device=device)
        self.features = None
        """What is kept of the samples' features."""
        if features is not None:
            before = _of_classes(turns, labels, num_classes)
            self.features = FeatureCollector(features, device, start=start, class_starts=before)

    @property
    def wants_images(self) -> bool:
        """Whether some are still missing for the sheet."""
        return not self._gallery.is_full

    def update(
        self,
        logits: Tensor,
        labels: Tensor | None,
        images: Tensor | Shown | None,
        samples: Tensor | Sequence[Tensor] | None = None,
        features: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            logits: [N, K], or probabilities.
            labels: [N] of the source, or None.
            images: [N, C, H, W], uint8 or float in [-1, 1], or what makes them of those that are wanted; or None.
            samples: N, as the source has them: copies are the same in these. None: in the logits.
            features: [N, D]; None: there are none.

        Raises:
            ValueError: a row that gives no distribution, unless such rows are left out; features that are not finite.
        """
        rows = RowTerms(logits, from_logits=self._from_logits)
        self._scores.add(rows)  # refuses bad rows before anything is added
        self.samples += len(rows)
        hashes = row_hashes(logits if samples is None else samples)
        if self._settings.skip_non_finite and rows.good is not rows:
            kept = ~rows.bad
            labels = None if labels is None else labels.to(kept.device)[kept]
            images = None if images is None or not len(rows.good) else images[kept]
            hashes = hashes[kept.to(hashes.device)]
            features = None if features is None else features[kept.to(features.device)]
            rows = rows.good
        self._copies.add(hashes)
        if self._strata is not None and labels is not None:
            self._strata.add(rows, labels)
        if self._classes is not None:
            self._classes.add(rows, rows.likeliest)
        if self._compat is not None:
            self._compat.add(rows)
        self._entropies.add(rows)  # of the pass over each row that strata or classes have made
        self._counts.add(rows, None if self._strata is None else labels)
        if self._by_label is not None and labels is not None:
            self._by_label.add(rows, labels)
        if self.features is not None and features is not None:
            self.features.update(features, self._classes_of(labels))
        if images is not None:
            self._gallery.update(images, rows.likeliest)

    def _classes_of(self, labels: Tensor | None) -> Tensor | None:
        """The classes that labels stand for, where that is known."""
        if labels is None or self._labels is None or self._labels.classes is None:
            return None
        return self._labels.classes.to(labels.device)[labels]

    def all_reduce(self) -> None:
        """Make the samples of all processes those of each; pictures stay those of each."""
        for part in self._parts().values():
            part.all_reduce()

    def merge(self, other: Collector) -> None:
        """Add the samples of another, which come after those here.

        Raises:
            ValueError: they are of other settings, or splits are contiguous.
        """
        others = other._parts()
        for name, part in self._parts().items():
            part.merge(others[name])
        self._gallery.merge_state(other._gallery.state_dict())
        self.samples += other.samples

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors by name.

        Raises:
            ValueError: a row of logits that gives no distribution was found late, on a GPU.
        """
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return parts | {"gallery": self._gallery.state_dict(), "samples": self.samples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the samples of a :meth:`state_dict`; there may be more in it than is wanted here.

        Raises:
            KeyError, ValueError: it is of no collector like this one.
        """
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self._gallery.merge_state(state["gallery"])
        self.samples = int(state["samples"])

    def _parts(self) -> dict[str, Any]:
        """What collects, by name: each can be reduced, merged, saved and loaded."""
        parts = {
            "scores": self._scores,
            "compat": self._compat,
            "strata": self._strata,
            "entropies": self._entropies,
            "classes": self._classes,
            "labels": self._by_label,
            "counts": self._counts,
            "copies": self._copies,
            "features": self.features,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def compute(
        self, reference: DistributionLike | None, reference_counts: Tensor | None = None, *, partial: bool = False
    ) -> Measurements:
        """What there is so far.

        Args:
            reference: the class distribution of the training set, if there is one.
            reference_counts: how often each class is the likeliest there, as :attr:`Measurements.class_counts`; None:
                not known.
            partial: these are some of the samples: what was said of how all are drawn, per class, need not show.

        Raises:
            ValueError: no samples, a row of logits that gives no distribution was found late, on a GPU, or samples said
                to be drawn per class have one each.
        """
        strata, reason = self._drawn(partial)
        counts = self._counts.table("random" if strata is None else "per-class")
        with without_score_warnings():  # they are in the scores too
            scores = self._scores.scores_by(strata, reference)
            classes = self._per_class(partial)
            return Measurements(
                scores=scores,
                entropy=self._entropies.compute(),
                balance=None if reference is None else _balance(counts, scores, reference, reference_counts),
                label_accuracy=None if classes is None else classes.agreement,
                modes=self._mode_drop(reference),
                gallery=self._gallery.sheet(),
                label_note=None if self._labels is None else self._labels.note,
                classes=classes,
                sampling_reason=reason,
                compat=compat_scores(self._settings, self._compat, self._scores, scores.sampling),
                copies=self._copies.compute(),
                class_counts=counts,
            )

    def design(self, *, partial: bool = False) -> Design:
        """How the samples so far were drawn; ``partial`` as of :meth:`compute`.

        Raises:
            ValueError: as :meth:`compute`.
        """
        strata, _ = self._drawn(partial)
        return (self._scores if strata is None else strata).design()

    def class_shares(self) -> Tensor | None:
        """[K], float64: the parts of the samples so far that have the label of each class; None: not known."""
        return None if self._by_label is None else self._by_label.class_shares()

    def _drawn(self, partial: bool) -> tuple[StratumSums | None, str]:
        """The sums of strata that samples were drawn from, None where they were drawn at random, and why that is so."""
        counts = None if self._by_label is None else self._by_label.counts
        settings = replace(self._settings, sampling="auto") if partial else self._settings
        sampling, reason = sampling_of(settings, self._labels, counts)
        return self._strata if sampling == "per-class" else None, reason

    def _per_class(self, partial: bool) -> PerClass | None:
        if self._by_label is None or self._labels is None:
            return None
        return self._by_label.compute(self._labels.names, self.design(partial=partial).moments)

    def _mode_drop(self, reference: DistributionLike | None) -> ModeDrop | None:
        if self._classes is None:
            return None
        work = self._blocks * self._classes.num_classes**2
        orders = min(100, max(4, _MODE_DROP_WORK // work))
        return mode_drop(self._classes, orders=orders, reference=reference)


def _of_classes(turns: Tensor | None, labels: Labelling | None, num_classes: int) -> list[int] | None:
    """Of counts by label, those by class; None where there are none, or the classes are not known."""
    if turns is None or labels is None or labels.classes is None:
        return None
    counts = torch.zeros(num_classes, dtype=torch.int64)
    return counts.index_add_(0, labels.classes.cpu(), turns.cpu()).tolist()


def _balance(
    counts: Tensor, scores: Scores, reference: DistributionLike, reference_counts: Tensor | None
) -> LabelBalance:
    mean = torch.tensor(scores.class_distribution, dtype=torch.float64)
    return LabelBalance.of(counts, mean, as_distribution(reference), reference_counts)
