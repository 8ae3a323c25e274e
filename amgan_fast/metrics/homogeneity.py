"""Whether two samples come equally often in every class: Pearson's test of homogeneity, for stratified samples too.

With n_A and n_B samples, fractions a_k and b_k of them in class k, and p_k the fractions of both together, Pearson's
statistic is

    X^2 = sum_k (a_k - b_k)^2 / p_k / (1/n_A + 1/n_B).

Of two random samples it is about chi-square with K - 1 degrees of freedom. Where numbers of samples were fixed in
strata (so many of each class asked for), counts vary less: stratum h with n_h samples and fractions a_hk adds

    (n_h/n_A)^2 (diag(a_h) - a_h a_h') / (n_h - 1)

to the covariance of a, which is the sum of these. X^2 is then a sum of squares of normal variables weighted by the
eigenvalues of the covariance of a - b relative to diag(p). First moments of these weights, t_1 = sum of them and
t_2 = sum of their squares, are traces, and X^2 t_1 / t_2 is about chi-square with t_1^2 / t_2 degrees of freedom:
Satterthwaite's approximation, the second-order correction of Rao and Scott (Journal of the American Statistical
Association 76, 1981; Annals of Statistics 12, 1984, and 15, 1987; Rao and Thomas in Analysis of Complex Surveys, 1989).
With random samples alone it changes nothing. Four things are done with care:

- t_2 of an estimated covariance is too large, and degrees of freedom then too few. The square of each stratum's own
  covariance is estimated without bias, whatever the distribution (Himeno and Yamada, Journal of Multivariate Analysis
  130, 2014; from four samples on).
- p weights both samples by their precision, as counts do where both are random: a and b by the variance of the other,
  summed over classes. So p, and what depends on it, is uncorrelated with a - b.
- Small cells are merged by p alone, in the order of classes. n samples are worth n/f random ones, f being the variance
  of their fractions relative to that of random ones. Cells are small where both samples together are worth fewer than
  10 counts (of two equal random ones: 5 in each), and are dealt, one class to each in turn, to as many cells as then
  have 10 each. To choose by what each sample shows of a cell, or by rank, would be to choose by the difference, and the
  level would be wrong.
- A stratum of one sample shows no variance. Such strata are taken for one stratum together, a single one with the
  smallest other, which takes the variance to be larger than it is (collapsed strata: Wolter, Introduction to Variance
  Estimation, 2007, section 2.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_SMALL = 10.0  # counts of both samples together


@dataclass(frozen=True)
class Homogeneity:
    """Where there is no test, numbers are None."""

    cells: int | None = None
    """Classes compared, small ones merged."""
    chi_square: float | None = None
    """Pearson's statistic, corrected for strata."""
    degrees_of_freedom: float | None = None
    p_value: float | None = None
    reason: str | None = None
    """Why there is no test."""


def homogeneity(first: Tensor, second: Tensor) -> Homogeneity:
    """Compare two samples.

    Args:
        first, second: counts by class, [K] of a random sample, or [S, K] of strata, not all 0.
    """
    a, b = _Sample.of(first), _Sample.of(second)
    together = (a.counts + b.counts) / (a.n + b.n)
    spread = float(1 - together.square().sum())  # n times the variance of a random sample, summed over classes
    var_a, var_b = a.variance(together), b.variance(together)
    if not spread:
        return Homogeneity(1, reason="all samples of both sets are of one class")
    if not var_a + var_b:
        return Homogeneity(1, reason="the counts of both sets are fixed: in each stratum all samples are of one class")
    share = var_b / (var_a + var_b)
    probabilities = share * a.fractions + (1 - share) * b.fractions
    # Each count is an event that moves a fraction by 1/n: as many events as make the mean square of these the variance.
    worth = (var_a + var_b) ** 2 / (var_a / a.n**2 + var_b / b.n**2) / spread
    cell_of = _cells(probabilities, worth)
    a, b, probabilities = a.merged(cell_of), b.merged(cell_of), _merged(probabilities[None], cell_of)[0]
    cells = len(probabilities)
    if cells < 2:
        return Homogeneity(cells, reason="too few counts vary by chance: small classes merged, a single one is left")
    return _test(a, b, probabilities)


def _test(a: _Sample, b: _Sample, probabilities: Tensor) -> Homogeneity:
    cells = len(probabilities)
    weights = a.covariance(probabilities) + b.covariance(probabilities)
    mean = float(weights.trace())
    if mean <= 0:
        return Homogeneity(cells, reason="no count varies by chance: small classes merged, all others are fixed")
    excess = a.excess_square(probabilities) + b.excess_square(probabilities)
    # An estimate may be lower, the true sum of squares of cells - 1 weights is not.
    square = max(float(weights.square().sum()) - excess, mean**2 / (cells - 1))
    distance = float(((a.fractions - b.fractions).square() / probabilities).sum())
    chi_square, freedom = distance * mean / square, mean**2 / square
    return Homogeneity(cells, chi_square, freedom, _upper_tail(chi_square, freedom))


