"""The CUDA kernels without a GPU, under an emulator (cuda_emulator.py), against the float64 reference.

PTX_CPU_HOME names the emulator's folder. Every call also fails on what the emulator reports, on a write outside the
outputs, and where the gaps between rows (NaN here) get into a result.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from checking import assert_gradient, assert_loss, assert_same, assert_within, computing
from cuda_emulator import EVERYTHING, Batch, Emulator, Outputs, Schedule, why_not
from sample_inputs import DTYPES, FAKE_MODES, FAMILY, Sampler, dtype_name, strided_labels
from test_instruction_sets import run
from test_scores import assert_sums
from torch import Tensor

from amgan_fast import reference

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

# Kernels launched by a call, at most.
LAUNCHES = {
    "kplus1": 1,
    "kplus1, total": 1,
    "kplus1, two batches, total": 1,
    "entropy": 1,
    "entropy, total": 1,
    "hinge": 1,
    "hinge, total": 1,
    "scores": 2,
    "scores, many rows": 2,
}

CLASSES = (*range(1, 41), 64, 65, 100, 101, 200, 201, 257, 513, 1000, 1001, 1025, 2049, 4097, 8201)
# Around where another kernel of the scores takes over, or another layout, which depends on the dtype.
SCORE_CLASSES = sorted({*CLASSES, 128, 129, 131, 258, 259, 262, 263, 390, 514, 770, 1024, 1026, 1027, 1030, 1031, 2048})
SCORE_CLASSES += [2050, 2055, 3078, 4096, 4102, 6150, 8192]
ROWS = (0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129)
LABELS = ("dynamic", "int64", "int32", "strided", "generated")
SOME_LABELS = "some"  # -1 for every third row, which the K+1 losses take for none
UPSTREAM = ("none", "scalar", "rows", "strided")
WEIGHTS = ("none", "rows", "strided")
WANTED = (EVERYTHING, ("loss",), ("grad",), ("total",), ("grad", "total"))
SCHEDULES = tuple(Schedule(seed, preempt=5, resident=4) for seed in (1, 2, 3))
NOISY = Schedule(seed=4, noise=0.5)

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
fakes = pytest.mark.parametrize("fake", FAKE_MODES)
some_classes = pytest.mark.parametrize("classes", [1, 3, 10, 17, 33, 64, 100, 201, 301, 1001, 2001, 4097, 8201])


def rows_of(classes: int) -> tuple[int, ...]:
    """Around the edges of tiles; of long rows, few."""
    return tuple(n for n in ROWS if n <= (129 if classes <= 40 else 17 if classes <= 201 else 5))


def spread(count: int, seed: int, **axes: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """`count` combinations with the values of every axis equally often."""
    rng = random.Random(seed)
    columns = []
    for values in axes.values():
        rounds = -(-count // len(values))
        columns.append(rng.sample([v for _ in range(rounds) for v in rng.sample(values, len(values))][:count], count))
    return (dict(zip(axes, combination, strict=True)) for combination in zip(*columns, strict=True))


def placed(x: Tensor, offset: int, gap: int) -> Tensor:
    """The same values `offset` elements into an allocation, `gap` elements between rows, NaN elsewhere."""
    rows, columns = x.shape
    length = offset + max(rows - 1, 0) * (columns + gap) + columns * (rows > 0)
    view = torch.full((length,), math.nan, dtype=x.dtype).as_strided((rows, columns), (columns + gap, 1), offset)
    return view.copy_(x)


def labels_for(kind: str, sampler: Sampler) -> Tensor | None:
    labels = sampler.any_labels() if kind in ("generated", SOME_LABELS) else sampler.labels()
    if kind == SOME_LABELS:
        labels[::3] = -1
    return {"dynamic": None, "int32": labels.int(), "strided": strided_labels(labels)}.get(kind, labels)


def upstream_for(kind: str, sampler: Sampler) -> Tensor | None:
    values = torch.randn(2 * sampler.rows + 1, generator=sampler.generator).to(computing(sampler.dtype))
    return {"none": None, "scalar": values[0], "rows": values[1 : sampler.rows + 1], "strided": values[1::2]}[kind]


def weights_for(kind: str, sampler: Sampler) -> Tensor | None:
    """Of [0, 1), and 0 for every fourth row."""
    values = torch.rand(2 * sampler.rows + 1, generator=sampler.generator).to(computing(sampler.dtype))
    weights = {"none": None, "rows": values[1 : sampler.rows + 1], "strided": values[1::2]}[kind]
    if weights is not None:
        weights[::4] = 0
    return weights


def make_batch(a: dict[str, Any], dtype: torch.dtype, fake: str, classes: int, seed: int = 0) -> Batch:
    """`fake`: "zero" for class logits alone."""
    sampler = Sampler(a["rows"], classes, fake, dtype, seed=seed)
    logits = placed(sampler.logits(), a["offset"], a["gap"])
    labels, upstream = labels_for(a["labels"], sampler), upstream_for(a["upstream"], sampler)
    weights = weights_for(a["weights"], sampler)
    family, unlabelled = FAMILY[a["family"]], a["labels"] == SOME_LABELS
    return Batch(
        logits, labels, family, a["reduction"], upstream, a["offset"], row_weight=weights, unlabelled=unlabelled
    )


def batches_of(count: int, seed: int, classes: int, **axes: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """What make_batch takes, and the outputs wanted."""
    defaults = {"rows": rows_of(classes), "offset": range(4), "gap": (0, 1, 5), "family": list(FAMILY)}
    defaults |= {"labels": LABELS, "upstream": UPSTREAM, "reduction": ("mean", "sum"), "want": WANTED}
    defaults |= {"weights": WEIGHTS}
    return spread(count, seed, **(defaults | axes))


def check(batches: Sequence[Batch], got: Outputs, exact_rows: Any, what: str) -> None:
    """Loss, gradient and total, where asked for. exact_rows(batch, logits): the losses of the rows in float64."""
    totals, count = [], 1.0
    for batch, loss, grad in zip(batches, got.loss, got.grad, strict=True):
        x = batch.logits.double().requires_grad_()
        want = exact_rows(batch, x)
        upstream = torch.ones(()) if batch.grad_output is None else batch.grad_output
        factor = (batch.scale * upstream.double()).expand(len(x))
        (want_grad,) = torch.autograd.grad(want, x, factor)
        if loss is not None:
            assert_loss(loss, want, what)
        if grad is not None:
            assert_gradient(grad, want_grad, f"{what}, gradient", scale=factor.abs()[:, None])
        totals.append(batch.scale * want.sum())
        count += len(x) if batch.reduction == "sum" else 0
    if got.total is not None:
        assert_loss(got.total[0], sum(totals), f"{what}, total", scale=count)


def kplus1_rows(fake: str) -> Any:
    return lambda batch, x: reference.kplus1_loss(
        x,
        batch.labels,
        batch.coefficients,
        fake=fake,
        reduction="none",
        row_weight=batch.row_weight,
        unlabelled=batch.unlabelled,
    )


def entropy_rows(batch: Batch, x: Tensor) -> Tensor:
    return reference.class_entropy(x, reduction="none", row_weight=batch.row_weight)


def hinge_rows(fake: str) -> Any:
    return lambda batch, x: reference.kplus1_hinge_loss(
        x,
        batch.labels,
        margin=batch.margin,
        fake=fake,
        reduction="none",
        row_weight=batch.row_weight,
    )


def check_kplus1(emulator: Emulator, dtype: torch.dtype, fake: str, classes: int, *arguments: dict[str, Any]) -> None:
    batches = [make_batch(a, dtype, fake, classes, i) for i, a in enumerate(arguments)]
    what = f"K={classes} {fake} {dtype} {arguments}"
    check(batches, emulator.kplus1(batches, fake, arguments[0]["want"]), kplus1_rows(fake), what)


def check_entropy(emulator: Emulator, dtype: torch.dtype, classes: int, a: dict[str, Any]) -> None:
    batch = make_batch(a, dtype, "zero", classes)
    check([batch], emulator.entropy(batch, a["want"]), entropy_rows, f"K={classes} {dtype} {a}")


def check_hinge(emulator: Emulator, dtype: torch.dtype, fake: str, classes: int, a: dict[str, Any]) -> None:
    batch = make_batch(a, dtype, fake, classes)
    what = f"hinge K={classes} {fake} {dtype} {a}"
    check([batch], emulator.hinge(batch, fake, a["want"]), hinge_rows(fake), what)


@pytest.mark.parametrize("classes", CLASSES)
def test_losses(classes, emulator):
    each = itertools.product(DTYPES, FAKE_MODES, range(3))
    labels = (*LABELS, SOME_LABELS)
    for (dtype, fake, _), arguments in zip(each, batches_of(24, classes, classes, labels=labels), strict=True):
        check_kplus1(emulator, dtype, fake, classes, arguments)


@some_classes
@fakes
def test_two_batches(classes, fake, emulator):
    real = batches_of(6, classes, classes, family=["discriminator_real_smoothed"], labels=(*LABELS[1:4], SOME_LABELS))
    generated = batches_of(6, classes + 1, classes, family=["discriminator_fake_smoothed"], labels=["dynamic"])
    for dtype, *pair in zip(itertools.cycle(DTYPES), real, generated, strict=False):
        check_kplus1(emulator, dtype, fake, classes, *pair)


@dtypes
@pytest.mark.parametrize(("real", "generated"), [(0, 0), (0, 5), (5, 0)])
def test_empty_batches(dtype, real, generated, emulator):
    for reduction in ("sum", "mean"):
        axes = {"reduction": [reduction], "want": [EVERYTHING]}
        pair = [next(batches_of(1, n, 10, rows=[n], **axes)) for n in (real, generated)]
        check_kplus1(emulator, dtype, "column", 10, *pair)


@pytest.mark.parametrize("classes", CLASSES)
def test_entropy(classes, emulator):
    for dtype, a in zip(itertools.cycle(DTYPES), batches_of(12, classes, classes), strict=False):
        check_entropy(emulator, dtype, classes, a)


@pytest.mark.parametrize("classes", CLASSES)
def test_hinge(classes, emulator):
    each = itertools.cycle(itertools.product(DTYPES, FAKE_MODES))
    for (dtype, fake), a in zip(each, batches_of(16, classes, classes), strict=False):
        check_hinge(emulator, dtype, fake, classes, a)


@dtypes
def test_many_rows_a_warp(dtype, emulator):
    """As many as make it fetch one row while it computes another, the last ones of them not the same for all warps."""
    (a,) = batches_of(1, 0, 65, rows=[8300], gap=[0], labels=["int64"], upstream=["rows"], want=[EVERYTHING])
    check_kplus1(emulator, dtype, "column", 65, a)
    check_entropy(emulator, dtype, 65, a)
    check_hinge(emulator, dtype, "column", 65, a)


@pytest.mark.slow
@pytest.mark.parametrize("classes", CLASSES)
@dtypes
def test_all_rows_and_offsets(classes, dtype, emulator):
    for i, (rows, offset) in enumerate(itertools.product(rows_of(classes), range(4))):
        (a,) = batches_of(1, i, classes, rows=[rows], offset=[offset])
        for fake in FAKE_MODES:
            check_kplus1(emulator, dtype, fake, classes, a)
            check_hinge(emulator, dtype, fake, classes, a)
        check_entropy(emulator, dtype, classes, a)


@some_classes
@fakes
def test_terms(classes, fake, emulator):
    for dtype, a in zip(itertools.cycle(DTYPES), batches_of(6, classes, classes, labels=LABELS[:4]), strict=False):
        batch = make_batch(a, dtype, fake, classes)
        got = emulator.kplus1([batch], fake, ["terms"]).terms
        want = reference.kplus1_terms(batch.logits.double(), batch.labels, fake=fake)
        assert_same(got.labels, want.labels)
        assert_loss(got.labelgan, want.labelgan, f"labelgan {classes} {a}")
        assert_loss(got.auxiliary, want.auxiliary, f"auxiliary {classes} {a}")


# --- Rows that are not ordinary


def extreme_rows(dtype: torch.dtype, classes: int, fake: str) -> tuple[Tensor, dict[str, int]]:
    """Logits, and which row is which."""
    names = ["tied", "certain", "certainly_generated", "one_excluded", "one_left", "excluded", "masked"]
    names += ["infinite", "nan", "late", "last"]
    x = Sampler(len(names), classes, fake, dtype).logits()
    row = {name: i for i, name in enumerate(names)}
    x[row["tied"], :classes] = 0.5
    x[row["certain"], classes // 2] = 30
    x[row["certainly_generated"], :classes] -= 30
    x[row["one_excluded"], classes - 1] = -math.inf
    x[row["one_left"], : classes - 1] = -math.inf
    x[row["excluded"], :classes] = -math.inf
    x[row["masked"], 1:classes] = torch.finfo(dtype).min
    x[row["infinite"], classes // 2] = math.inf
    x[row["nan"], classes // 2] = math.nan
    x[row["late"], classes - 1 :] = math.nan
    return x, row


@dtypes
@fakes
@some_classes
def test_extreme_losses(dtype, fake, classes, emulator):
    x, row = extreme_rows(dtype, classes, fake)
    for family, labels in itertools.product(FAMILY, (None, 0, classes)):
        given = None if labels is None else torch.full((len(x),), labels)
        batch = Batch(x, given, FAMILY[family])
        got = emulator.kplus1([batch], fake)
        exact = x.double().requires_grad_()
        want = kplus1_rows(fake)(batch, exact)
        (want_grad,) = torch.autograd.grad(want.sum(), exact)
        what, defined = f"{family} {labels} {fake}", want.isfinite() & want_grad.isfinite().all(1)
        assert defined[[row["tied"], row["certain"], row["certainly_generated"], row["last"]]].all()
        want[row["infinite"]] = math.nan  # as PyTorch: inf - inf
        if FAMILY[family][4]:
            want[row["masked"]] = math.nan  # may exceed the computing type, as in PyTorch
        assert_loss(got.loss[0][~want.isnan()], want[~want.isnan()], what)
        assert_gradient(got.grad[0][defined], want_grad[defined], what)
        assert got.loss[0][[row["infinite"], row["nan"], row["late"]]].isnan().all()
        assert got.total.isnan()


@dtypes
@fakes
@some_classes
def test_extreme_hinges(dtype, fake, classes, emulator):
    """Ties, infinities and NaN, where the losses are as the formula's."""
    x, _ = extreme_rows(dtype, classes, fake)
    for labels in (None, 0, classes):
        batch = Batch(x, None if labels is None else torch.full((len(x),), labels))
        got = emulator.hinge(batch, fake)
        exact = x.double().requires_grad_()
        want = hinge_rows(fake)(batch, exact)
        (want_grad,) = torch.autograd.grad(want.sum(), exact)
        spoiled = want.isnan()
        assert_loss(got.loss[0], want, f"{labels}")
        assert_gradient(got.grad[0][~spoiled], want_grad[~spoiled], f"{labels}, gradient")
        assert got.grad[0][spoiled].isnan().all()
        assert got.total.isnan()


