"""What is wrong with a batch on a GPU, found without waiting for it: written down there, and read with the sums."""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.memory import to_device
from amgan_fast.metrics.arrays import Array, as_labels


class _FirstBatch:
    """The first batch of which something is true, by numbers that tell about it.

    Args:
        numbers: how many.
        device: where they are kept.
    """

    def __init__(self, numbers: int, device: torch.device | str | None) -> None:
        self._numbers = torch.full((numbers,), -1, device=device)  # the first of them is not below 0 in a batch

    def look(self, is_so: Tensor, *numbers: int | Tensor) -> None:
        """
        Args:
            is_so: [], bool.
            numbers: of this batch, the first at least 0; tensors are [].
        """
        device = self._numbers.device
        is_first = is_so.to(device) & (self._numbers[0] < 0)
        for place, number in enumerate(numbers):
            value = number.to(device) if isinstance(number, Tensor) else number
            self._numbers[place].masked_fill_(is_first, value)

    def read(self) -> list[int] | None:
        """Its numbers; None: there was none. A GPU is waited for."""
        numbers = self._numbers.tolist()
        return None if numbers[0] < 0 else numbers

    def forget(self) -> None:
        self._numbers.fill_(-1)


class LateBadRows:
    """The first batch with a row that gives no distribution."""

    def __init__(self, device: torch.device | str | None) -> None:
        self._first = _FirstBatch(2, device)

    def look(self, sums: Tensor, start: int, end: int) -> None:
        """At sums over the samples [start, end): NaN tells of a bad row."""
        self._first.look(sums.isnan().any(), start, end)

    def refuse(self) -> None:
        """Raise ValueError where there was one."""
        if (found := self._first.read()) is not None:
            start, end = found
            where = f"a row among samples {start} to {end - 1}"
            raise ValueError(f"{where} gives no distribution; wanted finite logits")

    def forget(self) -> None:
        self._first.forget()


class LateFeatures:
    """The first batch with a feature that is not finite."""

    def __init__(self, device: torch.device | str | None) -> None:
        self._first = _FirstBatch(2, device)

    def look(self, features: Tensor, start: int) -> None:
        """At those of the samples from ``start`` on, [N, D], N at least 1."""
        self._first.look(~features.isfinite().all(), start, start + len(features))

    def refuse(self) -> None:
        """Raise ValueError where there was one."""
        if (found := self._first.read()) is not None:
            start, end = found
            raise ValueError(
                f"features of a sample among {start} to {end - 1} hold NaN or infinity, wanted finite ones"
            )

    def forget(self) -> None:
        self._first.forget()


class LateLabels:
    """Labels beside rows, and of those on a GPU the first batch with one that is out of range.

    Args:
        below: labels are 0 to ``below`` - 1.
        name: what messages call them.
        device: of the rows.
    """

    def __init__(self, below: int, name: str, device: torch.device | str | None) -> None:
        self._below = below
        self._name = name
        self._first = _FirstBatch(4, device)

    def take(self, labels: Array, count: int, start: int, device: torch.device) -> Tensor:
        """int64 [``count``] on ``device``, which rows are on: the labels of the samples from ``start`` on.

        Raises:
            TypeError: no integers.
            ValueError: other than one a row; or, where labels or rows are on the CPU, one out of range.
        """
        labels = as_labels(labels, count, name=self._name)
        if device.type == "cpu":
            labels = labels.cpu()
        labels = as_labels(labels, count, below=self._below, name=self._name).long()
        if labels.is_cuda and count:
            labels = self._look(labels, start)
        return to_device(labels, device)

    def _look(self, labels: Tensor, start: int) -> Tensor:
        """In place of those out of range others: a GPU ends the program for an index that is."""
        least, greatest = labels.aminmax()
        self._first.look((least < 0) | (greatest >= self._below), start, start + len(labels), least, greatest)
        return labels.clamp(0, self._below - 1)

    def refuse(self) -> None:
        """Raise ValueError where there was one."""
        if (found := self._first.read()) is not None:
            start, end, least, greatest = found
            raise ValueError(
                f"{self._name} of samples {start} to {end - 1} are {least} to {greatest}, wanted 0 to {self._below - 1}"
            )

    def forget(self) -> None:
        self._first.forget()
