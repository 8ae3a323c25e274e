"""The Fréchet distance against SciPy and other tools, its moments against NumPy, and its interval."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, distributed, multiprocessing, nn

from amgan_fast.metrics import (
    FeatureMoments,
    FrechetDistance,
    GaussianMoments,
    frechet,
    frechet_distance,
    welch,
)
from amgan_fast.metrics.block_turns import blocks_of
from amgan_fast.metrics.estimate import joint_error

D = 12


@pytest.fixture
def features(generator) -> Tensor:
    """Rectified, correlated and of very different variance."""
    mixed = torch.randn(500, D, generator=generator, dtype=torch.float64) @ torch.randn(
        D, D, generator=generator, dtype=torch.float64
    )
    return mixed.relu() * torch.logspace(0, -3, D, dtype=torch.float64)


@pytest.fixture
def others(features, generator) -> Tensor:
    return features.flip(0)[:450] * 1.1 + 0.1 * torch.rand(450, D, generator=generator, dtype=torch.float64)


def moments_of(features: Tensor | np.ndarray, **options) -> FeatureMoments:
    moments = FeatureMoments(features.shape[1], **options)
    moments.update(features)
    return moments


def textbook(features: Tensor, others: Tensor) -> float:
    """With the root of the product of both covariances."""
    x, y = features.numpy(), others.numpy()
    a, b = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def assert_same_moments(got: FeatureMoments, want: FeatureMoments, relative: float = 1e-12) -> None:
    assert got.samples == want.samples
    scale = want.covariance.diag().sqrt()
    assert ((got.mean - want.mean).abs() <= relative * (scale + want.mean.abs())).all()
    assert ((got.covariance - want.covariance).abs() <= relative * scale[:, None] * scale).all()


# --- Moments


def test_mean_and_covariance_are_numpys(features):
    moments = moments_of(features)
    np.testing.assert_allclose(moments.mean, features.numpy().mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(features.numpy().T), rtol=1e-11, atol=1e-17)


def test_blocks_take_samples_by_their_numbers(features):
    moments = moments_of(features, blocks=8, start=3)
    blocks = blocks_of(3, 500, 8)
    assert moments.block_samples == blocks.bincount().tolist()
    n, mean, covariance = moments.moments([1, 4])
    own = features[(blocks == 1) | (blocks == 4)].numpy()
    assert n == len(own)
    np.testing.assert_allclose(mean, own.mean(0), rtol=1e-13)
    np.testing.assert_allclose(covariance, np.cov(own.T), rtol=1e-11, atol=1e-17)


@pytest.mark.parametrize("sizes", [[1, 1, 498], [7] * 71 + [3], [500]])
def test_batches_do_not_matter(features, sizes):
    moments = FeatureMoments(D, blocks=8)
    for batch in features.split(sizes):
        moments.update(batch)
        moments.update(batch[:0])
    whole = moments_of(features, blocks=8)
    assert torch.equal(moments.covariance, whole.covariance)
    assert torch.equal(moments.mean, whole.mean)


def test_what_is_read_along_the_way_does_not_matter(features):
    moments = FeatureMoments(D, blocks=8)
    for batch in features.split(130):
        moments.update(batch)
        assert moments.covariance.isfinite().all()
    assert_same_moments(moments, moments_of(features, blocks=8))
    assert moments.block_samples == moments_of(features, blocks=8).block_samples


def test_fewer_blocks_have_the_same_samples(features):
    whole = moments_of(features, blocks=12, start=5)
    fewer = whole.in_fewer_blocks(4)
    for block in range(4):
        n, mean, covariance = fewer.moments([block])
        want = whole.moments([block, block + 4, block + 8])
        assert n == want.n
        assert torch.allclose(mean, want.mean, rtol=1e-13, atol=1e-15)
        assert torch.allclose(covariance, want.covariance, rtol=1e-11, atol=1e-17)
    with pytest.raises(ValueError, match="blocks is 8, wanted a divisor of the 12 here"):
        moments_of(features, blocks=12).in_fewer_blocks(8)


def test_more_rows_than_wait_are_added_in_their_blocks(generator):
    features = torch.randn(9001, 2, generator=generator, dtype=torch.float64)
    moments = moments_of(features, blocks=4, start=1)
    blocks = blocks_of(1, 9001, 4)
    for block in range(4):
        own = features[blocks == block].numpy()
        n, mean, covariance = moments.moments([block])
        assert n == len(own)
        np.testing.assert_allclose(mean, own.mean(0), atol=1e-14)
        np.testing.assert_allclose(covariance, np.cov(own.T), rtol=1e-12)


def test_more_columns_than_are_added_at_once(generator):
    features = torch.randn(40, 300, generator=generator, dtype=torch.float64)
    np.testing.assert_allclose(moments_of(features).covariance, np.cov(features.numpy().T), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_shards_merge_to_the_single_pass(features, order):
    parts = dict(enumerate(zip(features.split([100, 303, 97]), (0, 100, 403), strict=True)))
    total = FeatureMoments(D, blocks=8)
    for i in order:
        rows, start = parts[i]
        total.merge(moments_of(rows, blocks=8, start=start))
    whole = moments_of(features, blocks=8)
    assert_same_moments(total, whole)
    assert total.block_samples == whole.block_samples
    want, got = (frechet_distance(one, features[:200] + 0.1) for one in (whole, total))
    assert got.corrected == pytest.approx(want.corrected, rel=1e-9)
    assert got.ci95 == pytest.approx(want.ci95, rel=1e-9)


def test_merging_leaves_the_other_as_it_was_and_takes_on_from_there(features):
    first, second = moments_of(features[:200]), moments_of(features[200:300])
    before = second.state_dict()
    first.merge(second)
    first.update(features[300:])
    assert_same_moments(first, moments_of(features))
    assert all(
        torch.equal(torch.as_tensor(before[name]), torch.as_tensor(x)) for name, x in second.state_dict().items()
    )


def test_none_merged_with_none_is_none(features):
    moments = FeatureMoments(D)
    moments.merge(FeatureMoments(D))
    assert moments.samples == 0
    moments.merge(moments_of(features))
    moments.merge(FeatureMoments(D))
    assert_same_moments(moments, moments_of(features))


def test_a_large_offset_costs_no_digits(features):
    centred = moments_of(features - features.mean(0)).covariance
    offset = moments_of(features + 2.0**20)  # which features keep 33 bits beside
    np.testing.assert_allclose(offset.covariance, np.cov((features + 2.0**20).numpy().T), rtol=1e-7, atol=1e-14)
    assert (offset.covariance - centred).abs().max() <= 1e-9 * centred.abs().max()
    single = moments_of((features[:, :3] + 2.0**10).float())  # exact in float64
    want = np.cov((features[:, :3] + 2.0**10).float().double().numpy().T)
    np.testing.assert_allclose(single.covariance, want, rtol=1e-5)


def test_merging_other_offsets_is_one_pass(features):
    shifted = torch.cat([features[:250] + 1e6, features[250:] - 1e6])
    moments = moments_of(shifted[:250])
    moments.merge(moments_of(shifted[250:], start=250))
    assert_same_moments(moments, moments_of(shifted))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_is_as_good_as_its_rounding(features, dtype):
    rounded = features.to(dtype)
    moments = moments_of(rounded)
    assert_same_moments(moments, moments_of(rounded.double()), 1e-6)


def test_float32_takes_over_after_two_rows_a_feature_whatever_the_batches(features):
    offset = (features.repeat(80, 1) + 1000).float()  # 256 rows wait in float64
    assert_same_moments(moments_of(offset[:24], blocks=4), moments_of(offset[:24].double(), blocks=4))
    want, moments = moments_of(offset, blocks=4), FeatureMoments(D, blocks=4)
    for batch in offset.split(301):
        moments.update(batch)
    assert torch.equal(moments.covariance, want.covariance)
    assert moments._waiting.dtype == torch.float32
    exact = moments_of(offset.double(), blocks=4)
    assert not torch.equal(want.covariance, exact.covariance)
    assert_same_moments(want, exact, 1e-6)


def test_fewer_float32_samples_than_features_are_as_exact_as_float64(generator):
    x, y = (torch.randn(n, 60, generator=generator) for n in (30, 50))
    want = frechet_distance(x.double(), y.double()).value
    assert frechet_distance(x, y).value == pytest.approx(want, rel=1e-12)
    moments = moments_of(x)
    assert frechet_distance(GaussianMoments(moments.mean, moments.covariance), y).value == pytest.approx(want, rel=1e-9)


def test_float64_features_may_be_larger_than_float32_holds(features):
    found = frechet_distance(features * 1e60, features * 2e60)
    assert found.value == pytest.approx(1e120 * frechet_distance(features, features * 2).value, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_single_precision_neither_overflows_nor_vanishes(features, scale):
    scaled = (features * scale).float()
    assert_same_moments(moments_of(scaled), moments_of(scaled.double()))


def test_dtypes_may_change_between_batches(features):
    moments = FeatureMoments(D, blocks=8)
    moments.update(features[:101].float())
    moments.update(features[101:].numpy())
    want = moments_of(torch.cat([features[:101].float().double(), features[101:]]), blocks=8)
    assert_same_moments(moments, want, 1e-6)
    assert moments.block_samples == want.block_samples


def test_what_is_given_may_change_afterwards(features):
    given = features.clone()
    moments = moments_of(given)
    given.zero_()
    assert_same_moments(moments, moments_of(features))


@pytest.mark.parametrize(("value", "kind"), [(math.nan, "NaN"), (math.inf, "infinity"), (-math.inf, "infinity")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_a_feature_that_is_not_finite_is_refused_by_its_sample(features, value, kind, dtype):
    moments = moments_of(features[:300], start=5)
    before = moments.state_dict()
    bad = features[300:].to(dtype)
    bad[17, 3] = value
    with pytest.raises(ValueError, match=rf"row 17 \(sample 322\) hold {kind}, wanted finite"):
        moments.update(bad)
    assert_unchanged(moments, before)


def assert_unchanged(moments: FeatureMoments, before: dict) -> None:
    after = moments.state_dict()
    assert all(torch.equal(torch.as_tensor(before[name]), torch.as_tensor(x)) for name, x in after.items())


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (torch.zeros(3, D + 1), ValueError, rf"features are \[3, {D + 1}\], wanted \[N, {D}\]"),
        (torch.zeros(D), ValueError, rf"features are \[{D}\], wanted \[N, {D}\]"),
        (torch.zeros(3, D, dtype=torch.int64), TypeError, "features are torch.int64, wanted floating point"),
        ([[0.0] * D], TypeError, "features are a list"),
    ],
)
def test_bad_features_change_nothing(features, bad, error, said):
    moments = moments_of(features)
    before = moments.state_dict()
    with pytest.raises(error, match=said):
        moments.update(bad)
    assert_unchanged(moments, before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dim": 0}, "dim is 0, wanted at least 1"),
        ({"blocks": 6}, "blocks is 6, wanted a multiple of 4, at least 4"),
        ({"blocks": 0}, "blocks is 0"),
        ({"start": -1}, "start is -1, wanted at least 0"),
    ],
)
def test_bad_arguments_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        FeatureMoments(**({"dim": D} | options))


def test_blocks_are_as_many_as_half_a_gibibyte_holds():
    moments = {dim: FeatureMoments(dim, device="meta") for dim in (1, 64, 768, 2048, 4096)}
    assert {dim: one.blocks for dim, one in moments.items()} == {1: 48, 64: 48, 768: 48, 2048: 16, 4096: 8}


def test_no_samples_and_a_single_one_are_refused(features):
    moments = FeatureMoments(D)
    with pytest.raises(ValueError, match="samples are 0, wanted at least one"):
        _ = moments.mean
    moments.update(features[:1])
    assert torch.equal(moments.mean, features[0])
    with pytest.raises(ValueError, match="samples are 1, wanted at least 2"):
        _ = moments.covariance


def test_a_state_goes_on_where_it_was(features):
    moments = moments_of(features[:201], blocks=8, start=2)
    file = io.BytesIO()
    torch.save(moments.state_dict(), file)
    file.seek(0)
    again = FeatureMoments(D, blocks=8, start=2)
    again.update(features[:9])  # which are forgotten
    again.load_state_dict(torch.load(file, weights_only=True))
    for one in (moments, again):
        one.update(features[201:])
    assert torch.equal(again.covariance, moments.covariance)
    assert_same_moments(again, moments_of(features))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blocks": 4}, "state has blocks = 4, wanted 8 as here"),
        ({"dim": 3}, f"state has dim = 3, wanted {D} as here"),
        ({"products": torch.zeros(8, 3, 3)}, r"products of shape \[8, 3, 3\], wanted \[8, 12, 12\]"),
        ({"origin": None}, "state has no origin"),
    ],
)
def test_bad_states_change_nothing(features, change, said):
    moments = moments_of(features, blocks=8)
    before = moments.state_dict()
    state = {name: x for name, x in (moments_of(features[:9], blocks=8).state_dict() | change).items() if x is not None}
    with pytest.raises(ValueError, match=said):
        moments.load_state_dict(state)
    assert_unchanged(moments, before)


def test_others_settings_are_refused(features):
    moments = moments_of(features, blocks=8)
    with pytest.raises(ValueError, match="other has blocks = 4, wanted 8 as here"):
        moments.merge(moments_of(features, blocks=4))
    assert moments.samples == 500


def _reduce_share(rank: int, ranks: int, folder: Path) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    bounds = [0, 0, 120, 500][rank : rank + 2]  # the first has none
    moments = FeatureMoments(D, blocks=8, start=bounds[0])
    moments.update(torch.load(folder / "features.pt")[slice(*bounds)])
    moments.all_reduce()
    torch.save(moments.state_dict(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_processes_count_each_sample_once(features, tmp_path):
    torch.save(features, tmp_path / "features.pt")
    multiprocessing.set_forkserver_preload(["torch", "amgan_fast.metrics"])
    multiprocessing.start_processes(_reduce_share, (3, tmp_path), 3, start_method="forkserver")
    whole = moments_of(features, blocks=8)
    for rank in range(3):
        moments = FeatureMoments(D, blocks=8)
        moments.load_state_dict(torch.load(tmp_path / f"{rank}.pt"))
        assert_same_moments(moments, whole)
        assert moments.block_samples == whole.block_samples


# --- On a GPU


def test_a_gpu_is_not_waited_for_and_everything_is_float64_there(features, gpu):
    single = features.float()
    moments = FeatureMoments(D, blocks=4)
    first, *others = single.to(gpu.device).split(150)
    moments.update(first)  # the sums go there
    with gpu.waits(allowed=False):
        for batch in others:
            moments.update(batch)
        moments.update(single)  # from the CPU
    assert moments._products.device == gpu.device
    want = moments_of(torch.cat([single, single]).double(), blocks=4)
    assert_same_moments(moments, want)
    got = frechet_distance(moments, moments_of(features + 1, blocks=8))
    assert got.ci95 == pytest.approx(frechet_distance(want, moments_of(features + 1, blocks=8)).ci95, rel=1e-9)
    assert_same_moments(merged(moments, want), moments_of(single.double().repeat(4, 1), blocks=4))


def merged(moments: FeatureMoments, other: FeatureMoments) -> FeatureMoments:
    moments.merge(other)
    return moments


def test_a_feature_of_a_gpu_that_is_not_finite_is_found_by_what_reads_the_sums(features, gpu):
    moments = FeatureMoments(D, start=7)
    bad = features.clone()
    bad[210] = math.nan
    for batch in bad.to(gpu.device).split(100):
        moments.update(batch)
    for read in (moments.moments, moments.state_dict, lambda: FeatureMoments(D).merge(moments)):
        with pytest.raises(ValueError, match="features of a sample among 207 to 306 hold NaN or infinity, wanted"):
            read()


def test_sums_of_a_state_follow_the_features(features, gpu):
    moments = FeatureMoments(D, blocks=4)
    moments.load_state_dict(moments_of(features[:300], blocks=4).state_dict())
    moments.update(features[300:].to(gpu.device))
    assert moments._products.device == gpu.device
    assert_same_moments(moments, moments_of(features, blocks=4))


# --- Exact moments


def test_exact_moments_come_from_an_npz_file(features, tmp_path):
    mean, covariance = features.numpy().mean(0), np.cov(features.numpy().T)
    np.savez(tmp_path / "reference.npz", mu=mean, sigma=covariance, labels=np.arange(3))
    loaded = GaussianMoments.load(tmp_path / "reference.npz")
    assert torch.equal(loaded.mean, torch.from_numpy(mean))
    assert torch.equal(loaded.covariance, torch.from_numpy(covariance))
    assert frechet_distance(features, loaded).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mu": np.zeros(2)}, "it has no sigma, but mu"),
        ({"mean": np.zeros(2)}, "it has no mu and no sigma, but mean"),
        ({"mu": np.zeros(2), "sigma": np.eye(3)}, r"covariance is \[3, 3\], wanted \[2, 2\]"),
        ({"mu": np.zeros((2, 1)), "sigma": np.eye(2)}, r"mean is \[2, 1\], wanted \[D\]"),
        ({"mu": np.array([None, 1]), "sigma": np.eye(2)}, "Object arrays cannot be loaded"),
    ],
)
def test_a_file_without_exact_moments_is_refused_by_name(arrays, said, tmp_path):
    np.savez(tmp_path / "reference.npz", **arrays)
    with pytest.raises(ValueError, match=rf"reference\.npz .*{said}"):
        GaussianMoments.load(tmp_path / "reference.npz")


def test_other_files_are_refused_too(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("mu and sigma")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("one.npy", "text.npz", "empty.npz"):
        with pytest.raises(ValueError, match=rf"{name} is no npz file with mu and sigma"):
            GaussianMoments.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        GaussianMoments.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("mean", "covariance", "error", "said"),
    [
        (torch.zeros(2), torch.tensor([[1.0, 0.5], [0.4, 1.0]]), ValueError, "covariance differs by up to 0.1"),
        (
            torch.zeros(2),
            torch.tensor([[1.0, 2.0], [2.0, 1.0]]),
            ValueError,
            "covariance has the eigenvalue -1, wanted",
        ),
        (torch.tensor([0.0, math.nan]), torch.eye(2), ValueError, "mean holds NaN or infinity"),
        (torch.zeros(2), torch.diag(torch.tensor([1.0, math.inf])), ValueError, "covariance holds NaN or infinity"),
        (torch.zeros(2, dtype=torch.int64), torch.eye(2), TypeError, "mean is torch.int64, wanted floating point"),
        ([0.0], torch.eye(1), TypeError, "mean are a list"),
    ],
)
def test_what_is_no_gaussian_is_refused(mean, covariance, error, said):
    with pytest.raises(error, match=said):
        GaussianMoments(mean, covariance)


def test_singular_covariances_are_taken_in_either_precision(features):
    covariance = torch.cov(features[:5].T)
    assert GaussianMoments(features[0], covariance).dim == D
    assert GaussianMoments(features[0].float(), covariance.float()).dim == D
    assert GaussianMoments(torch.zeros(2), torch.zeros(2, 2)).dim == 2


# --- The distance


def test_the_distance_is_that_of_the_textbook(features, others):
    assert frechet_distance(features, others).value == pytest.approx(textbook(features, others), rel=1e-9)
    assert frechet_distance(others.numpy(), features.split(33)).value == pytest.approx(
        textbook(features, others), rel=1e-9
    )


def test_one_feature_has_a_closed_form(generator):
    x, y = (torch.randn(100, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    want = float((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2)
    assert frechet_distance(x, y).value == pytest.approx(want, rel=1e-9)


def test_commuting_covariances_have_a_closed_form():
    a, b = torch.tensor([4.0, 1e-6, 0.0]), torch.tensor([1.0, 4e-6, 9.0])
    found = frechet_distance(*(GaussianMoments(torch.zeros(3), torch.diag(x.double())) for x in (a, b)))
    assert found.value == pytest.approx(float((a.double().sqrt() - b.double().sqrt()).square().sum()), rel=1e-7)
    assert (found.corrected, found.n, found.n_reference, found.warnings) == (found.value, None, None, ())


class Identity(nn.Module):
    """Features for images [N, D, 1, 1]."""

    num_features = D

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_torchmetrics_finds_the_same(features, others):
    fid = pytest.importorskip("torchmetrics.image.fid")
    metric = fid.FrechetInceptionDistance(feature=Identity(), normalize=True, input_img_size=(D, 1, 1))
    metric.set_dtype(torch.float64)
    metric.inception, metric.normalize = Identity(), False
    for rows, real in ((features, True), (others, False)):
        metric.update(rows[:, :, None, None], real=real)
    assert frechet_distance(features, others).value == pytest.approx(float(metric.compute()), rel=1e-6)


def test_torch_fidelity_finds_the_same(features, others):
    metric_fid = pytest.importorskip("torch_fidelity.metric_fid")
    statistics = [metric_fid.fid_features_to_statistics(rows) for rows in (features, others)]
    want = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(features, others).value == pytest.approx(want, rel=1e-6)


def test_fewer_samples_than_features_are_those_of_the_textbook(generator):
    x, y = (torch.randn(n, 30, generator=generator, dtype=torch.float64) for n in (10, 20))
    a, b = np.cov(x.T), np.cov(y.T)
    roots = np.linalg.eigvals(a @ b).real
    want = float(np.sum((x.mean(0) - y.mean(0)).numpy() ** 2) + np.trace(a + b))
    want -= 2 * np.sqrt(np.sort(roots)[-9:]).sum()  # the rank of the product
    found = frechet_distance(x, y)
    assert found.value == pytest.approx(want, rel=1e-9)
    assert found.few_samples
    assert "10 samples of 30 features and a covariance that has to be singular" in found.warnings[0]


def test_dead_and_repeated_features_count_nothing(features, others):
    def with_more(rows: Tensor) -> Tensor:
        return torch.cat([rows, rows[:, :2], torch.zeros(len(rows), 3, dtype=torch.float64)], 1)

    found = frechet_distance(with_more(features), with_more(others))
    twice = torch.ones(D, dtype=torch.float64)
    twice[:2] = 2**0.5
    want = frechet_distance(features * twice, others * twice)
    assert found.value == pytest.approx(want.value, rel=1e-9)
    assert found.corrected == pytest.approx(want.corrected, rel=1e-6)
    assert found.ci95 == pytest.approx(want.ci95, rel=1e-6)


def test_constant_features_have_a_distance_too(generator):
    constant, random = torch.ones(200, 3), torch.randn(200, 3, generator=generator, dtype=torch.float64)
    assert frechet_distance(constant, constant + 1).ci95 == (3, 3)
    found = frechet_distance(constant, random)
    want = (1 - random.mean(0)).square().sum() + random.var(0).sum()
    assert found.value == pytest.approx(float(want), rel=1e-9)
    assert found.ci95[0] < 6 < found.ci95[1]
    assert frechet_distance(random, constant).ci95 == pytest.approx(found.ci95, rel=1e-9)


def test_equal_sets_are_exactly_0_apart(features):
    for rows in (features, features[:7], features[:, :1], torch.ones(40, 3)):
        found = frechet_distance(rows, rows)
        assert found.value == 0
        assert found.corrected in (0, None)


def test_nearly_equal_sets_are_not_less_than_0_apart(features):
    assert 0 <= frechet_distance(features, features.flip(0)).value < 1e-12


def test_the_distance_is_symmetric_and_grows_with_the_square_of_the_scale(features, others):
    found, back, scaled = (
        frechet_distance(*pair) for pair in ((features, others), (others, features), (100 * features, 100 * others))
    )
    assert (back.value, back.corrected) == pytest.approx((found.value, found.corrected), rel=1e-9)
    assert back.ci95 == pytest.approx(found.ci95, rel=1e-9)
    assert scaled.corrected == pytest.approx(1e4 * found.corrected, rel=1e-9)
    assert scaled.ci95 == pytest.approx([1e4 * x for x in found.ci95], rel=1e-9)


def test_other_numbers_of_features_are_refused(features):
    with pytest.raises(ValueError, match=f"reference has 3 features, wanted {D} as samples have"):
        frechet_distance(features, features[:, :3])
    with pytest.raises(ValueError, match=r"samples are \[12\], wanted \[N, D\], D at least 1"):
        frechet_distance(features[0], features)


# --- Its correction and interval


def test_with_fewer_than_two_samples_a_block_there_is_the_value_alone(features):
    found = frechet_distance(features[:95], features)  # of 48 blocks
    assert (found.corrected, found.ci95, found.estimate, found.unlimited) == (None, None, None, None)
    assert found.value > 0
    assert frechet_distance(features[:96], features).ci95 is not None


def test_the_standard_error_is_that_of_an_influence_function_by_differences(generator):
    """Gateaux derivatives of the textbook's distance: each block of samples weighs a little more."""
    x, y = (torch.randn(n, 3, generator=generator, dtype=torch.float64) * s for n, s in ((400, 1.0), (600, 1.5)))
    sides = moments_of(x, blocks=4), moments_of(y, blocks=8)
    found = frechet._error(sides, [frechet._Gaussian(side.moments()) for side in sides])

    def distance(weights_x: np.ndarray, weights_y: np.ndarray) -> float:
        (m, a), (k, b) = (
            (np.average(v, axis=0, weights=w), np.cov(v.T, aweights=w, ddof=0) * len(v) / (len(v) - 1))
            for v, w in ((x.numpy(), weights_x), (y.numpy(), weights_y))
        )
        return float(np.sum((m - k) ** 2) + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))

    def error(blocks: int, of: int) -> float:
        derivatives = []
        for block in range(blocks):
            ends = []
            for step in (1e-4, -1e-4):
                weights = [np.ones(400), np.ones(600)]
                weights[of][blocks_of(0, len(weights[of]), blocks).numpy() == block] += step
                ends.append(distance(*weights))
            derivatives.append((ends[0] - ends[1]) / 2e-4)  # share of the block times its influence
        return float(np.std(derivatives, ddof=1) * blocks**0.5)

    want = joint_error([(error(4, 0), 3), (error(8, 1), 7)])
    assert found == pytest.approx(want, rel=5e-3)  # N / (N - 1) of it


