"""NaN and +inf in any logit of a row make all its results non-finite, and those of no other row: after an overflow no
operation gives numbers that look sound. -inf is a class that cannot be, and gives what the formulas give in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from checking import assert_gradient, assert_loss, assert_same, with_gradient
from sample_inputs import (
    CASES,
    DTYPES,
    FAMILY,
    LAYOUTS,
    LOSSES,
    REDUCTIONS,
    Case,
    Sampler,
    as_tuple,
    by_name,
    dtype_name,
    floats,
    map_tensors,
)
from torch import Tensor

from amgan_fast import ops

NAN, INF = math.nan, math.inf
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
values = pytest.mark.parametrize("value", [NAN, INF])
CLASSES = (1, 2, 17, 64, 65, 100)  # a row a lane up to 64, across its columns above


def with_all_labels(coefficients: dict[str, tuple[float, ...]]) -> tuple[Case, ...]:
    kinds = {"dynamic": lambda s: None, "given": Sampler.labels, "any": Sampler.any_labels}
    return tuple(
        Case(f"{name}, {kind} labels", "kplus1_loss", lambda s, c=c, labels=labels: (s.logits(), labels(s), c))
        for (name, c), (kind, labels) in itertools.product(coefficients.items(), kinds.items())
    )


# A term that holds the value may have the coefficient 0.
ALONE = {f"{name} alone": tuple(float(name == other) for other in "artfu") for name in "artfu"}
IN_THE_TABLE, TERMS = with_all_labels(FAMILY), with_all_labels(ALONE | {"no term": (0.0,) * 5})
ROWS = tuple(case for case in CASES if case.op != "score_sums")  # operations with a result a row


def results(case: Case, args: tuple, keywords: dict) -> list[list[Tensor]]:
    """For each batch what is returned for its rows; with `reduction` the gradients alone."""
    leaves = with_gradient(args) if case.differentiable else args
    outputs = as_tuple(case.fused()(*leaves, **keywords))
    if case.differentiable:
        outputs += torch.autograd.grad(outputs[0].sum(), floats(leaves))
    sizes = [len(x) for x in floats(args)]
    gradients = [x for x in outputs if x.dim() == 2]
    of_rows = [x.detach().split(sizes) for x in outputs if x.dim() == 1 and x.is_floating_point()]
    return [[*(x[i] for x in of_rows), *gradients[i : i + 1]] for i in range(len(sizes))]


def places(x: Tensor) -> tuple[Tensor, Tensor]:
    """A column of every row but the last: every column once where there are as many, else the first to the last."""
    rows = torch.arange(len(x) - 1)
    return rows, rows * (x.size(1) - 1) // max(len(rows) - 1, 1)


def put(x: Tensor, value: float) -> Tensor:
    x = x.clone()
    x[places(x)] = value
    return x


def spoiled(case: Case, sampler: Sampler, value: float) -> Iterator[tuple[int, tuple, tuple]]:
    """Which batch, the arguments with `value` in it, and without."""
    args = case.build(sampler)
    for i, batch in enumerate(floats(args)):
        yield i, map_tensors(args, lambda x, batch=batch: put(x, value) if x is batch else x), args


def sampler_for(case: Case, classes: int, fake: str, dtype: torch.dtype, device: torch.device) -> Sampler:
    rows = classes + (case.has_fake and fake == "column") + 1
    return Sampler(rows, classes, fake, dtype, other_rows=rows, device=device)


def check_that_it_shows(case: Case, classes: int, dtype: torch.dtype, value: float, device: torch.device) -> None:
    for fake in case.fake_modes():
        for i, bad, clean in spoiled(case, sampler_for(case, classes, fake, dtype, device), value):
            for reduction in case.reductions():
                what = f"{case.name} K={classes} {fake} {reduction}, batch {i}"
                keywords = case.keywords(fake, reduction)
                got, want = results(case, bad, keywords), results(case, clean, keywords)
                assert got[i], what
                for x in got[i]:
                    assert not x[:-1].isfinite().any(), f"{what}: {x}"
                assert_same(tuple(x[-1] for x in got[i]), tuple(x[-1] for x in want[i]), what)
                for other in range(len(got)):
                    if other != i:
                        assert_same(tuple(got[other]), tuple(want[other]), what)
                if reduction != "none":
                    assert not as_tuple(case.fused()(*bad, **keywords))[0].isfinite(), what


@dtypes
@values
@pytest.mark.parametrize("case", ROWS, ids=by_name)
def test_it_shows_in_every_result_of_its_row(case, value, dtype, device):
    for classes in CLASSES:
        check_that_it_shows(case, classes, dtype, value, device)


@dtypes
@pytest.mark.parametrize("case", [*IN_THE_TABLE, *TERMS], ids=by_name)
def test_it_shows_whatever_the_coefficients_and_the_labels(case, dtype, device):
    for classes, value in itertools.product((3, 70), (NAN, INF)):
        check_that_it_shows(case, classes, dtype, value, device)


@dtypes
@values
def test_the_dynamic_label_is_that_of_argmax(value, dtype, device):
    for classes in CLASSES:
        bad = put(Sampler(classes + 2, classes, dtype=dtype, device=device).logits(), value)
        assert_same(ops.kplus1_terms(bad).labels, bad[:, :-1].argmax(1), f"K={classes}")


@values
@pytest.mark.parametrize("case", [case for case in (*ROWS, *IN_THE_TABLE) if case.differentiable], ids=by_name)
def test_it_shows_in_the_reference(case, value):
    for fake in case.fake_modes():
        for i, bad, _ in spoiled(case, sampler_for(case, 5, fake, torch.float64, torch.device("cpu")), value):
            leaves = with_gradient(bad)
            loss = case.reference()(*leaves, **case.keywords(fake, "none"))
            gradient = torch.autograd.grad(loss.sum(), floats(leaves))[i]
            assert not loss.detach().split([len(x) for x in floats(bad)])[i][:-1].isfinite().any()
            assert not gradient[:-1].isfinite().all(1).any()
            assert gradient[-1].isfinite().all()


@dtypes
@values
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_shows_in_any_layout(layout, value, dtype, device):
    for case, fake, classes in itertools.product(ROWS, ("column",), (17, 70)):
        keywords = case.keywords(fake, "none")
        for i, bad, _ in spoiled(case, sampler_for(case, classes, fake, dtype, device), value):
            strided = map_tensors(bad, lambda x: layout(x) if x.is_floating_point() else x)
            got, want = results(case, strided, keywords)[i], results(case, bad, keywords)[i]
            assert_same(tuple(got), tuple(want), f"{case.name} K={classes}, batch {i}")


@pytest.mark.parametrize("case", [*LOSSES, *IN_THE_TABLE, *TERMS], ids=by_name)
def test_it_shows_in_second_derivatives(case, device):
    for dtype, fake, value in itertools.product(DTYPES, case.fake_modes(), (NAN, INF)):
        for i, bad, clean in spoiled(case, sampler_for(case, 5, fake, dtype, device), value):
            for reduction in REDUCTIONS:
                got, want = (second_derivatives(case, x, case.keywords(fake, reduction)) for x in (bad, clean))
                what = f"{case.name} {fake} {reduction}, batch {i}"
                assert not got[i][:-1].isfinite().any(), f"{what}: {got[i]}"
                assert_same(got[i][-1], want[i][-1], what)


def second_derivatives(case: Case, args: tuple, keywords: dict) -> tuple[Tensor, ...]:
    leaves = floats(with_gradient(args))
    given = iter(leaves)
    loss = case.fused()(*map_tensors(args, lambda x: next(given) if x.is_floating_point() else x), **keywords)
    gradients = torch.autograd.grad(loss.sum(), leaves, create_graph=True)
    weighted = sum((x * torch.arange(1, x.size(1) + 1, device=x.device)).sum() for x in gradients)
    return torch.autograd.grad(weighted, leaves)


@dtypes
@values
@pytest.mark.parametrize("probabilities", [False, True])
def test_it_shows_in_the_sums_of_its_block(probabilities, value, dtype, device):
    """A block a row: the sum of entropies, and those of the classes that have the value; of logits, of all classes."""
    for classes in (*CLASSES, 1500):
        sampler = Sampler(min(classes, 70) + 1, classes, dtype=dtype, device=device)
        clean = sampler.probabilities().to(device) if probabilities else sampler.class_logits()
        bad = put(clean, value)
        got, want = (ops.score_sums(x, blocks=len(x), probabilities=probabilities) for x in (bad, clean))
        assert not got.entropy[:-1].isfinite().any(), classes
        for x in (got.prob, got.prob_sq, got.log_prob):
            assert not (x[places(x)] if probabilities else x[:-1]).isfinite().any(), classes
        assert_same(tuple(x[-1] for x in got), tuple(x[-1] for x in want), f"K={classes}")


# --- -inf


def excluded(x: Tensor, classes: int) -> Tensor:
    """-inf in every column once, a row each; for all real classes; for all but one; for all columns."""
    x = put(x, -INF)
    x[-4, :classes] = -INF
    x[-3, 1:classes] = -INF
    x[-2] = -INF
    return x


@dtypes
@pytest.mark.parametrize("case", [*LOSSES, *IN_THE_TABLE], ids=by_name)
def test_minus_infinity_gives_what_the_formulas_give(case, dtype, device):
    """Wherever they give a number or an infinity; where they give NaN, a limit may exist that they do not find."""
    compared = 0
    for classes, fake in itertools.product((1, 2, 17, 70), case.fake_modes()):
        sampler = sampler_for(case, classes, fake, dtype, device)
        sampler.rows += 3
        sampler.other_rows = sampler.rows
        args = map_tensors(case.build(sampler), lambda x, k=classes: excluded(x, k) if x.is_floating_point() else x)
        ours, exact = with_gradient(args), with_gradient(args, torch.float64)
        keywords = case.keywords(fake, "none")
        got, want = case.fused()(*ours, **keywords), case.reference()(*exact, **keywords)
        what = f"{case.name} K={classes} {fake}"
        assert_loss(got[~want.isnan()], want[~want.isnan()], what)
        compared += int((~want.isnan()).sum())
        pairs = zip(
            torch.autograd.grad(got.sum(), floats(ours)), torch.autograd.grad(want.sum(), floats(exact)), strict=True
        )
        for i, (a, b) in enumerate(pairs):
            defined = b.isfinite().all(1)
            assert_gradient(a[defined], b[defined], f"{what}, gradient {i}")
            compared += int(defined.sum())
    assert compared > 100
