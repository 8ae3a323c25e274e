"""Multi-scale structural similarity of two images, in its standard form and in one for small images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from amgan_fast.metrics.arrays import Array, as_tensor

STANDARD_SIZE = 161
"""The smallest height and width of the standard form: its fifth scale has to hold a window of 11."""

_INTERVALS = {1.0: (0, 1), 2.0: (-1, 1), 255.0: (0, 255)}
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, [W] section 3.2


def ms_ssim(images_a: Array, images_b: Array, *, form: str = "standard", data_range: float = 2) -> Tensor:
    """MS-SSIM of image i of one set with image i of the other: 1 for equal images, about 0 for unlike ones.

    Scale by scale, each half the size of the one before, a window goes over both images, and the covariance of what
    it sees is divided by the mean of the two variances; at the last scale the means are compared too. The value is the
    product over the five scales of the average over the image, each to a power of its own:

    - ``"standard"``: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment",
      2003 [W], equation 7, by pytorch-msssim: Gaussian windows of 11 pixels that stay inside the image. Channels are
      compared one by one and averaged; a scale that is negative on average counts as 0. Sizes that 16 does not divide
      are padded with black before halving.
    - ``"small"``: what the authors of AM-GAN (Zhou et al., arXiv 1703.02000) measured images of 32 x 32 with
      (``msssim`` in ``code/score.py`` of github.com/ZhimingZhou/AM-GANs-for-reproduce). Where an image is smaller
      than a window, the window shrinks to it and its Gaussian with it (11, 11, 8, 4, 2 pixels for 32 x 32);
      covariances count without their sign, so that an image and its negative are alike; channels are averaged before
      the scales are multiplied. Halving an odd size averages what is left at the border.

    The two are different measures: compare values of the same form, and of the same image size, only. Both see
    intensities from 0 (black) to ``data_range`` (white), so that a picture has the same value in whichever of the
    three intervals below it is given.

    Args:
        images_a: [N, C, H, W], floating point or uint8. Everything is computed in float64: variances are differences of
            large numbers, and float32 convolutions on a GPU may keep three digits only. Their range is looked at first:
            a GPU is waited for once for each of the two.
        images_b: of the same shape on the same device.
        form: ``"standard"``: H and W at least 161; ``"small"``: any size.
        data_range: the length of the interval the values are from: 2 for [-1, 1], 1 for [0, 1], 255 for [0, 255];
            uint8 images want 255.

    Returns:
        [N], float64, differentiable.

    Raises:
        TypeError: no tensors or arrays, or neither floating point nor uint8.
        ValueError: shapes that differ or do not fit the form, values outside of their interval, an unknown form.

    >>> import torch
    >>> from amgan_fast.metrics import ms_ssim
    >>> images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> ms_ssim(images, images, form="small", data_range=1)
    tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    images_a, images_b = as_tensor("images_a", images_a), as_tensor("images_b", images_b)
    check_images("images_a", images_a, form, data_range)
    check_images("images_b", images_b, form, data_range)
    if images_a.shape != images_b.shape:
        raise ValueError(f"images_b are {list(images_b.shape)}, wanted {list(images_a.shape)} as images_a")
    if images_a.device != images_b.device:
        raise ValueError(f"images_b are on {images_b.device}, wanted {images_a.device} as images_a")
    return compare(images_a, images_b, form, data_range)


def check_images(name: str, images: Tensor, form: str, data_range: float) -> None:
    """Raise what :func:`ms_ssim` says it raises, about one set of images that the caller knows as ``name``."""
    if form not in _FORMS:
        raise ValueError(f"form is {form!r}, wanted one of {', '.join(map(repr, _FORMS))}")
    if data_range not in _INTERVALS:
        raise ValueError(f"data_range is {data_range}, wanted 2 (values in [-1, 1]), 1 ([0, 1]) or 255 ([0, 255])")
    if images.ndim != 4 or not all(images.shape[1:]):
        raise ValueError(f"{name} are {list(images.shape)}, wanted [N, C, H, W]")
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise TypeError(f"{name} are {images.dtype}, wanted floating point or uint8")
    if images.dtype == torch.uint8 and data_range != 255:
        raise ValueError(f"{name} are uint8 and data_range is {data_range}, wanted data_range=255 with uint8")
    if form == "standard" and min(images.shape[2:]) < STANDARD_SIZE:
        raise ValueError(
            f"{name} are {list(images.shape)}, wanted H and W at least {STANDARD_SIZE} for form='standard'; "
            "form='small' takes any size"
        )
    if len(images):
        _check_values(name, images, data_range)


def compare(images_a: Tensor, images_b: Tensor, form: str, data_range: float) -> Tensor:
    """:func:`ms_ssim` of images that were checked."""
    black = _INTERVALS[data_range][0]
    return _FORMS[form](images_a.double() - black, images_b.double() - black, data_range)


def _check_values(name: str, images: Tensor, data_range: float) -> None:
    least, greatest = torch.stack(images.detach().aminmax()).tolist()
    low, high = _INTERVALS[data_range]
    slack = 1e-3 * data_range  # interpolation and half precision may step over the border
    if not (low - slack <= least and greatest <= high + slack):  # so that NaN fails
        raise ValueError(
            f"{name} have values from {least:.4g} to {greatest:.4g}, wanted {low} to {high} "
            f"with data_range = {data_range}"
        )


def _standard(a: Tensor, b: Tensor, data_range: float) -> Tensor:
    from pytorch_msssim import ms_ssim as library

    # Its own window is rounded to float32, and flat images then agree in four digits only.
    window = _gaussian(11, a).repeat(a.size(1), 1, 1, 1)
    return library(a, b, data_range=data_range, size_average=False, win=window)


def _small(a: Tensor, b: Tensor, data_range: float) -> Tensor:
    value = a.new_ones(len(a))
    for scale, weight in enumerate(_WEIGHTS):
        if scale:
            a, b = (avg_pool2d(images, 2, ceil_mode=True) for images in (a, b))
        luminance, structure = _similarity_maps(a, b, data_range)
        similarity = structure if scale < len(_WEIGHTS) - 1 else luminance * structure
        value = value * similarity.mean((1, 2, 3)) ** weight
    return value


def _similarity_maps(a: Tensor, b: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure without sign, wherever the window fits: both [N, C, h, w]."""
    height, width = a.shape[2:]
    size = min(11, height, width)
    window = _gaussian(size, a)
    down, across = _band(window, height), _band(window, width).mT
    mean_a, mean_b, square_a, square_b, product = (down @ x @ across for x in (a, b, a * a, b * b, a * b))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    variances = square_a - mean_a**2 + square_b - mean_b**2
    return luminance, (2 * (product - mean_a * mean_b).abs() + c2) / (variances + c2)


def _gaussian(size: int, like: Tensor) -> Tensor:
    """[size], sums to 1: standard deviation 1.5 where the size is 11, else in proportion."""
    offset = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    return torch.softmax(-(offset**2) / (2 * (1.5 * size / 11) ** 2), 0)


def _band(window: Tensor, length: int) -> Tensor:
    """The matrix that moves a window along ``length`` pixels: [length - size + 1, length], a row a position."""
    steps = length - len(window) + 1
    columns = torch.arange(steps, device=window.device)[:, None] + torch.arange(len(window), device=window.device)
    return window.new_zeros(steps, length).scatter(1, columns, window.expand(steps, -1))


_FORMS = {"standard": _standard, "small": _small}
