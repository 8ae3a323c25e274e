"""The forms of plain PyTorch that the benchmarks compare with do what the operations do."""

from __future__ import annotations

import math

import pytest
import torch

from amgan_fast import reference
from benchmarks.op_cases import MAKERS
from benchmarks.plain_forms import BY_HAND, FORMS, in_pieces

ROWS, COLUMNS = 7, 11
LOSSES = ["am_discriminator_loss", "am_generator_loss", "labelgan_generator_loss", "kplus1_cross_entropy"]
LOSSES += ["class_entropy", "kplus1_hinge_loss"]


def forms_of(*ops: str) -> list:
    return [pytest.param(op, form, id=f"{op}-{form.name}") for op in ops for form in FORMS[op]]


def arguments(op: str, scale: float) -> list[torch.Tensor]:
    """In float64; logits of which many have probabilities that float32 could not hold, where ``scale`` is large."""
    generator = torch.Generator().manual_seed(3)
    real, generated = (
        (scale * torch.randn(ROWS, COLUMNS, generator=generator, dtype=torch.float64)).requires_grad_()
        for _ in range(2)
    )
    labels = torch.randint(COLUMNS - 1, (ROWS,), generator=generator)
    if op == "am_discriminator_loss":
        return [real, labels, generated]
    return [real, labels] if op in ("kplus1_cross_entropy", "kplus1_hinge_loss") else [generated]


def differentiable(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return [x for x in inputs if x.requires_grad]


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize(("op", "form"), forms_of(*LOSSES))
def test_losses_and_their_gradients_are_those_of_the_reference(op, form, scale):
    inputs = arguments(op, scale)
    loss, expected = form.function(*inputs), getattr(reference, op)(*inputs)
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=1e-12)  # softplus is linear from 20 on
    for gradient, wanted in zip(
        *(torch.autograd.grad(3 * x, differentiable(inputs)) for x in (loss, expected)), strict=True
    ):
        torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("op", "form"), forms_of("am_generator_loss", "class_entropy"))
def test_second_derivatives_are_those_of_the_reference(op, form):
    (x,) = arguments(op, 1.0)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(4), dtype=x.dtype)

    def products(function):
        upstream = torch.tensor(3.0, dtype=x.dtype, requires_grad=True)
        (gradient,) = torch.autograd.grad(function(x), x, upstream, create_graph=True)
        return gradient, *torch.autograd.grad(gradient, (x, upstream), v)

    for found, wanted in zip(products(form.function), products(getattr(reference, op)), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_gradients_by_hand_are_those_of_the_reference(name, scale):
    inputs = arguments(name.removesuffix("_and_grad"), scale)
    for form in BY_HAND[name]:
        found = form.function(*(x.detach() for x in inputs))
        torch.testing.assert_close(found, getattr(reference, name)(*inputs))


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize(("op", "form"), forms_of("kplus1_terms"))
def test_terms_are_those_of_the_reference(op, form, scale):
    (x,) = arguments(op, scale)
    torch.testing.assert_close(form.function(x.detach()), tuple(reference.kplus1_terms(x)), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("op", "form"), forms_of("score_sums"))
def test_sums_are_those_of_the_reference_to_float32(op, form, dtype, monkeypatch):
    monkeypatch.setattr("benchmarks.plain_forms.CACHED_NUMBERS", 100 * COLUMNS)  # the last piece is smaller
    x = torch.randn(1050, COLUMNS, generator=torch.Generator().manual_seed(3)).to(dtype)
    _, *expected = reference.score_sums(x)
    found = form.callable()(x)
    for sums, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(sums.double(), wanted[0], rtol=1e-5, atol=1e-4)


def test_pieces_are_all_the_rows_and_small(monkeypatch):
    monkeypatch.setattr("benchmarks.plain_forms.CACHED_NUMBERS", 30)
    seen = []
    (total,) = in_pieces(lambda piece: (seen.append(len(piece)) or piece.sum(),))(torch.ones(8, 10))
    assert (total, seen) == (80, [3, 3, 2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize(("op", "form"), forms_of("leaky_dropout"))
def test_dropout_keeps_its_share_and_scales_it(op, form, p, dtype):
    torch.manual_seed(5)
    x = (torch.randn(401, 99) + 0.5).to(dtype)  # a number of elements that is no multiple of 4
    y = form.function(x, p)
    kept = y != 0
    assert y.dtype == dtype
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=5 * math.sqrt(p * (1 - p) / x.numel()))
    # A number that is left is so at any place: columns are alike, too.
    assert kept.float().mean(0).sub(1 - p).abs().max() <= 5 * math.sqrt(p * (1 - p) / len(x))
    expected = reference.leaky_dropout(x, 0.0) / (1 - p)
    torch.testing.assert_close(
        y[kept], expected[kept], **({"rtol": 0.02, "atol": 0} if dtype == torch.bfloat16 else {})
    )


@pytest.mark.parametrize("shape", [(50, 6, 3, 3), (90, 7)], ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize(("op", "form"), forms_of("batch_norm_leaky_dropout"))
def test_batch_norm_is_that_of_the_reference_where_numbers_are_kept(op, form, p, shape):
    torch.manual_seed(6)
    x, weight, bias = torch.randn(shape), torch.rand(shape[1]) + 0.5, torch.randn(shape[1])
    (y,) = form.function(x, weight, bias, p)
    expected = reference.batch_norm_leaky_dropout(x, weight, bias, 0.0)[0] / (1 - p)
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.08 if p else 0)
    torch.testing.assert_close(y[kept], expected[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: f"{make.func.__name__}{make.args}")
def test_every_case_has_several_forms_to_be_compared_with(make):
    for case in make("meta"):
        assert len(case.plain()) >= 3, case.key
