"""The K+1-class losses: against the float64 reference, torch.nn.functional, and the gradients of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from checking import (
    assert_gradient,
    assert_loss,
    assert_same,
    assert_within,
    check_loss,
    computing,
    with_gradient,
)
from sample_inputs import (
    DTYPES,
    FAKE_MODES,
    FAMILY,
    LAYOUTS,
    LOSSES,
    REDUCTIONS,
    SHAPES,
    WITHOUT_GRADIENT,
    Case,
    Sampler,
    by_name,
    dtype_name,
    floats,
    map_tensors,
    strided_labels,
)
from torch.nn import functional as F

from amgan_fast import ops, reference

KPLUS1 = tuple(case for case in LOSSES if case.has_fake)
TERMS = tuple(case for case in WITHOUT_GRADIENT if case.op == "kplus1_terms")
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
fakes = pytest.mark.parametrize("fake", FAKE_MODES)
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)
NAN, INF = math.nan, math.inf


def columns_of(logits, fake):
    """All K+1 logits in float64."""
    logits = logits.detach().double()
    return logits if fake == "column" else F.pad(logits, (0, 1))


def softmax_parts(logits, fake):
    """D over the real classes [N, K], D of the generated one [N], D_r [N], in float64."""
    d = columns_of(logits, fake).softmax(1)
    return d[:, :-1], d[:, -1], d[:, :-1].sum(1)


def rows_and_gradient(function, logits, *args, **keywords):
    """Losses of the rows and their gradient: rows do not mix, so one backward of the sum gives all."""
    leaf = logits.detach().clone().requires_grad_()
    loss = function(leaf, *args, reduction="none", **keywords)
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


def single(dtype, *values, device="cpu"):
    return torch.tensor([values], dtype=dtype, device=device)


# --- Random inputs, all operations, all dtypes


@dtypes
@pytest.mark.parametrize("case", KPLUS1, ids=by_name)
def test_loss_and_gradient_equal_reference(case: Case, dtype, device):
    for fake in FAKE_MODES:
        for i, (classes, rows) in enumerate(SHAPES):
            label_dtype = (torch.int64, torch.int32)[i % 2]
            sampler = Sampler(rows, classes, fake, dtype, label_dtype=label_dtype, device=device)
            for reduction in REDUCTIONS:
                check_loss(case, sampler, reduction)


@dtypes
@pytest.mark.parametrize("case", TERMS, ids=by_name)
def test_terms_equal_reference(case: Case, dtype, device):
    for fake in FAKE_MODES:
        for i, (classes, rows) in enumerate(SHAPES):
            label_dtype = (torch.int32, torch.int64)[i % 2]
            args = case.build(Sampler(rows, classes, fake, dtype, label_dtype=label_dtype, device=device))
            got = case.fused()(*args, fake=fake)
            want = case.reference()(*with_gradient(args, torch.float64), fake=fake)
            assert got.labelgan.dtype == got.auxiliary.dtype == computing(dtype)
            assert_loss(got.labelgan, want.labelgan, f"{case.name} {classes} {rows} labelgan")
            assert_loss(got.auxiliary, want.auxiliary, f"{case.name} {classes} {rows} auxiliary")
            assert_same(got.labels, want.labels, f"{case.name} {classes} {rows} labels")


@pytest.mark.parametrize("name", FAMILY)
@fakes
def test_every_row_of_the_table_of_losses(name, fake, device):
    sampler = Sampler(63, 10, fake, device=device)
    case = Case(name, "kplus1_loss", lambda s: (s.logits(), s.labels(), FAMILY[name]))
    check_loss(case, sampler, "none")


@pytest.mark.parametrize(("real", "generated"), [(0, 0), (0, 4), (4, 0), (1, 300), (300, 1)])
@pytest.mark.parametrize("case", [c for c in LOSSES if c.op == "am_discriminator_loss"], ids=by_name)
def test_discriminator_batches_differ_in_size(case: Case, real, generated, device):
    for fake in FAKE_MODES:
        for reduction in REDUCTIONS:
            check_loss(case, Sampler(real, 10, fake, other_rows=generated, device=device), reduction)


# --- torch.nn.functional.cross_entropy


@dtypes
@reductions
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_that_of_torch(dtype, reduction, smoothing, device):
    for classes, rows in ((1, 3), (10, 257), (101, 63), (1000, 5)):
        logits, labels = Sampler(rows, classes, dtype=dtype, device=device).logits(), None
        labels = Sampler(rows, classes, device=device).any_labels()
        options = {"label_smoothing": smoothing, "reduction": reduction}
        ours, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
        got, want = ops.kplus1_cross_entropy(ours, labels, **options), F.cross_entropy(exact, labels, **options)
        assert_loss(got, want, f"{classes} {rows}", scale=rows if reduction == "sum" else 1)
        (got_grad,), (want_grad,) = torch.autograd.grad(got.sum(), ours), torch.autograd.grad(want.sum(), exact)
        assert_gradient(got_grad, want_grad, f"{classes} {rows}", scale=1 / rows if reduction == "mean" else 1)


@pytest.mark.parametrize("case", KPLUS1, ids=by_name)
def test_zero_mode_is_a_fake_column_of_zeros(case: Case, device):
    args = case.build(Sampler(63, 17, "zero", device=device))
    keywords = case.keywords("zero", "none")
    stored = tuple(F.pad(x, (0, 1)) if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in args)
    got, want = case.fused()(*args, **keywords), case.fused()(*stored, **(keywords | {"fake": "column"}))
    assert_loss(got, want.double(), case.name)


# --- The gradients of the papers, in closed form


@fakes
@pytest.mark.parametrize("scale", [0.3, 3.0, 12.0])
def test_class_aware_gradients(fake, scale, device):
    sampler = Sampler(63, 10, fake, scale=scale, device=device)
    logits, labels = sampler.logits(), sampler.labels()
    real, generated, real_mass = softmax_parts(logits, fake)
    y = F.one_hot(labels, 10).double()
    share = real / real_mass[:, None]

    def is_descent(function, *args, on_real, on_fake, **options):
        """-dL/dl is `on_real` on the real logits and `on_fake` on the generated class's."""
        want = torch.cat([on_real, on_fake[:, None]], 1)
        _, gradient = rows_and_gradient(function, logits, *args, fake=fake, **options)
        assert_gradient(-gradient, want[:, : gradient.size(1)], function.__name__)

    is_descent(ops.labelgan_generator_loss, on_real=generated[:, None] * share, on_fake=-generated)
    is_descent(ops.am_generator_loss, labels, on_real=y - real, on_fake=-generated)
    is_descent(ops.kplus1_loss, None, FAMILY["saturating"], on_real=real, on_fake=-real_mass)
    is_descent(
        ops.labelgan_generator_loss,
        smoothing=0.1,
        on_real=(0.9 - real_mass)[:, None] * share,
        on_fake=real_mass - 0.9,
    )
    is_descent(ops.kplus1_loss, labels, FAMILY["class"], on_real=y - share, on_fake=torch.zeros_like(generated))
    is_descent(ops.kplus1_cross_entropy, "fake", on_real=-real, on_fake=real_mass)
    target = 0.9 * (0.8 * y + 0.2 / 10)
    smoothed = FAMILY["discriminator_real_smoothed"]
    is_descent(ops.kplus1_loss, labels, smoothed, on_real=target - real, on_fake=0.1 - generated)


