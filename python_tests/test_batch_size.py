"""How many samples are classified at a time, and what is known of a classifier before it has seen them all."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from tiny_runs import digits_classifier
from torch import Tensor, nn

from amgan_fast.data import Dataset, to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate import ImageClassifier, Inputs, Settings, evaluate, measure_classifier, passes, provenance
from amgan_fast.evaluate.batch_size import fitting_batch_size
from amgan_fast.evaluate.sources import Batch, TensorSource
from amgan_fast.nn import build_classifier

CPU = torch.device("cpu")


def images(count: int = 20, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 1, side, side), generator=generator, dtype=torch.uint8)


def source(count: int = 20, side: int = 8) -> TensorSource:
    return TensorSource(images(count, side), torch.zeros(count, dtype=torch.int64), "a few images")


def classifier(network=lambda pixels: pixels.flatten(1)[:, :4] * 3, **options) -> ImageClassifier:
    options = {"inputs": Inputs(value_range="unit"), "is_users": True} | options
    return ImageClassifier("net", network, device=CPU, **options)


def scored(one: ImageClassifier, of: TensorSource, batch_size: int | None = None):
    return evaluate(of, one, settings=Settings(batch_size=batch_size, splits=2, modes=False))


def test_the_largest_tensor_of_a_network_stays_within_8_mebibytes():
    network = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    one = classifier(network.requires_grad_(False))
    assert fitting_batch_size(one.logits, images(1, side=64), CPU) == 8  # 64 channels of 64 x 64 float32: 1 MiB
    assert fitting_batch_size(one.logits, list(images(3, side=64)), CPU) == 8
    assert fitting_batch_size(one.logits, images(1, side=8), CPU) == 200


def test_an_image_that_is_larger_than_that_is_classified_alone():
    assert fitting_batch_size(lambda pixels: pixels.repeat(1, 1, 1, 2**23), images(1, side=2), CPU) == 1


def test_what_does_not_grow_with_the_batch_counts_for_nothing():
    """Weights that are made anew for each batch, as weight norm makes them."""
    weights = torch.randn(64, 2**18)
    assert fitting_batch_size(lambda pixels: pixels.flatten(1).float() @ (weights * 2), images(1), CPU) == 8
    assert fitting_batch_size(lambda pixels: pixels.flatten(1).float() @ (weights * 2)[:, :9], images(1), CPU) == 200


def test_a_compiled_network_is_looked_into_too():
    compiled = torch.compile(lambda pixels: pixels.float().repeat(1, 1, 1, 2**18).sum(3), backend="eager")
    assert fitting_batch_size(compiled, images(1, side=2), CPU) == 2  # 4 MiB an image


def test_looking_into_a_network_does_not_import_the_compiler_of_pytorch():
    check = """
import sys, torch
from amgan_fast.evaluate.batch_size import fitting_batch_size
print(fitting_batch_size(lambda x: x.float() * 2, torch.zeros(1, 3, 4, 4), torch.device("cpu")))
print("torch._dynamo" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["200", "False"]


def test_a_network_that_cannot_be_looked_into_gets_a_few_at_a_time():
    def alone(pixels: Tensor) -> Tensor:
        assert len(pixels) == 1
        return pixels

    assert fitting_batch_size(alone, images(1), CPU) == 32


def test_scores_are_the_same_for_every_batch_size_and_the_one_taken_is_named():
    sizes = []

    def network(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        grown = pixels.flatten(1)[:, :, None].expand(-1, -1, 2**12).clone()  # 1 MiB an image
        return grown[:, :4, 0] * 3

    chosen = scored(classifier(network), source())
    assert chosen.settings.batch_size == 8
    assert max(sizes) == 8
    assert dict(provenance(chosen))["batches"] == "8 samples at a time, as memory suggests (--batch-size)"
    given = scored(classifier(network), source(), batch_size=20)
    assert dict(provenance(given))["batches"] == "20 samples at a time"
    assert chosen.to_dict()["settings"]["batch_size"] == 8
    assert given.generated.scores.inception_score == pytest.approx(chosen.generated.scores.inception_score, rel=1e-12)


def test_own_classifiers_are_measured_in_batches_that_fit():
    pixels, labels = images(80, side=64), torch.arange(80) % 2
    network, sizes = build_classifier("cnn", (1, 64, 64), 2), []
    network.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    measure_classifier(network, Dataset("few", 2, pixels, labels, pixels[:40], labels[:40]), {})
    assert 2 < max(sizes) == fitting_batch_size(lambda some: network(to_float(some)), pixels, CPU) < 80


def test_a_network_of_which_no_size_is_known_is_doubted_where_images_are_small():
    said = "net does not say which size of images it was made for, and gets them as they come, 8 x 8"
    (warning,) = [text for text in scored(classifier(), source()).warnings if "size" in text]
    assert warning.startswith(said)
    assert warning in dict(provenance(scored(classifier(), source()))).values()
    for known in (
        classifier(takes_any_size=True),
        classifier(inputs=Inputs((8, 8), value_range="unit")),
        digits_classifier().for_images(),
    ):
        assert not any("size of images" in text for text in scored(known, source()).warnings)
    assert not any("size of images" in text for text in scored(classifier(), source(4, side=224)).warnings)


def test_more_classes_than_memory_holds_are_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(passes, "fits_in_half_of", lambda device, size: size < 2**20)
    one = classifier(lambda pixels: torch.randn(len(pixels), 1).expand(-1, 1000))
    with pytest.raises(InputError, match=r"^net has 1,000 classes, whose sums in 20 blocks take \d+ GiB, wanted"):
        scored(one, source())


@pytest.mark.parametrize("of_one_size", [True, False])
def test_images_of_the_sheet_alone_are_resized_a_second_time(monkeypatch, of_one_size):
    """Of classes 0 and 1; 2 and 3 never come, so that the sheet is never full."""
    resized, of_inputs = [], Inputs._resized
    monkeypatch.setattr(
        Inputs, "_resized", lambda self, pixels, size: (resized.append(len(pixels)), of_inputs(self, pixels, size))[1]
    )
    values = list(images(60, side=9)) if not of_one_size else images(60, side=9)

    class Alternating(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return nn.functional.pad(4 * torch.eye(2)[torch.arange(len(pixels)) % 2], (0, 2))

    class Values(TensorSource):
        def batches(self, batch_size: int, start: int = 0, stop: int | None = None):
            for at in range(start, self.count if stop is None else stop, batch_size):
                batch = values[at : at + batch_size]
                yield Batch(batch, torch.zeros(len(batch), dtype=torch.int64))

    one = classifier(Alternating(), inputs=Inputs((8, 8), resize="bilinear", value_range="unit"), is_users=False)
    of = Values(images(60, side=9), torch.zeros(60, dtype=torch.int64), "odd sizes")
    sheet = scored(one, of, batch_size=20).generated.gallery
    assert sum(resized) == 1 + 60 + 24 + 1  # a look at one, all, those of the sheet, and one for its size
    want = Inputs((8, 8), resize="bilinear", value_range="byte")(images(60, side=9)).round().to(torch.uint8)
    assert torch.equal(sheet[0], want[0:24:2])
    assert torch.equal(sheet[1], want[1:24:2])
    assert (sheet[2:] == 128).all()