@dtypes
@fakes
def test_small_losses_keep_their_digits(dtype, fake, emulator):
    x, row = extreme_rows(dtype, 17, fake)
    relative = 1e-12 if dtype == torch.float64 else 2e-5
    columns = x.double() if fake == "column" else torch.cat([x.double(), torch.zeros(len(x), 1)], 1)
    certain, generated, largest = columns[row["certain"]], columns[row["certainly_generated"]], 17 // 2
    others = torch.cat([certain[:largest], certain[largest + 1 : 17]])
    for family, name, log_odds in (
        ("discriminator_fake", "certainly_generated", generated[:17].logsumexp(0) - generated[17]),
        ("labelgan", "certain", certain[17] - certain[:17].logsumexp(0)),
        ("class", "certain", others.logsumexp(0) - certain[largest]),
    ):
        got = emulator.kplus1([Batch(x[row[name]][None], None, FAMILY[family])], fake, ("loss",)).loss[0]
        want = log_odds.exp().log1p()[None]
        assert 0 < want < 1e-8
        assert_within(got, want, relative * want, family)


@dtypes
@fakes
@some_classes
def test_extreme_terms(dtype, fake, classes, emulator):
    x, row = extreme_rows(dtype, classes, fake)
    got = emulator.kplus1([Batch(x)], fake, ("terms",)).terms
    want = reference.kplus1_terms(x.double(), fake=fake)
    assert_same(got.labels, want.labels)  # the first of equals, and the first NaN
    defined = want.labelgan.isfinite() & want.auxiliary.isfinite()
    assert_loss(got.labelgan[defined], want.labelgan[defined], "labelgan")
    assert_loss(got.auxiliary[defined], want.auxiliary[defined], "auxiliary")
    assert got.labelgan[row["excluded"]] == math.inf


