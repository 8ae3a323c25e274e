"""Inception Scores as other tools have them, against those tools themselves; float64 logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import inception_score

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
    ],
)
def test_bad_arguments(shape, options, said):
    with pytest.raises(ValueError, match=said):
        inception_score(torch.zeros(shape), **options)


@pytest.mark.parametrize("compat", ["openai", "torch-fidelity", "torchmetrics", "ignite"])
def test_a_row_without_distribution_is_refused_by_its_index(compat, generator):
    logits = make_logits((503, 10), generator)
    logits[42, 3] = math.nan
    with pytest.raises(ValueError, match=r"logits row 42 .* holds NaN; wanted finite"):
        inception_score(logits, compat=compat)


def test_integers_are_no_logits():
    with pytest.raises(TypeError, match=r"logits are torch.int64, wanted a floating-point dtype"):
        inception_score(torch.ones(20, 3, dtype=torch.int64), compat="openai")
