"""What the approximations inside the kernels (a fast exponential, rows summed in float32) do to the results.

The bounds hold for all instruction sets (test_instruction_sets.py runs these tests in each), and for the CUDA kernels
as far as their code goes (test_cuda_accuracy.py). For comparison: torch's own log_softmax in float32 followed by the
sum of p log p errs by up to 2.8e-6 on these rows, its sums by 4e-8.

A GPU's instruction for 2^x errs by up to EX2, which no code around it can mend; in the worst case all errors of a row
have one sign but that of the largest term, which is 2^0 = 1. So on CUDA float32 bounds are wider: of a probability e/s
by 2 EX2, EX2 of each; of its square by twice that; of log p = x - log s by EX2, as log s <= s - 1 errs by EX2 of its
part beside the 1; of an entropy by 2 EX2, as changing p_k by a share c_k changes it by sum c_k p_k (log p_k + H), where
sum p_k |log p_k + H| <= 2 H. Means over many rows: as one row, since nothing is known of the sign.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from checking import assert_within
from sample_inputs import Sampler, dtype_name

from amgan_fast import reference
from amgan_fast.metrics import ScoreAccumulator
from amgan_fast.ops import ScoreSums

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=dtype_name)

# Relative error of the entropy of a row, and of each probability, its square and its logarithm.
ROW = {torch.float32: 1e-6, torch.float64: 1e-13}
# float32 logits x and m are subtracted in float32: exp(x - m) inherits |x - m| / 2^24.
SUBTRACTION = {torch.float32: 2**-24, torch.float64: 2**-53}
# Relative error of sums over a million rows: single errors average out, a bias of any of them would not.
MILLION_ROWS = {torch.float32: 1e-8, torch.float64: 1e-13}
EX2 = 2**-22  # relative error of ex2.approx (PTX ISA)


@pytest.fixture
def ex2(device: torch.device) -> dict[torch.dtype, float]:
    """What the device's 2^x may add to the bounds."""
    return {torch.float32: EX2 if device.type == "cuda" else 0.0, torch.float64: 0.0}


