"""E ||grad d(x)||^2 of a discriminator's real/generated logit d, exactly and by finite differences.

Half of it, times a weight gamma, is R1 on real images and R2 on generated ones (Mescheder et al., "Which Training
Methods for GANs do actually Converge?", arXiv 1801.04406; both in R3GAN, arXiv 2501.05441).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from amgan_fast.objectives.arguments import check_floats

SIGMA = 0.01
"""Of the noise that finite differences are taken along, where images are in [-1, 1] (arXiv 2511.22475)."""


def gradient_penalty(d: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Mean of ||grad d(x)||^2 over a batch, by a graph of the gradient: its own gradient takes second derivatives.

    Args:
        d: images [N, ...] -> [N], each of its own image alone. Where a row depends on the others, as in batch norm with
            the statistics of the batch, the gradient is that of the sum over the batch.
        images: [N, ...], floating point; no gradient goes into them.

    >>> import torch
    >>> from amgan_fast.objectives import gradient_penalty
    >>> gradient_penalty(lambda x: x.square().sum(1), torch.tensor([[1.0, 2.0], [0.0, 1.0]])).item()  # of 4 |x|^2
    12.0
    """
    check_floats(images=images)
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(d(images).sum(), images, create_graph=True)
    return gradient.square().sum() / len(images)


def finite_difference_penalty(
    d: Callable[[Tensor], Tensor], images: Tensor, noise: Tensor, sigma: float = SIGMA
) -> Tensor:
    """Mean of ((d(x + sigma n) - d(x)) / sigma)^2 over a batch, with n from N(0, 1): near the mean of ||grad d(x)||^2
    as sigma goes to 0, without second derivatives (Adversarial Flow Models, arXiv 2511.22475).

    Args:
        d: images [2 N, ...] -> [2 N], in one call, each of its own image alone and without chance: any other difference
            between two calls is divided by sigma^2. In half precision the rounding of d is such a difference.
        images: [N, ...], floating point.
        noise: n, in the shape of ``images``.

    >>> import torch
    >>> from amgan_fast.objectives import finite_difference_penalty
    >>> images, noise = torch.zeros(1, 2), torch.tensor([[1.0, -2.0]])
    >>> round(finite_difference_penalty(lambda x: 3 * x[:, 0] + x[:, 1], images, noise).item(), 4)  # (3 - 2)^2
    1.0
    """
    check_floats(images=images, noise=noise)
    before, after = d(torch.cat([images, torch.add(images, noise, alpha=sigma)])).chunk(2)
    return ((after - before) / sigma).square().mean()
