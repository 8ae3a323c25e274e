"""Calls at the same time, each in a process of its own that ends with it."""

from __future__ import annotations

import os
import platform
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import TYPE_CHECKING, Any

from amgan_fast.errors import InputError
from amgan_fast.train.stopping import TrainingStopped, stop_on_signal

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

_LOOK = 0.5  # seconds between two looks for a signal

_IMPORTED = ["amgan_fast.compare", "torch._dynamo", "matplotlib.figure"]  # the second by whoever makes an optimizer


def call_in_processes(calls: Sequence[Callable[[], Any]], jobs: int) -> Iterator[Any]:
    """What the calls return, as they end; ``jobs`` of them run at a time.

    Where this process ends before them, by a signal, by an error of one of them or killed, those that run are
    interrupted as by Ctrl-C, so that a training run is saved, and no other is begun.

    Raises:
        TrainingStopped: a signal came, here or to the process of a call.
        InputError: the process of a call was killed.
        Exception: what a call has raised.
    """
    waiting = list(reversed(calls))
    running: dict[Any, BaseProcess] = {}  # by the connection to it
    with stop_on_signal() as stop:
        try:
            while stop.signal is None and (waiting or running):
                while waiting and len(running) < jobs:
                    connection, process = _start(waiting.pop())
                    running[connection] = process
                for answered in wait(list(running), _LOOK):
                    yield _answer(answered, running.pop(answered))
        finally:
            interrupted = _interrupt(running)
        if stop.signal is not None:
            for error in interrupted:
                if isinstance(error, TrainingStopped):
                    raise TrainingStopped(error.folder, error.step, stop.signal)
            raise KeyboardInterrupt


def _start(call: Callable[[], Any]) -> tuple[Connection, BaseProcess]:
    context = _context()
    mine, its = context.Pipe()
    process = context.Process(target=_run, args=(call, dict(os.environ), its))
    process.start()
    its.close()  # so that the process has the only one, and its death is the end of what comes from there
    return mine, process


def _context() -> ForkServerContext | SpawnContext:
    """On Linux processes are forked from one that has imported what every run imports, which would take each of them
    seconds, and that has done nothing else: it has no threads, and has not looked for a GPU. Windows cannot fork, and
    libraries of macOS do not allow for it."""
    if platform.system() != "Linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


def _run(call: Callable[[], Any], environment: dict[str, str], parent: Connection) -> None:
    """In a process of its own."""
    os.environ.clear()  # of when the first process of all was started
    os.environ.update(environment)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    Thread(target=_wait_for_interrupt, args=(parent,), daemon=True).start()
    answer: tuple[Any, BaseException | None, str]
    try:
        answer = (call(), None, "")
    except BaseException as error:
        answer = (None, error, traceback.format_exc())
    for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left that could be interrupted
        signal.signal(number, signal.SIG_IGN)
    with suppress(ConnectionError):  # no one has waited for it
        parent.send(answer)


def _wait_for_interrupt(parent: Connection) -> None:
    """By a message, or since the parent is no more."""
    with suppress(EOFError, ConnectionError):
        parent.recv()
    os.kill(os.getpid(), signal.SIGINT)


def _answer(connection: Any, process: BaseProcess) -> Any:
    with connection:
        try:
            value, error, text = connection.recv()
        except (EOFError, ConnectionError):
            process.join()
            raise InputError(_killed(process.exitcode)) from None
    process.join()
    if error is not None:
        raise error from RuntimeError(f"in a process of its own:\n{text}")
    return value


def _killed(status: int | None) -> str:
    how = f"was killed by {signal.Signals(-status).name}" if status and status < 0 else f"ended with status {status}"
    memory = ", as a system does that is short of memory" if status == -signal.SIGKILL else ""
    return f"the process of a run {how}{memory}; the same command goes on, with fewer --jobs in less memory"


def _interrupt(running: dict[Any, BaseProcess]) -> list[BaseException | None]:
    """What they have raised, once all have ended."""
    for connection in running:
        with suppress(ConnectionError):
            connection.send(None)
    errors = []
    for connection, process in running.items():
        with connection, suppress(EOFError, ConnectionError):
            errors.append(connection.recv()[1])
        process.join()
    return errors
