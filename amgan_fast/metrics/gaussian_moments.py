"""Mean and covariance that are taken as exact: of a published reference, or of a distribution that is known."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.metrics.feature_moments import Moments

_KEYS = ("mu", "sigma")
_SINGLE_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMoments:
    """A mean and a covariance without an error of their own, for :func:`frechet_distance`.

    Args:
        mean: [D], floating point, a tensor or a NumPy array.
        covariance: [D, D], symmetric and positive semidefinite up to rounding: that of its dtype, and 1e-6 of the
            largest variance, which are left where it was computed in float32.
        n: how many samples they are of, where that is known; it changes nothing.

    Raises:
        TypeError: no tensors or arrays, or no floating point.
        ValueError: a wrong shape, NaN or infinity, or a covariance that is none.

    >>> import torch
    >>> from amgan_fast.metrics import GaussianMoments
    >>> GaussianMoments(torch.zeros(3), torch.eye(3))
    GaussianMoments(dim=3, n=None)
    """

    mean: Tensor
    """[D], float64, on the CPU."""
    covariance: Tensor
    """[D, D], float64, on the CPU."""
    n: int | None = None

    def __init__(self, mean: Array, covariance: Array, n: int | None = None) -> None:
        found = {"mean": as_tensor("mean", mean), "covariance": as_tensor("covariance", covariance)}
        for name, values in found.items():
            if not values.is_floating_point():
                raise TypeError(f"{name} is {values.dtype}, wanted floating point")
        rounding = torch.finfo(found["covariance"].dtype).eps
        own_mean, own_covariance = (values.detach().cpu().double() for values in found.values())
        _check(own_mean, own_covariance, rounding)
        if n is not None and n < 2:
            raise ValueError(f"n is {n}, wanted at least 2 samples")
        object.__setattr__(self, "mean", own_mean)
        object.__setattr__(self, "covariance", (own_covariance + own_covariance.T) / 2)
        object.__setattr__(self, "n", n)

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @classmethod
    def load(cls, path: Path | str) -> GaussianMoments:
        """From an npz file with ``mu``, [D], and ``sigma``, [D, D]: what is published with references of the FID.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no npz file, lacks one of the two, or what it has is as the class refuses it.

        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from amgan_fast.metrics import GaussianMoments
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(Path(folder) / "statistics.npz", mu=np.zeros(3), sigma=np.eye(3))
        ...     GaussianMoments.load(Path(folder) / "statistics.npz")
        GaussianMoments(dim=3, n=None)
        """
        arrays = _read(Path(path))
        try:
            return cls(*(arrays[key] for key in _KEYS))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} has mu for mean, sigma for covariance: {error}") from error

    def moments(self) -> Moments:
        """As of :meth:`FeatureMoments.moments`."""
        return Moments(self.n, self.mean, self.covariance)

    def __repr__(self) -> str:
        return f"GaussianMoments(dim={self.dim}, n={self.n})"


def _check(mean: Tensor, covariance: Tensor, rounding: float) -> None:
    if mean.ndim != 1 or not len(mean):
        raise ValueError(f"mean is {list(mean.shape)}, wanted [D]")
    dim = len(mean)
    if covariance.shape != (dim, dim):
        raise ValueError(f"covariance is {list(covariance.shape)}, wanted [{dim}, {dim}] beside a mean of [{dim}]")
    for name, values in (("mean", mean), ("covariance", covariance)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinity, wanted finite numbers")
    largest = float(covariance.abs().max())
    limit = max(dim * rounding, _SINGLE_ROUNDING) * largest
    off = float((covariance - covariance.T).abs().max())
    if off > limit:
        raise ValueError(f"covariance differs by up to {off:.3g} from its transpose, wanted a symmetric one")
    # It has a Cholesky factor with the limit added to its eigenvalues unless one of them is below that.
    lifted = covariance + 2 * limit * torch.eye(dim, dtype=torch.float64, device="cpu")
    if largest and bool(torch.linalg.cholesky_ex(lifted).info):
        least = float(torch.linalg.eigvalsh(covariance)[0])
        raise ValueError(f"covariance has the eigenvalue {least:.3g}, wanted none below 0")


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = [key for key in _KEYS if key not in file]
            if missing:
                has = ", ".join(file.files) or "nothing"
                raise ValueError(f"it has no {' and no '.join(missing)}, but {has}")
            return {key: file[key] for key in _KEYS}
    except TypeError as error:
        raise ValueError(f"{path} is no npz file with mu and sigma, but a single array") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no npz file with mu and sigma: {error}") from error
