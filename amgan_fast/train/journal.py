"""What a run writes as it goes: metrics.jsonl, TensorBoard events, sample grids."""

from __future__ import annotations

import os
from typing import Any

import torch

from amgan_fast.drawing import save_sheet
from amgan_fast.metrics import finite
from amgan_fast.nn import Sampler
from amgan_fast.progress import Observer
from amgan_fast.runs import RunFolder
from amgan_fast.train.pictures import fixed_grid
from amgan_fast.train.scalars import scalars


class Journal:
    """Rows of losses and scores, in memory and in the run folder.

    Args:
        folder: of the run.
        observer: told each row and each grid.
        writes: False: only remember; of several processes one writes.
    """

    def __init__(self, folder: RunFolder, observer: Observer, *, writes: bool = True) -> None:
        self.rows: list[dict[str, Any]] = []
        self._folder = folder
        self._observer = observer
        self._writes = writes
        # TensorBoard takes the name of its folder as UTF-8, whatever the file system has.
        name = str(folder.tensorboard)
        self._writes_events = writes and name.encode(errors="replace") == os.fsencode(name)
        if writes and not self._writes_events:
            observer.message(f"TensorBoard: no events, since {folder.path} is no name in UTF-8")
        self._events: Any = None
        self._first = 0  # the step that the events of this process begin after

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(finite(row))  # as they are in the file, where a run goes on from
        if self._writes:
            self._folder.append_metrics(row)
        if self._writes_events:
            for name, value in scalars(row).items():
                self._tensorboard().add_scalar(name, value, row["step"])
        self._observer.logged(row)

    def grid(self, step: int, sampler: Sampler, random: torch.Generator) -> None:
        """Samples of the same z at every step."""
        if self._writes:
            images = fixed_grid(sampler, random)
            self._folder.grid(step).parent.mkdir(exist_ok=True)
            save_sheet(self._folder.grid(step), images)
        if self._writes_events:
            picture = images.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
            self._tensorboard().add_image("samples", picture, step)
        if self._writes:
            self._observer.drawn(step, self._folder.grid(step))

    def sync(self) -> None:
        """Wait until the rows are on the disk: a checkpoint does not outlive the rows before it."""
        if self._writes:
            self._folder.sync_metrics()

    def go_back_to(self, step: int) -> None:
        """Forget what was written after a step: the run goes on from there."""
        self._first = step
        self.rows = [row for row in self._folder.read_metrics() if row["step"] <= step]
        if self._writes:
            if self._folder.metrics.exists():
                self._folder.rewrite_metrics(self.rows)
            for grid in self._folder.grids():
                if int(grid.stem) > step:
                    grid.unlink()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()

    def _tensorboard(self) -> Any:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self._folder.tensorboard), purge_step=self._first + 1)
        return self._events
