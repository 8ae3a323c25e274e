"""Distances to the nearest of features that come batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.feature_arrays import as_features, refuse_not_finite
from amgan_fast.metrics.feature_sample import FeatureSample, kept_features
from amgan_fast.metrics.squared_distances import centred, mean_of, squared_distances

_ROWS = 1024  # of either side at a time


class NearestDistances:
    """Of each query the Euclidean distance to the nearest training feature, of any number of these in constant memory.

    Which is the nearest is found by :func:`amgan_fast.metrics.squared_distances.squared_distances`, its distance then
    computed from differences: copies are exactly 0 away, and what is equally far by whole numbers is so here.

    Args:
        queries: [N, D] floating point, or a :class:`FeatureSample`; at least 1. Distances are computed where they are.

    Raises:
        TypeError: no tensor or array, or of another dtype.
        ValueError: another shape, none, or values that are not finite.

    >>> import torch
    >>> from amgan_fast.metrics import NearestDistances
    >>> nearest = NearestDistances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    >>> for batch in torch.tensor([[3.0, 4.0], [9.0, 9.0], [0.0, 2.0]]).split(2):
    ...     nearest.update(batch)
    >>> nearest.compute().tolist(), nearest.training
    ([2.0, 0.0], 3)
    """

    def __init__(self, queries: Array | FeatureSample) -> None:
        features = kept_features("queries", queries, least=1)
        self.dim = features.size(1)
        self.training = 0
        """Training features seen."""
        self._centre = mean_of(features)
        self._features = features
        self._queries = centred(features, self._centre)
        self._squares = features.new_full((len(features),), torch.inf)

    @torch.no_grad()
    def update(self, training: Array) -> None:
        """Add a batch of training features.

        Args:
            training: [M, D] floating point.

        Raises:
            TypeError: no tensor or array, or of another dtype.
            ValueError: another shape, or values that are not finite. Nothing is added then.
        """
        features = as_features("training", training, self.dim)
        refuse_not_finite("training", features, self.training)
        features = features.to(self._squares.device, torch.float32)
        for start in range(0, len(features), _ROWS):
            part = slice(start, start + _ROWS)
            rows = centred(features[part], self._centre)
            for first in range(0, len(self._squares), _ROWS):
                few = slice(first, first + _ROWS)
                nearest = features[part][squared_distances(self._queries[few], rows).argmin(1)]
                squares = (self._features[few] - nearest).square().sum(1)
                self._squares[few] = torch.minimum(self._squares[few], squares)
        self.training += len(features)

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the training features of all processes of the group, which have the same queries, those of each: every
        process must call, once, in the end."""
        distributed.all_reduce(self._squares, distributed.ReduceOp.MIN, group=group)
        seen = torch.tensor(self.training, device=self._squares.device)
        distributed.all_reduce(seen, group=group)
        self.training = int(seen)

    def compute(self) -> Tensor:
        """float64 [N], on the CPU.

        Raises:
            ValueError: no training feature yet.
        """
        if not self.training:
            raise ValueError("no training features, wanted at least one update before compute")
        return self._squares.double().sqrt().cpu()
