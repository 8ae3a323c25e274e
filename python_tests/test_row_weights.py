"""Weights of rows and of classes, rows without a label, ignored rows and soft targets."""

from __future__ import annotations

import math

import pytest
import torch
from checking import check_rows, reduced
from sample_inputs import DTYPES, FAKE_MODES, FAMILY, REDUCTIONS, Sampler, dtype_name
from torch.nn import functional as F

from amgan_fast import ops, reference

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
fakes = pytest.mark.parametrize("fake", FAKE_MODES)
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)
shapes = pytest.mark.parametrize(("classes", "rows"), [(1, 3), (10, 257), (65, 63), (1000, 5)])
SMOOTHED = {"real_smoothing": 0.1, "fake_smoothing": 0.2, "class_smoothing": 0.3}


def some_weights(rows, dtype=torch.float32, device="cpu", seed=3):
    """Of [0, 2), and 0 for every fifth row."""
    weights = 2 * torch.rand(rows, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights[::5] = 0
    return weights.to(dtype).to(device)


def some_unlabelled(labels):
    return labels.masked_fill(torch.arange(len(labels), device=labels.device) % 3 == 1, -1)


# --- Rows


@dtypes
@fakes
@reductions
@shapes
@pytest.mark.parametrize("name", ["am", "discriminator_real_smoothed", "not_shift_invariant"])
def test_weighted_rows_of_the_family_are_those_of_the_reference(name, classes, rows, dtype, fake, reduction, device):
    sampler = Sampler(rows, classes, fake, dtype, device=device)
    logits, labels = sampler.logits(), some_unlabelled(sampler.any_labels())
    weights = some_weights(rows, device=device)
    options = {"fake": fake, "row_weight": weights, "unlabelled": True}
    check_rows(
        lambda x: ops.kplus1_loss(x, labels, FAMILY[name], reduction=reduction, **options),
        lambda x: reduced(
            reference.kplus1_loss(x, labels, FAMILY[name], fake=fake, reduction="none", unlabelled=True)
            * weights.double(),
            reduction,
        ),
        [logits],
        reduction,
        f"{name} {classes} {rows}",
    )


@dtypes
@fakes
@reductions
@shapes
def test_weighted_and_unlabelled_rows_of_the_discriminator(classes, rows, dtype, fake, reduction, device):
    sampler = Sampler(rows, classes, fake, dtype, device=device)
    real, labels = sampler.logits(), some_unlabelled(sampler.labels())
    generated = sampler.logits(sampler.other_rows)
    on_real, on_fake = some_weights(rows, device=device), some_weights(len(generated), device=device, seed=4)
    options = {"fake": fake, **SMOOTHED}

    def want(x, g, rows=rows, labels=labels, options=options, on_real=on_real, on_fake=on_fake):
        losses = reference.am_discriminator_loss(x, labels, g, reduction="none", **options)
        of_real, of_fake = losses[:rows] * on_real.double(), losses[rows:] * on_fake.double()
        if reduction == "none":
            return torch.cat([of_real, of_fake])
        return reduced(of_real, reduction) + reduced(of_fake, reduction)

    weights = {"real_row_weight": on_real, "fake_row_weight": on_fake}
    check_rows(
        lambda x, g: ops.am_discriminator_loss(x, labels, g, reduction=reduction, **weights, **options),
        want,
        [real, generated],
        reduction,
        f"{classes} {rows}",
    )


@dtypes
@reductions
@shapes
def test_weighted_rows_of_the_class_entropy(classes, rows, dtype, reduction, device):
    logits = Sampler(rows, classes, dtype=dtype, device=device).class_logits()
    weights = some_weights(rows, device=device)
    check_rows(
        lambda x: ops.class_entropy(x, reduction=reduction, row_weight=weights),
        lambda x: reduced(reference.class_entropy(x, reduction="none") * weights.double(), reduction),
        [logits],
        reduction,
        f"{classes} {rows}",
    )
    loss, grad = ops.class_entropy_and_grad(logits, reduction=reduction, row_weight=weights)
    x = logits.clone().requires_grad_()
    want = ops.class_entropy(x, reduction=reduction, row_weight=weights)
    assert torch.equal(loss, want)
    torch.testing.assert_close(grad, torch.autograd.grad(want.sum(), x)[0], rtol=0, atol=0, equal_nan=True)


@dtypes
@fakes
@reductions
@shapes
def test_weighted_rows_of_the_multi_hinge(classes, rows, dtype, fake, reduction, device):
    sampler = Sampler(rows, classes, fake, dtype, device=device)
    logits, labels, weights = sampler.logits(), sampler.any_labels(), some_weights(rows, device=device)
    check_rows(
        lambda x: ops.kplus1_hinge_loss(x, labels, fake=fake, reduction=reduction, row_weight=weights),
        lambda x: reduced(
            reference.kplus1_hinge_loss(x, labels, fake=fake, reduction="none") * weights.double(), reduction
        ),
        [logits],
        reduction,
        f"{classes} {rows}",
    )


@fakes
def test_an_unlabelled_row_is_improved_gans(fake, device):
    """-log(1 - D_{K+1}), beside labelled rows of the same batch: two calls give the same."""
    sampler = Sampler(60, 10, fake, device=device)
    logits, labels, generated = sampler.logits(), sampler.labels(), sampler.logits()
    labels[20:] = -1
    got = ops.am_discriminator_loss(logits, labels, generated, fake=fake, reduction="none")
    labelled = ops.kplus1_loss(logits[:20], labels[:20], (1, 0, 1, 0, 0), fake=fake, reduction="none")
    unlabelled = ops.labelgan_generator_loss(logits[20:], fake=fake, reduction="none")
    assert torch.equal(got[:60], torch.cat([labelled, unlabelled]))


@dtypes
def test_and_grad_has_the_weights(dtype, device):
    sampler = Sampler(63, 11, "column", dtype, device=device)
    logits, labels, generated = sampler.logits(), sampler.labels(), sampler.logits()
    weights = some_weights(63, device=device)
    x, g = logits.clone().requires_grad_(), generated.clone().requires_grad_()
    pairs = (
        (
            ops.kplus1_loss_and_grad(logits, labels, FAMILY["am"], row_weight=weights),
            ops.kplus1_loss(x, labels, FAMILY["am"], row_weight=weights),
        ),
        (ops.am_generator_loss_and_grad(logits, row_weight=weights), ops.am_generator_loss(x, row_weight=weights)),
        (
            ops.am_discriminator_loss_and_grad(logits, some_unlabelled(labels), generated, real_row_weight=weights),
            ops.am_discriminator_loss(x, some_unlabelled(labels), g, real_row_weight=weights),
        ),
    )
    for (loss, *grads), want in pairs:
        assert torch.equal(loss, want)
        torch.testing.assert_close(grads[0], torch.autograd.grad(want, x)[0], rtol=0, atol=0)


@fakes
@pytest.mark.parametrize("op", [ops.am_generator_loss, ops.labelgan_generator_loss])
def test_generators_and_modes_take_weights(op, fake, device):
    logits = Sampler(63, 11, fake, device=device).logits()
    weights = some_weights(63, torch.bfloat16, device)
    rows = op(logits, fake=fake, reduction="none")
    torch.testing.assert_close(op(logits, fake=fake, row_weight=weights), (rows * weights).mean())
    for mode in ("dynamic", "fake"):
        rows = ops.kplus1_cross_entropy(logits, mode, fake=fake, reduction="none")
        got = ops.kplus1_cross_entropy(logits, mode, fake=fake, row_weight=weights)
        torch.testing.assert_close(got, (rows * weights).mean())


def test_no_weight_and_weights_of_one_are_the_same_bits(device):
    sampler = Sampler(257, 10, device=device)
    logits, labels = sampler.logits(), sampler.labels()
    for reduction in REDUCTIONS:
        plain = ops.am_generator_loss(logits, labels, reduction=reduction)
        assert torch.equal(
            plain, ops.am_generator_loss(logits, labels, reduction=reduction, row_weight=torch.ones(257))
        )


@pytest.mark.parametrize("columns", [5, 101])
def test_a_row_of_weight_0_has_no_loss_whatever_its_value(columns, device):
    logits = torch.zeros(4, columns, device=device)
    logits[1, 0] = math.nan
    logits[2, 1] = -math.inf
    labels = torch.tensor([0, 0, 1, 0], device=device)
    weights = torch.tensor([1.0, 0.0, 0.0, 1.0], device=device)
    x = logits.clone().requires_grad_()
    loss = ops.am_generator_loss(x, labels, row_weight=weights, reduction="sum")
    assert loss.item() == pytest.approx(2 * math.log(columns), rel=1e-6)
    loss.backward()
    assert x.grad[2].tolist() == [0] * columns
    assert x.grad[[0, 3]].isfinite().all()


def test_a_soft_target_of_weight_0_has_no_loss_whatever_its_value(device):
    """Also where smoothing asks for an impossible class."""
    logits = torch.tensor([[0.0, -math.inf, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64, device=device)
    rows = torch.tensor([0.0, 1.0], device=device)
    for target in (torch.full_like(logits, 1 / 3), torch.tensor([0, 2], device=device)):
        options = {"label_smoothing": 0.1, "weight": torch.ones(3, device=device), "reduction": "sum"}
        loss = ops.kplus1_cross_entropy(logits, target, row_weight=rows, **options)
        assert loss.item() == pytest.approx(math.log(3), rel=1e-12)


# --- PyTorch's cross-entropy with all options


@dtypes
@reductions
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [-100, 0, None])
@pytest.mark.parametrize(("classes", "rows"), [(1, 3), (10, 257), (101, 63)])
def test_cross_entropy_has_the_options_of_torch(classes, rows, dtype, reduction, smoothing, weighted, ignored, device):
    sampler = Sampler(rows, classes, dtype=dtype, device=device)
    logits, labels = sampler.logits(), sampler.any_labels()
    if ignored == -100:
        labels[::4] = -100
    weight = 0.5 + some_weights(classes + 1, torch.float64, device) if weighted else None
    options = {"label_smoothing": smoothing, "reduction": reduction}
    check_rows(
        lambda x: ops.kplus1_cross_entropy(x, labels, weight=weight, ignore_index=ignored, **options),
        lambda x: F.cross_entropy(
            x, labels, weight=weight, ignore_index=-100 if ignored is None else ignored, **options
        ),
        [logits],
        reduction,
        f"{classes} {rows}",
    )


@dtypes
@reductions
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("classes", "rows"), [(1, 3), (10, 257)])
def test_soft_targets_are_those_of_torch(classes, rows, dtype, reduction, smoothing, weighted, device):
    """Of any sum: a gradient that takes it for 1 would be wrong."""
    logits = Sampler(rows, classes, dtype=dtype, device=device).logits()
    target = Sampler(rows, classes + 1, "zero", device=device, seed=2).probabilities().double()
    target = target * (0.5 + some_weights(rows, torch.float64, device))[:, None]
    weight = 0.5 + some_weights(classes + 1, torch.float64, device) if weighted else None
    options = {"label_smoothing": smoothing, "reduction": reduction}
    check_rows(
        lambda x: ops.kplus1_cross_entropy(x, target, weight=weight, **options),
        lambda x: F.cross_entropy(x, target, weight=weight, **options),
        [logits],
        reduction,
        f"{classes} {rows}",
    )


def test_soft_targets_have_a_derivative_and_zeros_may_be_impossible(device):
    logits = torch.tensor([[0.0, -math.inf, 1.0]], dtype=torch.float64, device=device)
    target = torch.tensor([[0.25, 0.0, 0.75]], dtype=torch.float64, device=device, requires_grad=True)
    x = logits.clone().requires_grad_()
    loss = ops.kplus1_cross_entropy(x, target)
    log_prob = logits.log_softmax(1)
    assert loss.item() == pytest.approx(-(0.25 * log_prob[0, 0] + 0.75 * log_prob[0, 2]).item(), rel=1e-14)
    loss.backward()
    assert torch.allclose(x.grad, log_prob.exp() - target.detach(), rtol=1e-12, atol=1e-15)
    assert torch.allclose(target.grad[0, ::2], -log_prob[0, ::2])


@pytest.mark.parametrize("fake", FAKE_MODES)
def test_soft_targets_that_are_labels(fake, device):
    """One-hot rows over K+1 classes, also where the generated class has no column."""
    sampler = Sampler(63, 10, fake, torch.float64, device=device)
    logits, labels = sampler.logits(), sampler.any_labels()
    weights = some_weights(63, torch.float64, device)
    for options in ({}, {"row_weight": weights}, {"label_smoothing": 0.2}):
        want = ops.kplus1_cross_entropy(logits, labels, fake=fake, **options)
        got = ops.kplus1_cross_entropy(logits, F.one_hot(labels, 11).double(), fake=fake, **options)
        torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_ignored_rows_alone_are_nan_with_a_gradient_of_0_as_in_torch(smoothing, weighted, device):
    """A batch that the data happen to leave without a label must not spoil the network."""
    ignored = torch.full((3,), -100, device=device)
    options = {"label_smoothing": smoothing, "weight": torch.ones(4, device=device) if weighted else None}
    gradients = []
    for function in (ops.kplus1_cross_entropy, F.cross_entropy):
        x = torch.zeros(3, 4, device=device, requires_grad=True)
        loss = function(x, ignored, **options)
        assert loss.isnan()
        gradients.append(*torch.autograd.grad(loss, x))
        assert function(x, ignored, reduction="sum", **options).item() == 0
    assert torch.equal(*gradients)


@pytest.mark.parametrize("ignored", [-(2**63), 2**40])
def test_an_ignored_label_that_the_dtype_of_labels_cannot_hold_is_none(ignored, device):
    sampler = Sampler(9, 5, device=device)
    logits, labels = sampler.logits(), sampler.labels()
    want = F.cross_entropy(logits, labels)
    for options in ({}, {"weight": torch.ones(6, device=device)}):
        loss = ops.kplus1_cross_entropy(logits, labels.int(), ignore_index=ignored, **options)
        torch.testing.assert_close(loss, want)
    gradient = torch.func.grad(lambda x: ops.kplus1_cross_entropy(x, labels.int(), ignore_index=ignored))(logits)
    torch.testing.assert_close(gradient, torch.func.grad(lambda x: F.cross_entropy(x, labels))(logits))


def test_row_weights_beside_weights_of_classes(device):
    """Rows are multiplied, and the mean is over the weights of classes."""
    sampler = Sampler(63, 10, device=device)
    logits, labels = sampler.logits(), sampler.any_labels()
    labels[::7] = -100
    weight, rows = 0.5 + some_weights(11, device=device), some_weights(63, device=device)
    losses = F.cross_entropy(logits.double(), labels, weight=weight.double(), reduction="none")
    counted = weight.double()[labels[labels >= 0]].sum()
    got = ops.kplus1_cross_entropy(logits, labels, weight=weight, row_weight=rows)
    assert got.item() == pytest.approx(((losses * rows).sum() / counted).item(), rel=1e-6)


@reductions
def test_cross_entropy_compiles_with_its_options(reduction, device):
    sampler = Sampler(63, 10, device=device)
    logits, labels = sampler.logits(), sampler.any_labels()
    labels[::4] = -100
    weight = 0.5 + some_weights(11, device=device)

    def loss(x, y, w):
        return ops.kplus1_cross_entropy(x, y, weight=w, reduction=reduction)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    x, z = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    got, want = compiled(x, labels, weight), loss(z, labels, weight)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), leaf)[0] for loss, leaf in ((got, x), (want, z))))


