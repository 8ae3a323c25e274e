"""Features of images: of extractors by name, of classifiers beside their logits, and the same from every thread."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import digits, digits_classifier
from torch import Tensor, nn
from torchvision.models import inception_v3

from amgan_fast.data import to_float
from amgan_fast.device import cpu_threads
from amgan_fast.errors import InputError
from amgan_fast.evaluate import (
    FeatureExtractor,
    ImageClassifier,
    Inputs,
    OutputFiles,
    Settings,
    evaluate,
    open_classifier,
    open_extractor,
)
from amgan_fast.evaluate.classified import classified
from amgan_fast.evaluate.network_copies import network_copies
from amgan_fast.evaluate.sources import Batch, ImageFolderSource

CPU = torch.device("cpu")

NETWORKS = """
import torch
from torch import nn

def weights(rows, columns):
    return torch.arange(rows * columns).reshape(rows, columns).sin()

def features(images):
    return images.flatten(1) @ weights(4, 3)

class Both(nn.Module):
    def forward(self, images):
        found = features(images)
        return {"logits": found @ weights(3, 5), "features": found, "tokens": images}

def both():
    return {"network": Both(), "input_size": 2, "input_range": "unit"}

def plain():
    return {"network": lambda images: features(images), "input_size": 2, "input_range": "unit"}

def only_logits():
    return lambda images: {"logits": features(images)}

def only_features():
    return lambda images: {"features": features(images)}
"""


def weights(rows: int, columns: int) -> np.ndarray:
    return np.sin(np.arange(rows * columns).reshape(rows, columns))


@pytest.fixture
def images(generator) -> Tensor:
    return torch.randint(256, (6, 1, 2, 2), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("function", ["both", "plain", "only_features"])
def test_features_of_the_users_function(users_module, images, function):
    extractor = open_extractor(f"{users_module(NETWORKS)}:{function}")
    pixels = images.flatten(1).double().numpy()
    scaled = pixels / 127.5 - 1 if function == "only_features" else pixels / 255
    np.testing.assert_allclose(extractor.features(images).numpy(), scaled @ weights(4, 3), atol=1e-5)
    np.testing.assert_allclose(extractor.features(list(images[2:4])).numpy(), (scaled @ weights(4, 3))[2:4], atol=1e-5)
    assert (extractor.sha256 is None) == (function != "both")
    assert (extractor.note is None) == (function == "both")


def test_a_network_that_gives_both_is_a_classifier_with_features_of_the_same_call(users_module, images):
    classifier = open_classifier(f"{users_module(NETWORKS)}:both")
    outputs = classifier.outputs(images)
    want = images.flatten(1).double().numpy() / 255 @ weights(4, 3)
    np.testing.assert_allclose(outputs.features.numpy(), want, atol=1e-5)
    np.testing.assert_allclose(outputs.logits.numpy(), want @ weights(3, 5), atol=1e-5)
    assert torch.equal(classifier.logits(images), outputs.logits)


def test_features_of_a_plain_network_are_what_its_last_linear_layer_takes():
    torch.manual_seed(0)

    class TwoHeads(nn.Module):
        """Whose other head comes last, and whose tokens go through a linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.head, self.other = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            pooled = self.tokens(x.flatten(2)).mean(1)
            logits = self.head(pooled)
            self.other(pooled + 1)
            return logits

    network = TwoHeads().eval().requires_grad_(False)
    classifier = ImageClassifier("two", network, Inputs(value_range="unit"), CPU)
    images = torch.randint(256, (5, 3, 2, 2), dtype=torch.uint8)
    outputs = classifier.outputs(images)
    torch.testing.assert_close(outputs.features, network.tokens(images.flatten(2) / 255).mean(1))
    torch.testing.assert_close(network.head(outputs.features), outputs.logits)
    assert not any(module._forward_hooks for module in network.modules())
    network.head = nn.Sequential(network.head, nn.ReLU())
    assert classifier.outputs(images).features is None


def test_features_of_a_classifiers_file(tmp_path):
    digits_classifier().save(tmp_path / "classifier.pt")
    extractor = open_extractor(str(tmp_path / "classifier.pt"))
    images = digits().test_images[:20]
    layers = digits_classifier().network.layers
    torch.testing.assert_close(extractor.features(images), layers[:-1](to_float(images)), rtol=1e-4, atol=1e-5)
    assert extractor.dim == layers[-1].in_features
    assert extractor.sha256 == digits_classifier().sha256()


def test_the_pool_of_torchvisions_inception(tmp_path, generator):
    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, transform_input=False).eval()
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    extractor = open_extractor("inception-v3", weights=tmp_path / "inception.pth")
    image = torch.randint(256, (1, 3, 299, 299), generator=generator, dtype=torch.uint8)
    network.fc = nn.Identity()
    with torch.no_grad():
        want = network(image / 127.5 - 1)
    assert extractor.dim == want.size(1) == 2048
    torch.testing.assert_close(extractor.features(image), want, rtol=1e-3, atol=1e-5)
    assert extractor.note.startswith("the pool of torchvision's Inception v3")
    (tmp_path / "inception.pth").unlink()  # 100 MB


