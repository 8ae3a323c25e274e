"""Files and folders that one process at a time writes to.

A process that has ended holds nothing, however it ended: the system keeps the lock (flock). Where a file system has
none, filelock keeps a file of its own and tells from it whether the holder still runs.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from amgan_fast.errors import InputError
from amgan_fast.files import is_temporary

_IN_FOLDER = ".lock"
_POLL_SECONDS = 0.2


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Make the folder if there is none, and hold it.

    Raises:
        InputError: another process holds it, which is named.
        OSError: it cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _hold(folder / _IN_FOLDER, folder, None):
        yield


@contextmanager
def hold_file(path: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[bool]:
    """Hold a file that is to be written, in a folder that exists.

    Args:
        waiting: told who holds it, then this process waits; None: it does not.

    Yields:
        Whether it had to wait.

    Raises:
        InputError: another process holds it, which is named.
        OSError: its folder cannot be written to.
    """
    with _hold(path.with_name(f".{path.name}.lock"), path, waiting) as waited:
        yield waited


def is_unused(folder: Path) -> bool:
    """Whether a folder is empty but for what processes that hold it, or held it before they were killed, put there."""
    return all(file.name == _IN_FOLDER or is_temporary(file) for file in folder.iterdir())


@contextmanager
def _hold(lock: Path, what: Path, waiting: Callable[[str], None] | None) -> Iterator[bool]:
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
        waited = False
    except Timeout:
        found = f"{what} is in use by {_holder(lock)}"
        if waiting is None:
            raise InputError(f"{found}, wanted it to end first, or another place") from None
        waiting(f"{found}; waiting for it")
        held.acquire(poll_interval=_POLL_SECONDS)
        waited = True
    by_flock = getattr(held, "pid", None) is None  # else filelock's file says who holds it, and is the lock
    try:
        if by_flock:
            lock.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
        yield waited
    finally:
        if by_flock:
            lock.unlink(missing_ok=True)  # while it is held: who waits for it looks for its name again
        held.release()


def _holder(lock: Path) -> str:
    try:
        pid, host = lock.read_text(encoding="utf-8").split()[:2]
    except (OSError, ValueError):  # it has only just begun, or has just ended
        return "another process"
    return f"process {pid} on {host}"
