"""Rows added up by number, in an order that is always the same."""

from __future__ import annotations

from torch import Tensor


def add_rows(total: Tensor, places: Tensor, rows: Tensor) -> None:
    """``total[places[i]] += rows[i]`` for every i, where ``total`` is; the others may be on another device.

    The last bits of a sum depend on its order. ``index_add_`` has one on the CPU; on CUDA it adds with atomics, as they
    come, where ``index_put_`` sorts the places first. That is ten small launches instead of one.

    Args:
        total: [S, ...].
        places: int64 [N], 0 to S-1.
        rows: [N, ...].
    """
    places, rows = places.to(total.device), rows.to(total.device)
    if total.is_cuda:
        total.index_put_((places,), rows, accumulate=True)
    else:
        total.index_add_(0, places, rows)
