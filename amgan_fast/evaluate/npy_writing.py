"""Files in NumPy's npy format whose rows come one batch after the other."""

from __future__ import annotations

from typing import IO

import numpy as np
from numpy.typing import DTypeLike


def write_npy_header(file: IO[bytes], shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """What comes before the rows of an array, in C order.

    >>> import io
    >>> import numpy as np
    >>> from amgan_fast.evaluate.npy_writing import write_npy_header
    >>> file = io.BytesIO()
    >>> write_npy_header(file, (2,), np.uint8)
    >>> _ = file.write(bytes([7, 9])), file.seek(0)
    >>> np.load(file).tolist()
    [7, 9]
    """
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