def test_correction_takes_the_bias_away(generator):
    """Of 60 sets whose true distance to the reference is known: 5 samples a feature, where the bias is 20 times the
    error that is left."""
    dim = 16
    exact = GaussianMoments(torch.zeros(dim), torch.eye(dim))
    truth = dim * 0.2**2
    found = [
        frechet_distance(
            moments_of(1.2 * torch.randn(80, dim, generator=generator, dtype=torch.float64), blocks=8), exact
        )
        for _ in range(60)
    ]
    values, corrected = (torch.tensor([getattr(one, name) for one in found]) for name in ("value", "corrected"))
    off = (corrected.mean() - truth) / corrected.std() * 60**0.5
    assert abs(off) < 4
    assert values.mean() - truth > 20 * abs(corrected.mean() - truth)
    held = sum(one.ci95[0] <= truth <= one.ci95[1] for one in found)
    assert held >= 51


def test_a_set_of_the_same_source_has_an_interval_down_to_0(generator):
    x, y = torch.randn(2, 2000, 8, generator=generator, dtype=torch.float64)
    found = frechet_distance(x, y)
    assert found.ci95[0] == 0
    assert found.value > found.corrected >= 0
    low = found if found.unlimited is not None else None
    assert low is None or low.estimate.value == low.unlimited


