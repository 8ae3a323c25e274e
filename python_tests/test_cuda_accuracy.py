"""The bounds of test_accuracy.py for the CUDA kernels, under an emulator (cuda_emulator.py), whose 2^x is rounded
correctly or errs by as much as a GPU's may: what the code around it makes of the one and of the other.

Left out: ten million rows, which take the emulator too long and are the sums of the same kernel.
"""

from __future__ import annotations

from typing import Any

import pytest
import test_accuracy
import torch
from cuda_emulator import Batch, Emulator, Schedule, why_not
from sample_inputs import FAMILY
from test_accuracy import (  # noqa: F401 -- collected here, too
    EX2,
    test_each_row,
    test_exponentials_beyond_the_range_are_zero,
    test_mean_over_many_rows,
    test_relative_error_of_a_probability,
    test_true_class_gradient_of_a_confident_row_in_half_precision,
)
from torch import Tensor

from amgan_fast.ops import ScoreSums

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
test_sums_over_many_rows = pytest.mark.slow(test_accuracy.test_sums_over_many_rows)


class EmulatedOps:
    """The operations that those tests call, by the emulator."""

    def __init__(self, emulator: Emulator, schedule: Schedule) -> None:
        self._emulator, self._schedule = emulator, schedule

    def class_entropy(self, logits: Tensor, *, reduction: str = "mean") -> Tensor:
        want = "loss" if reduction == "none" else "total"
        got = self._emulator.entropy(Batch(logits, reduction=reduction), [want], self._schedule)
        return got.loss[0] if want == "loss" else got.total[0]

    def score_sums(self, logits: Tensor, blocks: int = 1) -> ScoreSums:
        return self._emulator.scores(logits, blocks, 0, False, self._schedule)[0]

    def am_generator_loss_and_grad(
        self, logits: Tensor, labels: Tensor, *, reduction: str = "mean", fake: str = "column"
    ) -> tuple[Tensor, Tensor]:
        want = ("loss" if reduction == "none" else "total", "grad")
        batch = Batch(logits, labels, FAMILY["am"], "sum" if reduction == "none" else reduction)
        got = self._emulator.kplus1([batch], fake, want, self._schedule)
        return got.loss[0] if reduction == "none" else got.total[0], got.grad[0]

    def am_generator_loss(self, logits: Tensor, *, reduction: str, fake: str) -> Tensor:
        return self._total(logits, "am", reduction, fake)

    def labelgan_generator_loss(self, logits: Tensor, *, reduction: str, fake: str) -> Tensor:
        return self._total(logits, "labelgan", reduction, fake)

    def _total(self, logits: Tensor, family: str, reduction: str, fake: str) -> Tensor:
        batch = Batch(logits, None, FAMILY[family], reduction)
        return self._emulator.kplus1([batch], fake, ["total"], self._schedule).total[0]


@pytest.fixture(params=[0.0, 1.0], ids=["rounded", "approximate"])
def noise(request: pytest.FixtureRequest) -> float:
    """Of ex2.approx and its like, in parts of what the PTX ISA allows."""
    return request.param


@pytest.fixture
def ops(emulator: Emulator, noise: float) -> Any:
    return EmulatedOps(emulator, Schedule(seed=1 if noise else 0, noise=noise))


@pytest.fixture
def device() -> torch.device:
    """Of the tensors that the emulator is given."""
    return torch.device("cpu")


@pytest.fixture
def ex2(noise: float) -> dict[torch.dtype, float]:
    return {torch.float32: noise * EX2, torch.float64: 0.0}
