"""How other tools deal samples out before they take an Inception Score of each part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_ADM_CHUNK = 5000


@dataclass(frozen=True)
class CompatRule:
    """Of one tool, for N samples whose number is known."""

    first_of_splits: Callable[[int, int], list[int]]
    """(N, splits) -> where in the tool's order each split but the first begins.

    Raises ValueError: a split would be empty, where the tool does not do with fewer."""
    ddof: int | None
    """Of the standard deviation over the splits; None: the tool gives none."""
    permutation: Callable[[int, int | None], Tensor] | None = None
    """(N, seed) -> the samples in the tool's order, int64 [N]; None: as they come."""
    scores: str | None = None
    """What it scores in the place of splits that one can choose."""

    def places(self, count: int, seed: int | None) -> Tensor | None:
        """int32 [N], on the CPU: the place of each sample in the tool's order; None: its own."""
        if self.permutation is None:
            return None
        order = self.permutation(count, seed).cpu()
        places = torch.empty(count, dtype=torch.int32, device="cpu")
        places[order] = torch.arange(count, dtype=torch.int32, device="cpu")
        return places


def compat_rule(tool: str) -> CompatRule:
    """
    Raises:
        ValueError: an unknown tool.
    """
    if tool not in COMPAT_RULES:
        raise ValueError(f"compat is {tool!r}, wanted one of {', '.join(COMPAT_RULES)}")
    return COMPAT_RULES[tool]


def _floors(count: int, splits: int) -> list[int]:
    if count < splits:
        raise ValueError(f"logits have {count} rows, wanted at least one for each of {splits} splits")
    return [s * count // splits for s in range(1, splits)]


def _torch_chunks(count: int, splits: int) -> list[int]:
    size = -(-count // splits)
    return list(range(size, count, size))


def _adm_chunks(count: int, splits: int) -> list[int]:
    return list(range(_ADM_CHUNK, count, _ADM_CHUNK))


def _whole(count: int, splits: int) -> list[int]:
    return []


def _permutation_of_torch_fidelity(count: int, seed: int | None) -> Tensor:
    return torch.from_numpy(np.random.RandomState(2020).permutation(count))


def _permutation_of_torchmetrics(count: int, seed: int | None) -> Tensor:
    if seed is None:
        return torch.randperm(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed), device="cpu")


COMPAT_RULES = {
    "openai": CompatRule(_floors, ddof=0),
    "torch-fidelity": CompatRule(_floors, ddof=0, permutation=_permutation_of_torch_fidelity),
    "torchmetrics": CompatRule(_torch_chunks, ddof=1, permutation=_permutation_of_torchmetrics),
    "ignite": CompatRule(_whole, ddof=None, scores="the whole set"),
    "adm": CompatRule(_adm_chunks, ddof=None, scores=f"chunks of {_ADM_CHUNK:,}"),
}

COMPAT_TOOLS = tuple(COMPAT_RULES)
"""What ``compat`` may be."""
