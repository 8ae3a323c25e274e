"""The Inception Score of infinitely many samples by extrapolation: for comparison with the corrected one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from amgan_fast.metrics.accumulator import ScoreAccumulator
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.estimate import Estimate
from amgan_fast.metrics.moments import RandomSample
from amgan_fast.metrics.row_accumulator import accumulate
from amgan_fast.metrics.statistics import log_inception_score
from amgan_fast.ops import ScoreSums

_SIZES = 15
_SMALLEST = 0.1  # of all: 5,000 of 50,000 in the paper
_FEWEST, _MOST = 10, 100  # blocks


def inception_score_infinity(
    values: ScoreAccumulator | Array | Iterable[Array], *, from_logits: bool = True, seed: int = 0
) -> Estimate:
    """IS-infinity (Chong and Forsyth, arXiv 1911.07023, section 4): the score of N samples falls on a straight line in
    1/N, and where that meets 1/N = 0 is the score of infinitely many.

    The line is fitted by least squares through the scores (not their logarithms) of random subsets of 15 sizes, in
    equal steps from a tenth of the samples to all of them (in the paper's code from 5,000 to 50,000). Subsets are of
    blocks of samples, whose sums are known, where the paper draws single samples: no logits are kept, and a larger
    subset costs nothing.

    It has the same aim as :attr:`Scores.inception_score_corrected`, which has the slope from the variance of p instead
    of from a fit, and is the better of the two: in simulations this one's error was 1.1 to 2.2 times as large, since
    chance chooses the subsets. Where the smallest has few samples a class the line is no longer straight: of 10,000
    samples of 1,000 certain classes it ends 1% too low. Samples are taken to be drawn at random and to come in random
    order; a fixed number of samples a class makes it too high, as it does the corrected score without ``strata``.

    The paper has no error. Here it is the jackknife's: each block is left out of every subset that holds it, and the
    line is fitted anew. Blocks weigh unequally in the fit, so that the degrees of freedom are fewer than blocks
    (Satterthwaite's formula for those weights). In simulations intervals of uncertain classifiers held the truth in 94
    to 96% of all sets; those of certain ones, whose score varies to second order only, are up to twice as wide as need
    be.

    Args:
        values: an accumulator of at least 10 blocks that hold samples; or logits [N, K], or batches of these, as for
            :func:`scores`, which are taken in 100 blocks.
        from_logits: as of :meth:`ScoreAccumulator.update`.
        seed: of the subsets. The same sums and seed give the same number.

    Warns:
        ScoreWarning: logits that seem to be probabilities.

    Raises:
        TypeError: no tensor or array, or a dtype that is not floating point.
        ValueError: a wrong shape, fewer than 10 blocks of samples, or a row that gives no distribution.

    >>> import torch
    >>> from amgan_fast.metrics import inception_score_infinity, scores
    >>> logits = 4 * torch.randn(2000, 10, generator=torch.Generator().manual_seed(0))
    >>> score = inception_score_infinity(logits)
    >>> print(f"{score.value:.2f}, {score.interval[0]:.2f} to {score.interval[1]:.2f}")
    5.05, 4.93 to 5.16
    """
    if not isinstance(values, ScoreAccumulator):
        values = accumulate(ScoreAccumulator, values, from_logits, "values")
    estimate = _extrapolated(_blocks_of(values), seed)
    values.first_rows.warn()
    return estimate


def _blocks_of(accumulator: ScoreAccumulator) -> ScoreSums:
    """[B, ...], on the CPU, all of which hold samples."""
    state = accumulator.state_dict()
    sums = ScoreSums(*(state[name].cpu() for name in ScoreSums._fields))
    group = torch.arange(len(sums.count), device="cpu") % _MOST
    groups = ScoreSums.zeros(int(group.max()) + 1, num_classes=sums.prob.size(1), device="cpu")
    for total, part in zip(groups, sums, strict=True):
        total.index_add_(0, group, part)
    used = groups.count > 0
    if int(used.sum()) < _FEWEST:
        raise ValueError(f"blocks with samples are {int(used.sum())}, wanted at least {_FEWEST}")
    return groups.map(lambda total: total[used])


def _extrapolated(blocks: ScoreSums, seed: int) -> Estimate:
    count = len(blocks.count)
    subsets = _subsets(count, seed)
    kept = torch.cat([torch.ones_like(subsets[:1]), 1 - torch.eye(count, dtype=torch.float64, device="cpu")])
    within = kept[:, None] * subsets  # of all blocks first, then without each
    sums = blocks.map(lambda total: torch.tensordot(within, total, 1))
    inverse, scores = 1 / sums.count, log_inception_score(RandomSample(sums)).exp()
    weights = _intercept_weights(inverse)
    value, *without = (weights * scores).sum(1)
    error = (torch.stack(without).var(correction=0) * (count - 1)).sqrt()
    share = (weights[0] * inverse[0]) @ (subsets * blocks.count)  # of each block in the value
    freedom = share.square().sum().square() / share.pow(4).sum()
    return Estimate(float(value), float(error), float(freedom))


def _subsets(blocks: int, seed: int) -> Tensor:
    """[sizes, blocks], float64: 1 where a subset holds a block. Each holds two at least: one can be left out."""
    smallest = max(2.0, _SMALLEST * blocks)
    sizes = torch.linspace(smallest, blocks, _SIZES, dtype=torch.float64, device="cpu").round().long().unique()
    generator = torch.Generator().manual_seed(seed)
    subsets = torch.zeros(len(sizes), blocks, dtype=torch.float64, device="cpu")
    for subset, size in zip(subsets, sizes.tolist(), strict=True):
        subset[torch.randperm(blocks, generator=generator, device="cpu")[:size]] = 1
    return subsets


def _intercept_weights(x: Tensor) -> Tensor:
    """[..., n]: what each of n values at x weighs in the intercept of their regression line."""
    middle = x.mean(-1, keepdim=True)
    off = x - middle
    return 1 / x.size(-1) - off * middle / off.square().sum(-1, keepdim=True)
