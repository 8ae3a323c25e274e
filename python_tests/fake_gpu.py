"""Stands in for what times work on a GPU, where there is none."""

from __future__ import annotations

import pytest
import torch


class FakeGpu:
    """Writes down in which order the host gives the GPU what to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[str] = []
        self.cycles: list[int] = []
        fake = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                pass

            def record(self) -> None:
                fake.given.append("event")

            def synchronize(self) -> None:
                fake.given.append("wait")

            def elapsed_time(self, end: Event) -> float:
                return 2.0  # milliseconds

        def sleep(cycles: int) -> None:
            fake.given.append("sleep")
            fake.cycles.append(cycles)

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "_sleep", sleep)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        monkeypatch.setattr("benchmarks.timing.flush_of_caches", lambda: lambda: fake.given.append("flush"))
        monkeypatch.setattr("benchmarks.timing.WARM_SECONDS", 0.01)
