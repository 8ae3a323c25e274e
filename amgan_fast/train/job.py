"""A run that is to be done."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from amgan_fast.device import resolve_device
from amgan_fast.processes import Share, local_device
from amgan_fast.progress import Observer, Observers
from amgan_fast.runs import Config, RunFolder
from amgan_fast.seeds import Purpose, random_stream
from amgan_fast.train.listeners import Listeners


@dataclass(frozen=True)
class Job:
    """A run that is to be done, as one of the processes that share it has it."""

    config: Config
    folder: RunFolder
    observer: Listeners
    """Told what happens; of several processes the first one tells."""
    share: Share
    device: torch.device

    @staticmethod
    def of(config: Config, folder: RunFolder, observer: Observer | None, share: Share) -> Job:
        """
        Raises:
            InputError: there is no such device.
        """
        device = local_device(resolve_device(config.device))
        listening = observer if observer is not None and share.rank == 0 else Observers([])
        return Job(config, folder, Listeners(listening, device), share, device)

    @property
    def writes(self) -> bool:
        """Of several processes the first one writes the files."""
        return self.share.rank == 0

    def random(self, purpose: Purpose) -> torch.Generator:
        """Random numbers on the device, the same in every process."""
        return random_stream(self.config.seed, purpose, self.device)
