"""How samples were drawn, as far as the counts of their labels tell it: at random, or so many of each class.

Of N samples whose labels are drawn at random with probabilities w_k the counts n_k are multinomial, and Pearson's
chi-square is about that of S - 1 degrees of freedom. Samples that were dealt out by class are much closer to the shares
than that. How probable it is that chance alone comes as close is the lower tail of chi-square at

    sum_k ((n_k - N w_k)^2 + a) / (N w_k),    a = (S Gamma((S + 1) / 2)^2)^(1 / (S - 1)) / (pi S)

where a is for counts being whole numbers. They lie on the lattice A of S whole numbers that sum to 0, a cell of which
has the volume sqrt(S) (Conway and Sloane, Sphere Packings, Lattices and Groups, chapter 4). With a the ball of
this radius has the volume of a cell where all counts are what they should be, so that its tail is the probability of
that single point: 8% for two classes of 50 among 100, where without a it would be 0; then it is about as many cells as
there are points within.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Sampling = Literal["random", "per-class"]

_BY_CHANCE = 1e-6
_SELDOM = 0.01  # below it is worth saying, though not enough
_ENOUGH = 5  # samples a label, of which hardly one is missing by chance


def closeness_by_chance(counts: Tensor, shares: Tensor) -> float:
    """The probability that samples drawn at random come as close to their shares as these.

    Args:
        counts: [S], samples with each label.
        shares: [S], positive, sum 1: the probability of each label.
    """
    from scipy.special import chdtr

    labels, wanted = len(counts), float(counts.sum()) * shares.double()
    if labels < 2 or not counts.any():
        return 1.0
    log_cell = math.log(labels) + 2 * math.lgamma((labels + 1) / 2)
    whole = math.exp(log_cell / (labels - 1)) / (math.pi * labels)
    distance = float((((counts.double() - wanted).square() + whole) / wanted).sum())
    return float(chdtr(labels - 1, distance))


def sampling_of_counts(counts: Tensor, shares: Tensor | None = None) -> tuple[Sampling, str]:
    """How samples were drawn, and what of their labels tells it.

    Per class, where counts are closer to equal shares, or to ``shares``, than they are by chance one time in a million.
    Labels that no sample has count where there are fewer than five samples a label, since chance may have left them
    out. With more samples they are taken to be none of the classes.

    Args:
        counts: [S], samples with each label.
        shares: [S], the share of each label among all there are, such as a training set; None: not known.

    >>> import torch
    >>> from amgan_fast.metrics import sampling_of_counts
    >>> sampling_of_counts(torch.full((10,), 36))
    ('per-class', '360 samples of 10 classes, 36 each, closer to equal shares than chance allows')
    >>> sampling_of_counts(torch.tensor([50, 50]))
    ('random', '100 samples of 2 classes, 50 each, no closer to equal shares than by chance')
    """
    counts = counts.cpu()
    samples, there = int(counts.sum()), counts > 0
    expected = counts[there] if samples >= _ENOUGH * int(there.sum()) else counts
    tested = {"equal shares": (expected, torch.full((len(expected),), 1 / len(expected), dtype=torch.float64))}
    if shares is not None and (shares[there] > 0).all():
        known = shares > 0
        tested["the training set's shares"] = (counts[known], shares[known] / shares[known].sum())
    found = counts_in_words(counts)
    by_chance = {what: closeness_by_chance(*counts_and_shares) for what, counts_and_shares in tested.items()}
    closest = min(by_chance, key=lambda what: by_chance[what])
    probability = by_chance[closest]
    if probability < _BY_CHANCE:
        return "per-class", f"{found}, closer to {closest} than chance allows"
    if probability < _SELDOM:
        return "random", f"{found}, as close to {closest} as by chance with probability {probability:.1g}"
    return "random", f"{found}, no closer to equal shares than by chance"


def counts_in_words(counts: Tensor) -> str:
    """Of labels that samples have, [S].

    >>> import torch
    >>> from amgan_fast.metrics.sampling import counts_in_words
    >>> counts_in_words(torch.tensor([0, 400, 1200]))
    '1,600 samples of 2 classes, 400 to 1,200 each'
    """
    counts = counts[counts > 0]
    least, most = int(counts.min()), int(counts.max())
    classes = f"{len(counts):,} class" + ("" if len(counts) == 1 else "es")
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{int(counts.sum()):,} samples of {classes}, {each} each"