def test_what_an_extractor_says_of_itself_is_kept(users_module):
    extractor = replace(open_extractor(f"{users_module(NETWORKS)}:both"), dim=3)
    told = json.loads(json.dumps(extractor.to_dict()))
    again = FeatureExtractor.from_dict(told)
    assert again.to_dict() == extractor.to_dict()
    assert (again.name, again.dim, again.inputs) == (extractor.name, 3, Inputs((2, 2), None, "none", "unit"))
    with pytest.raises(InputError, match=r"fails on images .*this network was not kept"):
        again.features(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{'logits': torch.zeros(2, 3)}", r"a dict without 'features', wanted features \[N, D\] there"),
        ("torch.zeros(2, 3, 1, 1)", r"\[2, 3, 1, 1\] of torch.float32, wanted features \[2, D\], floating point"),
        ("{'features': torch.zeros(1, 3)}", r"\[1, 3\] of torch.float32, wanted features \[2, D\]"),
        ("torch.zeros(2, 3, dtype=torch.int32)", r"\[2, 3\] of torch.int32, wanted features"),
        ("torch.zeros(2, 0)", "features of no columns, wanted features"),
        ("[1, 2]", "a list, wanted features"),
    ],
)
def test_a_network_that_gives_no_features(users_module, given, said):
    name = users_module(f"import torch\ndef net(): return lambda images: {given}")
    with pytest.raises(InputError, match=f"^{name}:net gives {said}"):
        open_extractor(f"{name}:net").features(torch.zeros(2, 1, 2, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{'features': torch.zeros(2, 3)}", r"a dict without 'logits', wanted logits \[2, K\], floating point there"),
        ("{'logits': [1]}", "a list, wanted logits"),
        ("{'logits': torch.zeros(2, 3), 'features': torch.zeros(3, 3)}", r"\[3, 3\] of torch.float32, wanted features"),
        ("{'logits': torch.ones(2, 4) / 4, 'features': torch.zeros(2, 3)}", "probabilities"),
    ],
)
def test_a_dict_of_a_classifier_that_cannot_be_scored(users_module, given, said):
    name = users_module(f"import torch\ndef net(): return lambda images: {given}")
    with pytest.raises(InputError, match=f"^{name}:net gives {said}"):
        open_classifier(f"{name}:net").outputs(torch.zeros(2, 1, 2, 2))


def test_an_extractor_that_cannot_be_opened(users_module, tmp_path):
    name = users_module(NETWORKS)
    for spec, options, said in (
        ("no.pt", {}, "extractor is 'no.pt', wanted a file, module:function, inception-2015 or inception-v3"),
        (f"{name}:none", {}, f"extractor {name}:none: {name} has no none"),
        (f"{name}:both", {"weights": Path("w.pth")}, "weights is w.pth, wanted none for"),
        (f"{name}:both", {"size": (4, 4)}, "size is 4 x 4 .*its own is 2 x 2"),
        ("inception-v3", {}, "weights is None, wanted the file of torchvision's weights"),
        ("inception-v3", {"weights": tmp_path / "none.pth"}, "none.pth does not exist"),
    ):
        with pytest.raises(InputError, match=said):
            open_extractor(spec, **options)


class Convolution(nn.Module):
    def __init__(self, *, as_dict: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(144, 5)
        self.as_dict = as_dict
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        features = self.body(images)
        logits = self.head(features)
        return {"logits": logits, "features": features} if self.as_dict else logits


def batches() -> list[Batch]:
    random = torch.Generator().manual_seed(1)
    return [Batch(torch.randint(256, (n, 3, 8, 8), generator=random, dtype=torch.uint8)) for n in (3, 8, 1, 5, 8, 2)]


@pytest.mark.parametrize("as_dict", [False, True])
def test_threads_give_the_features_of_one_to_the_bit(as_dict):
    found = []
    for threads in (1, 3):
        judge = ImageClassifier("mine", Convolution(as_dict=as_dict), Inputs(channels=3), CPU)
        given = batches()
        with (
            cpu_threads(threads),
            classified(iter(given), len(given), judge, given[0], by_threads=True, features=True) as results,
        ):
            outputs = [outputs for _, outputs in results]
        found.append([torch.cat([getattr(one, name) for one in outputs]) for name in ("logits", "features")])
    assert all(map(torch.equal, *found))
    assert found[0][1].shape == (27, 144)


def test_an_extractor_is_copied_for_threads(tmp_path):
    digits_classifier().save(tmp_path / "classifier.pt")
    extractor = open_extractor(str(tmp_path / "classifier.pt"))
    images = digits().test_images[:20]
    copies = network_copies(extractor, lambda one: [one.features(images[:1])], 2)
    assert len({id(one.network.network) for one in (extractor, *copies)}) == 3
    for one in copies:
        assert torch.equal(one.features(images), extractor.features(images))


def test_the_file_of_features_is_that_of_one_thread_to_the_bit(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:02}.png")
    judge = ImageClassifier("mine", Convolution(as_dict=False), Inputs(channels=3), CPU)
    saved = []
    for threads in (1, 3):
        file = tmp_path / f"{threads}.npy"
        source, files = ImageFolderSource(tmp_path / "images"), OutputFiles(features=file)
        with cpu_threads(threads):
            evaluate(source, judge, settings=Settings(batch_size=4, splits=1), save=files)
        saved.append(np.load(file))
    np.testing.assert_array_equal(*saved)
    assert saved[0].shape == (30, 144)
