"""Which neighbourhoods of a set of features hold those of another: in both sets, and in halves of both.

Halves are for the error. Numbers that rest on nearest neighbours are no smooth functions of a set's distribution, and a
jackknife that leaves out one sample or group after the other gives up to twice their standard error: each left out
changes the neighbourhoods around it. Two halves of both sets have no sample in common, however: what is found in one is
independent of what is found in the other, and half of their difference has the error of the whole, as long as errors
go with 1 / sqrt(N). Each set is dealt out to 32 groups in turn, and 31 pairs of halves of 16 groups each are taken as
in balanced repeated replication (McCarthy, "Replication", 1966), by the columns of a Hadamard matrix: of what is a mean
over samples they give the variance between all groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from amgan_fast.metrics.squared_distances import centred, mean_of, squared_distances

GROUPS = 32
HALVES = GROUPS - 1
_ROWS = 32 * GROUPS  # of each set at a time


def halves() -> Tensor:
    """bool [32, 31]: of each group, whether it is in the first half or in the second one of each pair of halves."""
    from scipy.linalg import hadamard

    return torch.from_numpy(hadamard(GROUPS)[:, 1:] > 0)


class FeatureGroups:
    """Features, the i-th of which is in group i modulo 32.

    Args:
        features: float32 [N, D].
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features
        self.groups = torch.arange(len(features), device=features.device) % GROUPS
        """int64 [N]."""
        self.pieces = [slice(start, start + _ROWS) for start in range(0, len(features), _ROWS)]
        """Of rows, which begin with group 0."""

    @cached_property
    def sides(self) -> Tensor:
        """bool [N, 31]: which half of each pair each feature is in."""
        return halves().to(self.groups.device)[self.groups]

    def nearest(self, k: int) -> Tensor:
        """float32 [N, 32, k], ascending: squared distances of each to the k nearest others in each group; infinite
        where there are fewer."""
        rows = centred(self.features, mean_of(self.features))
        found = self.features.new_full((len(self.features), GROUPS, k), torch.inf)
        for place, piece in enumerate(self.pieces):
            for other in self.pieces[place:]:
                distances = squared_distances(rows[piece], rows[other])
                if other is piece:
                    distances.fill_diagonal_(torch.inf)
                else:
                    _keep_nearest(found[other], distances.T)
                _keep_nearest(found[piece], distances)
        return found

    def balls(self, nearest: Tensor, k: int) -> Balls:
        """Up to the k-th nearest other one; ``nearest`` holds at least k of each group."""
        nearest = nearest[:, :, :k]
        in_halves = [
            nearest.masked_fill(~together[:, :, None], torch.inf).flatten(1).kthvalue(k).values
            for together in self.together()
        ]
        return Balls(nearest.flatten(1).kthvalue(k).values, torch.stack(in_halves, 1))

    def together(self) -> Iterator[Tensor]:
        """Of one pair of halves after the other bool [N, 32]: whether each group is in the half of each feature."""
        groups = halves().to(self.groups.device)
        for pair in range(HALVES):
            yield self.sides[:, pair, None] == groups[:, pair]


class Balls(NamedTuple):
    """Neighbourhoods of the features of a set, by their squared radii."""

    radii: Tensor
    """float32 [N]."""
    in_halves: Tensor
    """float32 [N, 31]: in the half that the feature is in, of each pair; none is below ``radii``."""


class Hits:
    """How many balls each point is in.

    Args:
        points: whose set it is.
        centres: of the balls.
        balls: theirs.
    """

    def __init__(self, points: FeatureGroups, centres: FeatureGroups, balls: Balls) -> None:
        self._points, self._centres, self._balls = points, centres, balls
        self._least, self._largest = balls.in_halves.aminmax(dim=1)
        count, device = len(points.features), balls.radii.device
        self._hits = torch.zeros(count, dtype=torch.int32, device=device)
        # Of balls of each group, where they hold the point in all halves; and of each half where only in some.
        self._always = torch.zeros(count, GROUPS, dtype=torch.int32, device=device)
        self._sometimes = torch.zeros(count, HALVES, dtype=torch.int32, device=device)

    def add(self, distances: Tensor, points: slice, centres: slice) -> None:
        """
        Args:
            distances: [p, b], squared, of these points to these centres.
        """
        self._hits[points] += (distances <= self._balls.radii[centres]).sum(1, dtype=torch.int32)
        always = distances <= self._least[centres]
        self._always[points] += _by_group(always, False).sum(1, dtype=torch.int32)
        rows, columns = ((distances <= self._largest[centres]) & ~always).nonzero(as_tuple=True)
        inside = distances[rows, columns, None] <= self._balls.in_halves[centres][columns]
        inside &= self._points.sides[points][rows] == self._centres.sides[centres][columns]
        self._sometimes[points].index_add_(0, rows, inside.int())

    def mean(self, of_hits: Callable[[Tensor], Tensor]) -> WithHalves:
        """Of a function over the points."""
        always = [(self._always * together).sum(1) for together in self._points.together()]
        in_halves = torch.stack(always, 1) + self._sometimes
        return _with_halves(of_hits(self._hits), of_hits(in_halves), self._points.sides)


class Nearest:
    """Of each ball's centre the nearest point of each group of points.

    Args:
        centres: of the balls.
        balls: theirs.
    """

    def __init__(self, centres: FeatureGroups, balls: Balls) -> None:
        self._centres, self._balls = centres, balls
        self._nearest = balls.radii.new_full((len(balls.radii), GROUPS), torch.inf)

    def add(self, distances: Tensor, centres: slice, points: slice) -> None:
        """
        Args:
            distances: [b, p], squared, of these centres to these points.
        """
        nearest = self._nearest[centres]
        torch.minimum(nearest, _by_group(distances, torch.inf).amin(1), out=nearest)

    def share(self) -> WithHalves:
        """Of the balls that hold a point."""
        held = self._nearest.amin(1) <= self._balls.radii
        in_halves = [self._nearest.masked_fill(~group, torch.inf).amin(1) for group in self._centres.together()]
        held_in_halves = torch.stack(in_halves, 1) <= self._balls.in_halves
        return _with_halves(held.double(), held_in_halves.double(), self._centres.sides)


@dataclass(frozen=True)
class WithHalves:
    """A number of two sets, and what it is in their halves."""

    value: float
    in_halves: float
    """The mean over all halves: of sets of half as many samples."""
    standard_error: float


def _with_halves(values: Tensor, in_halves: Tensor, sides: Tensor) -> WithHalves:
    """Means over points.

    Args:
        values: float64 [N].
        in_halves: float64 [N, 31], in the half that each is in.
        sides: bool [N, 31], which that is.
    """
    first = (in_halves * sides).sum(0) / sides.sum(0)
    second = (in_halves * ~sides).sum(0) / (~sides).sum(0)
    variance = ((first - second) / 2).square().mean()
    return WithHalves(float(values.mean()), float((first + second).mean() / 2), float(variance.sqrt()))


def _by_group(values: Tensor, otherwise: float) -> Tensor:
    """[p, B, 32] of values [p, b] whose columns begin with group 0, ``otherwise`` to fill the last row of B."""
    if over := values.size(1) % GROUPS:
        values = pad(values, (0, GROUPS - over), value=otherwise)
    return values.reshape(len(values), -1, GROUPS)


def _keep_nearest(nearest: Tensor, distances: Tensor) -> None:
    """In [p, 32, k], of distances [p, b] to others."""
    together = torch.cat([nearest.transpose(1, 2), _by_group(distances, torch.inf)], 1)
    nearest.copy_(together.topk(nearest.size(2), 1, largest=False).values.transpose(1, 2))
