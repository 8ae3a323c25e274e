"""What becomes of images on their way to a classifier, against Pillow, torchvision and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import normalize

from amgan_fast.data import to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.inputs import DTYPES, RANGES, RESIZES, Inputs

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    """Noise, with stretches of black and white, where bicubic weights overshoot."""
    images = torch.randint(256, (2, 3, 20, 26), generator=generator, dtype=torch.uint8)
    images[:, :, 5:10, :12], images[:, :, 10:15, :12] = 0, 255
    return images


def resized_by_pillow(image: Tensor, size: tuple[int, int], how: str) -> Tensor:
    """A [H, W] image, in Pillow's floating point mode."""
    height, width = size
    picture = Image.fromarray(image.numpy().astype(np.float32))
    assert picture.mode == "F"
    return torch.from_numpy(np.array(picture.resize((width, height), FILTERS[how])))


@pytest.mark.parametrize("size", [(7, 9), (64, 48), (20, 13), (31, 26)])
@pytest.mark.parametrize("how", FILTERS)
def test_resizing_against_pillow(images, how, size):
    got = Inputs(size, resize=how, value_range="byte")(images)
    assert got.dtype == torch.float32
    assert got.shape == (2, 3, *size)
    for image, result in zip(images.flatten(0, 1), got.flatten(0, 1), strict=True):
        want = resized_by_pillow(image, size, how).clamp(0, 255)
        torch.testing.assert_close(result, want, rtol=0, atol=2e-3)


def test_bicubic_overshoot_is_clipped(images):
    raw = torch.stack([resized_by_pillow(image, (64, 48), "bicubic") for image in images.flatten(0, 1)])
    assert raw.min() < 0  # or there is nothing to clip
    assert raw.max() > 255
    got = Inputs((64, 48), resize="bicubic", value_range="byte")(images)
    assert (got.min(), got.max()) == (0, 255)


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize(
    ("value_range", "formula"),
    [
        ("amgan", lambda u: (u - 127.5) / 128),
        ("signed", lambda u: u / 127.5 - 1),
        ("unit", lambda u: u / 255),
        ("byte", lambda u: u),
        ("imagenet", lambda u: normalize(u / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])),
    ],
)
def test_ranges_of_bytes(images, value_range, formula, dtype):
    got = Inputs(value_range=value_range, dtype=dtype)(images)
    assert got.dtype == dtype
    tolerance = {torch.float64: 1e-15, torch.float32: 1e-6}.get(dtype, torch.finfo(dtype).eps)
    torch.testing.assert_close(got.double(), formula(images.double()), rtol=tolerance, atol=tolerance)


def test_every_range_and_resize_is_tested():
    assert set(RANGES) == {"amgan", "signed", "unit", "byte", "imagenet"}
    assert set(RESIZES) == {"none", *FILTERS}


def test_range_amgan_is_what_this_packages_classifiers_are_trained_with(images):
    assert torch.equal(Inputs()(images), to_float(images))


def test_what_a_generator_makes_is_passed_on_to_the_last_digit(generator):
    made = torch.rand(4, 1, 8, 8, generator=generator) * 2 - 1
    assert torch.equal(Inputs((8, 8), 1)(made), made)


def test_what_a_generator_makes_is_not_rounded_but_clipped(generator):
    made = torch.cat([torch.rand(98, generator=generator) * 2 - 1, torch.tensor([-1.0, 1.0])]).view(1, 1, 10, 10)
    got = Inputs(value_range="byte", dtype=torch.float64)(made)
    torch.testing.assert_close(got, (made.double() * 128 + 127.5).clip(0, 255), rtol=0, atol=1e-12)
    assert (got.min(), got.max()) == (0, 255)


def test_bytes_and_the_floats_they_scale_to_are_the_same_images(images):
    inputs = Inputs((9, 9), resize="bilinear", value_range="imagenet")
    torch.testing.assert_close(inputs(to_float(images)), inputs(images), rtol=0, atol=1e-5)


