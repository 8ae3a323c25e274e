"""Values wherever rows lie in memory: any base address, gaps between rows, and every way a kernel takes a row.

Inputs are laid out, and results compared, on the CPU: on a GPU nothing runs but the kernels under test, so that
`make gpu-check` can run this file under compute-sanitizer.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from checking import assert_gradient, assert_loss, assert_same, computing, values_and_gradients, with_gradient
from sample_inputs import CASES, DTYPES, Case, Sampler, by_name, dtype_name, floats, map_tensors
from test_scores import assert_sums
from torch import Tensor

# (K, N). The CUDA kernels give a row 1, 4, 8, 32, 128, 256 or 512 threads, and read the longest again; on the CPU rows
# of up to 64 classes go a row a lane. The paper's batch, and a large one of a thousand classes.
SHORT = ((1, 33), (10, 100), (20, 33), (50, 33), (200, 33), (1000, 9), (1000, 1000))
SHAPES = (*SHORT, (1500, 7), (3000, 5), (5000, 3), (9000, 3))
PLACES = ((0, 0), (1, 0), (2, 3), (3, 5))  # elements before the first row, and between rows
UPSTREAM = -0.7  # the gradient of the loss: one that is ignored shows
# Together all outputs of all kernels.
CHOSEN = {
    "loss_not_shift_invariant",
    "discriminator_smoothed",
    "discriminator_and_grad",
    "terms_dynamic",
    "class_entropy",
    "entropy_and_grad",
    "score_sums",
    "score_sums_probabilities",
}


def placed(x: Tensor, offset: int, gap: int, device: torch.device) -> Tensor:
    """The same values `offset` elements into an allocation of their own, `gap` elements between rows, NaN elsewhere."""
    rows, columns = x.shape
    memory = torch.full((offset + rows * (columns + gap) - gap,), math.nan, dtype=x.dtype)
    strides = (columns + gap, 1)
    memory.as_strided(x.shape, strides, offset).copy_(x)
    return memory.to(device).as_strided(x.shape, strides, offset)


def place_all(args: tuple[Any, ...], offset: int, gap: int, device: torch.device) -> tuple[Any, ...]:
    return map_tensors(args, lambda x: placed(x, offset, gap, device) if x.dim() == 2 else x.to(device))


def check(case: Case, got: tuple[Tensor, ...], want: tuple[Tensor, ...], sampler: Sampler, what: str) -> None:
    if case.op == "score_sums":
        assert_sums(got, [x.numpy() for x in want], sampler.dtype, sampler.rows // 3 + 1, what)
        return
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        name = f"{what}, output {i}"
        if not a.is_floating_point():
            assert_same(a, b, name)
        elif a.dim() == 2:
            assert_gradient(a, b, name, scale=1 / min(sampler.rows, sampler.other_rows))
        else:
            assert_loss(a, b, name)


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize(("classes", "rows"), SHAPES)
@pytest.mark.parametrize("case", [case for case in CASES if case.name in CHOSEN], ids=by_name)
def test_values_and_gradients(case: Case, classes, rows, dtype, device):
    sampler = Sampler(rows, classes, "column", dtype)
    args, keywords = case.build(sampler), case.keywords("column", "mean")
    upstream = torch.tensor(UPSTREAM, dtype=torch.float64)
    want = values_and_gradients(case, case.reference(), with_gradient(args, torch.float64), keywords, upstream)
    upstream = upstream.to(computing(dtype)).to(device)
    for offset, gap in PLACES:
        given = with_gradient(place_all(args, offset, gap, device))
        assert all(x.storage_offset() == offset for x in floats(given))
        got = values_and_gradients(case, case.fused(), given, keywords, upstream)
        check(case, tuple(x.cpu() for x in got), want, sampler, f"{offset} before, {gap} between")
