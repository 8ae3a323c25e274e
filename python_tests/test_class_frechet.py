"""The Fréchet distance within classes: each as that of its samples alone, their mean and its error, and the memory."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from amgan_fast.metrics import (
    ClassFeatureMoments,
    ClassFrechetDistance,
    FeatureMoments,
    class_frechet_distance,
    frechet_distance,
)

D, C = 4, 3


@pytest.fixture
def features(generator) -> Tensor:
    return torch.randn(400, D, generator=generator, dtype=torch.float64)


@pytest.fixture
def labels(generator) -> Tensor:
    return torch.randint(C, (400,), generator=generator)


def moments_of(features: Tensor, labels: Tensor, classes: int = C) -> ClassFeatureMoments:
    moments = ClassFeatureMoments(D, classes)
    for rows, of_row in zip(features.split(70), labels.split(70), strict=True):
        moments.update(rows, of_row)
    return moments


def assert_same(got: ClassFeatureMoments, want: ClassFeatureMoments) -> None:
    assert got.class_samples == want.class_samples
    for label in range(want.num_classes):
        torch.testing.assert_close(
            got.of_class(label).covariance, want.of_class(label).covariance, rtol=1e-12, atol=1e-13
        )


def test_each_class_is_as_its_samples_alone(features, labels):
    others = features.flip(0) * 1.2
    found = class_frechet_distance(moments_of(features, labels), moments_of(others, labels))
    for label, distance in enumerate(found.classes):
        sides = []
        for rows in (features, others):
            moments = FeatureMoments(D, blocks=8)
            moments.update(rows[labels == label])
            sides.append(moments)
        want = frechet_distance(*sides)
        assert distance.value == pytest.approx(want.value, rel=1e-9)
        assert distance.ci95 == pytest.approx(want.ci95, rel=1e-9)
    assert found.value == pytest.approx(sum(one.value for one in found.classes) / C, rel=1e-12)
    assert found.estimate.value == pytest.approx(sum(one.estimate.value for one in found.classes) / C, rel=1e-12)


def test_errors_of_classes_add_up_and_what_is_left_of_the_bias_is_averaged(features, labels):
    found = class_frechet_distance(moments_of(features, labels), moments_of(features.flip(0) * 1.2, labels))
    by_chance = sum(one.estimate.standard_error**2 - one.third_order**2 for one in found.classes) / C**2
    left = sum(one.third_order for one in found.classes) / C
    assert found.estimate.standard_error == pytest.approx(math.sqrt(by_chance + left**2), rel=1e-9)
    assert found.ci95[0] <= found.corrected <= found.ci95[1]


def test_classes_without_samples_are_none_and_named(features, labels):
    found = class_frechet_distance(moments_of(features, labels, 5), moments_of(features + 1, labels, 5))
    assert [one is None for one in found.classes] == [False] * 3 + [True] * 2
    assert found.missing == (3, 4)
    assert found.warnings == ("classes 3, 4 have fewer than two samples and are not in the mean",)
    assert found.warnings[0] in str(found)
    assert ClassFrechetDistance.from_dict(found.to_dict()) == found


def test_a_class_of_few_samples_has_a_value_and_the_mean_no_interval(features, labels):
    few = torch.cat([labels[:-7].clamp_max(1), torch.full((7,), 2)])
    found = class_frechet_distance(moments_of(features, few), moments_of(features + 1, labels))
    assert found.classes[2].ci95 is None
    assert (found.corrected, found.ci95, found.estimate) == (None, None, None)
    assert found.value > 0
    assert "classes 2: 7 samples of 4 features" in found.warnings[0]


def test_no_class_at_all_is_refused(features, labels):
    with pytest.raises(ValueError, match="no class has two samples on both sides"):
        class_frechet_distance(moments_of(features, labels), ClassFeatureMoments(D, C))


def test_shards_merge_to_the_single_pass(features, labels):
    total = moments_of(features[:150], labels[:150])
    total.merge(moments_of(features[150:], labels[150:]))
    assert_same(total, moments_of(features, labels))


def test_a_state_goes_on_where_it_was(features, labels):
    moments = moments_of(features[:150], labels[:150])
    file = io.BytesIO()
    torch.save(moments.state_dict(), file)
    file.seek(0)
    again = moments_of(features[:9], labels[:9])  # which are forgotten
    again.load_state_dict(torch.load(file, weights_only=True))
    again.update(features[150:], labels[150:])
    assert_same(again, moments_of(features, labels))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_classes": 4}, "state has num_classes = 4, wanted 3 as here"),
        ({"samples": [1, 2]}, "state has samples of 2 classes, wanted 3"),
        ({"sum": torch.zeros(3, 8, 5)}, r"state has sum of shape \[3, 8, 5\], wanted \[3, 8, 4\]"),
        ({"origin": None}, "state has no origin"),
    ],
)
def test_bad_states_change_nothing(features, labels, change, said):
    moments = moments_of(features, labels)
    state = moments_of(features[:50], labels[:50]).state_dict() | change
    with pytest.raises(ValueError, match=said):
        moments.load_state_dict({name: x for name, x in state.items() if x is not None})
    assert_same(moments, moments_of(features, labels))


@pytest.mark.parametrize(
    ("row", "label", "error", "said"),
    [
        (math.nan, 0, ValueError, r"row 3 \(sample 403\) hold NaN"),
        (0.0, C, ValueError, "labels are 0 to 3, wanted 0 to 2"),
        (0.0, -1, ValueError, "labels are -1 to 0, wanted 0 to 2"),
        (0.0, 0.5, TypeError, "labels are torch.float32, wanted integers"),
    ],
)
def test_bad_batches_change_nothing(features, labels, row, label, error, said):
    moments = moments_of(features, labels)
    rows, of_row = torch.zeros(5, D), torch.tensor([0, 0, 0, label, 0])
    rows[3] = row
    with pytest.raises(error, match=said):
        moments.update(rows, of_row)
    with pytest.raises(ValueError, match=r"labels are \[4\], wanted \[5\]"):
        moments.update(torch.zeros(5, D), torch.zeros(4, dtype=torch.int64))
    assert_same(moments, moments_of(features, labels))


def test_a_gpu_is_not_waited_for_where_labels_are_on_the_cpu(features, labels, gpu):
    there = features.to(gpu.device)
    moments = moments_of(there[:70], labels[:70])
    with gpu.waits(allowed=False):
        moments.update(there[70:], labels[70:])
    assert_same(moments, moments_of(features, labels))


def test_other_settings_are_refused(features, labels):
    moments = moments_of(features, labels)
    with pytest.raises(ValueError, match="other has num_classes = 4, wanted 3 as here"):
        moments.merge(ClassFeatureMoments(D, 4))
    with pytest.raises(ValueError, match="reference has num_classes = 4, wanted 3 as samples have"):
        class_frechet_distance(moments, ClassFeatureMoments(D, 4))
    with pytest.raises(ValueError, match="num_classes is 0, wanted at least 1"):
        ClassFeatureMoments(D, 0)


def test_memory_that_is_not_there_is_refused_before_it_is_taken():
    with pytest.raises(
        ValueError, match=r"moments of 100,000 classes of 2,048 features in 8 blocks take 33,5[0-9.]+ GB"
    ):
        ClassFeatureMoments(2048, 100_000)


def _reduce_share(rank: int, ranks: int, folder: Path) -> None:
    """In a process of its own; the second has a class that the first has not."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    features, labels = torch.load(folder / "samples.pt")
    share = (labels < 2) == (rank == 0)
    moments = ClassFeatureMoments(D, C)
    moments.update(features[share], labels[share])
    moments.all_reduce()
    torch.save(moments.state_dict(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_processes_count_each_sample_once(features, labels, tmp_path):
    torch.save([features, labels], tmp_path / "samples.pt")
    multiprocessing.set_forkserver_preload(["torch", "amgan_fast.metrics"])
    multiprocessing.start_processes(_reduce_share, (2, tmp_path), 2, start_method="forkserver")
    for rank in range(2):
        moments = ClassFeatureMoments(D, C)
        moments.load_state_dict(torch.load(tmp_path / f"{rank}.pt"))
        assert_same(moments, moments_of(features, labels))