def rows_with_real_mass(mass, classes=10):
    """Random rows whose D_r is `mass`, float64."""
    real = Sampler(63, classes, "zero", torch.float64).logits()
    gap = math.log(1 - mass) - math.log(mass)
    return torch.cat([real, real.logsumexp(1, keepdim=True) + gap], 1)


@pytest.mark.parametrize("s", [0.05, 0.1, 0.5])
def test_smoothed_losses_are_stationary_where_the_papers_say(s):
    # -log D_r with target (1-s, s): at D_r = 1-s. log(1-D_r) against a discriminator with s1: at D_r = s1.
    _, gradient = rows_and_gradient(ops.labelgan_generator_loss, rows_with_real_mass(1 - s), smoothing=s)
    assert gradient.abs().max() < 1e-15
    _, gradient = rows_and_gradient(ops.labelgan_generator_loss, rows_with_real_mass(0.5 - s / 2), smoothing=s)
    assert (gradient[:, :-1] < 0).all()
    minimax = (-1, s, 0, s - 1, 0)
    _, gradient = rows_and_gradient(ops.kplus1_loss, rows_with_real_mass(s), None, minimax)
    assert gradient.abs().max() < 1e-15
    # With s1 spread evenly over the classes it vanishes in the sum over them.
    spread = (-1, 0, 0, s - 1, -s)
    _, gradient = rows_and_gradient(ops.kplus1_loss, rows_with_real_mass(s), None, spread)
    assert gradient[:, :-1].sum(1).abs().max() < 1e-15
    assert gradient[:, -1].abs().max() < 1e-15