# --- Errors

LOGITS, LABELS = torch.zeros(3, 5), torch.tensor([0, 1, 2])
NAMED = {
    "am_generator_loss": lambda w: ops.am_generator_loss(LOGITS, LABELS, row_weight=w),
    "labelgan_generator_loss": lambda w: ops.labelgan_generator_loss(LOGITS, row_weight=w),
    "kplus1_loss": lambda w: ops.kplus1_loss(LOGITS, LABELS, FAMILY["am"], row_weight=w),
    "kplus1_loss_and_grad": lambda w: ops.kplus1_loss_and_grad(LOGITS, LABELS, FAMILY["am"], row_weight=w),
    "kplus1_cross_entropy": lambda w: ops.kplus1_cross_entropy(LOGITS, LABELS, row_weight=w),
    "am_generator_loss_and_grad": lambda w: ops.am_generator_loss_and_grad(LOGITS, LABELS, row_weight=w),
    "kplus1_hinge_loss": lambda w: ops.kplus1_hinge_loss(LOGITS, LABELS, row_weight=w),
    "class_entropy": lambda w: ops.class_entropy(LOGITS, row_weight=w),
    "class_entropy_and_grad": lambda w: ops.class_entropy_and_grad(LOGITS, row_weight=w),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bad_weights_are_an_error_by_name_and_place(name, bad):
    with pytest.raises(ValueError, match=rf"^{name}: row_weight\[1\] is .*, wanted a finite number that is at least 0"):
        NAMED[name](torch.tensor([1.0, bad, 1.0]))


@pytest.mark.parametrize("name", NAMED)
def test_weights_of_a_wrong_shape_or_dtype_or_with_a_gradient(name):
    with pytest.raises(ValueError, match=rf"^{name}: row_weight has shape \[2\], wanted \[3\]"):
        NAMED[name](torch.ones(2))
    with pytest.raises(TypeError, match=rf"^{name}: row_weight has dtype .*, wanted floating point"):
        NAMED[name](torch.ones(3, dtype=torch.int64))


def test_weights_that_ask_for_a_gradient_are_refused():
    weights = torch.ones(3, requires_grad=True)
    classes = torch.ones(5, requires_grad=True)
    for call, words in (
        (lambda: ops.am_generator_loss(LOGITS, LABELS, row_weight=weights), "row_weight requires a gradient"),
        (lambda: ops.kplus1_cross_entropy(LOGITS, LABELS, row_weight=weights), "row_weight requires a gradient"),
        (
            lambda: ops.kplus1_cross_entropy(LOGITS, LOGITS.softmax(1), row_weight=weights),
            "row_weight requires a gradient",
        ),
        (lambda: ops.kplus1_cross_entropy(LOGITS, LABELS, weight=classes), "weight requires a gradient"),
    ):
        with pytest.raises(NotImplementedError, match=words):
            call()
        with torch.no_grad():
            call()


def test_names_of_both_batches_weights():
    for name in ("real_row_weight", "fake_row_weight"):
        with pytest.raises(ValueError, match=rf"^am_discriminator_loss: {name}\[0\] is -1"):
            ops.am_discriminator_loss(LOGITS, LABELS, LOGITS, **{name: torch.tensor([-1.0, 1, 1])})


def test_a_label_of_minus_1_is_for_those_that_say_so():
    with pytest.raises(IndexError, match=r"labels\[1\] is -2, wanted -1 <= label <= 3"):
        ops.am_discriminator_loss(LOGITS, torch.tensor([0, -2, 1]), LOGITS)
    for call in (
        lambda y: ops.kplus1_loss(LOGITS, y, FAMILY["am"]),
        lambda y: ops.am_generator_loss(LOGITS, y),
        lambda y: ops.kplus1_cross_entropy(LOGITS, y),
    ):
        with pytest.raises(IndexError, match=r"\[1\] is -1, wanted 0 <= label"):
            call(torch.tensor([0, -1, 1]))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"weight": torch.ones(4)}, ValueError, r"weight has shape \[4\], wanted \[5\]"),
        ({"weight": torch.tensor([1, 1, math.nan, 1, 1])}, ValueError, r"weight\[2\] is nan"),
        ({"weight": torch.tensor([1.0, 1, 1, -1, 1])}, ValueError, r"weight\[3\] is -1"),
        ({"weight": torch.ones(5, dtype=torch.int64)}, TypeError, "weight has dtype"),
        ({"weight": torch.ones(5, requires_grad=True)}, NotImplementedError, "weight requires a gradient"),
        ({"ignore_index": 1.5}, TypeError, "ignore_index is 1.5, wanted an integer"),
    ],
)
def test_bad_options_of_cross_entropy(options, error, words):
    with pytest.raises(error, match=f"^kplus1_cross_entropy: {words}"):
        ops.kplus1_cross_entropy(LOGITS, LABELS, **options)


def test_options_that_need_labels():
    for options in ({"weight": torch.ones(5)}, {"ignore_index": 1}):
        with pytest.raises(ValueError, match="target is 'dynamic', wanted labels beside"):
            ops.kplus1_cross_entropy(LOGITS, "dynamic", **options)


def test_probabilities_have_no_label_to_ignore():
    """As PyTorch has it: an index below 0 is none of theirs, and its default is one."""
    probabilities = LOGITS.softmax(1)
    with pytest.raises(ValueError, match="ignore_index is 1 and target holds probabilities, wanted labels beside it"):
        ops.kplus1_cross_entropy(LOGITS, probabilities, ignore_index=1)
    with pytest.raises(RuntimeError, match="ignore_index is not supported"):
        F.cross_entropy(LOGITS, probabilities, ignore_index=1)
    for index in (None, -1, -100):
        torch.testing.assert_close(
            ops.kplus1_cross_entropy(LOGITS, probabilities, ignore_index=index), F.cross_entropy(LOGITS, probabilities)
        )


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (3,)])
def test_soft_targets_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"^kplus1_cross_entropy: target has shape .*, wanted \[3, 5\]"):
        ops.kplus1_cross_entropy(LOGITS, torch.ones(shape))
