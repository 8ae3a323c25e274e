"""The endless shuffled order in which a stream goes through its images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.memory import to_device


class ShuffledOrder:
    """The indices 0 to size - 1 for ever, one permutation after another, drawn from a CPU generator of its own.

    Neither the device nor other draws change the order. Where it stands is the state of the generator before the
    present permutation and how many indices of that were taken: 5 KiB, however many images there are.
    """

    def __init__(self, size: int, *, seed: int, device: torch.device | str = "cpu") -> None:
        self._size = size
        self._device = torch.device(device)
        self._generator = torch.Generator().manual_seed(seed)
        self._draw()

    def take(self, count: int) -> Tensor:
        """The next indices, int64 [count], on the order's device; those that an epoch lacks come from the next."""
        parts = []
        while count:
            if self._taken == self._size:
                self._draw()
            part = self._epoch[self._taken : self._taken + count]
            self._taken += len(part)
            count -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: a uint8 tensor and two integers."""
        return {"generator": self._epoch_start.clone(), "taken": self._taken, "size": self._size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where the order stood that ``state`` is of.

        Raises:
            InputError: a state of another number of images, or none at all.
        """
        try:
            generator, taken, size = state["generator"], state["taken"], state["size"]
            if size != self._size:
                raise InputError(f"the order of the data is one of {size} images, wanted {self._size}")
            if not 0 <= taken <= size:
                raise InputError(f"the order of the data stands at {taken}, wanted 0 to {size}")
            self._generator.set_state(generator)
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"the order of the data is damaged ({error}), wanted what state_dict gave") from None
        self._draw()
        self._taken = taken

    def _draw(self) -> None:
        self._epoch_start = self._generator.get_state()
        self._epoch = to_device(torch.randperm(self._size, generator=self._generator), self._device)
        self._taken = 0
