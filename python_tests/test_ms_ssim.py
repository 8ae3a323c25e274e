"""MS-SSIM against pytorch-msssim, torchmetrics, loops in NumPy and closed forms; its mean over the pairs of a class
against all pairs, and the standard error of that mean against simulations with known variance."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import statistics

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from amgan_fast.metrics import Estimate, class_ms_ssim, ms_ssim, save_class_ms_ssim
from amgan_fast.metrics.image_pairs import draw_pairs, mean_over_pairs

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pictures(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Float64 in [-1, 1] with structure at several sizes, so that every scale has its say."""
    size = shape[2:]
    layers = [torch.randn(*shape[:2], n, n, generator=random, dtype=torch.float64) for n in (3, 9, 27)]
    return sum(interpolate(layer, size=size, mode="bilinear") for layer in layers).tanh()


def alike(images: Tensor, random: torch.Generator) -> Tensor:
    return 0.6 * images + 0.4 * pictures(images.shape, random)


def small_by_loops(a: np.ndarray, b: np.ndarray, length: float = 2.0) -> float:
    """The authors' form for two images [C, H, W] with values from 0 to ``length``, a window at a time."""
    c1, c2 = (0.01 * length) ** 2, (0.03 * length) ** 2
    value = 1.0
    for scale in range(5):
        channels, height, width = a.shape
        size = min(11, height, width)
        sigma = 1.5 * size / 11
        middle = (size - 1) / 2
        window = np.array(
            [
                [math.exp(-((y - middle) ** 2 + (x - middle) ** 2) / (2 * sigma**2)) for x in range(size)]
                for y in range(size)
            ]
        )
        window /= window.sum()
        seen = []
        for c, y, x in itertools.product(range(channels), range(height - size + 1), range(width - size + 1)):
            one, other = a[c, y : y + size, x : x + size], b[c, y : y + size, x : x + size]
            mean_one, mean_other = (window * one).sum(), (window * other).sum()
            variance_one, variance_other = (
                (window * (one - mean_one) ** 2).sum(),
                (window * (other - mean_other) ** 2).sum(),
            )
            covariance = (window * (one - mean_one) * (other - mean_other)).sum()
            similarity = (2 * abs(covariance) + c2) / (variance_one + variance_other + c2)
            if scale == 4:
                similarity *= (2 * mean_one * mean_other + c1) / (mean_one**2 + mean_other**2 + c1)
            seen.append(similarity)
        value *= (sum(seen) / len(seen)) ** WEIGHTS[scale]
        a, b = half(a), half(b)
    return value


