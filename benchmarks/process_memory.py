"""The memory of a process and of all that it has started, while it runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import MIB

_EVERY = 0.02  # seconds


def peak_of(command: Sequence[str], **options: Any) -> float | None:
    """MiB at most of a command and its children, what they share counted once; None where the system does not tell.

    Raises:
        CalledProcessError: it fails.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **options
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_share_of, _of_session(process.pid))))
        time.sleep(_EVERY)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak / MIB or None


def _of_session(session: int) -> Iterator[int]:
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                if os.getsid(int(name)) == session:
                    yield int(name)


def _share_of(pid: int) -> int:
    """Bytes: pages that several processes have are shared out among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