def exact(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per row, in float64: x - max, log p, H, without losing the small terms of a nearly certain row beside its 1."""
    x = logits.double()
    x = x - x.amax(1, keepdim=True)
    e = x.exp()
    log_sum = e.sort(1).values[:, :-1].sum(1, keepdim=True).log1p()
    entropy = log_sum[:, 0] - (x * e).sum(1) / e.sum(1)
    return x, x - log_sum, entropy


@dtypes
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 20.0])
@pytest.mark.parametrize("classes", [2, 10, 64, 65, 100, 1000])
def test_each_row(scale, classes, dtype, ops, ex2, device):
    logits = Sampler(512, classes, dtype=dtype, scale=scale, device=device).class_logits()
    x, log_prob, entropy = exact(logits)
    # What counts in a small entropy is the second largest logit.
    gap = -x.sort(1).values[:, -2]
    limit = (ROW[dtype] + 2 * ex2[dtype] + SUBTRACTION[dtype] * gap) * entropy
    assert_within(ops.class_entropy(logits, reduction="none"), entropy, limit, "class_entropy")
    # One row per block: the sums are those of the row.
    sums = ops.score_sums(logits, blocks=len(logits))
    assert_within(sums.entropy, entropy, limit, "score_sums")
    relative = ROW[dtype] + 2 * ex2[dtype] + SUBTRACTION[dtype] * -x
    smallest = 1.1 * torch.finfo(dtype).smallest_normal  # what is smaller may be 0
    assert_within(sums.prob, log_prob.exp(), relative * log_prob.exp() + smallest, "prob")
    assert_within(sums.prob_sq, (2 * log_prob).exp(), 2 * relative * (2 * log_prob).exp() + smallest, "prob_sq")
    relative = ROW[dtype] + ex2[dtype] + SUBTRACTION[dtype] * gap[:, None]
    assert_within(sums.log_prob, log_prob, relative * log_prob.abs(), "log_prob")


@dtypes
@pytest.mark.parametrize(
    "scale", [pytest.param(0.1, marks=pytest.mark.slow), 1.0, pytest.param(5.0, marks=pytest.mark.slow), 20.0]
)
@pytest.mark.parametrize(("rows", "classes"), [(1_000_000, 10), (100_000, 100)])
def test_sums_over_many_rows(rows, classes, scale, dtype, ops, ex2, device):
    logits = scale * torch.randn(rows, classes, generator=torch.Generator().manual_seed(0), dtype=dtype).to(device)
    # Of fewer rows, and of the largest of many columns, more remains of the single errors.
    bound = MILLION_ROWS[dtype] * (1 if rows == 1_000_000 else 15) + 4 * ex2[dtype]
    # The oracle in blocks: summed one by one, its own rounding would exceed the bound for float64.
    want = [sums.sum(0, keepdim=True) for sums in reference.score_sums(logits, blocks=1000)]
    for name, sums, right in zip(ScoreSums._fields, ops.score_sums(logits), want, strict=True):
        assert_within(sums, right, bound * right.abs(), name)


def test_ten_million_rows_do_not_drift(ops, ex2, device):
    """The sums of a stream are those of its repeated piece, in one call and batch by batch."""
    classes = 4
    piece = torch.randn(100_000, classes, generator=torch.Generator().manual_seed(0)).to(device)
    want = [100 * sums for sums in reference.score_sums(piece)]
    whole = ops.score_sums(piece.repeat(100, 1))
    accumulator = ScoreAccumulator(classes, blocks=10, device=device)
    for _ in range(100):
        accumulator.update(piece)
    batches = [total.sum(0, keepdim=True) for total in accumulator._sums]
    for name, *got, right in zip(ScoreSums._fields, whole, batches, want, strict=True):
        for sums, how in zip(got, ("one call", "batches"), strict=True):
            # Repetition repeats the errors of the piece: they do not average out as over different rows.
            assert_within(sums, right, (5e-8 + 4 * ex2[torch.float32]) * right.abs(), f"{name} in {how}")


def test_mean_over_many_rows(ops, ex2, device):
    logits = Sampler(200_000, 10, "zero", device=device).logits()
    for name in ("class_entropy", "labelgan_generator_loss", "am_generator_loss"):
        fused, plain = getattr(ops, name), getattr(reference, name)
        options = {} if name == "class_entropy" else {"fake": "zero"}
        for reduction in ("mean", "sum"):
            want = plain(logits.double(), reduction=reduction, **options)
            got = fused(logits, reduction=reduction, **options)
            assert_within(got, want, (1e-7 + 2 * ex2[torch.float32]) * want, f"{name} {reduction}")


@pytest.mark.parametrize("columns", [3, 101])  # a row a lane, and rows across
def test_relative_error_of_a_probability(columns, ops, ex2, device):
    """The exponential over its range (float32 ends at e^-87): rows (0, -x, ...), all other classes impossible."""
    x = torch.linspace(0, 86, 20_000, device=device)
    logits = torch.full((len(x), columns), -torch.inf, device=device)
    logits[:, 0] = 0
    logits[:, 1] = -x
    labels = torch.zeros(len(x), dtype=torch.int64, device=device)
    _, gradient = ops.am_generator_loss_and_grad(logits, labels, reduction="none")
    want = logits.double().softmax(1)[:, 1]
    assert_within(gradient[:, 1], want, (3e-7 + 2 * ex2[torch.float32]) * want, "p")


@pytest.mark.parametrize("classes", [7, 70])
def test_exponentials_beyond_the_range_are_zero(classes, ops, device):
    far = torch.tensor([-110.0, -1e3, -1e4, -1e30, -3.4e38, -torch.inf] * classes, device=device)[: classes - 1]
    logits = torch.cat([torch.zeros(1, device=device), far, far[:1]])[None]
    labels = torch.zeros(1, dtype=torch.int64, device=device)
    loss, gradient = ops.am_generator_loss_and_grad(logits, labels, fake="column")
    assert loss == 0
    assert (gradient == 0).all()
    sums = ops.score_sums(logits)
    assert sums.entropy == 0
    assert sums.prob.tolist() == [[1.0] + [0.0] * classes]


@pytest.mark.parametrize("columns", [11, 1001])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=dtype_name)
def test_true_class_gradient_of_a_confident_row_in_half_precision(columns, dtype, ops, ex2, device):
    """At p = 0.999 the gradient is p - 1 = -0.001, which a p rounded to eight bits has lost."""
    margin = torch.linspace(4, 12, 64, device=device)
    logits = torch.zeros(64, columns, dtype=dtype, device=device)
    logits[:, 3] = (margin + torch.tensor(columns).log()).to(dtype)
    labels = torch.full((64,), 3, device=device)
    _, gradient = ops.am_generator_loss_and_grad(logits, labels, reduction="sum")
    want = exact(logits)[1][:, 3].expm1()
    assert want.min() < -0.01
    assert want.max() > -0.001
    # One rounding to the dtype, and those of 1 - p in float32.
    limit = (torch.finfo(dtype).eps / 2 + 2 * ex2[torch.float32]) * want.abs() + 2e-7
    assert_within(gradient[:, 3].double(), want, limit, "true class")


@pytest.mark.parametrize("columns", [3, 101])  # a row a lane, and rows across
def test_the_float64_exponential_has_no_bias(columns, ops):
    """Against NumPy's longdouble: p of rows (0, -x, ...), all other classes impossible. Single errors are those of exp,
    of 1 + exp and of a quotient."""
    x = 30 * torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = torch.full((len(x), columns), -torch.inf, dtype=torch.float64)
    logits[:, 0] = 0
    logits[:, 1] = -x
    got = ops.score_sums(logits, blocks=len(x)).prob[:, 1].numpy()
    e = np.exp(-x.numpy().astype(np.longdouble))
    errors = got / (e / (1 + e)) - 1
    assert np.abs(errors).max() < 1e-15
    assert abs(errors.mean()) < 5 * errors.std() / len(x) ** 0.5
