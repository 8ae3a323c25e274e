"""Runs a step as a process of its own, and says how it went."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

from tools.gpu_check.findings import Findings
from tools.gpu_check.steps import Step

LIMIT = 600  # seconds of a step
GRACE = 20  # seconds that an interrupted one has to leave what it has found
TAIL = 30  # lines of a failed step's output that get into the report


@dataclass
class Result:
    step: str
    status: str  # passed, failed or not run
    seconds: float
    figures: str
    problems: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)  # of the output of a failed step


def signal_all(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """The step, with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def execute(step: Step, log: Path, limit: float) -> int:
    """The exit status. What the step prints goes to its log and, as it comes, to the screen. At the limit it is
    interrupted, as by Ctrl-C: pytest then writes down which tests have passed."""
    started = subprocess.Popen(
        step.command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | step.environment,
        start_new_session=True,
    )
    ends = [
        Timer(limit, signal_all, [started, signal.SIGINT]),
        Timer(limit + GRACE, signal_all, [started, signal.SIGKILL]),
    ]
    with log.open("w") as written, started as process:
        for end in ends:
            end.start()
        try:
            for line in process.stdout or ():
                written.write(line)
                written.flush()
                print(line, end="", flush=True)
            return process.wait()
        except BaseException:
            signal_all(process, signal.SIGKILL)
            raise
        finally:
            for end in ends:
                end.cancel()


def run(step: Step, log: Path, limit: float) -> Result:
    print(f"\n== {step.name}", flush=True)
    if step.missing:
        print(step.missing, flush=True)
        return Result(step.name, "not run", 0.0, step.missing)
    start = time.monotonic()
    status = execute(step, log, limit)
    seconds = time.monotonic() - start
    try:
        found = step.read()
    except Exception as error:  # whatever is wrong with what a step left is a problem of that step
        found = Findings("no result", [] if status else [f"{type(error).__name__}: {error}"])
    if status:
        ended = f"stopped after {limit:.0f} s" if seconds >= limit else f"exit status {status}"
        found.problems.append(f"{ended}; its output is in {log.name}")
    if not found.problems:
        return Result(step.name, "passed", seconds, found.figures)
    tail = [line.rstrip("\n") for line in deque(log.open(errors="replace"), TAIL)]
    return Result(step.name, "failed", seconds, found.figures, found.problems, tail)