@dtypes
@fakes
def test_lemma_2(dtype, fake, device):
    sampler = Sampler(257, 17, fake, dtype, device=device)
    logits, labels = sampler.logits(), sampler.labels()
    columns = columns_of(logits, fake)
    terms = ops.kplus1_terms(logits, labels, fake=fake)
    assert_loss(terms.labelgan + terms.auxiliary, F.cross_entropy(columns, labels, reduction="none"), "-log D_y")
    assert_loss(terms.auxiliary, F.cross_entropy(columns[:, :-1], labels, reduction="none"), "-log C_y")
    assert_loss(terms.labelgan, -columns.softmax(1)[:, :-1].sum(1).log(), "-log D_r")


def test_discriminator_is_the_sum_of_two_cross_entropies(device):
    sampler = Sampler(63, 10, device=device)
    real, labels, generated = sampler.logits(), sampler.labels(), sampler.logits(5)
    want = F.cross_entropy(real.double(), labels) + F.cross_entropy(
        generated.double(), torch.full((5,), 10, device=device)
    )
    assert_loss(ops.am_discriminator_loss(real, labels, generated), want, "mean + mean")


# --- Dynamic labels


@dtypes
def test_dynamic_label_is_the_lowest_index_of_the_maximum(dtype, device, generator):
    # Few distinct values: nearly every row is tied. numpy documents that its argmax returns the first occurrence.
    for classes in (1, 2, 3, 10, 17, 31, 64, 100, 1001):
        logits = torch.randint(-2, 2, (200, classes + 1), generator=generator).to(dtype)
        logits[:, -1] = 5  # the generated class is never the label
        if classes > 2:
            logits[0, :-1], logits[1, :-1], logits[2, :-1] = 0, -INF, -0.0
            logits[2, 1] = 0.0
        want = torch.from_numpy(np.argmax(logits[:, :-1].double().numpy(), 1))
        for fake, columns in (("column", logits), ("zero", logits[:, :-1])):
            got = ops.kplus1_terms(columns.to(device), fake=fake).labels
            assert_same(got.cpu(), want, f"{classes} {fake}")


@fakes
def test_the_lowest_tied_class_gets_the_gradient(fake, device):
    logits = torch.zeros(1, 40 + (fake == "column"), device=device)
    logits[0, [7, 8, 35]] = 2.0
    _, gradient = rows_and_gradient(ops.am_generator_loss, logits, fake=fake)
    assert (gradient[0, :40] < 0).nonzero().flatten().tolist() == [7]


# --- Layouts


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_change_a_bit(layout, dtype, device):
    for case in (*KPLUS1, *TERMS):
        for fake, classes in (("column", 17), ("zero", 1), ("zero", 64)):
            args = case.build(Sampler(63, classes, fake, dtype, device=device))
            keywords = case.keywords(fake, "none")
            ours = with_gradient(args)
            strided = map_tensors(ours, lambda x: layout(x) if x.is_floating_point() else strided_labels(x))
            assert classes == 1 or not any(x.is_contiguous() for x in floats(strided))
            want, got = case.fused()(*ours, **keywords), case.fused()(*strided, **keywords)
            assert_same(got, want, case.name)
            if case.differentiable:
                upstream = torch.linspace(-1, 2, len(want), device=device).to(want.dtype)
                want_grads = torch.autograd.grad(want, floats(ours), upstream)
                assert_same(torch.autograd.grad(got, floats(ours), upstream), want_grads, f"{case.name} gradient")


