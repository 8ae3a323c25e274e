"""Random pairs of images, and the mean over such pairs with its standard error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amgan_fast.metrics.estimate import Estimate


def draw_pairs(images: int, pairs: int, random: torch.Generator) -> Tensor:
    """Distinct pairs of distinct images, int64 [2, P] with numbers below ``images``; P = min(pairs, all there are).

    The images are shuffled and paired in rounds in which each takes part once, as at a tournament (one sits out where
    their number is odd). So they take part equally often, up to two times, which keeps the variance of a mean over the
    pairs low, and up to images/2 pairs share no image.
    """
    shuffled = torch.randperm(images, generator=random)
    a_round = images // 2
    number = torch.arange(min(pairs, images * (images - 1) // 2))
    # The circle method. Those on a circle of odd length pair up around the one at `turn`; where the number of images
    # is even, that one pairs with the image in the middle, else it sits out.
    circle = images - 1 + images % 2
    turn, distance = number // max(a_round, 1), number % max(a_round, 1) + images % 2
    left = (turn + distance) % max(circle, 1)
    right = torch.where(distance > 0, (turn - distance) % max(circle, 1), circle)
    return shuffled[torch.stack([left, right])]


def mean_over_pairs(values: Tensor, pairs: Tensor, images: int) -> Estimate:
    """Mean of a symmetric function of two images and its standard error; None where there is nothing to tell it from.

    Pairs that share an image are not independent. With e_p = value_p - mean, the variance of the mean is estimated by

        max(sum over p and q that share an image (p = q included) of e_p e_q / D,  sum_p e_p^2 / (P (P - 1)))

    with D the number of ordered pairs (p, q) that share none. The first is the sum of Aronow, Samii and Assenova
    ("Cluster-robust variance estimation for dyadic data", 2015), divided so that it is unbiased where all images take
    part equally often; the second holds for independent pairs, and sharing images cannot make a mean more precise than
    that. Without shared images both are the usual one. Degrees of freedom are one less than the pairs, or than the
    images in them where those are fewer.

    Args:
        values: [P], float64, on the CPU.
        pairs: [2, P], as :func:`draw_pairs` gives them.
        images: how many there were to draw from, which are taken for independent draws themselves.
    """
    count = len(values)
    mean = float(values.mean())
    residual = values - mean
    by_image = torch.zeros(images, dtype=values.dtype).index_add(0, pairs.flatten(), residual.repeat(2))
    squares = residual.square().sum()
    turns = pairs.flatten().bincount()
    disjoint = count * count + count - int(turns.square().sum())
    if not disjoint:
        return Estimate(mean, None, None)
    variance = max((by_image.square().sum() - squares) / disjoint, squares / (count * (count - 1)))
    return Estimate(mean, math.sqrt(variance), min(count, int(turns.count_nonzero())) - 1)
