"""What measurements take for a tensor, and for batches of one: PyTorch's tensors and NumPy's arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = "Tensor | np.ndarray"


def as_tensor(name: str, values: Array) -> Tensor:
    """A tensor as it is, an array without a copy where its memory can be shared; it is not to be written to.

    Raises:
        TypeError: anything else, or an array of numbers that PyTorch does not have.
    """
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray) or isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} are a {type(values).__name__}, wanted a torch.Tensor or a numpy.ndarray")
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        try:
            return torch.from_numpy(native.reshape(values.shape))  # ascontiguousarray makes [1] of []
        except TypeError:
            raise TypeError(f"{name} are an array of {values.dtype}, wanted a dtype that PyTorch has") from None


def as_labels(
    labels: Array, count: int, sample: str = "sample", *, below: int | None = None, name: str = "labels"
) -> Tensor:
    """[N], integers; ``sample`` is what messages call that which has one, ``name`` what they call these.

    Raises:
        TypeError: no tensor or array, or another dtype.
        ValueError: other than ``count`` of them, or some that are not 0 to ``below`` - 1 where that is given and they
            are not on a GPU, which would have to be waited for: :class:`amgan_fast.metrics.late_checks.LateLabels`.
    """
    labels = as_tensor(name, labels)
    if labels.shape != (count,):
        raise ValueError(f"{name} are {list(labels.shape)}, wanted [{count}], one for each {sample}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name} are {labels.dtype}, wanted integers")
    if labels.dtype in (torch.uint16, torch.uint32, torch.uint64):  # for which torch has no minimum
        labels = labels.long()
    if below is None or not count or labels.is_cuda:
        return labels
    if not 0 <= int(labels.min()) <= int(labels.max()) < below:
        raise ValueError(f"{name} are {int(labels.min())} to {int(labels.max())}, wanted 0 to {below - 1}")
    return labels


def batches_of(name: str, values: Array | Iterable[Array]) -> Iterator[Tensor]:
    """The batches of an iterable; of a tensor or an array itself, which is one batch.

    Raises:
        TypeError: neither; ``name`` is that of what is in the batches.
        ValueError: no batch.

    >>> import numpy as np
    >>> from amgan_fast.metrics import batches_of
    >>> [batch.shape for batch in batches_of("logits", np.zeros((5, 3)))]
    [torch.Size([5, 3])]
    """
    whole = isinstance(values, Tensor | np.ndarray)
    if not whole and not isinstance(values, Iterable):
        raise TypeError(f"{name} are a {type(values).__name__}, wanted a tensor, an array or batches of them")
    empty = True
    for batch in [values] if whole else values:
        empty = False
        yield as_tensor(name, batch)  # type: ignore[arg-type]
    if empty:
        raise ValueError("batches hold no samples, wanted at least one")
