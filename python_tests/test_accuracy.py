"""What the approximations inside the kernels (a fast exponential, rows summed in float32) do to the results.

The bounds hold for all instruction sets (test_instruction_sets.py runs some of these tests in each). For comparison:
torch's own log_softmax in float32 followed by the sum of p log p errs by up to 2.8e-6 on these rows, its sums by 4e-8.
"""

from __future__ import annotations

import pytest
import torch
from checking import assert_within
from sample_inputs import Sampler, dtype_name

from amgan_fast import ops, reference
from amgan_fast.ops import ScoreSums

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=dtype_name)

# Relative and absolute error of the entropy of a row. The absolute part is what is left of log(sum) and of sum/sum
# when both are rounded to 6e-8 of values up to log K; measured: 8e-7 at K = 1000, 6e-15 in float64.
ENTROPY = {torch.float32: (1e-6, 1e-6), torch.float64: (1e-14, 1e-15)}
# Relative error of a sum over 2e5 rows. The roundings of float32 mostly cancel: measured at most 5e-8 (the entropies of
# nearly certain rows, all of whose log(sum) are rounded alike), 2e-13 in float64.
SUMS = {torch.float32: 1e-7, torch.float64: 1e-12}
# Relative error of a float32 probability, e^x / sum: measured 3.5e-7.
PROBABILITY = 5e-7


@dtypes
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 20.0])
@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_entropy_of_each_row(scale, classes, dtype, device):
    logits = Sampler(512, classes, dtype=dtype, scale=scale, device=device).class_logits()
    want = reference.class_entropy(logits.double(), reduction="none")
    relative, absolute = ENTROPY[dtype]
    limit = relative * want + absolute
    assert_within(ops.class_entropy(logits, reduction="none"), want, limit, "class_entropy")
    # One row per block: the sums are those of the row.
    assert_within(ops.score_sums(logits, blocks=len(logits)).entropy, want, limit, "score_sums")


@dtypes
@pytest.mark.parametrize(("classes", "scale"), [(10, 0.1), (10, 1.0), (10, 5.0), (10, 20.0), (100, 5.0)])
def test_sums_over_many_rows(classes, scale, dtype, device):
    logits = Sampler(200_000, classes, dtype=dtype, scale=scale, device=device).class_logits()
    got, want = ops.score_sums(logits), reference.score_sums(logits)
    for name, sums, exact in zip(ScoreSums._fields, got, want, strict=True):
        assert_within(sums, exact, SUMS[dtype] * exact.abs(), name)


def test_mean_over_many_rows(device):
    logits = Sampler(200_000, 10, "zero", device=device).logits()
    for fused, exact in (
        (ops.class_entropy, reference.class_entropy),
        (ops.labelgan_generator_loss, reference.labelgan_generator_loss),
        (ops.am_generator_loss, reference.am_generator_loss),
    ):
        options = {} if fused is ops.class_entropy else {"fake": "zero"}
        for reduction in ("mean", "sum"):
            want = exact(logits.double(), reduction=reduction, **options)
            got = fused(logits, reduction=reduction, **options)
            assert_within(got, want, SUMS[torch.float32] * want, f"{fused.__name__} {reduction}")


def test_relative_error_of_a_probability(device):
    """The exponential over its range (float32 ends at e^-87): rows (0, -x), the generated class impossible."""
    x = torch.linspace(0, 86, 20_000, device=device)
    logits = torch.stack([torch.zeros_like(x), -x, torch.full_like(x, -torch.inf)], 1)
    labels = torch.zeros(len(x), dtype=torch.int64, device=device)
    _, gradient = ops.am_generator_loss_and_grad(logits, labels, reduction="none")
    want = logits.double().softmax(1)[:, 1]
    assert_within(gradient[:, 1], want, PROBABILITY * want, "p")


def test_exponentials_beyond_the_range_are_zero(device):
    far = torch.tensor([-110.0, -1e3, -1e4, -1e30, -3.4e38, -torch.inf] * 8, device=device)
    logits = torch.cat([torch.zeros(1, device=device), far])[None]
    labels = torch.zeros(1, dtype=torch.int64, device=device)
    loss, gradient = ops.am_generator_loss_and_grad(logits, labels, fake="column")
    assert loss == 0
    assert (gradient == 0).all()
    sums = ops.score_sums(logits)
    assert sums.entropy == 0
    assert sums.prob.tolist() == [[1.0] + [0.0] * len(far)]
