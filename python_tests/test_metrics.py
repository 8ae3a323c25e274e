"""Scores against closed forms, a plain float64 computation and torchmetrics; streaming against all at once."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from amgan_fast import ops
from amgan_fast.metrics import ClassSums, EntropyCounts, LabelCounts, ScoreAccumulator, Scores, ScoreWarning, scores
from amgan_fast.metrics.score_names import SCORE, SCORES

K, N = 10, 503
MISSING = object()


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator, dtype=torch.float64)


def scores_of(logits: Tensor, reference=None, **options):
    accumulator = ScoreAccumulator(logits.size(1), **options)
    accumulator.update(logits)
    return accumulator.compute(reference)


def inception_score(probability: Tensor) -> float:
    return math.exp(torch.special.entr(probability.mean(0)).sum() - torch.special.entr(probability).sum(1).mean())


def one_hot_logits(labels: Tensor, num_classes: int, gap: float = 1e4) -> Tensor:
    return torch.nn.functional.one_hot(labels, num_classes).double() * gap


def test_every_field_against_its_formula(logits, generator):
    reference = torch.rand(K, generator=generator, dtype=torch.float64)
    reference /= reference.sum()
    scores = scores_of(logits, reference)
    probability = logits.softmax(1)
    mean = probability.mean(0)
    assert (scores.n, scores.num_classes, scores.splits, scores.splits_rule) == (N, K, 10, "round robin")
    assert scores.inception_score == pytest.approx(inception_score(probability), rel=1e-12)
    assert scores.entropy_of_mean == pytest.approx(float(torch.special.entr(mean).sum()), rel=1e-12)
    assert scores.mean_entropy == pytest.approx(float(torch.special.entr(probability).sum(1).mean()), rel=1e-12)
    assert scores.kl_reference == pytest.approx(float((reference * (reference / mean).log()).sum()), rel=1e-12)
    assert scores.am_score == scores.kl_reference + scores.mean_entropy
    assert scores.class_distribution == pytest.approx(mean.tolist(), rel=1e-12)
    by_split = torch.tensor([inception_score(probability[s::10]) for s in range(10)], dtype=torch.float64)
    assert scores.split_mean == pytest.approx(float(by_split.mean()), rel=1e-12)
    assert scores.split_std == pytest.approx(float(by_split.std(correction=0)), rel=1e-9)


def test_without_a_reference_there_is_no_am_score(logits):
    scores = scores_of(logits)
    assert scores.am_score is None
    assert scores.kl_reference is None
    assert "AM Score" not in str(scores)


def test_equals_torchmetrics_on_logits(logits, monkeypatch):
    inception = pytest.importorskip("torchmetrics.image.inception")
    # Its splits are of shuffled samples; with the shuffle held still they are our contiguous ones where S divides N.
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count))
    for splits, rows in ((1, logits), (10, logits[:500])):
        theirs = inception.InceptionScore(feature=torch.nn.Identity(), splits=splits)
        theirs.set_dtype(torch.float64)
        theirs.update(rows)
        mean, std = theirs.compute()
        ours = scores_of(rows, splits=splits, num_samples=len(rows))
        assert ours.split_mean == pytest.approx(float(mean), rel=1e-10)
        if splits > 1:
            assert ours.split_std * math.sqrt(splits / (splits - 1)) == pytest.approx(float(std), rel=1e-8)


def test_certain_and_balanced_is_the_best_there_is():
    scores = scores_of(one_hot_logits(torch.arange(200) // 20, K), [1 / K] * K)
    assert scores.inception_score == pytest.approx(K, rel=1e-12)
    assert scores.am_score == pytest.approx(0, abs=1e-12)
    assert scores.mean_entropy == 0


def test_equal_logits_are_the_worst_there_is():
    scores = scores_of(torch.full((50, K), 7.0, dtype=torch.float64), [1 / K] * K)
    assert scores.inception_score == pytest.approx(1, rel=1e-12)
    assert scores.am_score == pytest.approx(math.log(K), rel=1e-12)


def test_kept_modes_score_the_number_of_modes():
    for kept in range(1, K + 1):
        reference = [1 / kept] * kept + [0.0] * (K - kept)  # classes that the reference lacks contribute 0
        scores = scores_of(one_hot_logits(torch.arange(10 * kept) // 10, K), reference, blocks=10)
        assert scores.inception_score == pytest.approx(kept, rel=1e-12)
        assert scores.am_score == pytest.approx(0, abs=1e-12)


def test_a_class_that_no_sample_hits_is_finite_from_logits_and_infinite_from_certainty():
    logits = one_hot_logits(torch.zeros(20, dtype=torch.int64), 2)
    assert scores_of(logits, [0.5, 0.5], splits=1).kl_reference == pytest.approx(math.log(0.5) + 0.5 * 1e4)
    logits[:, 1] = -math.inf
    impossible = scores_of(logits, [0.5, 0.5], splits=1)
    assert impossible.am_score == math.inf
    assert impossible.inception_score == 1


@pytest.mark.parametrize("sizes", [[N], [1] * N, [100, 3, 200, 200], [7] * 71 + [6]])
@pytest.mark.parametrize("num_samples", [None, N])
def test_batches_change_nothing(logits, sizes, num_samples):
    whole = scores_of(logits, num_samples=num_samples)
    streamed = ScoreAccumulator(K, num_samples=num_samples)
    for batch in logits.split(sizes):
        streamed.update(batch)
    assert_close(streamed.compute(), whole)


def flat(fields: dict[str, Any]) -> dict[str, Any]:
    estimates = fields.get("estimates", {})
    parts = {f"{name} {part}": x for name, parts in estimates.items() for part, x in parts.items()}
    return {name: x for name, x in fields.items() if name != "estimates"} | parts


def assert_close(got, want, rel=1e-12):
    got, want = (flat(x.to_dict() if isinstance(x, Scores) else x) for x in (got, want))
    for name, value in want.items():
        near = partial(pytest.approx, value, rel=rel, abs=1e-14 if name.endswith("error") else None)
        assert got[name] == (near() if isinstance(value, float | list | tuple | dict) else value), name


def test_merging_is_adding_samples_in_any_order(logits):
    parts = [ScoreAccumulator(K) for _ in range(3)]
    for accumulator, batch in zip(parts, logits.split([100, 300, 103]), strict=True):
        accumulator.update(batch)
    forward, backward = ScoreAccumulator(K), ScoreAccumulator(K)
    for accumulator in parts:
        forward.merge(accumulator)
    for accumulator in reversed(parts):
        backward.merge(accumulator)
    whole = scores_of(logits)
    for merged in (forward, backward):
        scores = merged.compute()
        assert scores.n == N
        assert scores.inception_score == pytest.approx(whole.inception_score, rel=1e-13)


def test_contiguous_splits_start_at_the_floor(logits):
    scores = scores_of(logits, num_samples=N)
    probability = logits.softmax(1)
    parts = [probability[s * N // 10 : (s + 1) * N // 10] for s in range(10)]
    by_split = torch.tensor([inception_score(part) for part in parts])
    assert scores.splits_rule == "contiguous"
    assert scores.split_mean == pytest.approx(float(by_split.mean()), rel=1e-6)


def test_sorted_samples_hurt_contiguous_splits_only():
    logits = one_hot_logits(torch.arange(1000) // 100, K)
    assert scores_of(logits).split_mean == pytest.approx(K)
    with pytest.warns(ScoreWarning, match="splits differ"):
        assert scores_of(logits, num_samples=1000).split_mean == pytest.approx(1)


def test_a_reference_is_taken_to_sum_to_1(logits, generator):
    """What float32 leaves of a sum must not pass for divergence."""
    weights = torch.rand(K, generator=generator)
    rounded = (weights / weights.sum()).double() * (1 + 5e-6)
    assert_close(scores_of(logits, rounded), scores_of(logits, rounded / rounded.sum()))


def test_an_incomplete_split_has_no_mean(logits):
    accumulator = ScoreAccumulator(K, num_samples=N)
    accumulator.update(logits[:400])
    scores = accumulator.compute()
    assert (scores.n, scores.split_mean, scores.split_std) == (400, None, None)
    assert scores_of(logits[:9]).split_mean is None  # of 10


def test_reference_may_be_a_vector_scores_or_an_accumulator(logits):
    training = ScoreAccumulator(K)
    training.update(logits.flip(0)[:200])
    vector = torch.tensor(training.compute().class_distribution, dtype=torch.float64)
    got = {scores_of(logits, reference).am_score for reference in (vector, training.compute(), training)}
    assert got == {scores_of(logits, vector.tolist()).am_score}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_dtypes(logits, dtype):
    rows = logits.to(dtype)
    assert scores_of(rows).inception_score == pytest.approx(inception_score(rows.double().softmax(1)), rel=1e-5)


@pytest.mark.parametrize(("value", "said"), [(math.nan, "holds NaN"), (math.inf, r"holds \+inf")])
def test_a_row_without_distribution_is_refused_by_its_index(logits, value, said):
    accumulator = ScoreAccumulator(K)
    accumulator.update(logits[:100])
    before = accumulator.compute()
    logits[142, 3] = value
    with pytest.raises(ValueError, match=rf"row 42 \(sample 142\).*{said}; wanted finite"):
        accumulator.update(logits[100:])
    assert accumulator.compute() == before


def test_a_row_of_minus_infinity_is_refused(logits):
    logits[5] = -math.inf
    with pytest.raises(ValueError, match=r"row 5 \(sample 5\).*-inf throughout"):
        scores_of(logits)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_classes": 0}, "num_classes is 0, wanted at least 2"),
        ({"blocks": 15}, "blocks is 15, splits 10; wanted blocks a multiple of splits"),
        ({"splits": 0}, "splits 0"),
        ({"num_samples": 9}, "num_samples is 9, wanted at least one for each of 10 splits"),
    ],
)
def test_bad_settings(arguments, said):
    with pytest.raises(ValueError, match=said):
        ScoreAccumulator(**{"num_classes": K, **arguments})


def test_bad_updates(logits):
    accumulator = ScoreAccumulator(K, num_samples=20)
    with pytest.raises(ValueError, match=r"logits are \[503, 9\], wanted \[N, 10\]"):
        accumulator.update(logits[:, :9])
    with pytest.raises(ValueError, match="503 samples, wanted at most num_samples = 20"):
        accumulator.update(logits)
    with pytest.raises(ValueError, match="no samples"):
        accumulator.compute()


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ([0.5, 0.5], r"reference is \[2\], wanted 10 probabilities"),
        ([1.0] * K, "reference sums to 10"),
        ([-0.1, 1.1] + [0.0] * 8, "least entry is -0.1"),
    ],
)
def test_bad_references(logits, reference, said):
    with pytest.raises(ValueError, match=said):
        scores_of(logits, reference)


def test_bad_merges(logits):
    with pytest.raises(ValueError, match="other has blocks = 50, wanted 100"):
        ScoreAccumulator(K).merge(ScoreAccumulator(K, blocks=50))
    with pytest.raises(ValueError, match=r"contiguous splits .* cannot be merged"):
        ScoreAccumulator(K, num_samples=50).merge(ScoreAccumulator(K, num_samples=50))


def test_as_json_and_as_text(logits):
    scores = scores_of(logits, [1 / K] * K)
    assert json.loads(scores.to_json()) == json.loads(json.dumps(scores.to_dict()))
    text = str(scores)
    for value in (scores.am_score, scores.kl_reference, scores.mean_entropy, scores.inception_score):
        assert f"{value:.4f}" in text


def test_every_score_with_a_name_is_a_field_and_every_number_has_a_name():
    fields = {field.name: str(field.type) for field in dataclasses.fields(Scores)}
    assert set(SCORE) <= set(fields)
    assert {name.of for name in SCORES} | {name.spread for name in SCORES} <= {None, *fields}
    numbers = {name for name, kind in fields.items() if "float" in kind} - {name.spread for name in SCORES}
    assert numbers - set(SCORE) == {
        "split_dispersion",
        "block_dispersion",
        "class_distribution",
        "mean_entropy_ci95",
        "reference",
        "reference_bias",
        "reference_error",
        "unlimited",
    }


def test_a_zero_is_written_without_a_sign():
    alike = scores(torch.tensor([[3.0, 1.0, 0.0]]).expand(60, 3), [0.2, 0.3, 0.5])
    assert abs(alike.am_score_2017) < 1e-12
    assert SCORE["am_score_2017"].text(dataclasses.replace(alike, am_score_2017=-1e-17)) == "0.0000"


def test_follows_the_device(device, logits):
    accumulator = ScoreAccumulator(K, device=device)
    accumulator.update(logits.to(device))
    assert accumulator.compute().inception_score == pytest.approx(scores_of(logits).inception_score, rel=1e-12)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("num_samples", [None, 30])
@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="a torch without CUDA makes no events of a GPU")
def test_on_a_gpu_update_asks_for_no_value(from_logits, num_samples):
    """Under tensors without values; reading the state, for comparison, does."""
    with FakeTensorMode():
        accumulator = ScoreAccumulator(K, num_samples=num_samples, device="cuda")
        counts = EntropyCounts(K, device="cuda"), LabelCounts(K, device="cuda")
        for _ in range(2):
            values = torch.empty(15, K, device="cuda")
            accumulator.update(values, from_logits=from_logits)
            for one in counts:
                one.update(values)
        assert accumulator.samples == 30
        for one in (accumulator, *counts):
            with pytest.raises(DataDependentOutputException):
                one.compute(*([[1 / K] * K] if isinstance(one, LabelCounts) else []))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_minus_infinity_and_gaps_of_1e4(dtype):
    logits = torch.zeros(4, 3, dtype=dtype)
    logits[0, 0] = logits[1, 1] = 1e4
    logits[2, 2] = -math.inf  # (1/2, 1/2, 0)
    got = scores(logits, splits=1)
    mean = np.array([1 + 1 / 2 + 1 / 3, 1 + 1 / 2 + 1 / 3, 1 / 3]) / 4
    mean_entropy = (math.log(2) + math.log(3)) / 4
    want = math.exp(-(mean * np.log(mean)).sum() - mean_entropy)
    rel = 1e-12 if dtype == torch.float64 else 1e-6
    assert got.inception_score == pytest.approx(want, rel=rel)
    assert got.mean_entropy == pytest.approx(mean_entropy, rel=rel)


def test_probabilities_score_as_their_logits(logits, generator):
    reference = [1 / K] * K
    from_logits, from_p = scores(logits, reference), scores(logits.softmax(1), reference, from_logits=False)
    assert_close(from_p, from_logits, rel=1e-11)
    p = torch.nn.functional.one_hot(torch.randint(K, (50,), generator=generator), K).float()
    p[0] = torch.tensor([0.25, 0.75] + [0.0] * (K - 2))
    mean = p.double().mean(0)
    got = scores(p, from_logits=False)
    assert got.mean_entropy == pytest.approx((0.25 * math.log(4) + 0.75 * math.log(4 / 3)) / 50, rel=1e-6)
    assert got.entropy_of_mean == pytest.approx(float(torch.special.entr(mean).sum()), rel=1e-6)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([0.5] * K, "it sums to 5;"),
        ([0.0] * K, "it sums to 0;"),
        ([-0.5, 1.5] + [0.0] * (K - 2), "least entry is -0.5"),
        ([math.nan] + [1 / K] * (K - 1), "it holds NaN"),
        ([math.inf] + [0.0] * (K - 1), r"it holds \+inf"),
    ],
)
def test_probabilities_that_are_no_distribution(logits, row, said):
    p = logits.softmax(1)
    p[42] = torch.tensor(row, dtype=p.dtype)
    accumulator = ScoreAccumulator(K)
    accumulator.update(logits[:5])
    with pytest.raises(ValueError, match=rf"probabilities row 42 \(sample 47\) .*{said}.* wanted probabilities"):
        accumulator.update(p, from_logits=False)
    assert accumulator.samples == 5


def test_half_precision_rows_with_very_many_classes_are_good():
    """Their sum of exponentials is beyond float16."""
    logits = torch.zeros(2, 70_000, dtype=torch.float16)
    logits[1, 3] = math.nan
    with pytest.raises(ValueError, match=r"row 1 .* holds NaN"):
        scores(logits)
    assert scores(logits, skip_non_finite=True).n == 1


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("sizes", [[N], [1] * N, [10, 0, 400, 93]])
def test_skipping_rows_scores_the_good_ones(logits, sizes, from_logits):
    good = logits[torch.arange(N) % 50 != 7] if from_logits else logits.softmax(1)[torch.arange(N) % 50 != 7]
    rows = logits if from_logits else logits.softmax(1)
    rows[7::50] = torch.tensor([math.nan] + [0.0] * (K - 1), dtype=rows.dtype)
    accumulator = ScoreAccumulator(K, skip_non_finite=True)
    for batch in rows.split(sizes):
        accumulator.update(batch, from_logits=from_logits)
    got, want = accumulator.compute().to_dict(), scores(good, from_logits=from_logits).to_dict()
    assert (got.pop("non_finite_rows"), want.pop("non_finite_rows")) == (10, 0)
    assert_close(got, want)
    assert accumulator.samples == N
    assert "10 rows left out" in str(accumulator.compute())


@pytest.mark.parametrize("sizes", [[N], [1] * N, [10, 400, 93]])
def test_skipping_rows_leaves_contiguous_splits_where_they_are(logits, sizes):
    p = logits.softmax(1)
    good = torch.arange(N) % 50 != 7
    logits[~good] = -math.inf
    accumulator = ScoreAccumulator(K, skip_non_finite=True, num_samples=N)
    for batch in logits.split(sizes):
        accumulator.update(batch)
    bounds = [s * N // 10 for s in range(11)]
    parts = [p[a:b][good[a:b]] for a, b in pairwise(bounds)]
    by_split = torch.tensor([inception_score(part) for part in parts], dtype=torch.float64)
    assert accumulator.compute().split_mean == pytest.approx(float(by_split.mean()), rel=1e-12)
    once = scores(torch.where(logits.isfinite(), logits, math.nan), skip_non_finite=True, num_samples=N)
    assert_close(accumulator.compute(), once)


def test_all_rows_left_out():
    accumulator = ScoreAccumulator(K, skip_non_finite=True)
    accumulator.update(torch.full((3, K), math.nan))
    assert accumulator.non_finite_rows == 3
    with pytest.raises(ValueError, match="no samples"):
        accumulator.compute()


@pytest.mark.parametrize("num_samples", [None, N])
def test_state_through_a_file(logits, num_samples):
    options = {"num_samples": num_samples, "skip_non_finite": True}
    accumulator, resumed = ScoreAccumulator(K, **options), ScoreAccumulator(K, **options)
    logits[3] = math.nan
    accumulator.update(logits[:200])
    file = io.BytesIO()
    torch.save(accumulator.state_dict(), file)
    file.seek(0)
    resumed.update(logits[:17])  # replaced
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for one in (accumulator, resumed):
        one.update(logits[200:])
    assert resumed.compute() == accumulator.compute()


def test_a_state_does_not_change_afterwards(logits):
    accumulator, resumed = ScoreAccumulator(K), ScoreAccumulator(K)
    accumulator.update(logits[:200])
    before, state = accumulator.compute(), accumulator.state_dict()
    accumulator.update(logits[200:])
    resumed.load_state_dict(state)
    assert resumed.compute() == before
    resumed.update(logits[200:])
    assert int(state["count"].sum()) == 200


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blocks": 50}, "state has blocks = 50, wanted 100 as here"),
        ({"num_samples": 5}, "state has num_samples = 5, wanted None"),
        ({"skip_non_finite": True}, "state has skip_non_finite = True, wanted False"),
        ({"log_prob": torch.zeros(100, 3)}, r"log_prob of shape \[100, 3\], wanted \[100, 10\]"),
        ({"samples": MISSING}, "state has no samples"),
        ({"first_rows": [1]}, r"state has first_rows = \[1\], wanted two numbers"),
        ({"log_prob": MISSING}, "state has no log_prob"),
    ],
)
def test_bad_states_change_nothing(logits, change, said):
    accumulator, other = ScoreAccumulator(K), ScoreAccumulator(K)
    accumulator.update(logits[:100])
    other.update(logits)
    before = accumulator.compute()
    state = {name: value for name, value in (other.state_dict() | change).items() if value is not MISSING}
    with pytest.raises(ValueError, match=said):
        accumulator.load_state_dict(state)
    assert accumulator.compute() == before


def test_merging_parts_of_whole_rounds_of_blocks_agrees_in_every_field(logits, generator):
    reference = [1 / K] * K
    want = scores(logits, reference)
    parts = list(logits.split([100, 300, 103]))  # each starts at block 0
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        total = ScoreAccumulator(K)
        for i in order:
            part = ScoreAccumulator(K)
            part.update(parts[i])
            total.merge(part)
        assert_close(total.compute(reference), want, rel=1e-13)


def _score_share(rank: int, ranks: int, folder: Path) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    accumulator = ScoreAccumulator(K, skip_non_finite=True)
    accumulator.update(torch.load(folder / "logits.pt")[rank * 800 // ranks : (rank + 1) * 800 // ranks])
    accumulator.all_reduce()
    results = {"scores": json.loads(accumulator.compute([1 / K] * K).to_json())}
    (folder / f"{rank}.json").write_text(json.dumps(results | _count_share(rank, ranks, folder)))
    distributed.destroy_process_group()


def _warns(one: ScoreAccumulator | LabelCounts | EntropyCounts | ClassSums) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if isinstance(one, ClassSums):
            one.score_of(range(K))
        else:
            one.compute(*([[1 / K] * K] if isinstance(one, LabelCounts) else []))
    return any("from_logits=False" in str(warning.message) for warning in caught)


def _count_share(rank: int, ranks: int, folder: Path) -> dict:
    logits = torch.load(folder / "logits.pt")[:799]
    share = logits[rank * 800 // ranks : (rank + 1) * 800 // ranks]
    entropies, labels, sums = EntropyCounts(K, bins=7), LabelCounts(K), ClassSums(K, blocks=4)
    mistaken = [ScoreAccumulator(K), LabelCounts(K), EntropyCounts(K), ClassSums(K)]
    for one in mistaken:  # probabilities for logits, but for process 1
        one.update(share if rank == 1 else share.softmax(1), *([share.argmax(1)] if one is mistaken[-1] else []))
    entropies.update(share)
    labels.update(share)
    sums.update(share, share.argmax(1))
    if ranks > 1:
        for one in (entropies, labels, sums, *mistaken):
            one.all_reduce()
    assert [_warns(one) for one in mistaken] == [ranks == 1] * 4
    balance = labels.compute([1 / K] * K).to_dict()
    few = json.loads(sums.score_of([1, 4, 7]).to_json())
    return {"entropies": entropies.compute().to_dict(), "balance": balance, "few": few, "samples": sums.samples}


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_processes_count_each_sample_once(ranks, logits, generator, tmp_path):
    """Shares of whole rounds of the blocks: every field agrees, splits and intervals too."""
    logits = torch.cat([logits, torch.randn(297, K, generator=generator, dtype=torch.float64)])
    logits[799] = math.nan
    torch.save(logits, tmp_path / "logits.pt")
    # From a server that has imported torch and holds no threads: neither the imports nor a fork of this process.
    multiprocessing.set_forkserver_preload(["torch", "amgan_fast.metrics"])
    multiprocessing.start_processes(_score_share, (ranks, tmp_path), ranks, start_method="forkserver")
    want = json.loads(scores(logits, [1 / K] * K, skip_non_finite=True).to_json())
    assert (want["n"], want["non_finite_rows"]) == (799, 1)
    counted = json.loads(json.dumps(_count_share(0, 1, tmp_path)))
    assert counted["samples"] == 799
    for rank in range(ranks):
        got = json.loads((tmp_path / f"{rank}.json").read_text())
        assert_close(got.pop("scores"), want, rel=1e-13)
        for name, value in counted.items():
            assert_close(*({name: x} if name == "samples" else x for x in (got[name], value)), rel=1e-12)


def test_contiguous_splits_cannot_be_reduced_or_added_to(logits):
    accumulator = ScoreAccumulator(K, num_samples=N)
    with pytest.raises(ValueError, match="cannot be merged"):
        accumulator.all_reduce()
    with pytest.raises(ValueError, match="cannot be merged"):
        accumulator.add_sums(ops.score_sums(logits, blocks=100), N)


def test_sums_made_elsewhere(logits):
    accumulator = ScoreAccumulator(K)
    accumulator.add_sums(ops.score_sums(logits[:300], blocks=100), 300)
    accumulator.add_sums(ops.score_sums(logits[300:], blocks=100), N - 300)
    assert_close(accumulator.compute(), scores(logits))
    with pytest.raises(ValueError, match=r"sums have count of shape \[50\], wanted \[100\]"):
        accumulator.add_sums(ops.score_sums(logits, blocks=50), N)
    assert accumulator.samples == N


def test_sorted_labels_are_warned_of_where_splits_are_contiguous(logits):
    in_order, mixed = torch.arange(N) // 51, torch.arange(N) % K
    with pytest.warns(UserWarning, match="labels are sorted"):
        scores(logits, labels=in_order, num_samples=N)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores(logits, labels=in_order)
        scores(logits, labels=mixed.tolist(), num_samples=N)
        scores(logits, labels=[3] * N, num_samples=N)  # one class has no order


def test_scores_of_a_matrix_are_those_of_a_stream(logits):
    options = {"blocks": 20, "splits": 5, "num_samples": N}
    accumulator = ScoreAccumulator(K, **options)
    accumulator.update(logits)
    assert scores(logits, [1 / K] * K, **options) == accumulator.compute([1 / K] * K)
    with pytest.raises(ValueError, match=r"values are \[10\], wanted \[N, K\]"):
        scores(logits[0])


def test_json_has_null_for_what_is_no_number():
    p = torch.nn.functional.one_hot(torch.arange(40) % 2, 3).float()
    got = scores(p, [0.5, 0.0, 0.5], from_logits=False)
    text = got.to_json()
    assert "Infinity" not in text
    assert "NaN" not in text
    fields = json.loads(text)
    assert got.am_score == math.inf
    assert [fields[name] for name in ("am_score", "kl_reference", "am_score_corrected", "mode_score")] == [None] * 4
    assert fields["inception_score"] == pytest.approx(2)


@pytest.mark.cuda
def test_a_bad_row_on_the_gpu_is_found_by_an_accumulator_on_the_cpu(logits):
    logits[142, 3] = math.nan
    accumulator = ScoreAccumulator(K, device="cpu")
    for batch in logits.cuda().split(100):
        accumulator.update(batch)
    with pytest.raises(ValueError, match="among samples 100 to 199"):
        accumulator.compute()
    good = ScoreAccumulator(K, device="cpu")
    good.update(logits[:100].cuda())
    accumulator.load_state_dict(good.state_dict())
    assert accumulator.compute() == good.compute()
