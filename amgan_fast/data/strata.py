"""Parts of a labelled set with a given number of each class."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_per_class(labels: Tensor, counts: Tensor, *, seed: int) -> Tensor:
    """Indices of ``counts[c]`` random labels of every class c, int64, ascending, on the CPU.

    Args:
        labels: int64 [N].
        counts: int64 [K], at most as many as there are of the class.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = labels.cpu()
    drawn = []
    for label, count in enumerate(counts.tolist()):
        members = (labels == label).nonzero().flatten()
        drawn.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(drawn).sort().values


_PERCENT = 10
_SEED = 0
HELD_OUT = f"{_PERCENT}% of each class, drawn with seed {_SEED}"
"""What :func:`hold_out_per_class` does, in words."""


def hold_out_per_class(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of what is left to train on, and of one label in ten of every class that are held out, at least one and
    always the same ones; int64, ascending, on the CPU.

    Args:
        labels: int64 [N].
    """
    counts = (labels.bincount() * _PERCENT // 100).clamp(min=1)
    held_out = draw_per_class(labels, counts, seed=_SEED)
    left = torch.ones(len(labels), dtype=torch.bool).index_fill(0, held_out, False)
    return left.nonzero().flatten(), held_out
