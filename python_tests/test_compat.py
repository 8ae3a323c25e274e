"""Inception Scores as other tools have them, against those tools themselves; float64 logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import CompatSums, RowTerms, inception_score

TOOLS = ["openai", "torch-fidelity", "torchmetrics", "ignite", "adm"]
SHAPES = [(500, 10), (503, 10), (2100, 7)]  # N divisible by 10 or not; more than one batch
SPLITS = [1, 7, 10]


def make_logits(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def openai(logits: Tensor, splits: int) -> tuple[float, float]:
    """The formula of inception_score/model.py in openai/improved-gan, which needs a TensorFlow of its time."""
    p = logits.softmax(1).numpy()
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        divergence = (part * (np.log(part) - np.log(part.mean(axis=0)))).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return np.mean(scores), np.std(scores)


def torch_fidelity(logits: Tensor, splits: int) -> tuple[float, float]:
    tool = pytest.importorskip("torch_fidelity.metric_isc")
    result = tool.isc_features_to_metric(logits, splits=splits)
    return result[tool.KEY_METRIC_ISC_MEAN], result[tool.KEY_METRIC_ISC_STD]


def torchmetrics(logits: Tensor, splits: int) -> tuple[float, float]:
    tool = pytest.importorskip("torchmetrics.image.inception")
    metric = tool.InceptionScore(feature=torch.nn.Identity(), splits=splits)
    metric.set_dtype(torch.float64)
    for batch in logits.split(100):
        metric.update(batch)
    mean, std = metric.compute()
    return float(mean), float(std)


def ignite(logits: Tensor) -> float:
    metric = pytest.importorskip("ignite.metrics").InceptionScore(logits.size(1), torch.nn.Softmax(dim=1))
    for batch in logits.split(100):
        metric.update(batch)
    return metric.compute()


def adm(logits: Tensor) -> float:
    """The formula of evaluations/evaluator.py in openai/guided-diffusion, which needs a TensorFlow of its time."""
    p = logits.softmax(1).numpy()
    scores = []
    for first in range(0, len(p), 5000):
        part = p[first : first + 5000]
        divergence = (part * (np.log(part) - np.log(part.mean(axis=0)))).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores))


@pytest.mark.parametrize("splits", SPLITS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("compat", "tool"), [("openai", openai), ("torch-fidelity", torch_fidelity)])
def test_equals_the_tool(compat, tool, shape, splits, generator):
    logits = make_logits(shape, generator)
    mean, std = tool(logits, splits)
    ours = inception_score(logits, compat=compat, splits=splits)
    assert ours.mean == pytest.approx(mean, rel=1e-12)
    assert ours.std == pytest.approx(std, rel=1e-12, abs=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of memory, and of the deviation of a single split
@pytest.mark.parametrize("splits", SPLITS)
@pytest.mark.parametrize("shape", [*SHAPES, (9, 10), (11, 10)])  # of 10 splits 9 and 6 are left
def test_equals_torchmetrics_from_the_same_seed(shape, splits, generator):
    logits = make_logits(shape, generator)
    torch.manual_seed(5)
    mean, std = torchmetrics(logits, splits)
    follows = torch.rand(())
    torch.manual_seed(5)
    ours = inception_score(logits, compat="torchmetrics", splits=splits)
    assert ours.mean == pytest.approx(mean, rel=1e-12)
    assert ours.std == pytest.approx(std, rel=1e-12, abs=1e-12, nan_ok=True)
    assert math.isnan(ours.std) == (splits == 1)
    assert torch.rand(()) == follows  # as much drawn from the generator


@pytest.mark.parametrize(("shape", "spread"), [((503, 10), 1), ((503, 10), 50), ((300, 1000), 3), ((300, 1000), 50)])
def test_equals_ignite_in_spite_of_its_epsilon(shape, spread, generator):
    logits = spread * make_logits(shape, generator)
    ours = inception_score(logits, compat="ignite")
    assert ours.mean == pytest.approx(ignite(logits), rel=1e-12)
    assert ours.std is None


@pytest.mark.parametrize(
    "count", [30, 5000, 10_000, 12_003]
)  # one chunk, whole ones, and a short one that weighs as much
def test_equals_the_formula_of_adm(count, generator):
    logits = make_logits((count, 6), generator) * torch.linspace(0, 2, count, dtype=torch.float64)[:, None]
    ours = inception_score(logits, compat="adm")
    assert ours.mean == pytest.approx(adm(logits), rel=1e-12)
    assert ours.std is None


def test_adm_of_fifty_thousand_is_the_mean_of_openais_ten_splits(generator):
    logits = make_logits((50_000, 3), generator)
    assert inception_score(logits, compat="adm").mean == pytest.approx(
        inception_score(logits, compat="openai").mean, rel=1e-14
    )


def test_ten_splits_are_the_default(generator):
    logits = make_logits((503, 10), generator)
    assert inception_score(logits, compat="openai") == inception_score(logits, compat="openai", splits=10)
    torch.manual_seed(5)
    default = inception_score(logits, compat="torchmetrics")
    torch.manual_seed(5)
    assert inception_score(logits, compat="torchmetrics", splits=10) == default


def test_float32_logits_as_torch_fidelity_takes_them(generator):
    logits = make_logits((503, 10), generator).float()
    assert inception_score(logits, compat="torch-fidelity").mean == pytest.approx(
        torch_fidelity(logits, 10)[0], rel=1e-12
    )


def test_finite_where_a_tool_gives_nan():
    logits = torch.nn.functional.one_hot(torch.zeros(20, dtype=torch.int64), 3).double() * 1e4
    assert math.isnan(torch_fidelity(logits, 2)[0])  # 0 * log 0
    assert inception_score(logits, compat="torch-fidelity", splits=2) == (1, 0)


def test_follows_the_device(device, generator):
    logits = make_logits((503, 10), generator)
    ours = inception_score(logits.to(device), compat="torch-fidelity")
    assert ours.mean == pytest.approx(torch_fidelity(logits, 10)[0], rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((20, 3), {"compat": "tensorflow"}, "compat is 'tensorflow', wanted one of openai, torch-fidelity, torchm"),
        ((20,), {"compat": "openai"}, r"logits are \[20\], wanted \[N, K\]"),
        ((0, 3), {"compat": "ignite"}, r"logits are \[0, 3\]"),
        ((20, 3), {"compat": "torchmetrics", "splits": 0}, "splits is 0, wanted at least 1"),
        ((9, 3), {"compat": "openai"}, "logits have 9 rows, wanted at least one for each of 10 splits"),
        ((20, 3), {"compat": "ignite", "splits": 10}, "splits is 10, wanted None: ignite scores the whole set"),
        ((20, 3), {"compat": "adm", "splits": 10}, "splits is 10, wanted None: adm scores chunks of 5,000"),
    ],
)
def test_bad_arguments(shape, options, said):
    with pytest.raises(ValueError, match=said):
        inception_score(torch.zeros(shape), **options)


@pytest.mark.parametrize("compat", TOOLS)
def test_a_row_without_distribution_is_refused_by_its_index(compat, generator):
    logits = make_logits((503, 10), generator)
    logits[42, 3] = math.nan
    with pytest.raises(ValueError, match=r"logits row 42 .* holds NaN; wanted finite"):
        inception_score(logits, compat=compat)


def test_integers_are_no_logits():
    with pytest.raises(TypeError, match=r"logits are torch.int64, wanted a floating-point dtype"):
        inception_score(torch.ones(20, 3, dtype=torch.int64), compat="openai")


# --- In one pass


def in_one_pass(logits: Tensor, batch_size: int = 100, **options):
    sums = CompatSums(logits.size(1), len(logits), **options)
    for batch in logits.split(batch_size):
        sums.update(batch)
    return sums.compute()


@pytest.mark.parametrize("batch_size", [1, 37, 5003])
def test_one_pass_gives_what_each_tool_gives_for_all_logits(batch_size, generator):
    logits = make_logits((5003, 4), generator)[: 503 if batch_size == 1 else None]
    scores = in_one_pass(logits, batch_size, seed=5)
    assert list(scores) == TOOLS
    for tool, score in scores.items():
        torch.manual_seed(5)
        want = inception_score(logits, compat=tool)
        assert score.mean == pytest.approx(want.mean, rel=1e-13)
        assert score.std == (None if want.std is None else pytest.approx(want.std, rel=1e-10))
    assert {tool: score.splits for tool, score in scores.items()}["adm"] == (1 if batch_size == 1 else 2)


def test_torchmetrics_shuffle_is_that_of_seed_0_and_leaves_the_generator_alone(generator):
    logits = make_logits((200, 4), generator)
    torch.manual_seed(0)
    want, follows = inception_score(logits, compat="torchmetrics"), torch.rand(())
    torch.manual_seed(0)
    torch.randperm(200)
    assert in_one_pass(logits, compat=["torchmetrics"])["torchmetrics"].mean == pytest.approx(want.mean, rel=1e-13)
    assert torch.rand(()) == follows


def test_parts_of_several_processes_add_up(generator):
    logits = make_logits((5300, 4), generator)
    whole = in_one_pass(logits)
    parts = []
    for start, stop in ((0, 1700), (1700, 5100), (5100, 5300)):
        parts.append(CompatSums(4, 5300, start=start))
        parts[-1].update(logits[start:stop])
    total, *others = parts
    for other in others:
        total.merge(other)
    for tool, score in total.compute().items():
        assert score.mean == pytest.approx(whole[tool].mean, rel=1e-13)


def test_parts_that_do_not_belong_together_are_not_added():
    with pytest.raises(ValueError, match="other has seed = 1, wanted 0 as here"):
        CompatSums(4, 20).merge(CompatSums(4, 20, seed=1))
    with pytest.raises(ValueError, match="seed is None, wanted a number, with which all processes shuffle alike"):
        CompatSums(4, 20, seed=None).merge(CompatSums(4, 20, seed=None))


def test_of_some_of_the_samples_only_a_score_of_the_whole_set_is_to_be_had(generator):
    sums = CompatSums(4, 1000)
    logits = make_logits((999, 4), generator)
    sums.update(logits)
    scores = sums.compute()
    for tool in ("openai", "torch-fidelity", "torchmetrics"):
        assert (scores[tool].mean, scores[tool].std, str(scores[tool])) == (None, None, "-")
        assert scores[tool].note == "wants all 1,000 samples in their order, and 999 were scored"
    for tool in ("ignite", "adm"):  # of which there is one chunk
        assert scores[tool].mean == pytest.approx(inception_score(logits, compat="ignite").mean, rel=1e-13)
        assert scores[tool].note is None


def test_an_order_of_classes_that_spoils_consecutive_splits_is_said(generator):
    logits = make_logits((6000, 4), generator)
    logits = logits[logits.argmax(1).argsort()]
    scores = in_one_pass(logits)
    assert scores["openai"].mean < 0.8 * scores["ignite"].mean
    assert [tool for tool, score in scores.items() if score.note is not None] == ["openai", "adm"]
    assert "samples come in an order of classes, its splits differ" in scores["adm"].note
    assert not any(score.note for score in in_one_pass(make_logits((6000, 4), generator)).values())


def test_rows_that_others_have_looked_at_will_do(generator):
    rows = RowTerms(make_logits((50, 4), generator).softmax(1), from_logits=False)
    sums = CompatSums(4, 50)
    sums.add(rows)
    assert sums.compute()["ignite"].mean == pytest.approx(
        inception_score(rows.values, compat="ignite", from_logits=False).mean, rel=1e-13
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_samples": 0}, "num_samples is 0, wanted at least 1"),
        ({"num_samples": 9}, "logits have 9 rows, wanted at least one for each of 10 splits"),
        ({"num_samples": 20, "splits": 0}, "splits is 0, wanted at least 1"),
        ({"num_samples": 20, "start": -1}, "start is -1, wanted at least 0"),
        ({"num_samples": 20, "compat": ["clean-fid"]}, "compat is 'clean-fid', wanted one of openai"),
    ],
)
def test_bad_arguments_of_one_pass(options, said):
    with pytest.raises(ValueError, match=said):
        CompatSums(4, **options)


def test_more_samples_than_announced_are_refused_and_nothing_is_added(generator):
    sums = CompatSums(4, 100, start=40)
    sums.update(make_logits((50, 4), generator))
    with pytest.raises(ValueError, match="there are 101 samples, wanted at most num_samples = 100"):
        sums.update(torch.zeros(11, 4))
    assert sums.samples == 50
    with pytest.raises(ValueError, match="no samples"):
        CompatSums(4, 100).compute()
