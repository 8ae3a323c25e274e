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