@pytest.mark.parametrize("case", KPLUS1, ids=by_name)
def test_expanded_rows(case: Case, device):
    def one_row(x):
        return x[:1].expand(9, *x.shape[1:])

    args = map_tensors(case.build(Sampler(9, 17, other_rows=9, device=device)), one_row)
    assert all(x.stride(0) == 0 for x in args if isinstance(x, torch.Tensor))
    for reduction in REDUCTIONS:
        keywords = case.keywords("column", reduction)
        copies = map_tensors(args, torch.clone)
        assert_same(case.fused()(*args, **keywords), case.fused()(*copies, **keywords), case.name)


def test_columns_of_one_element_may_have_any_stride(device):
    logits = torch.randn(12, device=device)[::2].unsqueeze(1)  # [6, 1], strides (2, 1)
    assert_same(
        ops.labelgan_generator_loss(logits.as_strided((6, 1), (2, 7)), fake="zero", reduction="none"),
        ops.labelgan_generator_loss(logits.contiguous(), fake="zero", reduction="none"),
    )


@pytest.mark.parametrize("case", KPLUS1, ids=by_name)
def test_grad_output_of_any_stride(case: Case, device):
    args = with_gradient(case.build(Sampler(9, 17, device=device)))
    loss = case.fused()(*args, **case.keywords("column", "none"))

    def gradients(upstream):
        return torch.autograd.grad(loss, floats(args), upstream, retain_graph=True)

    scalar = torch.tensor(0.7, device=device)
    assert_same(gradients(scalar.expand(len(loss))), gradients(scalar.repeat(len(loss))), "stride 0")
    spread = torch.linspace(-1, 2, 3 * len(loss), device=device)
    assert_same(gradients(spread[1::3]), gradients(spread[1::3].contiguous()), "stride 3")
    by_autograd = torch.autograd.grad((loss * scalar).sum(), floats(args), retain_graph=True)
    assert_same(by_autograd, gradients(scalar.repeat(len(loss))), "from sum")


# --- Empty batches


@dtypes
@fakes
def test_empty_batch(dtype, fake, device):
    for case in KPLUS1:
        for reduction, want in (("none", torch.zeros(0)), ("sum", torch.tensor(0.0)), ("mean", torch.tensor(NAN))):
            args = with_gradient(case.build(Sampler(0, 10, fake, dtype, other_rows=0, device=device)))
            loss = case.fused()(*args, **case.keywords(fake, reduction))
            assert_same(loss.cpu(), want.to(computing(dtype)), f"{case.name} {reduction}")
            for x, gradient in zip(floats(args), torch.autograd.grad(loss.sum(), floats(args)), strict=True):
                assert gradient.shape == x.shape
                assert gradient.dtype == dtype
    terms = ops.kplus1_terms(Sampler(0, 10, fake, dtype, device=device).logits(), fake=fake)
    assert [x.shape for x in terms] == [(0,)] * 3


# --- Extreme logits


