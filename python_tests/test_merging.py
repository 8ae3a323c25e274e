"""Accumulators that took a part each, merged in any order and through a file: as one that took everything."""

from __future__ import annotations

import io
import itertools
import json
import math

import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import ClassSums, CompatSums, EntropyCounts, LabelCounts, RowTerms, ScoreAccumulator
from amgan_fast.metrics.row_accumulator import Accumulator

K, N = 5, 307
REFERENCE = [1 / K] * K
MAKE = {
    "scores": lambda start: ScoreAccumulator(K, blocks=20, splits=2, start=start),
    "entropies": lambda start: EntropyCounts(K, bins=7),
    "labels": lambda start: LabelCounts(K),
    "classes": lambda start: ClassSums(K, blocks=4, start=start),
    "compat": lambda start: CompatSums(K, N, compat=["torch-fidelity"], splits=3, start=start),
}
COMPUTE = {
    "scores": lambda one: one.compute(REFERENCE),
    "entropies": lambda one: one.compute(),
    "labels": lambda one: one.compute(REFERENCE),
    "classes": lambda one: one.score_of([0, 2], REFERENCE),
    "compat": lambda one: one.compute()["torch-fidelity"],
}


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator)


def part(name: str, logits: Tensor, start: int, stop: int) -> Accumulator:
    one = MAKE[name](start)
    for first in range(start, stop, 19):
        rows = RowTerms(logits[first : min(first + 19, stop)])
        one.add(rows, *([rows.likeliest] if name == "classes" else []))
    return one


def assert_close(got: dict, want: dict) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert got[name] == (
            pytest.approx(value, rel=1e-13, abs=1e-14 if "error" in name else None)
            if isinstance(value, (int, float, list))
            else value
        ), name


def as_dict(result) -> dict:
    """In one level."""
    values = json.loads(json.dumps(result.to_dict()))
    estimates = values.pop("estimates", {})
    return values | {f"{name} {part}": x for name, parts in estimates.items() for part, x in parts.items()}


@pytest.mark.parametrize("name", MAKE)
def test_parts_from_any_place_in_any_order_are_the_whole(logits, name):
    want = as_dict(COMPUTE[name](part(name, logits, 0, N)))
    parts = [part(name, logits, start, stop) for start, stop in itertools.pairwise([0, 33, 33, 150, N])]
    for order in itertools.permutations(parts):
        total = MAKE[name](0)
        for one in order:
            total.merge(one)
        assert total.samples == N
        assert_close(as_dict(COMPUTE[name](total)), want)


@pytest.mark.parametrize("name", MAKE)
def test_a_state_goes_through_a_file_and_on(logits, name):
    first, other = part(name, logits, 0, 100), MAKE[name](0)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert as_dict(COMPUTE[name](other)) == as_dict(COMPUTE[name](first))
    other.merge(part(name, logits, 100, N))
    assert_close(as_dict(COMPUTE[name](other)), as_dict(COMPUTE[name](part(name, logits, 0, N))))


@pytest.mark.parametrize(
    ("mine", "others", "said"),
    [
        (EntropyCounts(K), EntropyCounts(K, bins=9), "other has bins = 9, wanted 50"),
        (EntropyCounts(K), EntropyCounts(K, threshold=0.1), "other has threshold = 0.1, wanted 0.05"),
        (LabelCounts(K), LabelCounts(K + 1), "other has num_classes = 6, wanted 5"),
        (ClassSums(K), ClassSums(K, blocks=4), "other has blocks = 4, wanted 20"),
        (ClassSums(K), ClassSums(K, num_labels=3), "other has num_labels = 3, wanted 5"),
    ],
)
def test_others_settings_are_refused_and_change_nothing(mine, others, said):
    before = mine.state_dict()
    with pytest.raises(ValueError, match=said):
        mine.merge(others)
    with pytest.raises(ValueError, match=said.replace("other", "state")):
        mine.load_state_dict(others.state_dict())
    assert all(
        torch.equal(x, before[name]) if isinstance(x, Tensor) else x == before[name]
        for name, x in mine.state_dict().items()
    )


def test_a_bad_row_is_named_by_its_place_among_all(logits):
    logits[140, 2] = math.nan
    with pytest.raises(ValueError, match=r"logits row 7 \(sample 140\)"):
        part("scores", logits, 95, 150)


def test_a_start_below_0_or_with_contiguous_splits_is_refused():
    for make in (ScoreAccumulator, ClassSums):
        with pytest.raises(ValueError, match="start is -1, wanted at least 0"):
            make(K, start=-1)
    with pytest.raises(ValueError, match="start is 7, wanted at least 0, and 0 with num_samples"):
        ScoreAccumulator(K, num_samples=50, start=7)
