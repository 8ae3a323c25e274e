"""Operations called by several threads at once, and what the library knows of Python: nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from amgan_fast import ops
from amgan_fast._library import LIBRARY
from amgan_fast.metrics import ScoreAccumulator

THREADS = 8
ROUNDS = 20


def a_loss(seed: int) -> list[torch.Tensor]:
    logits = torch.randn(100, 11, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    loss = ops.am_generator_loss(logits)
    loss.backward()
    return [loss.detach(), logits.grad]


def its_gradient_in_one_call(seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    real, generated = torch.randn(2, 300, 101, generator=random)
    return list(ops.am_discriminator_loss_and_grad(real, torch.randint(100, (300,), generator=random), generated))


def sums(seed: int) -> list[torch.Tensor]:
    return list(ops.score_sums(torch.randn(2000, 50, generator=torch.Generator().manual_seed(seed))))


@pytest.mark.parametrize("work", [a_loss, its_gradient_in_one_call, sums])
def test_threads_at_once_compute_what_one_computes(work: Callable[[int], list[torch.Tensor]]):
    alone = [work(seed) for seed in range(THREADS)]
    together = threading.Barrier(THREADS)

    def repeat(seed: int) -> list[list[torch.Tensor]]:
        together.wait()
        return [work(seed) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(THREADS) as pool:
        for wanted, rounds in zip(alone, pool.map(repeat, range(THREADS)), strict=True):
            for found in rounds:
                assert all(map(torch.equal, found, wanted))


def test_accumulators_of_threads_merge_to_that_of_all_samples():
    logits = torch.randn(4000, 10)
    whole = ScoreAccumulator(num_classes=10)
    whole.update(logits)

    def part(rows: torch.Tensor) -> ScoreAccumulator:
        accumulator = ScoreAccumulator(num_classes=10)
        for batch in rows.split(100):
            accumulator.update(batch)
        return accumulator

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(part, logits.split(1000))
    for other in others:
        first.merge(other)
    assert first.compute().inception_score == pytest.approx(whole.compute().inception_score, rel=1e-12)


def test_the_library_uses_nothing_of_python():
    """So it is for every version, and importing it cannot turn the lock of a free-threaded one back on."""
    assert re.findall(rb"\0_?(Py\w*_\w+)\0", LIBRARY.read_bytes()) == []  # PyInit__C, PyGILState_Ensure, Py_None


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="not a free-threaded Python")
def test_importing_leaves_free_threaded_python_without_the_lock():
    code = (
        "import sys, torch\nbefore = sys._is_gil_enabled()\nimport amgan_fast.ops\nprint(before, sys._is_gil_enabled())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