def half(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels, of fewer at the lower and right border of odd sizes."""
    channels, height, width = image.shape
    rows, columns = range(0, height, 2), range(0, width, 2)
    return np.array([[[image[c, y : y + 2, x : x + 2].mean() for x in columns] for y in rows] for c in range(channels)])


def standard_by_torchmetrics(a: Tensor, b: Tensor, length: float) -> Tensor:
    """The product over scales from torchmetrics' SSIM of one scale, for images [N, 1, H, W] with values from 0.

    Not its own MS-SSIM, which since 1.4.2 counts windows over a mirrored border at the last scale.
    """
    functional = pytest.importorskip("torchmetrics.functional.image")
    options = {"data_range": length, "reduction": None}
    value = torch.ones(len(a), dtype=a.dtype)
    for weight in WEIGHTS[:4]:
        _, structure = functional.structural_similarity_index_measure(a, b, return_contrast_sensitivity=True, **options)
        value *= structure.clamp_min(0) ** weight
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    _, similarity = functional.structural_similarity_index_measure(a, b, return_full_image=True, **options)
    return value * similarity[..., 5:-5, 5:-5].mean((1, 2, 3)).clamp_min(0) ** WEIGHTS[4]


@pytest.mark.parametrize("channels", [1, 3])
def test_standard_equals_pytorch_msssim(channels, generator):
    library = pytest.importorskip("pytorch_msssim")
    a = pictures((2, channels, 176, 192), generator)
    b = alike(a, generator)
    got = ms_ssim(a, b)
    assert got.shape == (2,)
    want = library.ms_ssim(a + 1, b + 1, data_range=2, size_average=False)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)  # its window is rounded to float32
    unit_a, unit_b = ((images.float() + 1) / 2 for images in (a, b))
    want = library.ms_ssim(unit_a, unit_b, data_range=1, size_average=False).double()
    torch.testing.assert_close(ms_ssim(unit_a, unit_b, data_range=1), want, rtol=1e-5, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_standard_equals_torchmetrics(channels, generator):
    a = pictures((2, channels, 176, 192), generator)
    b = alike(a, generator)
    gray_a, gray_b = (images.flatten(0, 1)[:, None] + 1 for images in (a, b))
    want = standard_by_torchmetrics(gray_a, gray_b, 2.0).view(2, channels).mean(1)
    assert 0.2 < want.min() < want.max() < 0.99
    torch.testing.assert_close(ms_ssim(a, b), want, rtol=1e-11, atol=0)


def test_torchmetrics_own_ms_ssim_differs_by_its_border_only(generator):
    functional = pytest.importorskip("torchmetrics.functional.image")
    a = pictures((2, 1, 256, 256), generator)
    b = alike(a, generator)
    theirs = functional.multiscale_structural_similarity_index_measure(a + 1, b + 1, data_range=2.0, reduction=None)
    torch.testing.assert_close(ms_ssim(a, b), theirs, rtol=0, atol=0.05)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (2, 13, 30), (1, 1, 1), (1, 2, 40)])
def test_small_equals_loops(shape, generator):
    a = pictures((2, *shape), generator)
    b = alike(a, generator)
    want = [small_by_loops(one.numpy() + 1, other.numpy() + 1) for one, other in zip(a, b, strict=True)]
    assert ms_ssim(a, b, form="small").tolist() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_small_of_other_dtypes_is_exact_for_what_they_hold(dtype, device, generator):
    a = pictures((1, 1, 16, 16), generator).to(dtype)
    b = alike(a.double(), generator).to(dtype)
    got = ms_ssim(a.to(device), b.to(device), form="small")
    assert (got.dtype, got.device.type) == (torch.float64, device.type)
    assert got.item() == pytest.approx(small_by_loops(a[0].double().numpy() + 1, b[0].double().numpy() + 1), rel=1e-11)


@pytest.mark.parametrize(("form", "size"), [("standard", 168), ("small", 30)])
def test_a_picture_has_one_value_in_any_interval(form, size, generator):
    images = pictures((2, 3, size, size), generator)
    a, b = ((x * 127.5 + 127.5).round().to(torch.uint8) for x in (images, alike(images, generator)))
    want = ms_ssim(a, b, form=form, data_range=255)
    assert want.unique().numel() == 2
    torch.testing.assert_close(ms_ssim(a.double() / 255, b.double() / 255, form=form, data_range=1), want)
    torch.testing.assert_close(ms_ssim(a.double() / 127.5 - 1, b.double() / 127.5 - 1, form=form), want)
    torch.testing.assert_close(ms_ssim(a.double(), b.double(), form=form, data_range=255), want)


@pytest.mark.parametrize(("form", "size"), [("standard", 161), ("small", 32)])
def test_equal_images_and_order(form, size, generator):
    a = pictures((2, 1, size, size), generator)
    b = alike(a, generator)
    torch.testing.assert_close(ms_ssim(a, a, form=form), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(ms_ssim(a, b, form=form), ms_ssim(b, a, form=form), rtol=1e-13, atol=0)
    assert ms_ssim(a[:0], b[:0], form=form).shape == (0,)


@pytest.mark.parametrize(("form", "size"), [("standard", 176), ("small", 32)])
def test_plain_grey_images_differ_in_luminance_only(form, size):
    a, b = (torch.full((1, 3, size, size), grey, dtype=torch.float64) for grey in (-0.4, 0.8))
    luminance = (2 * 0.6 * 1.8 + 0.02**2) / (0.6**2 + 1.8**2 + 0.02**2)
    assert ms_ssim(a, b, form=form).item() == pytest.approx(luminance**0.1333, rel=1e-11)


def test_an_image_and_its_negative_are_alike_in_the_small_form_only():
    image = (torch.arange(32)[:, None] + torch.arange(32)) % 2 - 0.5  # halved once, it is plain grey
    assert ms_ssim(image[None, None], -image[None, None], form="small").item() == pytest.approx(1)
    image = image.repeat(6, 6)
    assert ms_ssim(image[None, None], -image[None, None]).item() == 0


def test_small_is_differentiable(generator):
    a = pictures((1, 1, 7, 7), generator)
    b = alike(a, generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda images: ms_ssim(a, images, form="small"), b)


@pytest.mark.parametrize(
    ("shapes", "options", "said"),
    [
        (((2, 3, 8, 8), (2, 1, 8, 8)), {}, r"images_b are \[2, 1, 8, 8\], wanted \[2, 3, 8, 8\] as images_a"),
        (((3, 8, 8), (3, 8, 8)), {}, r"images_a are \[3, 8, 8\], wanted \[N, C, H, W\]"),
        (((2, 0, 8, 8), (2, 0, 8, 8)), {}, r"images_a are \[2, 0, 8, 8\], wanted \[N, C, H, W\]"),
        (((2, 3, 8, 8),) * 2, {"form": "tiny"}, "form is 'tiny', wanted one of 'standard', 'small'"),
        (((2, 3, 8, 8),) * 2, {"data_range": 3}, r"data_range is 3, wanted 2 \(values in \[-1, 1\]\), 1"),
        (
            ((2, 3, 161, 160),) * 2,
            {"form": "standard"},
            r"images_a are \[2, 3, 161, 160\], wanted H and W at least 161.*form='small' takes any",
        ),
    ],
)
def test_bad_shapes_and_options(shapes, options, said):
    a, b = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=said):
        ms_ssim(a, b, **{"form": "small", **options})


def test_bad_values_and_dtypes():
    good = torch.zeros(1, 1, 8, 8)
    for bad, options, said in (
        (good + 255, {}, "images_b have values from 255 to 255, wanted -1 to 1 with data_range = 2"),
        (good - 0.5, {"data_range": 1}, "images_b have values from -0.5 to -0.5, wanted 0 to 1 with data_range = 1"),
        (good * math.nan, {}, "images_b have values from nan to nan"),
        (good.byte(), {}, "images_b are uint8 and data_range is 2, wanted data_range=255 with uint8"),
    ):
        with pytest.raises(ValueError, match=said):
            ms_ssim(good, bad, form="small", **options)
    with pytest.raises(TypeError, match=r"images_a are torch.int64, wanted floating point or uint8"):
        ms_ssim(good.long(), good, form="small")


@pytest.mark.parametrize("images", range(9))
@pytest.mark.parametrize("pairs", [1, 2, 3, 7, 20, 1000])
def test_pairs_are_distinct_and_images_take_turns(images, pairs, generator):
    drawn = draw_pairs(images, pairs, generator)
    kinds = {tuple(sorted(pair)) for pair in drawn.T.tolist()}
    assert drawn.shape == (2, min(pairs, images * (images - 1) // 2))
    assert len(kinds) == drawn.size(1)
    assert kinds <= set(itertools.combinations(range(images), 2))
    turns = drawn.flatten().bincount(minlength=images)
    if images:
        assert turns.max() - turns.min() <= 2
    if 2 * pairs <= images:
        assert turns.max() <= 1


def test_every_pair_is_as_likely(generator):
    counts = dict.fromkeys(itertools.combinations(range(5), 2), 0)
    for _ in range(2000):
        for pair in draw_pairs(5, 3, generator).T.tolist():
            counts[tuple(sorted(pair))] += 1
    assert all(abs(count - 600) < 5 * math.sqrt(600 * 0.7) for count in counts.values())


def test_the_error_of_pairs_without_a_common_image_is_the_usual_one(generator):
    values = torch.randn(8, generator=generator, dtype=torch.float64)
    found = mean_over_pairs(values, torch.arange(16).view(2, 8), 20)
    assert found.value == pytest.approx(statistics.mean(values.tolist()))
    assert found.standard_error == pytest.approx(statistics.stdev(values.tolist()) / math.sqrt(8))
    assert found.degrees_of_freedom == 7


def simulate(images: int, pairs: int, function, random: torch.Generator, repeats: int) -> list[Estimate]:
    """Each of new images (of one number) and new pairs."""
    results = []
    for _ in range(repeats):
        values = torch.randn(images, generator=random, dtype=torch.float64)
        drawn = draw_pairs(images, pairs, random)
        results.append(mean_over_pairs(function(*values[drawn]), drawn, images))
    return results


@pytest.mark.parametrize("pairs", [10, 60, 190])
def test_the_squared_error_is_unbiased(pairs, generator):
    # With every image in equally many pairs the mean of x + y is twice the mean of the images: variance 4/n.
    found = simulate(20, pairs, torch.add, generator, 1000)
    assert statistics.fmean(one.standard_error**2 for one in found) == pytest.approx(4 / 20, rel=0.06)


def held(found: list[Estimate], truth: float) -> float:
    """How many intervals hold it."""
    return statistics.fmean(low <= truth <= high for low, high in (one.interval for one in found))


@pytest.mark.parametrize(("images", "pairs"), [(300, 100), (40, 100), (40, 780), (20, 100)])
def test_intervals_hold_the_expectation_as_often_as_they_say(images, pairs, generator):
    found = simulate(images, pairs, lambda x, y: (-((x - y) ** 2)).exp(), generator, 600)
    assert 0.90 < held(found, 1 / math.sqrt(5)) < 0.98


def test_all_pairs_of_every_class(generator):
    images = pictures((15, 1, 8, 8), generator)
    labels = torch.tensor([4, 9, 4, 9, 9, 4, 9, 4, 9, 4, 9, 0, 4, 9, 0])
    scores = class_ms_ssim(images, labels, pairs=1000)
    assert (scores.form, scores.classes, scores.pairs) == ("small", (0, 4, 9), (1, 15, 21))
    for label, mean, error in zip(scores.classes, scores.means, scores.standard_errors, strict=True):
        members = (labels == label).nonzero().flatten().tolist()
        values = {
            frozenset(pair): small_by_loops(*(images[i].numpy() + 1 for i in pair))
            for pair in itertools.combinations(members, 2)
        }
        assert mean == pytest.approx(statistics.mean(values.values()), rel=1e-12)
        # The variance of the mean is the expected square of the mean less the squared expectation, and products of
        # pairs without a common image have the squared expectation as theirs.
        products = [values[p] * values[q] for p in values for q in values if not p & q]
        if products:
            variance = mean**2 - statistics.mean(products)
            independent = statistics.variance(values.values()) / len(values)
            assert error**2 == pytest.approx(max(variance, independent), rel=1e-9)
        else:
            assert math.isnan(error)
    assert scores.maximum == max(scores.means)
    place = scores.means.index(scores.maximum)
    assert scores.maximum_class == scores.classes[place]
    assert scores.maximum_standard_error == pytest.approx(scores.standard_errors[place], nan_ok=True)


def test_a_collapsed_class_is_the_maximum(generator, device):
    images = pictures((60, 3, 16, 16), generator)
    labels = torch.arange(60) % 3
    images[labels == 1] = images[1] + 0.01 * torch.randn(20, 3, 16, 16, generator=generator, dtype=torch.float64)
    scores = class_ms_ssim(images.clamp(-1, 1).to(device), labels.to(device), pairs=30)
    assert scores.maximum_class == 1
    assert scores.maximum > 0.95 > max(scores.means[0], scores.means[2])


def test_the_seed_decides_and_the_callers_generator_is_left_alone(generator):
    images, labels = pictures((40, 1, 8, 8), generator), torch.arange(40) % 2
    before = torch.get_rng_state()
    first, again, other = (class_ms_ssim(images, labels, pairs=9, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert first != other


def test_batches_change_nothing(generator, monkeypatch):
    images, labels = pictures((20, 1, 8, 8), generator), torch.arange(20) % 2
    whole = class_ms_ssim(images, labels, pairs=17)
    monkeypatch.setattr(importlib.import_module("amgan_fast.metrics.class_ms_ssim"), "_VALUES_AT_ONCE", 5 * 64)
    assert class_ms_ssim(images, labels, pairs=17).means == pytest.approx(whole.means, rel=1e-13)


def test_large_images_take_the_standard_form(generator):
    images = pictures((2, 1, 161, 170), generator)
    scores = class_ms_ssim(images, torch.zeros(2, dtype=torch.int32))
    assert scores.form == "standard"
    assert scores.maximum == pytest.approx(ms_ssim(*images[:, None]).item(), rel=1e-12)
    assert class_ms_ssim(images, torch.zeros(2, dtype=torch.int32), form="small").form == "small"


def test_a_class_of_one_image_has_no_mean(generator):
    scores = class_ms_ssim(pictures((5, 1, 8, 8), generator), torch.tensor([3, 5, 3, 3, 3]))
    assert scores.pairs == (6, 0)
    assert math.isnan(scores.means[1])
    assert math.isnan(scores.standard_errors[1])
    assert scores.maximum_class == 3


def test_bad_arguments_for_classes():
    images, labels = torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 1])
    for arguments, options, said in (
        ((images, labels[:3]), {}, r"labels are \[3\], wanted \[4\], one for each image"),
        ((images, labels), {"pairs": 0}, "pairs is 0, wanted at least 1"),
        ((images, torch.arange(4)), {}, "labels have 4 classes of less than two images"),
        ((images, labels), {"form": "standard"}, r"images are \[4, 1, 8, 8\], wanted H and W at least 161"),
        ((images + 2, labels), {}, "images have values from 2 to 2, wanted -1 to 1"),
        ((images[0], labels), {}, r"images are \[1, 8, 8\], wanted \[N, C, H, W\]"),
        ((images[:0], labels[:0]), {}, "labels have 0 classes"),
    ):
        with pytest.raises(ValueError, match=said):
            class_ms_ssim(*arguments, **options)
    with pytest.raises(TypeError, match=r"labels are torch.float32, wanted integers"):
        class_ms_ssim(images, labels.float())


def test_as_text_as_json_and_as_a_picture(generator, tmp_path):
    images, labels = pictures((9, 1, 8, 8), generator), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 7])
    scores = class_ms_ssim(images, labels)
    assert json.loads(json.dumps(scores.to_dict()))["maximum"] == scores.maximum
    assert f"maximum {scores.maximum:.4f} +- {scores.maximum_standard_error:.4f}" in str(scores)
    assert len(str(scores).splitlines()) == 4 + 3
    picture = tmp_path / "ms_ssim.png"
    save_class_ms_ssim(picture, {"generated": scores, "real": class_ms_ssim(images.flip(0), labels)})
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["ms_ssim.png"]
    large = class_ms_ssim(pictures((2, 1, 161, 161), generator), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"forms \['small', 'standard'\], wanted one form"):
        save_class_ms_ssim(picture, {"generated": scores, "real": large})
