"""Class labels as files keep them: of any numeric type."""

from __future__ import annotations

import numpy as np


def integer_labels(values: np.ndarray) -> np.ndarray:
    """The same [N], as int64.

    Raises:
        ValueError: ``values`` are not one-dimensional, no numbers, or not whole. MATLAB saves whole ones as float64.
    """
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise ValueError(f"labels are {values.dtype} {list(values.shape)}, wanted numbers [N]")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        raise ValueError("labels are not whole numbers")
    return values.astype(np.int64)