def test_differences_are_told_from_chance(generator):
    reference = torch.randn(3000, 6, generator=generator, dtype=torch.float64)
    near, far = (torch.randn(3000, 6, generator=generator, dtype=torch.float64) + shift for shift in (0.2, 0.4))
    exact = GaussianMoments(reference.mean(0), torch.cov(reference.T))
    found = welch(*(frechet_distance(rows, exact).estimate for rows in (far, near)))
    assert found is not None
    assert found.p_value < 0.01
    assert found.value == pytest.approx(6 * (0.4**2 - 0.2**2), abs=4 * found.standard_error)


def test_what_is_printed_and_written(features, others):
    found = frechet_distance(features, others)
    text = str(found)
    assert text.startswith("Fréchet distance of 500 samples to 450 samples, 12 features\n")
    assert f"{found.corrected:.4f}" in text
    assert f"{found.ci95[0]:.4f} to {found.ci95[1]:.4f}" in text
    assert FrechetDistance.from_dict(found.to_dict()) == found
    assert found.to_dict()["warnings"] == []
    exact = frechet_distance(features, GaussianMoments(torch.zeros(D), torch.eye(D)))
    assert "of 500 samples to an exact distribution" in str(exact)


def test_fewer_than_two_samples_in_a_block_are_said_to_have_no_correction(generator):
    found = frechet_distance(torch.randn(60, 4, generator=generator), torch.randn(500, 4, generator=generator))
    assert (found.corrected, found.few_samples) == (None, False)
    assert found.warnings == ("60 samples in 48 blocks: fewer than two in one of them, and no correction",)
