"""Leaky ReLU and dropout in one pass over memory, without a mask."""

# mypy: disable-error-code="empty-body"
# The operations themselves: csrc/ops/leaky_dropout.cpp; how a function without a body calls one: _calls.py.
from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.ops._calls import calls

_ops = torch.ops.amgan_fast


@calls(_ops.leaky_dropout.default)
def leaky_dropout(x: Tensor, p: float = 0.5, slope: float = 0.2, *, training: bool = True) -> Tensor:
    """``F.dropout(F.leaky_relu(x, slope), p, training)`` with random bits of its own, in one pass over memory.

    An element is dropped by 16 bits of Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
    SC 2011), which backward computes again. Kept for backward are the output and 16 bytes: no mask, and not x, since
    a kept output tells by its sign which side its x was on. Hence the output must not be changed in place before
    backward; autograd notices.

    The bits come from torch's default generator of the device, so that ``torch.manual_seed`` makes them reproducible:
    each call draws a seed of 64 bits on the CPU, and on CUDA takes the generator's seed and moves its offset on by 4,
    in a CUDA graph at every replay. They belong to places in memory: the same seed drops other elements of a
    ``channels_last`` tensor than of a contiguous one. The number of threads and the instruction set change nothing.
    With ``p=0`` or ``training=False`` nothing is drawn. Within ``torch.vmap`` its ``randomness`` says which elements
    of the batch drop alike, as for ``F.dropout``.

    Args:
        x: any shape; float32, float64, bfloat16 or float16, CPU or CUDA; half precision is computed in float32 and
            rounded once, also under ``torch.autocast``. Any strides: where they are dense they are those of the output,
            else x is copied first.
        p: the probability of a drop, in [0, 1], rounded to a multiple of 2**-16. What is kept is divided by 1 - p with
            the rounded p, so that the mean is that of the leaky ReLU; p=1 gives 0. What is dropped is 0, a NaN too.
        slope: what negative x are multiplied by, at least 0 and finite.
        training: drop at all.

    Returns:
        A tensor in the shape, dtype and memory format of x. Derivatives of any order exist; the gradient at x = 0 is
        that of PyTorch's leaky ReLU, the slope.

    Raises:
        TypeError: what is no tensor, or a dtype that is not floating point.
        ValueError: ``p``, ``slope`` or a device out of range.

    >>> import torch
    >>> from amgan_fast import ops
    >>> ops.leaky_dropout(torch.tensor([1.0, -1.0]), training=False)
    tensor([ 1.0000, -0.2000])
    >>> dropped = ops.leaky_dropout(torch.ones(1000), p=0.5)
    >>> dropped.unique()
    tensor([0., 2.])
    """