@dtypes
@some_classes
def test_extreme_entropies(dtype, classes, emulator):
    x, row = extreme_rows(dtype, classes, "zero")
    got = emulator.entropy(Batch(x))
    exact = x.double().requires_grad_()
    want = entropy_rows(Batch(x), exact)
    (want_grad,) = torch.autograd.grad(want.sum(), exact)
    finite = want.isfinite()
    assert finite[[row["tied"], row["certain"], row["last"]]].all()
    assert_loss(got.loss[0][finite], want[finite], "entropy")
    assert_within(got.loss[0][row["certain"]], want[row["certain"]], 1e-5 * want[row["certain"]].item(), "certain")
    assert_gradient(got.grad[0][finite], want_grad[finite], "gradient")
    assert got.loss[0][[row["infinite"], row["nan"], row["late"], row["excluded"]]].isnan().all()


def spoiled_rows(dtype: torch.dtype, columns: int) -> Tensor:
    """A row with NaN and one with +inf for each column, of long rows around their edges; the last row has neither."""
    places = [k for k in range(columns) if columns <= 41 or k < 2 or k in (8, columns // 2) or k > columns - 3]
    x = Sampler(2 * len(places) + 1, columns, "zero", dtype).logits()
    for i, column in enumerate(places):
        x[2 * i, column], x[2 * i + 1, column] = math.nan, math.inf
    return placed(x, 1, 3)


def assert_spoiled(results: Sequence[Tensor], what: str) -> None:
    for result in results:
        assert not result[:-1].isfinite().any(), what
        assert result[-1].isfinite().all(), what


@dtypes
@fakes
@some_classes
def test_nan_and_infinity_show_in_losses(dtype, fake, classes, emulator):
    x = spoiled_rows(dtype, classes + (fake == "column"))
    for family, labels in zip(FAMILY, itertools.cycle((None, 0, classes)), strict=False):
        given = None if labels is None else torch.full((len(x),), labels)
        got = emulator.kplus1([Batch(x, given, FAMILY[family])], fake, (*EVERYTHING, "terms"))
        assert_spoiled((got.loss[0], got.grad[0], *got.terms[:2]), f"{family} {labels}")
        assert not got.total.isfinite()


@dtypes
@some_classes
def test_nan_and_infinity_show_in_entropies_hinges_and_scores(dtype, classes, emulator):
    x = spoiled_rows(dtype, classes)
    for name, got in {"entropy": emulator.entropy(Batch(x)), "hinge": emulator.hinge(Batch(x), "zero")}.items():
        assert_spoiled((got.loss[0], got.grad[0]), name)
        assert not got.total.isfinite()
    sums, _ = emulator.scores(x, len(x), 0, False)
    assert_spoiled(sums[1:], "a block a row")


def test_one_row_for_all(emulator):
    logits = Sampler(1, 17).logits()
    got = emulator.kplus1([Batch(logits.expand(9, -1))], "column")
    once = emulator.kplus1([Batch(logits)], "column")
    assert_same((got.loss[0], got.grad[0]), (once.loss[0].expand(9), once.grad[0].expand(9, -1)))


def test_a_label_out_of_range_stops_the_kernel(emulator, request):
    """In a process of its own: what a stopped kernel leaves behind is of no use to another."""
    call = 'e.kplus1([Batch(Sampler(5, 10).logits(), torch.tensor([0, 1, 11, 3, 4]))], "column")'
    cache = f"from pathlib import Path; e = Emulator(Path({str(request.config.cache.mkdir('cuda_emulator'))!r}))"
    imports = "import torch; from cuda_emulator import Batch, Emulator; from sample_inputs import Sampler"
    result = run(None, "-c", f"{imports}; {cache}; {call}")
    assert "device assertion failed" in result.stderr, result.stderr


# --- Scores


def check_scores(emulator: Emulator, dtype: torch.dtype, classes: int, a: dict[str, Any], *more: Schedule) -> None:
    sampler = Sampler(a["rows"], classes, dtype=dtype)
    values = sampler.probabilities() if a["probabilities"] else sampler.class_logits()
    x = placed(values, a["at"], a["gap"])
    sums, _ = emulator.scores(x, a["blocks"], a["offset"], a["probabilities"], *more)
    want = reference.score_sums(x, **{name: a[name] for name in ("blocks", "offset", "probabilities")})
    assert_sums(sums, want, dtype, -(-a["rows"] // a["blocks"]), f"K={classes} {dtype} {a}")


def scores_of(count: int, seed: int, **axes: Sequence[Any]) -> Iterator[dict[str, Any]]:
    defaults = {"blocks": (1, 2, 7, 100), "offset": (0, 3, 12345), "probabilities": (False, True)}
    return spread(count, seed, **(defaults | {"at": range(4), "gap": (0, 1, 5)} | axes))


@pytest.mark.parametrize("classes", SCORE_CLASSES)
def test_scores(classes, emulator):
    blocks = (1, 2, 7, 100) if classes <= 201 else (1, 2, 7)
    for dtype, a in zip(2 * DTYPES, scores_of(8, classes, rows=rows_of(classes), blocks=blocks), strict=True):
        check_scores(emulator, dtype, classes, a)


@dtypes
@pytest.mark.parametrize("rows", [511, 512, 700, 1030, 3001])
def test_scores_of_many_rows(dtype, rows, emulator):
    for classes, a in zip((1, 2, 3, 10, 17, 33), scores_of(6, rows, rows=[rows]), strict=True):
        check_scores(emulator, dtype, classes, a)


@dtypes
@pytest.mark.parametrize("classes", [130, 136, 517, 1001])
def test_scores_of_rows_that_begin_anywhere(dtype, classes, emulator):
    for at, gap in itertools.product(range(8), (0, 1)):
        (a,) = scores_of(1, at, rows=[19], blocks=[1 + gap], at=[at], gap=[gap], probabilities=[at == 3])
        check_scores(emulator, dtype, classes, a)


CHUNKED = ((100, 700, 1), (100, 700, 7), (257, 250, 2), (1000, 130, 1), (1100, 135, 2), (2049, 70, 1), (8200, 520, 1))


@dtypes
@pytest.mark.parametrize(("classes", "rows", "blocks"), [*CHUNKED, (32768, 3, 2)])
def test_scores_of_chunks(dtype, classes, rows, blocks, emulator):
    for a in scores_of(2, rows, rows=[rows], blocks=[blocks]):
        check_scores(emulator, dtype, classes, a)


@dtypes
@pytest.mark.parametrize("classes", [10, 100, 300, 1001, 1025, 2500, 8201])
def test_extreme_scores(dtype, classes, emulator):
    x, _ = extreme_rows(dtype, classes, "zero")
    sums, _ = emulator.scores(x, len(x), 3, False)
    assert_sums(sums, reference.score_sums(x, blocks=len(x), offset=3), dtype, 1, "a block a row")


@pytest.mark.parametrize("classes", [10, 300, 1025, 8201])
def test_masked_scores_stay_finite(classes, emulator):
    """By the lowest finite number, which two floats added exceed."""
    x = torch.full((3000 if classes == 10 else 5, classes), torch.finfo(torch.float32).min)
    x[:, 0] = 1
    sums, _ = emulator.scores(x, 1, 0, False)
    assert_sums(sums, reference.score_sums(x), x.dtype, len(x), "masked")


@dtypes
@pytest.mark.parametrize("classes", [1, 10, 300, 1025, 4097])
def test_sums_of_parts_add_up(dtype, classes, emulator):
    """As on the CPU: up to 128 rows are added up in float32, then in float64."""
    bound = 1e-13 if dtype == torch.float64 else 5e-7
    x = Sampler(300 if classes < 300 else 40, classes, dtype=dtype).class_logits()
    whole, first, second = (emulator.scores(part, 1, 0, False)[0] for part in (x, x[:17], x[17:]))
    for name, total, *parts in zip(whole._fields, whole, first, second, strict=True):
        assert_within(sum(parts), total, bound * total.abs(), name)


# --- Leaky ReLU + dropout: bit for bit what the CPU does with the same state of the generator

DROPOUT_SIZES = (0, 1, 7, 8, 9, 15, 17, 255, 1023, 1025, 2047, 4096, 4097, 5000)
STATES = ((0, 0), (-1, 4), (0x299F31D0A4093822, 4 * (2**40 + 1)), (-(2**63), -4))


def on_cpu(values: Tensor, signs: Tensor, state: tuple[int, int], p: float, slope: float) -> Tensor:
    operation = torch.ops.amgan_fast.native_leaky_dropout_backward.default
    return operation(values, signs, torch.tensor(state), p, slope)


def dropout_inputs(size: int, dtype: torch.dtype, at: int) -> tuple[Tensor, Tensor]:
    """Both `at` elements into an allocation."""
    both = Sampler(2, size + at, "zero", dtype).logits()
    return both[0].clone()[at:], both[1].clone()[at:]


@dtypes
@pytest.mark.parametrize("p", [0.3, 0.5, 2.0**-16, 1.0])
def test_leaky_dropout(p, dtype, emulator):
    pieces = spread(len(DROPOUT_SIZES), 1, size=DROPOUT_SIZES, at=(0, 0, 1, 3), place=(0, 0, 1), state=STATES)
    for a in pieces:
        x, upstream = dropout_inputs(a["size"], dtype, a["at"])
        state = a["state"]
        out, used = emulator.leaky_dropout(x, p, 0.2, philox=state, place=a["place"])
        assert_same(out, on_cpu(x, x, state, p, 0.2), str(a))
        assert used.tolist() == list(state)
        gradient, _ = emulator.leaky_dropout(upstream, p, 0.2, signs=out, philox=used, place=a["place"])
        assert_same(gradient, on_cpu(upstream, out, state, p, 0.2), f"{a}, gradient")


@dtypes
def test_leaky_dropout_in_a_captured_graph(dtype, emulator):
    """Seed and offset come from memory, where a replay puts others."""
    x, upstream = dropout_inputs(1000, dtype, 0)
    for seed, offset in STATES[:3]:
        out, used = emulator.leaky_dropout(x, 0.3, 0.2, philox=torch.tensor([seed, offset]), captured=8)
        assert used.tolist() == [seed, offset + 8]
        assert_same(out, on_cpu(x, x, (seed, offset + 8), 0.3, 0.2))
        gradient, _ = emulator.leaky_dropout(upstream, 0.3, 0.2, signs=out, philox=used)
        assert_same(gradient, on_cpu(upstream, out, (seed, offset + 8), 0.3, 0.2))


@dtypes
def test_extreme_leaky_dropout(dtype, emulator):
    info = torch.finfo(dtype)
    numbers = [
        0.0,
        -0.0,
        math.nan,
        math.inf,
        -math.inf,
        info.max,
        info.min,
        info.smallest_normal,
        -info.smallest_normal,
    ]
    x = torch.tensor(numbers * 50).to(dtype)
    for slope in (0.0, 0.2):
        out, used = emulator.leaky_dropout(x, 0.5, slope, philox=(5, 0))
        assert_same(out, on_cpu(x, x, (5, 0), 0.5, slope))
        assert not out.signbit()[out == 0].logical_xor(on_cpu(x, x, (5, 0), 0.5, slope).signbit()[out == 0]).any()
        gradient, _ = emulator.leaky_dropout(torch.ones_like(x), 0.5, slope, signs=out, philox=used)
        assert_same(gradient, on_cpu(torch.ones_like(x), out, (5, 0), 0.5, slope))


@dtypes
def test_any_schedule_of_leaky_dropout_gives_the_same_bits(dtype, emulator):
    x, _ = dropout_inputs(5000, dtype, 1)
    want = emulator.leaky_dropout(x, 0.3, 0.2)
    for schedule in SCHEDULES:
        assert_same(emulator.leaky_dropout(x, 0.3, 0.2, schedule=schedule), want, str(schedule))


# --- Totals: a few rows are one thread block's, which neither counts nor waits for others

FEW_ROWS = ((10, 100, 100), (10, 256, 256), (10, 100, 0), (10, 0, 0), (20, 40, 30), (50, 33, 16))
MANY_ROWS = ((10, 300, 256), (50, 64, 1), (200, 15, 2), (1000, 1, 1))


def one_block(kernel: str) -> bool:
    """Whether this is the mangled name of a kernel of which one thread block stands for a grid: its last argument."""
    return re.search(r"(kplus1|entropy|hinge)_kernelI.*ELi[1-9]\d*EEEv", kernel) is not None


def test_one_block_neither_counts_nor_fences(emulator):
    orders = re.compile(r"\b(membar|fence|atom|red)\b")
    found = {name: orders.search(code) for name, code in emulator.ptx().items() if "_kernelI" in name and "ELi" in name}
    losses = {name: order for name, order in found.items() if re.search("(kplus1|entropy|hinge)_kernelI", name)}
    assert any(map(one_block, losses))
    assert all((order is None) == one_block(name) for name, order in losses.items())


@dtypes
@pytest.mark.parametrize(("classes", "real", "generated"), [*FEW_ROWS, *MANY_ROWS])
def test_totals_of_few_rows(dtype, classes, real, generated, emulator):
    axes = {"reduction": ["mean"], "want": [EVERYTHING], "offset": [1], "family": ["not_shift_invariant"]}
    pair = [next(batches_of(1, n, classes, rows=[n], **axes)) for n in (real, generated)]
    check_kplus1(emulator, dtype, "column", classes, *pair)
    if dtype != torch.float64:  # of which a block takes half as many
        assert (emulator.workspace == 0) == ((classes, real, generated) in FEW_ROWS)
    check_entropy(emulator, dtype, classes, pair[0])
    check_hinge(emulator, dtype, "column", classes, pair[0])


# --- Long rows, in shared memory as far as that reaches, and read again beyond


def results(outputs: Outputs) -> tuple[Tensor, ...]:
    return tuple(x for x in (*outputs.loss, *outputs.grad, outputs.total, *(outputs.terms or ())) if x is not None)


# Around where 512 threads a row become 1,024, where registers help out, and where nothing keeps the whole row.
LONG = {4: (24576, 24577, 65536, 70001), 2: (49153, 140001), 8: (30001,)}


@pytest.mark.parametrize(("dtype", "classes"), [(d, k) for d in DTYPES for k in LONG[d.itemsize]], ids=str)
def test_long_rows_have_the_same_bits_whatever_the_shared_memory(dtype, classes, emulator):
    axes = {"rows": [2], "offset": [1], "family": ["discriminator_real_smoothed"], "labels": ["int64"]}
    (a,) = batches_of(1, classes, classes, **axes)
    batch = make_batch(a, dtype, "column", classes)
    calls = {
        kplus1_rows("column"): lambda **options: emulator.kplus1([batch], "column", **options),
        entropy_rows: lambda **options: emulator.entropy(batch, **options),
        hinge_rows("column"): lambda **options: emulator.hinge(batch, "column", **options),
    }
    for exact_rows, call in calls.items():
        want = call()
        check([batch], want, exact_rows, f"{classes} {dtype}")
        for device in (2, 3):
            schedule = Schedule(device=device)
            assert_same(results(call(schedule=schedule)), results(want), str(schedule))


@pytest.mark.slow
@dtypes
@pytest.mark.parametrize("want", [("loss", "grad", "total"), ("loss", "total")])
def test_a_block_takes_one_long_row_after_the_other(dtype, want, emulator):
    """More rows than blocks, of which each brings its next row to the places of the one that it has."""
    (a,) = batches_of(1, 0, 8201, rows=[514], offset=[1], gap=[0], family=["not_shift_invariant"])
    batch = make_batch(a, dtype, "column", 8201)
    check([batch], emulator.kplus1([batch], "column", want), kplus1_rows("column"), "loss")
    check([batch], emulator.entropy(batch, want), entropy_rows, "entropy")
    check([batch], emulator.hinge(batch, "column", want), hinge_rows("column"), "hinge")


# --- Schedules


@dtypes
@pytest.mark.parametrize("classes", [10, 33, 201, 1001, 1500, 8201])
def test_any_schedule_gives_the_same_bits(dtype, classes, emulator):
    rows = 37 if classes < 100 else 5
    (a,) = batches_of(1, 0, classes, rows=[rows], offset=[1], gap=[0], family=["not_shift_invariant"])
    batches = [make_batch(a, dtype, "column", classes, i) for i in range(2)]

    def everything(schedule: Schedule) -> tuple[Tensor, ...]:
        losses = emulator.kplus1(batches, "column", ("loss", "grad", "total", "terms"), schedule)
        entropies = emulator.entropy(batches[0], schedule=schedule)
        hinges = emulator.hinge(batches[0], "column", schedule=schedule)
        scores = itertools.chain(*(emulator.scores(batches[0].logits, b, 1, False, schedule)[0] for b in (1, 7)))
        results = (x for r in (losses, entropies, hinges) for x in (*r.loss, *r.grad, r.total))
        return (*results, *losses.terms, *scores)

    want = everything(Schedule())
    for schedule in (Schedule(), *SCHEDULES, Schedule(resident=16)):
        assert_same(everything(schedule), want, str(schedule))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_many_rows_and_long_ones_give_the_same_bits(schedule, emulator):
    x, long = Sampler(2100, 3).class_logits(), Sampler(5, 8200).class_logits()
    for call in (
        lambda *s: emulator.entropy(Batch(x), ("loss", "total"), *s).total,
        lambda *s: emulator.kplus1([Batch(x), Batch(x[:700])], "zero", ("total",), *s).total,
        lambda *s: emulator.scores(x, 2, 1, False, *s)[0],
        lambda *s: emulator.scores(long, 2, 1, False, *s)[0],
    ):
        assert_same(call(schedule), call())


@dtypes
@pytest.mark.parametrize("classes", [3, 10, 201, 2000, 4097, 8201])
def test_approximate_instructions_may_be_approximate(dtype, classes, emulator):
    """Within the same bounds: those leave room for the functions of a GPU."""
    for fake, a in zip(FAKE_MODES, batches_of(2, 3, classes), strict=True):
        batch = make_batch(a, dtype, fake, classes)
        check([batch], emulator.kplus1([batch], fake, schedule=NOISY), kplus1_rows(fake), f"{classes} {a}")
    check([batch], emulator.entropy(batch, schedule=NOISY), entropy_rows, f"entropy {classes} {a}")
    (a,) = scores_of(1, classes, rows=[17], blocks=[2], probabilities=[False])
    check_scores(emulator, dtype, classes, a, NOISY)


@pytest.mark.parametrize("name", LAUNCHES)
def test_launches(name, emulator):
    batch, fewer = Batch(Sampler(300, 3).class_logits()), Batch(Sampler(9, 3).class_logits())
    call = {
        "kplus1": lambda: emulator.kplus1([batch], "zero", ("loss", "grad")).launches,
        "kplus1, total": lambda: emulator.kplus1([batch], "zero").launches,
        "kplus1, two batches, total": lambda: emulator.kplus1([batch, fewer], "zero").launches,
        "entropy": lambda: emulator.entropy(batch, ("loss", "grad")).launches,
        "entropy, total": lambda: emulator.entropy(batch).launches,
        "hinge": lambda: emulator.hinge(batch, "zero", ("loss", "grad")).launches,
        "hinge, total": lambda: emulator.hinge(batch, "zero").launches,
        "scores": lambda: emulator.scores(fewer.logits, 1, 0, False)[1],
        "scores, many rows": lambda: emulator.scores(Sampler(2100, 3).class_logits(), 1, 0, False)[1],
    }[name]
    assert 1 <= call() <= LAUNCHES[name]
