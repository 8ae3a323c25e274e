"""Fixtures and options shared by all tests. Their order is random (pytest-randomly): nothing here keeps state."""

from __future__ import annotations

import hashlib
import re
import signal
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from pretended_gpu import PretendedGpu, RealGpu

import amgan_fast

TESTS = Path(__file__).parent
ROOT = TESTS.parent
# benchmarks and tools; last, so that an installed amgan_fast is tested where there is one.
sys.path.append(str(ROOT))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the longer sweeps too (marker: slow)")


def pytest_configure(config: pytest.Config) -> None:
    # Most inputs are tiny: a second thread only waits. Tests of threading ask for theirs (fixture `threads`).
    torch.set_num_threads(1)
    # A shell that starts the tests in the background has them ignore Ctrl-C, and with them every program that they
    # start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _why_no_cuda() -> str | None:
    if not torch.cuda.is_available():
        return "needs cuda: no GPU found"
    if not amgan_fast.build_info()["cuda"]:
        return f"needs cuda: built without CUDA kernels ({amgan_fast.build_info()['cuda_reason']})"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    no_cuda = _why_no_cuda()
    for item in items:
        if re.search(r" at 0x[0-9a-f]", item.nodeid):
            raise pytest.UsageError(f"{item.nodeid}: an id with an address differs in every process of -n; give ids=")
        if no_cuda and item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason=no_cuda))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="a longer sweep: --slow runs it"))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """With ``-m cuda`` a file that needs a package which is not installed is skipped, and says so. A machine with a GPU
    may have torch, numpy and pytest, and no way to get more; the operations' tests need no more."""
    report = yield
    if report.failed and collector.config.getoption("markexpr") == "cuda":
        missing = re.findall(r"ModuleNotFoundError: No module named '(\w+)", str(report.longrepr))
        if missing and not list(ROOT.glob(f"{missing[-1]}*")) + list(TESTS.glob(f"{missing[-1]}.py")):
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 0, f"Skipped: needs {missing[-1]}, which is not installed")
    return report


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device there is: the test runs once on each."""
    return torch.device(request.param)


@pytest.fixture(params=["pretended", pytest.param("real", marks=pytest.mark.cuda)])
def gpu(request: pytest.FixtureRequest) -> Iterator[PretendedGpu | RealGpu]:
    """A GPU of which it is known when the host waits for it: one that is not there, and one that is."""
    with PretendedGpu() if request.param == "pretended" else RealGpu() as gpu:
        yield gpu


@pytest.fixture
def ops() -> Any:
    """The operations; elsewhere, what stands in for them."""
    return amgan_fast.ops


@pytest.fixture(scope="session")
def emulator(request: pytest.FixtureRequest) -> Any:
    """The CUDA kernels under an emulator (cuda_emulator.py); its users skip where there is none."""
    from cuda_emulator import Emulator

    return Emulator(request.config.cache.mkdir("cuda_emulator"))


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """A CPU generator seeded by the test's name: the same numbers in any order of the tests."""
    return torch.Generator().manual_seed(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """torch.set_num_threads, undone after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def figures_of_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made of their data and saved as one pixel: to render the curves of a few steps takes longer than to
    take them. For files of many runs, which look at something else."""
    from matplotlib.figure import Figure
    from PIL import Image

    def save(figure: Figure, file: BinaryIO, **_: object) -> None:
        Image.new("RGB", (1, 1)).save(file, "png")

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    """Writes a module into the current folder, under a name that no other test imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"users_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"

    def write(source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    sys.modules.pop(name, None)
