"""What accumulators have in common: sums over samples, to which those of other processes can be added."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, distributed

from amgan_fast.processes import sum_over_processes

_Same = TypeVar("_Same", bound="SampleSums")


class LateCheck(Protocol):
    """What is wrong with a batch on a GPU, which is found when the sums are read."""

    def refuse(self) -> None:
        """Raise ValueError where there was something."""

    def forget(self) -> None:
        """What was found."""


class SampleSums(ABC):
    """Sums over samples that come batch by batch, to which those of other processes can be added, from files too.

    On a GPU nothing waits for a batch: what is wrong with one is written down beside the sums, and raised by whatever
    reads these.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ()
    """Attributes in which two agree whose sums can be added."""
    COUNTED: ClassVar[tuple[str, ...]] = ("samples",)
    """Attributes that are whole numbers and add up too."""

    def __init__(self, device: torch.device | str | None) -> None:
        self.samples = 0
        """Samples seen."""
        self._follows = device is None
        """Whether sums are yet to go where the first samples are."""

    @abstractmethod
    def _begin(self, device: torch.device | str | None) -> None:
        """Sums of no samples, on a device; to be called when the settings are there."""
        self._late: list[LateCheck] = []
        """What may be found when the sums are read."""

    @abstractmethod
    def _states(self) -> dict[str, Tensor]:
        """The sums by name, which add up."""

    def merge(self: _Same, other: _Same) -> None:
        """Add the samples of another accumulator with the same settings (of another process, say).

        Raises:
            ValueError: settings differ, samples have an order that merging loses, or one was bad.
        """
        self._require_same_settings(other)
        for one in (self, other):
            one._require_mergeable()
        theirs = other._states()
        for name, total in self._states().items():
            total += theirs[name].to(total.device)
        self._set_numbers([sum(pair) for pair in zip(self._numbers(), other._numbers(), strict=True)])

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end. One
        that has seen no samples does not know where those of the others are, unless it was given a ``device``.

        Raises:
            ValueError: as for :meth:`merge`, on the process where it happens.
        """
        self._require_mergeable()
        states = list(self._states().values())
        numbers = torch.tensor(self._numbers(), dtype=torch.float64, device=states[0].device)
        sum_over_processes([*states, numbers], group)
        self._set_numbers([int(number) for number in numbers.tolist()])

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        self._refuse_late()
        numbers = {name: getattr(self, name) for name in (*self.SETTINGS, *self.COUNTED)}
        return numbers | {name: total.clone() for name, total in self._states().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or settings differ from those here. Nothing is changed then.
        """
        self._check_state(state)
        for name, total in self._states().items():
            total.copy_(state[name])
        for name in self.COUNTED:
            setattr(self, name, int(state[name]))
        for check in self._late:
            check.forget()

    def _numbers(self) -> list[int]:
        """Whole numbers that add up."""
        return [getattr(self, name) for name in self.COUNTED]

    def _set_numbers(self, numbers: Sequence[int]) -> None:
        for name, number in zip(self.COUNTED, numbers, strict=True):
            setattr(self, name, number)

    def _follow_to(self, device: torch.device) -> None:
        """Where no device was asked for, the sums go where the first samples are: before they are added to."""
        if not self._follows:
            return
        self._follows = False
        if next(iter(self._states().values())).device == device:
            return
        state = self.state_dict() if self.samples else None
        self._begin(device)
        if state is not None:
            self.load_state_dict(state)

    def _refuse_late(self) -> None:
        """Raise ValueError for what was found of a batch after it had been added."""
        for check in self._late:
            check.refuse()

    def _require_mergeable(self) -> None:
        """Raise ValueError where the sums are not to be added to others."""
        self._refuse_late()

    def _require_same_settings(self: _Same, other: _Same) -> None:
        for name in self.SETTINGS:
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                raise ValueError(f"other has {name} = {others}, wanted {mine} as here")

    def _check_state(self, state: Mapping[str, Any]) -> None:
        for name in self.SETTINGS:
            if self._there(state, name) != getattr(self, name):
                raise ValueError(f"state has {name} = {state[name]}, wanted {getattr(self, name)} as here")
        for name in self.COUNTED:
            self._there(state, name)
        for name, total in self._states().items():
            if self._there(state, name).shape != total.shape:
                raise ValueError(f"state has {name} of shape {list(state[name].shape)}, wanted {list(total.shape)}")

    @staticmethod
    def _there(state: Mapping[str, Any], name: str) -> Any:
        if name not in state:
            raise ValueError(f"state has no {name}, wanted what state_dict() returned")
        return state[name]


class WaitingSums(SampleSums):
    """Sums of samples some of which wait to be added up with others: they are added before the sums are read."""

    @abstractmethod
    def _add_waiting(self) -> None:
        """Add up those that wait."""

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        self._add_waiting()
        return super().state_dict()

    def _require_mergeable(self) -> None:
        super()._require_mergeable()
        self._add_waiting()
