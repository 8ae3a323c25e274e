"""Squared Euclidean distances of features, by matrix products, with the digits of those that are near."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amgan_fast.precision import without_autocast

_NEAR = 2**-10
_PAIRS = 2**21  # values of pairs at a time


@dataclass(frozen=True, eq=False)
class CentredRows:
    """Features less a common centre, and their squared lengths."""

    values: Tensor
    """float32 [N, D]."""
    squares: Tensor
    """float32 [N]."""

    def __getitem__(self, rows: slice) -> CentredRows:
        return CentredRows(self.values[rows], self.squares[rows])


def centred(features: Tensor, centre: Tensor) -> CentredRows:
    """
    Args:
        features: float32 [N, D].
        centre: [D], the same for all features that are compared.
    """
    values = features - centre.to(features)
    return CentredRows(values, values.square().sum(1))


def mean_of(features: Tensor) -> Tensor:
    """[D], float64: a good centre."""
    return features.mean(0, dtype=torch.float64)


def squared_distances(x: CentredRows, y: CentredRows) -> Tensor:
    """float32 [N, M].

    |x|^2 + |y|^2 - 2 x . y, as ``torch.cdist`` has it in its fast mode, errs by up to 3e-7 of |x|^2 + |y|^2 (2,048
    values, float32), whatever the distance: two copies of a feature of Inception's come out 0.02 apart, where a typical
    distance is 16. The slow mode of ``torch.cdist`` is exact and takes 15 to 20 times as long. Here features are
    centred, which makes lengths less, and pairs nearer than |x|^2 + |y|^2 over 1,024 are computed anew from
    differences: copies are exactly 0 apart, and no squared distance is off by more than 4e-4 of itself.
    """
    with without_autocast(x.values.device):
        lengths = x.squares[:, None] + y.squares
        distances = torch.addmm(lengths, x.values, y.values.T, alpha=-2)
        rows, columns = (distances < lengths.mul_(_NEAR)).nonzero(as_tuple=True)
    at_once = max(1, _PAIRS // x.values.size(1))
    for i, j in zip(rows.split(at_once), columns.split(at_once), strict=True):
        distances[i, j] = (x.values[i] - y.values[j]).square().sum(1)
    return distances