def scattered(x):
    """Entries moved up or down by 1e4, in a pattern without a short period."""
    index = torch.arange(x.numel()).view_as(x)
    return x + 1e4 * ((index * index // 3) % 3 - 1)


EXTREMES = {
    "gaps of 1e4": scattered,
    "rows at +1e4": lambda x: x + 1e4,
    "rows at -1e4": lambda x: x - 1e4,
    "all equal": lambda x: torch.full_like(x, 2.5),
    "all zero": torch.zeros_like,
    "ties": lambda x: x.sign(),
    "tiny": lambda x: x * 1e-4,
}


# Not in float64: the reference itself, being unshifted, is off by 1e-12 at logits of 1e4.
@pytest.mark.parametrize("dtype", [t for t in DTYPES if t != torch.float64], ids=dtype_name)
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extreme_logits(extreme, dtype, device):
    for case in KPLUS1:
        for fake in FAKE_MODES:
            for classes in (3, 17, 100):
                sampler = Sampler(63, classes, fake, dtype, device=device, change=EXTREMES[extreme])
                if case.name != "loss_not_shift_invariant":
                    check_loss(case, sampler, "none")


@dtypes
@pytest.mark.parametrize("case", [c for c in KPLUS1 if c.name != "loss_not_shift_invariant"], ids=by_name)
def test_a_shift_of_the_row_changes_nothing(case: Case, dtype, device):
    # Multiples of 2^-2 below 16 survive the addition of 32 unrounded in every dtype: equal to the bit.
    near = Sampler(63, 17, dtype=dtype, device=device, change=lambda x: (4 * x).round().clamp(-60, 60) / 4)
    args = case.build(near)
    keywords = case.keywords("column", "none")
    for shift in (32.0, -32.0) if dtype == torch.bfloat16 else (2.0**8, -(2.0**8)):
        moved = map_tensors(args, lambda x, by=shift: x + by if x.is_floating_point() else x)
        ours, shifted = with_gradient(args), with_gradient(moved)
        for a, b in zip(floats(ours), floats(shifted), strict=True):
            assert torch.equal(b - a, torch.full_like(a, shift))
        want, got = case.fused()(*ours, **keywords), case.fused()(*shifted, **keywords)
        assert_same(got, want, case.name)
        assert_same(
            torch.autograd.grad(got.sum(), floats(shifted)), torch.autograd.grad(want.sum(), floats(ours)), case.name
        )


@fakes
@pytest.mark.parametrize("scale", [1e-20, 1e-15, 1e20])
def test_coefficients_of_any_size_give_their_multiple(scale, fake, device):
    """Also where a + r - t - f - u is not 0, but as small as the rounding of other coefficients."""
    logits = Sampler(33, 17, fake=fake, dtype=torch.float64, device=device).logits()
    for coefficients in [*FAMILY.values(), (1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (1, 0, 0.5, 0, 0)]:
        want = ops.kplus1_loss(logits, None, coefficients, fake=fake, reduction="none")
        scaled = [scale * c for c in coefficients]
        got = ops.kplus1_loss(logits, None, scaled, fake=fake, reduction="none")
        assert_within(got / scale, want, 1e-12 * want.abs() + 1e-13, str(coefficients))


@dtypes
@pytest.mark.parametrize("classes", [2, 17, 40])
def test_infinitely_negative_logits(classes, dtype, device):
    logits = Sampler(classes + 2, classes, dtype=dtype, device=device).logits()
    for k in range(classes + 1):
        logits[k, k] = -INF  # a single one, the generated class's too
    logits[-1, 1:-1] = -INF  # all real ones but the first
    for k in range(classes + 1):
        labels = torch.full((len(logits),), k, device=device)
        got, got_grad = rows_and_gradient(ops.kplus1_cross_entropy, logits, labels)
        want, want_grad = rows_and_gradient(F.cross_entropy, logits.double(), labels)
        assert_loss(got, want, f"label {k}")
        assert_gradient(got_grad, want_grad, f"label {k}")
    got, got_grad = rows_and_gradient(ops.kplus1_cross_entropy, logits, "fake")
    assert_loss(got, want, "fake")
    assert_gradient(got_grad, want_grad, "fake")


@dtypes
@fakes
def test_no_real_class_is_possible(dtype, fake, device):
    """All real logits -inf: D_r = 0. A generated row is then certainly recognised."""
    columns = Sampler(5, 17, fake, dtype, device=device).logits()
    columns[:, :17] = -INF
    nothing, no_labels = torch.zeros(5, device=device), torch.zeros(0, dtype=torch.int64, device=device)
    for loss, gradient in (
        rows_and_gradient(ops.kplus1_cross_entropy, columns, "fake", fake=fake),
        ops.am_discriminator_loss_and_grad(columns[:0], no_labels, columns, fake=fake, reduction="none")[::2],
    ):
        assert_loss(loss, nothing, fake)
        assert_gradient(gradient, torch.zeros_like(columns).double(), fake)
    terms = ops.kplus1_terms(columns, fake=fake)
    assert (terms.labelgan == INF).all()
    assert (terms.labels == 0).all()
    assert (ops.labelgan_generator_loss(columns, fake=fake, reduction="none") == INF).all()


@dtypes
@fakes
def test_a_real_class_is_asked_for_where_none_is_possible(dtype, fake, device):
    """All real logits -inf: -log D_y is +inf, as torch has it, and D - v(y) stays finite."""
    logits = Sampler(5, 17, fake, dtype, device=device).logits()
    logits[:, :17] = -INF
    for labels in (None, torch.arange(5, device=device)):
        target = torch.zeros(5, dtype=torch.int64, device=device) if labels is None else labels
        loss, gradient = rows_and_gradient(ops.am_generator_loss, logits, labels, fake=fake)
        want, want_grad = rows_and_gradient(F.cross_entropy, columns_of(logits, fake), target)
        assert (want == INF).all()
        assert_loss(loss, want, "loss")
        assert_gradient(gradient, want_grad[:, : logits.size(1)], "gradient")
    everywhere = ops.kplus1_cross_entropy(logits, "fake", fake=fake, label_smoothing=0.1, reduction="none")
    assert (everywhere == INF).all()


@dtypes
def test_the_generated_class_is_impossible(dtype, device):
    """l_f = -inf: D_r = 1, the losses that ask for a real class are those of a K-class softmax."""
    sampler = Sampler(63, 17, dtype=dtype, device=device)
    logits, labels = sampler.logits(), sampler.labels()
    logits[:, -1] = -INF
    loss, gradient = rows_and_gradient(ops.labelgan_generator_loss, logits)
    assert_same((loss, gradient), (torch.zeros_like(loss), torch.zeros_like(logits)))
    loss, gradient = rows_and_gradient(ops.am_generator_loss, logits, labels)
    want, want_grad = rows_and_gradient(F.cross_entropy, logits[:, :-1].double(), labels)
    assert_loss(loss, want, "am")
    assert_gradient(gradient, F.pad(want_grad, (0, 1)), "am")
    assert (ops.kplus1_cross_entropy(logits, "fake", reduction="none") == INF).all()


@dtypes
@fakes
@pytest.mark.parametrize("case", [*KPLUS1, *TERMS], ids=by_name)
def test_nan_stays_in_its_row(case: Case, dtype, fake, device):
    for classes in (1, 17, 40):
        width = classes + (fake == "column")
        args = case.build(Sampler(width + 1, classes, fake, dtype, device=device))
        poisoned = args[0].clone()
        poisoned.diagonal().fill_(NAN)  # every column once, the generated class's too; the last row stays clean
        keywords = case.keywords(fake, "none")
        ours, clean = with_gradient((poisoned, *args[1:])), with_gradient(args)
        got, want = case.fused()(*ours, **keywords), case.fused()(*clean, **keywords)
        if case in TERMS:
            assert (got.labelgan + got.auxiliary)[:width].isnan().all()
            assert_same(tuple(x[width:] for x in got), tuple(x[width:] for x in want), case.name)
            assert ((got.labels >= 0) & (got.labels < classes)).all()
            continue
        assert got[:width].isnan().all(), (classes, got)
        assert_same(got[width:], want[width:], case.name)
        got_grads = torch.autograd.grad(got.sum(), floats(ours))
        want_grads = torch.autograd.grad(want.sum(), floats(clean))
        assert_same(got_grads[0][width:], want_grads[0][width:], f"{case.name} gradient")
        assert_same(got_grads[1:], want_grads[1:], f"{case.name} gradient of the other batch")
        for reduction in ("mean", "sum"):
            assert case.fused()(*ours, **case.keywords(fake, reduction)).isnan()


# --- Small numbers keep their digits


def confident_rows(gap, fake, dtype, classes=10):
    """Rows with l_f - logsumexp(real) = gap, and that gap in float64 as the rounded logits have it."""
    real = Sampler(31, classes, "zero", torch.float64, scale=1.0).logits()
    real = real - real.logsumexp(1, keepdim=True)
    logits = (torch.cat([real, torch.full((31, 1), gap)], 1) if fake == "column" else real - gap).to(dtype)
    columns = columns_of(logits, fake)
    return logits, columns[:, -1] - columns[:, :-1].logsumexp(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=dtype_name)
@fakes
@pytest.mark.parametrize("gap", [5.0, 20.0, 60.0])
def test_tiny_losses_and_gradients_are_relatively_accurate(gap, fake, dtype, device):
    limit = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    # A generated row recognised with certainty: -log D_{K+1} = log1p(e^-gap), its gradient D_k and -D_r.
    logits, exact = confident_rows(gap, fake, dtype)
    loss, gradient = rows_and_gradient(ops.kplus1_cross_entropy, logits.to(device), "fake", fake=fake)
    want = (-exact).exp().log1p()
    assert want.max() < 1e-2
    assert_within(loss.cpu(), want, limit * want, "-log D_{K+1}")
    real, generated, real_mass = softmax_parts(logits, fake)
    want_grad = torch.cat([real, -real_mass[:, None]], 1)[:, : logits.size(1)]
    assert_within(gradient.cpu(), want_grad, limit * want_grad.abs(), "gradient of -log D_{K+1}")
    # A generated row taken for real: LabelGAN's -log D_r = log1p(e^-gap), its gradient -D_f C_k and D_f.
    logits, exact = confident_rows(-gap, fake, dtype)
    loss, gradient = rows_and_gradient(ops.labelgan_generator_loss, logits.to(device), fake=fake)
    want = exact.exp().log1p()
    assert_within(loss.cpu(), want, limit * want, "-log D_r")
    assert_within(ops.kplus1_terms(logits.to(device), fake=fake).labelgan.cpu(), want, limit * want, "terms")
    real, generated, real_mass = softmax_parts(logits, fake)
    want_grad = torch.cat([-generated[:, None] * real / real_mass[:, None], generated[:, None]], 1)
    want_grad = want_grad[:, : logits.size(1)]
    assert_within(gradient.cpu(), want_grad, limit * want_grad.abs(), "gradient of -log D_r")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=dtype_name)
@fakes
def test_true_class_gradient_in_half_precision(dtype, fake, device):
    # p = 0.999: a gradient taken from p rounded to bfloat16 would be 0 or 0.004 instead of 0.001.
    logits = torch.zeros(1, 10 + (fake == "column"), dtype=dtype, device=device)
    logits[0, 3] = math.log(0.999 / 0.001 * 10)
    real, _, _ = softmax_parts(logits, fake)
    want = real[0, 3].item() - 1
    assert -0.002 < want < -0.0005
    _, gradient = rows_and_gradient(ops.am_generator_loss, logits, fake=fake)
    relative = {torch.bfloat16: 2**-8, torch.float16: 2**-11}[dtype] + 1e-3 * (dtype == torch.float16)
    assert gradient[0, 3].item() == pytest.approx(want, rel=relative, abs=0)


# --- Without an autograd node


@dtypes
@fakes
@reductions
def test_loss_and_grad_equal_autograd_to_the_bit(dtype, fake, reduction, device):
    for classes, rows in ((1, 3), (10, 257), (101, 63)):
        sampler = Sampler(rows, classes, fake, dtype, device=device)
        real, labels, generated = sampler.logits(), sampler.labels(), sampler.logits(sampler.other_rows)
        smoothing = {"real_smoothing": 0.1, "fake_smoothing": 0.2, "class_smoothing": 0.3}
        for op, both, args, options in (
            (ops.am_discriminator_loss, ops.am_discriminator_loss_and_grad, (real, labels, generated), smoothing),
            (ops.am_generator_loss, ops.am_generator_loss_and_grad, (real,), {}),
            (ops.am_generator_loss, ops.am_generator_loss_and_grad, (real, labels), {}),
        ):
            options = {"fake": fake, "reduction": reduction, **options}
            leaves = with_gradient(args)
            loss = op(*leaves, **options)
            gradients = torch.autograd.grad(loss.sum(), floats(leaves))
            got = both(*leaves, **options)
            assert_same(got, (loss.detach(), *gradients), both.__name__)
            assert not any(x.requires_grad for x in got)


def test_bounds_are_what_they_say():
    """The bounds of this file would see a float32 computation done in bfloat16, and a float64 one in float32."""
    for dtype in (torch.float32, torch.float64):
        coarser = {torch.float32: torch.bfloat16, torch.float64: torch.float32}[dtype]
        logits = Sampler(63, 10, dtype=dtype).logits()
        loss, gradient = rows_and_gradient(reference.labelgan_generator_loss, logits)
        with pytest.raises(AssertionError):
            assert_loss(loss.to(coarser).to(dtype), loss.double(), "")
        with pytest.raises(AssertionError):
            assert_gradient(gradient.to(coarser).to(dtype), gradient.double(), "")
