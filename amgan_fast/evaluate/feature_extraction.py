"""What makes features of images, and how many of them are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from amgan_fast.evaluate.classifiers.extractors import FeatureExtractor
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier

_REFERENCE_BYTES = 2**30  # of float32 features of real images, all of which memorisation wants
_FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class FeatureExtraction:
    """Of one set of samples.

    >>> from amgan_fast.evaluate.feature_extraction import FeatureExtraction
    >>> extraction = FeatureExtraction(extractor=None, most=10_000)
    >>> extraction.number_kept(dim=2048), extraction.of_reference().number_kept(dim=2048)
    (10000, 131072)
    """

    extractor: FeatureExtractor | None
    """None: the classifier, whose last layer takes them."""
    most: int
    """Samples whose features are kept as they are, for scores that compare them one by one."""
    as_many_as_fit: bool = False
    """Whether more of them are kept, as 1 GiB holds."""

    def of_reference(self) -> FeatureExtraction:
        """Of real images, whose nearest ones to each sample are looked for."""
        return replace(self, as_many_as_fit=True)

    def number_kept(self, dim: int) -> int:
        """How many are kept of ``dim`` features each."""
        return max(self.most, _REFERENCE_BYTES // (_FLOAT_BYTES * dim)) if self.as_many_as_fit else self.most

    def identity(self, classifier: ImageClassifier | None) -> str:
        """What tells the features from others: the network by its weights, and what it is given of an image.

        Args:
            classifier: whose features they are where there is no extractor of their own.
        """
        network = self.extractor or classifier
        return "none" if network is None else f"{network.sha256 or network.name}, input {network.inputs}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values that name it."""
        return {"extractor": self.extractor and self.extractor.to_dict(), "samples_kept": self.most}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureExtraction:
        """What a :meth:`to_dict` tells of it, which can extract no more.

        Raises:
            KeyError, TypeError, ValueError: it is of no :meth:`to_dict`.
        """
        extractor = values["extractor"] and FeatureExtractor.from_dict(values["extractor"])
        return cls(extractor, values["samples_kept"])
