"""Which counter a CUDA launch uses for its total (csrc/ops/tickets.h), against a stand-in for the CUDA runtime."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE / "fake_cuda" / "tickets.cpp"
PROMISES = re.findall(r"^static void (\w+)\(\) {", SOURCE.read_text(), re.M)

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("tickets") / "tickets"
    flags = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-fsanitize=address,undefined"]
    include = [f"-I{HERE.parent / 'csrc'}", f"-I{HERE / 'fake_cuda'}"]
    subprocess.run(["c++", *flags, *include, SOURCE, "-o", built], check=True)
    return built


@pytest.mark.parametrize("promise", PROMISES)
def test_tickets(promise, program):
    done = subprocess.run([program, promise], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
