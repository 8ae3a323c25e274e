"""Runs a step as a process of its own, and says how it went."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer

from tools.gpu_check.findings import Findings
from tools.gpu_check.steps import Step, file_of

LIMIT = 3600  # seconds of a step


@dataclass
class Result:
    step: str
    status: str  # passed, failed or not run
    seconds: float
    figures: str
    problems: list[str]


def stop(process: subprocess.Popen[str]) -> None:
    """With all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def execute(step: Step) -> int:
    """The exit status. What the step prints goes to its log and, as it comes, to the screen."""
    started = subprocess.Popen(
        step.command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | step.environment,
        start_new_session=True,
    )
    with file_of(step.name, ".log").open("w") as log, started as process:
        limit = Timer(LIMIT, stop, [process])
        limit.start()
        try:
            for line in process.stdout or ():
                log.write(line)
                print(line, end="", flush=True)
            return process.wait()
        except BaseException:
            stop(process)
            raise
        finally:
            limit.cancel()


def run(step: Step) -> Result:
    print(f"\n== {step.name}", flush=True)
    if step.missing:
        print(step.missing)
        return Result(step.name, "not run", 0.0, step.missing, [])
    start = time.monotonic()
    status = execute(step)
    seconds = time.monotonic() - start
    try:
        found = step.read()
    except Exception as error:  # whatever is wrong with what a step left is a problem of that step
        found = Findings("no result", [] if status else [f"{type(error).__name__}: {error}"])
    if status:
        ended = f"stopped after {LIMIT} s" if seconds >= LIMIT else f"exit status {status}"
        found.problems.append(f"{ended}; its output is in {file_of(step.name, '.log')}")
    return Result(step.name, "failed" if found.problems else "passed", seconds, found.figures, found.problems)
