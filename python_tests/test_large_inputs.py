"""More than 2^31 logits: offsets of 64 bits, on a GPU, whose kernels compute them in parallel."""

from __future__ import annotations

import pytest
import torch
from checking import assert_same, assert_within

from amgan_fast import ops

pytestmark = pytest.mark.cuda

ELEMENTS = 2**31
NEEDED = 5 * ELEMENTS  # bytes: logits and a gradient of two each, and room


@pytest.fixture(params=[11, 201, 1001, 3000, 9000])
def logits(request):
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    if free < NEEDED:
        pytest.skip(f"needs {NEEDED / 2**30:.0f} GiB of GPU memory, {free / 2**30:.1f} are free")
    rows = (ELEMENTS // request.param // 64 + 2) * 64
    return torch.empty(rows, request.param, dtype=torch.bfloat16, device="cuda").normal_()


@pytest.mark.parametrize(
    "op", [ops.am_generator_loss_and_grad, ops.class_entropy_and_grad, ops.kplus1_hinge_loss_and_grad]
)
def test_the_last_rows_are_as_those_rows_alone(op, logits):
    last = slice(len(logits) - 64, None)  # aligned as a tensor of their own
    loss, grad = op(logits, reduction="none")
    want_loss, want_grad = op(logits[last].clone(), reduction="none")
    assert_same((loss[last].clone(), grad[last].clone()), (want_loss, want_grad))


def test_sums_are_those_of_both_halves(logits):
    half = len(logits) // 2
    whole, first, second = (ops.score_sums(x) for x in (logits, logits[:half], logits[half:]))
    for name, total, *parts in zip(whole._fields, whole, first, second, strict=True):
        assert_within(sum(parts), total, 1e-6 * total.abs(), name)  # other rows would differ by 1e-3
