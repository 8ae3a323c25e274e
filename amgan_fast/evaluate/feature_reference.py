"""The real images whose features samples are compared with: those of a pass over them, or mean and covariance alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from amgan_fast.evaluate.feature_collector import FeatureCollector
from amgan_fast.metrics import ClassFeatureMoments, FeatureMoments, FeatureSample, GaussianMoments
from amgan_fast.tensor_files import tensor_bytes


@dataclass(frozen=True, eq=False)
class FeatureReference:
    """What feature scores compare with.

    >>> import torch
    >>> from amgan_fast.evaluate.feature_reference import FeatureReference
    >>> from amgan_fast.metrics import GaussianMoments
    >>> given = GaussianMoments(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    >>> FeatureReference.exact(given, "statistics.npz").sample is None
    True
    """

    kept: FeatureCollector | GaussianMoments
    """Mean and covariance of files are taken as exact; those of a pass are of a sample, whose error counts."""
    origin: str
    """What it is of, in one line."""
    sha256: str
    """Of what tells the images from others, as far as that is known without reading them, or of mean and covariance."""

    @property
    def moments(self) -> FeatureMoments | GaussianMoments:
        return self.kept.moments if isinstance(self.kept, FeatureCollector) else self.kept

    @property
    def sample(self) -> FeatureSample | None:
        return self.kept.sample if isinstance(self.kept, FeatureCollector) else None

    @property
    def classes(self) -> ClassFeatureMoments | None:
        return self.kept.classes if isinstance(self.kept, FeatureCollector) else None

    def state_dict(self) -> dict[str, Any]:
        """What is kept, as numbers and tensors by name."""
        if isinstance(self.kept, FeatureCollector):
            return {"collector": self.kept.state_dict()}
        return {"mean": self.kept.mean, "covariance": self.kept.covariance}

    @classmethod
    def exact(cls, moments: GaussianMoments, origin: str) -> FeatureReference:
        """Of a mean and a covariance."""
        digest = hashlib.sha256(tensor_bytes(moments.mean) + tensor_bytes(moments.covariance))
        return cls(moments, origin, digest.hexdigest())

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], origin: str, sha256: str) -> FeatureReference:
        """
        Raises:
            KeyError, ValueError: it is of no :meth:`state_dict`.
        """
        if "collector" not in state:
            return cls(GaussianMoments(state["mean"], state["covariance"]), origin, sha256)
        kept = FeatureCollector(FeatureCollector.keeping_of(state["collector"]), torch.device("cpu"))
        kept.load_state_dict(state["collector"])
        return cls(kept, origin, sha256)

    def to_dict(self) -> dict[str, Any]:
        """What names it."""
        exact = isinstance(self.kept, GaussianMoments)
        samples = None if self.sample is None else self.sample.samples
        return {"origin": self.origin, "sha256": self.sha256, "exact": exact, "samples": samples}
