"""What measurements take for features of samples."""

from __future__ import annotations

from torch import Tensor

from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.precision import at_least_float32


def as_features(name: str, features: Array, dim: int | None = None) -> Tensor:
    """[N, D] in float32 or float64, without its gradient.

    Args:
        name: what messages call them.
        dim: D, where that is given.

    Raises:
        TypeError: no tensor or array, or of another dtype.
        ValueError: another shape.
    """
    features = as_tensor(name, features)
    if not features.is_floating_point():
        raise TypeError(f"{name} are {features.dtype}, wanted floating point")
    if features.ndim != 2 or not features.size(1) or dim not in (None, features.size(1)):
        wanted = "[N, D], D at least 1" if dim is None else f"[N, {dim}]"
        raise ValueError(f"{name} are {list(features.shape)}, wanted {wanted}")
    return at_least_float32(features.detach())


def refuse_not_finite(name: str, features: Tensor, start: int) -> None:
    """Raise ValueError for what float32 does not hold, with the number of the first such sample; ``start`` is that of
    the first row."""
    good = features.float().isfinite().all(1)
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        raise ValueError(f"{name} of sample {start + row} are not finite in float32 (row {row}), wanted finite ones")
