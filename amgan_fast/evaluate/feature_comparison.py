"""By which features samples are compared with which real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from amgan_fast.errors import InputError, as_input_error, counted
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.feature_extraction import FeatureExtraction
from amgan_fast.evaluate.feature_reference import FeatureReference
from amgan_fast.evaluate.feature_scores import feature_scores
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluate.passes import Pass, Passed
from amgan_fast.evaluate.sources import Source
from amgan_fast.evaluation_request import Settings
from amgan_fast.processes import Share
from amgan_fast.progress import Progress


@dataclass(frozen=True, eq=False)
class FeatureComparison:
    """What makes the features, and what they are compared with."""

    extraction: FeatureExtraction
    reference: FeatureReference
    passed: Passed | None = None
    """Over the real images; None: their mean and covariance, or their sums, were in a file."""

    @classmethod
    def of_passed(cls, extraction: FeatureExtraction, passed: Passed) -> FeatureComparison:
        """With the real images that a pass has gone through, features included."""
        kept = passed.collector.features
        if kept is None:
            raise ValueError(f"{passed.source.description}: no features were kept, wanted those of a pass with some")
        source = passed.source
        reference = FeatureReference(kept, source.description, source.record().fingerprint)
        return cls(extraction, reference, passed)

    def require_fitting(self, passes: Sequence[Passed]) -> None:
        """
        Raises:
            InputError: the real images have another number of features than those of a pass.
        """
        dim = self.reference.moments.dim
        for one in passes:
            kept = one.collector.features
            if kept is not None and kept.keeping.dim != dim:
                raise InputError(
                    f"{self.reference.origin}: {counted(dim, 'feature')}, wanted {kept.keeping.dim:,} as of "
                    f"{one.source.description} (--features)"
                )

    def scores_of(
        self, passes: Sequence[Passed], done: Sequence[Measurements], progress: Progress
    ) -> list[Measurements]:
        """What was measured, with the scores of the features.

        Args:
            passes: over the samples, and over held-out ones if there are any.
            done: what was measured in them.

        Raises:
            InputError: too few samples, or features of another number than the reference's.
        """
        kept = [one.collector.features for one in passes]
        held_out = kept[1] if len(kept) > 1 else None
        found = []
        for one, measured, features in zip(passes, done, kept, strict=True):
            if features is None:
                found.append(measured)
                continue
            others = None if features is held_out else held_out
            what = one.source.description
            try:
                with as_input_error():
                    scores = feature_scores(features, self.reference, others, what, progress)
            except RuntimeError as error:  # no memory, or a decomposition that does not converge
                raise InputError(f"scores of features of {what}: {error}") from error
            found.append(replace(measured, features=scores))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values that name both."""
        return self.extraction.to_dict() | {"reference": self.reference.to_dict()}

    def provenance(self) -> list[tuple[str, str]]:
        """(name, value) for people."""
        reference = self.reference
        dim = f"{reference.moments.dim:,}"
        extractor = self.extraction.extractor
        if extractor is None:
            lines = [("features", f"{dim}, what the last layer of the classifier takes")]
        else:
            lines = [("features", f"{dim} of {extractor.name}")]
            if extractor.note:
                lines.append(("", extractor.note))
            digest = f"{extractor.sha256} of {extractor.sha256_of}" if extractor.sha256 else "none: no weights to hash"
            lines += [("", f"SHA-256 {digest}"), ("", f"input {extractor.inputs}")]
        exact = "taken as exact" if reference.sample is None else "a sample too: its error is in the intervals"
        lines.append(("", f"compared with those of {reference.origin}, {exact}"))
        return lines


def measure_real_features(
    source: Source,
    classifier: ImageClassifier | None,
    extraction: FeatureExtraction,
    settings: Settings,
    share: Share,
    progress: Progress,
) -> FeatureComparison:
    """With all of ``source``, in one pass over it.

    Raises:
        InputError: as :func:`amgan_fast.evaluate.evaluate`.
    """
    settings = settings.for_real(source.count)
    real = Pass(source, classifier, None, settings, share, progress, features=extraction.of_reference())
    real.run()
    return FeatureComparison.of_passed(extraction, real.passed)
