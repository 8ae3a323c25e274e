"""How many images at a time: as many as keep the tensors of a network small."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MOST = 500
"""Of small images and networks."""
_MOST_ON_CPU = 200
"""The same: more leave the caches, and glibc gives memory back that the next batch asks for again."""
_UNMEASURED = 32
_BYTES_ON_CPU = 2**23
"""Of a tensor. Each thread has several. With twice and four times as much small networks of 224 pixels are no faster
and take two and four times the memory (``benchmarks.bench_evaluate --only jpeg``); an EfficientNet is 4% faster.
Beyond 32 MiB glibc takes a tensor from the kernel each time anew, which clears every page of it first."""
_SHARE_ON_CUDA = 16
"""How many tensors of the largest size are to fit in what is free."""


def fitting_batch_size(run: Callable[[Tensor], object], values: Tensor | Sequence[Tensor], device: torch.device) -> int:
    """At most 500 on CUDA and 200 on a CPU, fewer where a tensor would be larger than a CPU likes or a GPU holds.

    Args:
        run: what is done with a batch; it is called with one sample and with two.
        values: a batch, of which the first sample is taken.
        device: where it is done.
    """
    one = values[0][None]
    try:
        sizes = [_sizes_of_tensors(run, batch) for batch in (one, torch.cat([one, one]))]
    except Exception:  # a network that no one can look into, or that wants a batch of its own
        return _UNMEASURED
    # What does not grow with the batch are weights, or made of them.
    growth = max((large - small for small, large in zip(*sizes, strict=False)), default=0)
    return min(batch_size_of(growth, device), MOST if device.type == "cuda" else _MOST_ON_CPU)


def batch_size_of(size: int, device: torch.device) -> int:
    """For samples whose largest tensor has ``size`` bytes each."""
    room = torch.cuda.mem_get_info(device)[0] // _SHARE_ON_CUDA if device.type == "cuda" else _BYTES_ON_CPU
    return max(1, min(MOST, room // max(1, size)))


def _sizes_of_tensors(run: Callable[[Tensor], object], values: Tensor) -> list[int]:
    """The bytes of every tensor that an operation gives, in their order."""
    sizes: list[int] = []

    class Sizes(TorchDispatchMode):  # made when it is used: what is imported by then decides
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """Left to itself PyTorch imports its compiler, seconds and 150 MB, to have it pass over this class."""
            return "torch._dynamo" in sys.modules

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            outputs = func(*args, **(kwargs or {}))
            sizes.extend(leaf.nbytes for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor))
            return outputs

    with Sizes():
        run(values)
    return sizes
