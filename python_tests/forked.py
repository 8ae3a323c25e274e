"""Processes forked from one that has imported what they need: to import PyTorch takes a process, and torchrun with it,
longer than what most tests have them do. That torchrun itself runs, test_parallel.py and test_examples.py see."""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

import torch
from torch import distributed

_TIMEOUT = 300  # seconds
_GRACE = 30  # for those beside one that has failed, to fail too
_IMPORTED = ["amgan_fast.cli", "amgan_fast.evaluate", "amgan_fast.train", "sklearn.datasets", "torch._dynamo"]


def run_forked(command: Sequence[object], cwd: Path) -> CompletedProcess[str]:
    """``python COMMAND``, where that is ``-m``, a module and its arguments, or a script and its."""
    return _run([str(word) for word in command], cwd, [{}])


def torchrun_forked(command: Sequence[object], cwd: Path, processes: int = 2) -> CompletedProcess[str]:
    """``torchrun --nproc-per-node PROCESSES COMMAND``. What one has printed comes after what the one before it has.
    Where one fails the others are ended, but not at once."""
    # As torchrun's agent has it: a store that takes whichever port is free, of which every process is a client.
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": True}
    shared |= {"TORCHELASTIC_RESTART_COUNT": 0, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    places = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    return _run([str(word) for word in command], cwd, places)


def _run(words: list[str], cwd: Path, places: Sequence[dict[str, object]]) -> CompletedProcess[str]:
    """One process for each of the ``places``, which its environment has besides this one's."""
    context = get_context("forkserver" if sys.platform == "linux" else "spawn")  # macOS does not allow for it
    context.set_forkserver_preload(_IMPORTED)
    with tempfile.TemporaryDirectory() as outputs:
        processes: list[BaseProcess] = []
        try:
            for i, place in enumerate(places):
                environment = {**os.environ, **{name: str(value) for name, value in place.items()}}
                arguments = (words, str(cwd), environment, f"{outputs}/{i}")
                processes.append(context.Process(target=_python, args=arguments))
                processes[-1].start()
            failed = _first_failure(processes)
            for process in processes:
                process.join(_GRACE)
        finally:
            for process in processes:
                process.kill()
                process.join()
        texts = ("".join(path.read_text() for path in sorted(Path(outputs).glob(f"*.{i}"))) for i in (1, 2))
        return CompletedProcess(words, failed, *texts)


def _first_failure(processes: Sequence[BaseProcess]) -> int:
    """Its exit status; 0: all have ended well."""
    running = {process.sentinel: process for process in processes}
    while running:
        ended = [running.pop(sentinel) for sentinel in connection.wait(list(running), _TIMEOUT)]
        assert ended, f"still running after {_TIMEOUT} s"
        for process in ended:
            if process.exitcode:
                return process.exitcode
    return 0


def _python(words: list[str], cwd: str, environment: dict[str, str], output: str) -> None:
    """In a process of its own."""
    for stream in (1, 2):
        os.dup2(os.open(f"{output}.{stream}", os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    torch.set_num_threads(1)
    if words[0] == "-m":
        sys.path.insert(0, "")
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