@dataclass(frozen=True, eq=False)
class _Sample:
    """Counts by stratum and class; a random sample is one stratum."""

    table: Tensor
    """float64 [S, K]"""
    sizes: Tensor
    """[S, 1], samples of each stratum."""

    @classmethod
    def of(cls, counts: Tensor) -> _Sample:
        table = torch.atleast_2d(counts).to("cpu", torch.float64)
        sizes = table.sum(1, keepdim=True)
        table, sizes = table[sizes[:, 0] > 0], sizes[sizes > 0][:, None]
        single = sizes[:, 0] == 1
        if single.any() and len(table) > 1:
            if int(single.sum()) == 1:
                single[torch.where(single, torch.inf, sizes[:, 0]).argmin()] = True
            table = torch.cat([table[~single], table[single].sum(0, keepdim=True)])
        return cls(table, table.sum(1, keepdim=True))

    @property
    def n(self) -> float:
        return float(self.sizes.sum())

    @property
    def counts(self) -> Tensor:
        """[K]"""
        return self.table.sum(0)

    @property
    def fractions(self) -> Tensor:
        """[K]"""
        return self.counts / self.n

    @property
    def is_random(self) -> bool:
        return len(self.table) == 1

    def merged(self, cell_of: Tensor) -> _Sample:
        return replace(self, table=_merged(self.table, cell_of))

    def variance(self, probabilities: Tensor) -> float:
        """Of the fractions, summed over classes; ``probabilities``: of a random sample."""
        if self.is_random:
            return float(1 - probabilities.square().sum()) / self.n
        within = self.sizes / (self.sizes - 1) * self.table * (1 - self.table / self.sizes)
        return float(within.sum()) / self.n**2

    def covariance(self, probabilities: Tensor) -> Tensor:
        """[K, K], of the fractions over the roots of ``probabilities``."""
        roots = probabilities.sqrt()
        if self.is_random:
            return (torch.eye(len(roots), dtype=torch.float64) - roots.outer(roots)) / self.n
        unbiased = self.sizes / (self.sizes - 1) * self.table
        within = unbiased.sum(0).diag() - (unbiased / self.sizes).T @ self.table
        return within / roots.outer(roots) / self.n**2

    def excess_square(self, probabilities: Tensor) -> float:
        """What the sum of squares of :meth:`covariance` is too large on average: each stratum's own part, less Himeno
        and Yamada's estimate of it. ``4`` stands in for sizes whose part stays."""
        if self.is_random:
            return 0.0
        known = self.sizes >= 4
        n, m = torch.where(known, self.sizes, 4.0), self.table / self.sizes
        length = (m.square() / probabilities).sum(1, keepdim=True)  # of the mean of the stratum's one-hot rows, squared
        trace = n / (n - 1) * ((m / probabilities).sum(1, keepdim=True) - length)
        of_square = (m.square() - 2 * m**3) / probabilities.square()
        square = (n / (n - 1)).square() * (of_square.sum(1, keepdim=True) + length.square())
        fourth = (self.table * ((1 - 2 * m) / probabilities + length).square()).sum(1, keepdim=True) / (n - 1)
        unbiased = (n - 1) / (n * (n - 2) * (n - 3)) * ((n - 1) * (n - 2) * square + trace.square() - n * fourth)
        return float(torch.where(known, (self.sizes / self.n) ** 4 * (square - unbiased) / n**2, 0.0).sum())


def _cells(probabilities: Tensor, worth: float) -> Tensor:
    """int64 [K], the cell of each class, so that all have ``_SMALL`` counts of ``worth``, where there are as many."""
    expected = worth * probabilities
    large, small = (expected >= _SMALL).nonzero()[:, 0], (expected < _SMALL).nonzero()[:, 0]
    cell_of = torch.empty(len(expected), dtype=torch.int64)
    cell_of[large] = torch.arange(len(large))
    if not len(small):
        return cell_of
    in_turn = torch.arange(len(small))
    for cells in range(int(expected[small].sum() / _SMALL), 0, -1):
        dealt = in_turn % cells
        if float(torch.zeros(cells, dtype=torch.float64).index_add_(0, dealt, expected[small]).min()) >= _SMALL:
            cell_of[small] = len(large) + dealt
            return cell_of
    cell_of[small] = int(expected[large].argmin()) if len(large) else 0
    return cell_of


def _merged(table: Tensor, cell_of: Tensor) -> Tensor:
    """[S, K] -> [S, cells]"""
    cells = int(cell_of.max()) + 1
    return torch.zeros(len(table), cells, dtype=torch.float64).index_add_(1, cell_of, table)


def _upper_tail(statistic: float, freedom: float) -> float:
    """Of the chi-square distribution, the regularised incomplete gamma function Q(k/2, x/2)."""
    halves = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(*halves))
