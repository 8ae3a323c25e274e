"""torchmetrics-style metrics against torchmetrics and plain float64 formulas, in one process and in two."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from amgan_fast.metrics import ScoreAccumulator, Scores, ScoreWarning, scores

torchmetrics = pytest.importorskip("torchmetrics")
modules = importlib.import_module("amgan_fast.metrics.modules")
InceptionScore, AMScore, CorrectedScores = modules.InceptionScore, modules.AMScore, modules.CorrectedScores

K, N = 6, 200
REFERENCE = [0.3, 0.1, 0.1, 0.2, 0.25, 0.05]


def make_logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator, dtype=torch.float64)


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return make_logits(generator)


def am_score(logits: Tensor) -> float:
    p, reference = logits.softmax(1), torch.tensor(REFERENCE, dtype=torch.float64)
    kl = (reference * (reference / p.mean(0)).log()).sum()
    return float(kl - (p * p.log()).sum(1).mean())


def inception_scores(logits: Tensor, splits: int) -> Tensor:
    """[splits]: mean KL(p, mean p) of the samples i with the same i mod splits, exp of it."""
    parts = [logits[s::splits].softmax(1) for s in range(splits)]
    return torch.stack([(p * (p / p.mean(0)).log()).sum(1).mean().exp() for p in parts])


def assert_inception_score(metric, logits: Tensor, splits: int = 10) -> None:
    mean, std = metric.compute()
    want = inception_scores(logits, splits)
    assert float(mean) == pytest.approx(float(want.mean()), rel=1e-12)
    assert float(std) == pytest.approx(float(want.std(correction=1)), rel=1e-11)


def corrected_values(result: Scores) -> dict[str, float]:
    values = {}
    for name in ("inception_score", "am_score"):
        low, high = getattr(result, f"{name}_ci95")
        values |= {name: getattr(result, f"{name}_corrected"), f"{name}_low": low, f"{name}_high": high}
    return values


def make_metrics():
    return [InceptionScore(None), AMScore(REFERENCE)]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torchmetrics' memory
@pytest.mark.parametrize("splits", [2, 10])
def test_equals_torchmetrics_on_the_same_splits(logits, splits, monkeypatch):
    # Its splits are chunks of shuffled samples: with this for a shuffle they are the round-robin splits.
    monkeypatch.setattr(torch, "randperm", lambda count: torch.arange(count).view(-1, splits).T.flatten())
    theirs = torchmetrics.image.inception.InceptionScore(feature=nn.Identity(), splits=splits)
    theirs.set_dtype(torch.float64)
    ours = InceptionScore(None, splits=splits)
    for batch in logits.split(33):
        theirs.update(batch)
        ours.update(batch)
    for value, wanted in zip(ours.compute(), theirs.compute(), strict=True):
        assert (value.shape, value.dtype) == (wanted.shape, torch.float64)
        assert float(value) == pytest.approx(float(wanted), rel=1e-11)
    assert float(ours.compute()[0]) == pytest.approx(float(theirs.compute()[0]), rel=1e-12)


def test_equals_the_formula(logits):
    inception, am = make_metrics()
    for batch in logits.split([1, 50, 149]):
        inception.update(batch)
        am.update(batch)
    assert_inception_score(inception, logits)
    assert am.compute().shape == ()
    assert float(am.compute()) == pytest.approx(am_score(logits), rel=1e-12)


def test_the_reference_may_be_scores(logits):
    training = scores(logits.flip(0)[:90])
    of_scores, of_vector = AMScore(training), AMScore(training.class_distribution)
    assert of_scores(logits) == of_vector(logits)


@pytest.mark.parametrize("size", [3, 7, 50])
def test_forward_gives_the_batch_and_adds_it(logits, size):
    inception, am = make_metrics()
    for batch in logits.split(size):
        assert float(am(batch)) == pytest.approx(am_score(batch), rel=1e-12)
        mean, _ = inception(batch)  # of as many splits as there are samples, where there are fewer than 10
        assert float(mean) == pytest.approx(float(inception_scores(batch, min(10, len(batch))).mean()), rel=1e-12)
    assert float(am.compute()) == pytest.approx(am_score(logits), rel=1e-12)
    assert_inception_score(inception, logits)


def test_reset_forgets(logits):
    inception, am = make_metrics()
    for metric in (inception, am):
        metric.update(logits.flip(1)[:123])
        metric.compute()
        metric.reset()
        metric.update(logits)
    assert float(am.compute()) == pytest.approx(am_score(logits), rel=1e-12)
    assert_inception_score(inception, logits)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
def test_a_copy_goes_on(logits, copied):
    inception, am = make_metrics()
    for metric in (inception, am):
        metric.update(logits[:77])
    inception, am = copied(inception), copied(am)
    for metric in (inception, am):
        metric.update(logits[77:])
    assert float(am.compute()) == pytest.approx(am_score(logits), rel=1e-12)
    assert_inception_score(inception, logits)


def test_a_loaded_state_goes_on_as_if_uninterrupted(logits):
    """Splits too: what comes after takes the turn it would have taken."""
    for whole, saved, loaded in zip(*(make_metrics() for _ in range(3)), strict=True):
        for metric in (whole, saved, loaded):
            metric.persistent(True)
        whole.update(logits)
        saved.update(logits[:73])
        loaded.update(logits[:5])  # replaced
        loaded.compute()
        state = {name: x.clone() for name, x in saved.state_dict().items()}
        loaded.load_state_dict(state)
        torch.testing.assert_close(loaded.compute(), saved.compute(), rtol=0, atol=0)
        loaded(logits[73:110])
        loaded.update(logits[110:])
        torch.testing.assert_close(loaded.metric_state, whole.metric_state, rtol=1e-12, atol=0)


def test_a_state_of_other_splits_or_classes_is_refused_and_changes_nothing(logits):
    for metric, of_classes in ((InceptionScore(None), K), (AMScore(REFERENCE), K - 1)):
        saved = InceptionScore(None, splits=5) if of_classes == K else AMScore([1 / of_classes] * of_classes)
        saved.persistent(True)
        saved.update(logits[:, :of_classes])
        metric.update(logits)
        before = metric.compute()
        with pytest.raises(RuntimeError, match=r"size mismatch for .*prob.*wanted"):
            metric.load_state_dict(saved.state_dict())
        metric.update(logits[:0])
        torch.testing.assert_close(metric.compute(), before, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"dist_sync_on_step": True}])
def test_whatever_comes_between_splits_are_those_of_one_update(logits, options):
    metric, whole = InceptionScore(None, **options), InceptionScore(None)
    metric.update(logits[:17])
    metric.reset()  # begins anew
    metric.update(logits[:33])
    metric(logits[33:50])
    metric.compute()
    metric(logits[50:51])
    with metric.sync_context(distributed_available=lambda: False):
        pass
    metric.update(logits[51:])
    whole.update(logits)
    torch.testing.assert_close(metric.metric_state, whole.metric_state, rtol=1e-12, atol=0)


def test_after_a_merge_the_turn_is_that_of_all_samples(logits):
    metric, other, whole = (InceptionScore(None) for _ in range(3))
    metric.update(logits[:33])
    other.update(logits[33:40])
    metric.compute()
    metric.merge_state(other)
    for one in (metric, whole):
        one.persistent(True)
    whole.load_state_dict(metric.state_dict())
    for one in (metric, whole):
        one.update(logits[40:])
    torch.testing.assert_close(metric.metric_state, whole.metric_state, rtol=0, atol=0)
    torch.testing.assert_close(metric.count.sum(), torch.tensor(float(N), dtype=torch.float64))


def test_merging_is_adding_samples(logits):
    for whole, first, second, empty in zip(*(make_metrics() for _ in range(4)), strict=True):
        whole.update(logits)
        first.update(logits[:120])
        second.update(logits[120:])
        first.merge_state(second)
        first.merge_state(empty)
        torch.testing.assert_close(first.compute(), whole.compute(), rtol=1e-12, atol=0)


def test_the_state_is_of_constant_size(logits):
    metric = InceptionScore(None, splits=4, num_classes=K)
    before = {name: x.shape for name, x in metric.metric_state.items()}
    metric.update(logits)
    assert {name: x.shape for name, x in metric.metric_state.items()} == before
    assert sum(x.numel() for x in metric.metric_state.values()) == 4 * (3 * K + 2)


def test_one_split_is_the_whole_set_and_has_no_deviation(logits, recwarn):
    mean, std = InceptionScore(None, splits=1)(logits)
    assert float(mean) == pytest.approx(float(inception_scores(logits, 1)), rel=1e-12)
    assert std.isnan()
    assert not recwarn


def test_images_go_through_the_feature_in_evaluation_mode(generator):
    feature = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, K)).double()
    images = torch.randn(N, 3, 2, 2, generator=generator, dtype=torch.float64)
    inception, am = InceptionScore(feature), AMScore(REFERENCE, feature)
    model = nn.ModuleList([inception, am, nn.Dropout()]).train()
    assert inception.training  # the metric, as torchmetrics' own
    assert not inception.inception.training
    inception(images)
    am.update(images)
    assert model[2].training
    logits = feature[2](images.flatten(1)).detach()
    assert_inception_score(inception, logits)
    assert float(am.compute()) == pytest.approx(am_score(logits), rel=1e-12)


def test_by_default_the_network_is_that_of_torchmetrics(logits, monkeypatch):
    asked = []

    class Theirs:
        def __init__(self, feature):
            asked.append(feature)
            self.inception = nn.Identity()

    monkeypatch.setattr("amgan_fast.metrics.modules.classifier_metric.TorchmetricsInceptionScore", Theirs)
    metric = InceptionScore()
    assert asked == [inspect.signature(torchmetrics.image.inception.InceptionScore).parameters["feature"].default]
    torch.testing.assert_close(metric(logits), InceptionScore(None)(logits))


def test_normalize_makes_bytes_of_images(generator):
    class Bytes(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert images.dtype == torch.uint8
            return images.double() / 50

    images = torch.rand(N, K, generator=generator)
    metric = InceptionScore(Bytes(), normalize=True)
    metric.update(images)
    assert_inception_score(metric, (images * 255).floor().double() / 50)


@pytest.mark.parametrize("make", [InceptionScore, lambda *rest, **options: AMScore(REFERENCE, *rest, **options)])
def test_images_to_be_normalized_are_within_0_and_1(make, generator):
    images = torch.rand(N, K, generator=generator)
    metric = make(nn.Identity(), normalize=True)
    for value, said in ((-1.0, "from -1 to"), (1.005, "to 1.005"), (float("nan"), "nan")):
        bad = images.clone()
        bad[3, 2] = value
        with pytest.raises(ValueError, match=rf"imgs have values .*{said}.*, wanted 0 to 1 with normalize=True"):
            metric.update(bad)
    for dtype in (torch.uint8, torch.int64):
        with pytest.raises(TypeError, match=f"imgs are {dtype}, wanted floating point .* with normalize=True"):
            metric.update((images * 255).to(dtype))
    assert metric.count.sum() == 0


def test_what_interpolation_steps_over_the_border_changes_no_byte():
    class Bytes(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert images.tolist() == [[0, 255, 127]] * 2
            return images.double()

    InceptionScore(Bytes(), normalize=True).update(torch.tensor([[-9e-4, 1 + 9e-4, 0.5]] * 2))


def test_probabilities_are_warned_of(logits):
    for metric, other in zip(make_metrics(), make_metrics(), strict=True):
        metric.update(logits.softmax(1))
        with pytest.warns(ScoreWarning, match="within.*sum to 1.*wanted logits: a feature without softmax"):
            metric.compute()
        metric.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            metric(logits)
            other.update(logits)
            metric.compute()
            other.update(logits.softmax(1))
            other.compute()


def test_numpy_arrays_are_logits_too(logits):
    for metric, other in zip(make_metrics(), make_metrics(), strict=True):
        metric.update(logits.numpy())
        other.update(logits)
        torch.testing.assert_close(metric.compute(), other.compute(), rtol=0, atol=0)
        with pytest.raises(TypeError, match=r"logits are a list, wanted a torch.Tensor or a numpy.ndarray"):
            metric.update(logits.tolist())
        with pytest.raises(ValueError, match=r"logits are \[200, 1\], wanted"):
            metric.update(logits[:, :1])


def test_shares_its_network_with_torchmetrics_metrics(logits):
    class Counted(nn.Module):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            Counted.calls += 1
            return images

    shared = torchmetrics.wrappers.FeatureShare([InceptionScore(Counted()), AMScore(REFERENCE, Counted())])
    shared.update(logits)
    assert Counted.calls == 1
    assert_inception_score(shared["InceptionScore"], logits)


def test_dtype_of_the_model_leaves_the_sums_alone(logits):
    inception, am = make_metrics()
    nn.ModuleList([inception, am]).half()
    for metric in (inception, am):
        metric.update(logits)
    assert float(am.compute()) == pytest.approx(am_score(logits), rel=1e-12)
    assert_inception_score(inception, logits)


def test_follows_the_device(device, logits):
    inception, am = (metric.to(device) for metric in make_metrics())
    for metric in (inception, am):
        metric.update(logits.to(device))
    assert am.compute().device.type == device.type
    assert float(am.compute()) == pytest.approx(am_score(logits), rel=1e-12)
    assert_inception_score(inception, logits)


def test_in_a_collection(logits):
    collection = torchmetrics.MetricCollection(make_metrics())
    collection.update(logits)
    values = collection.compute()
    assert float(values["AMScore"]) == pytest.approx(am_score(logits), rel=1e-12)
    assert_inception_score(collection["InceptionScore"], logits)


def test_plots(logits):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    inception, am = make_metrics()
    history = [inception(logits)[0], inception(logits.flip(1))[0]]
    am.update(logits)
    for drawn, axes in (inception.plot(), inception.plot(history), am.plot()):
        assert isinstance(drawn, pyplot.Figure)
        assert axes.figure is drawn
        pyplot.close(drawn)
    assert list(axes.lines[0].get_ydata()) == [pytest.approx(am_score(logits))]
    assert inception.plot(ax=axes)[1] is axes


@pytest.mark.cuda
def test_a_bad_row_on_a_gpu_is_found_by_compute(logits):
    logits[7] = torch.nan
    for metric in make_metrics():
        metric.cuda().update(logits.cuda())
        with pytest.raises(ValueError, match="a row of the logits gives no distribution"):
            metric.compute()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda x: x.index_fill(1, torch.tensor(2), torch.nan), r"row 0 \(sample 120\).*holds NaN"),
        (lambda x: x[:, 1:], r"logits are \[80, 5\], wanted \[N, 6\]"),
        (lambda x: x[:0], "no samples in the batch"),
        (lambda x: x[None], "images need a feature"),
    ],
)
def test_a_batch_that_is_refused_by_forward_loses_nothing(logits, bad, said):
    """torchmetrics leaves a metric reset then."""
    for metric, whole in zip(make_metrics(), make_metrics(), strict=True):
        metric.update(logits[:120])
        with pytest.raises(ValueError, match=said):
            metric(bad(logits[120:]))
        metric(logits[120:])
        whole.update(logits)
        torch.testing.assert_close(metric.compute(), whole.compute(), rtol=1e-12, atol=0)


def test_forward_asks_the_classifier_once(logits):
    calls = []

    class Counted(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            calls.append(len(images))
            return images

    for options in ({}, {"dist_sync_on_step": True}):
        InceptionScore(Counted(), **options)(logits)
    assert calls == [N, N]


def test_a_bad_row_is_refused_by_its_index(logits):
    bad = logits[50:].clone()
    bad[7, 2] = torch.nan
    for metric in make_metrics():
        metric.update(logits[:50])
        before = metric.compute()
        with pytest.raises(ValueError, match=r"logits row 7 \(sample 57\).*holds NaN"):
            metric.update(bad)
        torch.testing.assert_close(metric.compute(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: InceptionScore(torch.sin), TypeError, "feature is <built-in method sin .* wanted a torch.nn.Module"),
        (lambda: InceptionScore("logits"), ValueError, "feature"),
        (lambda: InceptionScore(None, splits=0), ValueError, "splits is 0, wanted at least 1"),
        (lambda: InceptionScore(None, num_classes=1), ValueError, "num_classes is 1, wanted at least 2"),
        (lambda: AMScore([0.5, 0.6]), ValueError, "reference sums to 1.1"),
        (lambda: AMScore(torch.ones(3, 3)), ValueError, r"reference is \[3, 3\], wanted K probabilities"),
        (lambda: AMScore([1.0]), ValueError, "num_classes is 1, wanted at least 2"),
        (lambda: AMScore("uniform"), TypeError, "reference is a str, wanted K probabilities"),
        # As torchmetrics' own tests have them.
        (lambda: InceptionScore(feature=[1, 2]), TypeError, "Got unknown input to argument `feature`"),
        (lambda: InceptionScore(feature=2), ValueError, "Integer input to argument `feature` must be one of .*"),
        (lambda: InceptionScore(None, normalize="yes"), ValueError, "Argument `normalize` expected to be a bool"),
        (lambda: AMScore(REFERENCE, normalize=1), ValueError, "`normalize` expected to be a bool.*normalize is 1"),
    ],
)
def test_bad_settings(make, error, said):
    with pytest.raises(error, match=said):
        make()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_bad_updates(logits):
    inception, am = make_metrics()
    for metric in (inception, am):
        with pytest.raises(ValueError, match="no samples, wanted at least one update"):
            metric.compute()
    with pytest.raises(ValueError, match=r"logits are \[4, 3, 8, 8\], wanted \[N, K\] with K at least 2; images need"):
        inception.update(torch.zeros(4, 3, 8, 8))
    inception.update(logits)
    for metric in (inception, am):
        with pytest.raises(ValueError, match=r"logits are \[200, 5\], wanted \[N, 6\]"):
            metric.update(logits[:, 1:])


def test_without_torchmetrics_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "amgan_fast.metrics.modules")
    with pytest.raises(ImportError, match="torchmetrics is not installed, wanted pip install"):
        importlib.import_module("amgan_fast.metrics.modules")


# --- Less their bias, with intervals


@pytest.fixture
def strata() -> Tensor:
    return torch.arange(N) % K


def as_numbers(values: dict[str, Tensor]) -> dict[str, float]:
    assert all(value.shape == () and value.dtype == torch.float64 for value in values.values())
    return {name: float(value) for name, value in values.items()}


def as_strata(strata: Tensor, stratified: bool, rows: slice = slice(None)) -> dict[str, Tensor]:
    return {"strata": strata[rows]} if stratified else {}


@pytest.mark.parametrize("stratified", [True, False])
def test_corrected_scores_are_those_of_an_accumulator_however_they_come(logits, strata, stratified):
    metric = CorrectedScores(K, REFERENCE, **({"strata": K} if stratified else {}))
    for start, stop in ((0, 1), (1, 70), (70, 70), (70, N)):
        metric.update(logits[start:stop], **as_strata(strata, stratified, slice(start, stop)))
    want = corrected_values(scores(logits, REFERENCE, **as_strata(strata, stratified)))
    assert as_numbers(metric.compute()) == pytest.approx(want, rel=1e-12)
    assert want["inception_score_low"] < want["inception_score"] < want["inception_score_high"]


def test_strata_make_the_difference(logits, strata):
    random, stratified = CorrectedScores(K), CorrectedScores(K, strata=K)
    random.update(4 * torch.eye(K)[strata] + logits)
    stratified.update(4 * torch.eye(K)[strata] + logits, strata=strata)
    assert set(random.compute()) == {"inception_score", "inception_score_low", "inception_score_high"}
    assert random.compute()["inception_score"] > stratified.compute()["inception_score"]


@pytest.mark.parametrize("stratified", [True, False])
def test_forward_of_corrected_scores_gives_the_batch_and_adds_it(logits, strata, stratified):
    options = {"strata": K} if stratified else {}
    metric = CorrectedScores(K, REFERENCE, **options)
    for rows in (slice(0, 90), slice(90, N)):
        got = metric(logits[rows], **as_strata(strata, stratified, rows))
        want = scores(logits[rows], REFERENCE, **as_strata(strata, stratified, rows))
        assert as_numbers(got) == pytest.approx(corrected_values(want), rel=1e-12)
    want = corrected_values(scores(logits, REFERENCE, **as_strata(strata, stratified)))
    assert as_numbers(metric.compute()) == pytest.approx(want, rel=1e-12)


def test_corrected_scores_merge_save_load_copy_and_reset(logits, strata):
    first, second, loaded = (CorrectedScores(K, REFERENCE, strata=K) for _ in range(3))
    first.update(logits[:120], strata[:120])
    second.update(logits[120:], strata[120:])
    first.merge_state(second)
    want = corrected_values(scores(logits, REFERENCE, strata=strata))
    assert float(first.compute()["am_score"]) == pytest.approx(want["am_score"], rel=1e-12)
    for metric in (first, loaded):
        metric.persistent(True)
    loaded.update(logits[:5], strata[:5])  # replaced
    loaded.load_state_dict(first.state_dict())
    for one in (loaded, copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        torch.testing.assert_close(one.compute(), first.compute(), rtol=0, atol=0)
    first.reset()
    first.update(logits, strata)
    assert as_numbers(first.compute()) == pytest.approx(want, rel=1e-12)


def test_the_error_of_a_reference_that_is_a_sample_is_in_the_interval(logits):
    training = ScoreAccumulator(K)
    training.update(logits.flip(1) + torch.arange(K) / 2)
    sampled, exact = CorrectedScores(K, training), CorrectedScores(K, training.class_distribution())
    for metric in (sampled, exact):
        metric.update(logits)
    widths = [float(one["am_score_high"] - one["am_score_low"]) for one in (exact.compute(), sampled.compute())]
    assert widths[0] < widths[1]
    assert as_numbers(sampled.compute()) == pytest.approx(corrected_values(scores(logits, training)), rel=1e-12)


def test_corrected_scores_classify_once_and_share_a_collection(logits, strata):
    calls = []

    class Counted(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            calls.append(len(images))
            return images

    metric = CorrectedScores(K, feature=Counted(), strata=K)
    metric(logits, strata=strata)
    assert calls == [N]
    collection = torchmetrics.MetricCollection([InceptionScore(None), CorrectedScores(K, strata=K)])
    collection.update(logits, strata=strata)
    values = collection.compute()
    assert values["inception_score"] == metric.compute()["inception_score"]
    assert_inception_score(collection["InceptionScore"], logits)


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda metric, x, s: metric(x), "strata are not given"),
        (lambda metric, x, s: metric.update(x), "strata are not given"),
        (lambda metric, x, s: metric(x, s + 1), "strata are .*, wanted 0 to 5"),
        (lambda metric, x, s: metric.update(x, s[1:]), "strata"),
        (lambda metric, x, s: metric(x[:3], s[:3]), "3 hold one sample each"),
        (lambda metric, x, s: metric(x.index_fill(1, s[:1], torch.nan), s), r"row 0 .*holds NaN"),
        (lambda metric, x, s: metric.update(x[:, 1:], s), r"logits are \[200, 5\], wanted \[N, 6\]"),
    ],
)
def test_what_corrected_scores_refuse_is_not_added(logits, strata, add, said):
    metric = CorrectedScores(K, REFERENCE, strata=K)
    metric.update(logits, strata)
    before = metric.compute()
    with pytest.raises(ValueError, match=said):
        add(metric, logits, strata)
    metric.update(logits[:0], strata[:0])
    torch.testing.assert_close(metric.compute(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CorrectedScores(1), "num_classes is 1, wanted at least 2"),
        (lambda: CorrectedScores(K, [0.5, 0.5]), "reference"),
        (lambda: CorrectedScores(K, strata=0), "strata is 0, wanted at least 1"),
        (lambda: CorrectedScores(K, dist_sync_on_step=True), "dist_sync_on_step is True, wanted False"),
        (lambda: CorrectedScores(K).compute(), "no samples, wanted at least one update"),
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_bad_settings_of_corrected_scores(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_corrected_scores_follow_the_device_and_warn_of_probabilities(device, logits, strata):
    metric = CorrectedScores(K, REFERENCE, strata=K).to(device)
    metric.update(logits.softmax(1).to(device), strata.to(device))
    with pytest.warns(ScoreWarning, match="wanted logits: a feature without softmax"):
        assert metric.compute()["am_score"].device.type == device.type


def test_corrected_scores_plot(logits):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    metric = CorrectedScores(K, REFERENCE)
    metric.update(logits)
    drawn, _ = metric.plot()
    assert isinstance(drawn, pyplot.Figure)
    pyplot.close(drawn)


def in_a_process(rank: int, folder: str) -> None:
    """Half of the samples in each process, then all in process 0; what compute() gives goes to a file."""
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    logits = make_logits(torch.Generator().manual_seed(1))
    results = []
    for halves in (logits.chunk(2), (logits, logits[:0])):
        for metric in (
            CorrectedScores(K, REFERENCE, strata=2),
            InceptionScore(None, num_classes=K),
            AMScore(REFERENCE),
        ):
            if len(halves[rank]):
                strata = [torch.arange(len(halves[rank])) % 2] if isinstance(metric, CorrectedScores) else []
                metric.update(halves[rank], *strata)
            results.append(metric.compute())
    metric.update(logits.flip(1)[:100])  # goes on with its own samples
    torch.save([*results, metric.count], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available(), reason="PyTorch without torch.distributed")
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_give_what_one_does(tmp_path: Path):
    multiprocessing.spawn(in_a_process, (str(tmp_path),), nprocs=2)
    logits = make_logits(torch.Generator().manual_seed(1))
    want = inception_scores(logits, 10)
    whole = corrected_values(scores(logits, REFERENCE, strata=torch.arange(N) % 2))
    for rank, own in ((0, N + 100), (1, 100)):
        *results, count = torch.load(tmp_path / f"{rank}.pt")
        for corrected, inception, am in (results[:3], results[3:]):
            for name, value in corrected.items():
                tolerance = 1e-12 if name in ("inception_score", "am_score") else 0.2  # samples are in other groups
                assert float(value) == pytest.approx(whole[name], rel=tolerance)
            assert float(inception[0]) == pytest.approx(float(want.mean()), rel=1e-12)
            assert float(inception[1]) == pytest.approx(float(want.std(correction=1)), rel=1e-11)
            assert float(am) == pytest.approx(am_score(logits), rel=1e-12)
        assert int(count) == own


def test_classes_that_take_turns_are_warned_of_since_splits_are_not_shuffled(generator):
    labels = torch.arange(500) % 10
    logits = torch.randn(500, 10, generator=generator)
    logits[torch.arange(500), labels] += 8
    metric = InceptionScore(feature=None)
    metric.update(logits)
    with pytest.warns(ScoreWarning, match="an order of classes: splits differ [0-9]+ times") as caught:
        metric.compute()
    assert caught[0].filename == __file__
    shuffled = InceptionScore(feature=None)
    shuffled.update(logits[torch.randperm(500, generator=generator)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScoreWarning)
        shuffled.compute()