def test_grey_images_for_a_classifier_of_colour(images):
    grey = images[:, :1]
    got = Inputs((7, 7), 3, "bilinear", "imagenet")(grey)
    torch.testing.assert_close(got, Inputs((7, 7), 3, "bilinear", "imagenet")(grey.repeat(1, 3, 1, 1)))


def test_images_of_different_sizes(generator):
    sizes = [(1, 8, 8), (3, 12, 5), (1, 4, 30)]
    images = [torch.randint(256, size, generator=generator, dtype=torch.uint8) for size in sizes]
    inputs = Inputs((6, 6), 3, "bilinear", "unit")
    got = inputs(images)
    assert got.shape == (3, 3, 6, 6)
    for image, result in zip(images, got, strict=True):
        assert torch.equal(result, inputs(image[None])[0])


def test_a_list_of_grey_and_colour_images_of_one_size(generator):
    images = [torch.randint(256, (c, 5, 5), generator=generator, dtype=torch.uint8) for c in (1, 3)]
    assert Inputs(channels=3)(images).shape == (2, 3, 5, 5)


def test_inputs_say_what_they_are():
    inputs = Inputs((8, 9), 1, "bicubic", "unit", torch.bfloat16)
    assert str(inputs) == "8 x 9, resize bicubic; range unit: u / 255; bfloat16"
    assert str(Inputs()) == "as they come; range amgan: (u - 127.5) / 128; float32"
    assert inputs.to_dict() == {
        "size": [8, 9],
        "channels": 1,
        "resize": "bicubic",
        "value_range": "unit",
        "dtype": "bfloat16",
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"resize": "lanczos"}, "resize is 'lanczos', wanted one of none, bilinear, bicubic, nearest"),
        ({"value_range": "0-1"}, "value_range is '0-1', wanted one of amgan, signed, unit, byte, imagenet"),
        ({"dtype": torch.int8}, r"dtype is torch\.int8, wanted one of float32, float64, bfloat16, float16"),
        ({"size": (0, 8)}, "size is 0 x 8, wanted at least 1 x 1"),
        ({"resize": "bicubic"}, "resize is 'bicubic' and size is None, wanted a size to bring images to"),
        ({"channels": 0}, "channels is 0, wanted at least 1"),
    ],
)
def test_bad_settings(settings, said):
    with pytest.raises(InputError, match=said):
        Inputs(**settings)


@pytest.mark.parametrize(
    ("inputs", "images", "said"),
    [
        (Inputs((8, 8)), torch.zeros(1, 1, 9, 7), "images are 9 x 7, wanted 8 x 8 as the classifier takes them, or a"),
        (Inputs(channels=1), torch.zeros(1, 3, 8, 8), "images have 3 channels, wanted 1 as the classifier takes them"),
        (Inputs(value_range="imagenet"), torch.zeros(1, 1, 8, 8), "1 channels, wanted 3 for range imagenet"),
        (Inputs(), [torch.zeros(1, 8, 8), torch.zeros(1, 4, 4)], "images are 4 x 4 and 8 x 8, and the classifier"),
        (Inputs((8, 8)), [torch.zeros(1, 8, 8), torch.zeros(3, 8, 8)], "images have 1 and 3 channels, and the"),
    ],
)
def test_images_that_do_not_fit(inputs, images, said):
    with pytest.raises(InputError, match=said):
        inputs(images)


def test_what_are_no_images():
    with pytest.raises(TypeError, match=r"images are torch\.int64, wanted torch\.uint8 or a floating point type"):
        Inputs()(torch.zeros(1, 1, 8, 8, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"images are \[1, 8, 8\], wanted \[N, C, H, W\]"):
        Inputs()(torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match="images are an empty sequence"):
        Inputs()([])


def test_on_every_device(images, device):
    inputs = Inputs((9, 9), resize="bicubic", value_range="signed")
    got = inputs(images, device)
    assert got.device.type == device.type
    torch.testing.assert_close(got.cpu(), inputs(images), rtol=0, atol=1e-4)
