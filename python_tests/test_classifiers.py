"""The classifiers that scores are computed with: how they are built, trained, kept, opened, and refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import safetensors.torch
import scipy.special
import scipy.stats
import torch
from tiny_runs import digits, digits_classifier
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torchvision.models import Inception_V3_Weights, inception_v3
from torchvision.transforms.functional import normalize

from amgan_fast.data import Dataset, to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.by_name import open_classifier
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.classifiers.inputs import Inputs
from amgan_fast.evaluate.classifiers.trained import load_classifier, read_classifier
from amgan_fast.nn import CLASSIFIERS, build_classifier
from amgan_fast.progress import Observer
from amgan_fast.tensor_files import load_tensors, save_tensors
from amgan_fast.train.augmentation import Augmentation, crop
from amgan_fast.train.classifier_recipes import CLASSIFIER_RECIPES, build_optimizer
from amgan_fast.train.classifier_training import train_classifier, train_classifier_file

TINY = {"depth": 10, "growth": 4}


def few_digits() -> Dataset:
    whole = digits()
    return replace(whole, train_images=whole.train_images[:300], train_labels=whole.train_labels[:300])


def train_tiny(dataset: Dataset, **options):
    return train_classifier(dataset, network="densenet-bc", **TINY, **options)


# Networks


@pytest.mark.parametrize(
    ("depth", "growth", "millions"),
    [(100, 12, 0.8), (250, 24, 15.3), (190, 40, 25.6)],  # arXiv 1608.06993, table 2
)
def test_densenet_bc_has_the_parameters_of_its_paper(depth, growth, millions):
    with torch.device("meta"):
        network = build_classifier("densenet-bc", (3, 32, 32), 10, depth=depth, growth=growth)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == millions


def test_densenet_bc_has_the_layers_of_its_paper():
    """Depth 40, growth 40: three blocks of six bottlenecks on 32, 16 and 8 pixels, transitions halving channels."""
    network = build_classifier("densenet-bc", (3, 32, 32), 10)
    shapes, weights = [], []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights.append(tuple(module.weight.shape))
            module.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[1:]))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 32, 32))
    want, channels = [((80, 3, 3, 3), (80, 32, 32))], 80
    for side in (32, 16, 8):
        for _ in range(6):
            want += [((160, channels, 1, 1), (160, side, side)), ((40, 160, 3, 3), (40, side, side))]
            channels += 40
        if side > 8:
            want.append(((channels // 2, channels, 1, 1), (channels // 2, side, side)))
            channels //= 2
    assert list(zip(weights, shapes, strict=True)) == want
    assert len(want) + 1 == 40  # with the linear layer: the depth
    # Before each convolution but the first, and at the end.
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == len(want)


@pytest.mark.parametrize(("architecture", "sizes"), [("cnn", {"width": 8}), ("densenet-bc", TINY)])
@pytest.mark.parametrize("image_shape", [(1, 4, 4), (1, 8, 8), (1, 28, 28), (3, 32, 24)])
def test_classifiers_take_any_image_shape(architecture, sizes, image_shape):
    network = build_classifier(architecture, image_shape, 7, **sizes)
    assert network(torch.randn(2, *image_shape)).shape == (2, 7)
    assert (network.image_shape, network.num_classes, network.sizes) == (image_shape, 7, sizes)


def test_every_classifier_has_a_recipe():
    assert set(CLASSIFIERS) == set(CLASSIFIER_RECIPES) == {"cnn", "densenet-bc"}


@pytest.mark.parametrize(
    ("architecture", "image_shape", "sizes", "said"),
    [
        ("resnet", (1, 8, 8), {}, "architecture is 'resnet', wanted one of cnn, densenet-bc"),
        ("cnn", (1, 3, 8), {}, "images are 3 x 8, wanted at least 4 x 4"),
        ("densenet-bc", (1, 8, 8), {"depth": 41}, r"depth is 41, wanted 6 n \+ 4, n at least 1: 40, say"),
        ("densenet-bc", (1, 8, 8), {"depth": 4}, "depth is 4, wanted"),
        ("densenet-bc", (1, 8, 8), {"growth": 0}, "growth is 0, wanted at least 1"),
    ],
)
def test_classifiers_that_cannot_be_built(architecture, image_shape, sizes, said):
    with pytest.raises(ValueError, match=said):
        build_classifier(architecture, image_shape, 10, **sizes)


# Augmentation


def test_crops_against_a_plain_loop(generator):
    images = torch.randint(256, (20, 3, 9, 11), generator=generator, dtype=torch.uint8)
    top = torch.randint(4, (20,), generator=generator)
    left = torch.randint(5, (20,), generator=generator)
    mirror = torch.rand(20, generator=generator) < 0.5
    got = crop(images, (6, 7), top, left, mirror)
    assert got.dtype == torch.uint8
    for image, y, x, mirrored, result in zip(images, top, left, mirror, got, strict=True):
        piece = image[:, y : y + 6, x : x + 7]
        assert torch.equal(result, piece.flip(2) if mirrored else piece)
    assert torch.equal(crop(images, (6, 7), top, left), crop(images, (6, 7), top, left, mirror & False))


@pytest.mark.parametrize("mirrored", [False, True])
def test_all_places_are_equally_likely(generator, mirrored):
    image = torch.randint(1, 256, (2, 5, 6), generator=generator, dtype=torch.uint8)
    frame = torch.zeros(2, 9, 10, dtype=torch.uint8)
    frame[:, 2:7, 2:8] = image
    pieces = [frame[:, y : y + 5, x : x + 6] for y in range(5) for x in range(5)]
    if mirrored:
        pieces += [piece.flip(2) for piece in pieces]
    drawn = Augmentation(2, mirrored)(image.expand(10_000, -1, -1, -1), generator)
    counts = [int((drawn == piece).flatten(1).all(1).sum()) for piece in pieces]
    assert sum(counts) == 10_000
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_augmentation_fits_the_dataset():
    """4 pixels of 32, as in the paper; and no digit is mirrored."""
    assert Augmentation.for_dataset(digits()) == Augmentation(1, mirrored=False)
    other = replace(digits(), mirror_symmetric=True, train_images=torch.zeros(1, 3, 32, 40, dtype=torch.uint8))
    assert Augmentation.for_dataset(other) == Augmentation(4, mirrored=True)


def test_augmentation_on_every_device(device):
    images = to_float(digits().train_images[:50]).to(device)
    got = Augmentation(1, mirrored=True)(images, torch.Generator(device).manual_seed(0))
    assert (got.shape, got.dtype, got.device.type) == (images.shape, images.dtype, device.type)


# Training


def test_the_recipe_of_densenet_bc_is_the_papers():
    recipe = CLASSIFIER_RECIPES["densenet-bc"]
    assert recipe.steps(50_000, None) == 300 * 50_000 // 64
    parameter = nn.Parameter(torch.zeros(1))
    optimizer, schedule = build_optimizer(recipe, [parameter], 40)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 1e-4)
    rates = []
    for _ in range(40):
        rates.append(group["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1] * 20 + [0.01] * 10 + [0.001] * 10)


def test_epochs_are_counted_in_images():
    assert CLASSIFIER_RECIPES["cnn"].steps(1437, None) == 1500
    assert CLASSIFIER_RECIPES["cnn"].steps(128_000, None) == 3000
    assert CLASSIFIER_RECIPES["cnn"].steps(1280, 2) == 20
    assert CLASSIFIER_RECIPES["densenet-bc"].steps(10, 1) == 1


def test_a_tiny_densenet_learns_digits():
    classifier = train_tiny(digits(), steps=100)
    assert classifier.test_accuracy > 0.5
    assert classifier.recipe["steps"] == 100
    assert classifier.recipe["epochs"] == pytest.approx(100 * 64 / 1437)
    assert classifier.recipe["augmentation"] == {"padding": 1, "mirrored": False}
    assert not classifier.network.training


def test_the_same_seed_gives_the_same_weights():
    hashes = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(hashes))  # whatever was drawn before
        hashes.append(train_tiny(few_digits(), epochs=1, seed=seed).sha256())
    assert hashes[0] == hashes[1] != hashes[2]


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    train_tiny(few_digits(), steps=1)
    assert torch.equal(torch.rand(3), want)


def test_the_entropies_of_a_classifier_against_scipy():
    classifier = digits_classifier()
    whole = digits()
    for images, histogram in (
        (whole.train_images, classifier.training_entropy),
        (whole.test_images, classifier.held_out_entropy),
    ):
        with torch.no_grad():
            logits = classifier.network(to_float(images)).double().numpy()
        entropy = scipy.stats.entropy(scipy.special.softmax(logits, axis=1), axis=1)
        assert histogram.n == len(images)
        assert histogram.mean == pytest.approx(entropy.mean(), rel=1e-5)
        assert histogram.below == pytest.approx((entropy < 0.05).mean(), abs=2 / len(images))


def test_training_that_cannot_start():
    with pytest.raises(InputError, match="epochs is 0, wanted at least 1"):
        train_tiny(few_digits(), epochs=0)
    with pytest.raises(ValueError, match="steps is 3 and epochs is 2, wanted only one of them"):
        train_tiny(few_digits(), steps=3, epochs=2)
    with pytest.raises(InputError, match="architecture is 'vgg', wanted one of cnn, densenet-bc"):
        train_classifier(few_digits(), network="vgg")


@pytest.mark.parametrize(("steps", "seen_at"), [(40, 20), (7, 7)])
def test_a_loss_that_is_not_finite_stops_the_training(monkeypatch, steps, seen_at):
    monkeypatch.setitem(
        CLASSIFIER_RECIPES, "densenet-bc", replace(CLASSIFIER_RECIPES["densenet-bc"], learning_rate=1e30)
    )
    with pytest.raises(FloatingPointError, match=rf"step {seen_at}: the classifier's loss is (nan|inf), wanted"):
        train_tiny(few_digits(), steps=steps)


# Files


class Listener(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        if what == "classifier":
            self.steps.append((done, total))


def test_a_classifier_file_and_what_it_says_of_itself(tmp_path):
    out, listener = tmp_path / "made" / "tiny.pt", Listener()
    trained = train_classifier_file(
        few_digits(), out=out, network="densenet-bc", epochs=2, seed=5, observer=listener, **TINY
    )
    assert listener.steps == [(step, 9) for step in range(1, 10)]
    assert any(f"test accuracy {trained.test_accuracy:.2%}" in line for line in listener.said)
    assert any("below 0.05" in line for line in listener.said)
    assert sorted(os.listdir(out.parent)) == ["tiny.json", "tiny.pt"]

    facts = json.loads((tmp_path / "made" / "tiny.json").read_text())
    assert facts["architecture"] == {"name": "densenet-bc", "depth": 10, "growth": 4}
    assert facts["parameters"] == sum(p.numel() for p in trained.network.parameters())
    assert (facts["dataset"], facts["fingerprint"]) == ("digits", few_digits().fingerprint())
    assert facts["test_accuracy"] == trained.test_accuracy
    assert facts["training_entropy"]["n"] == 300
    assert facts["held_out_entropy"]["below"] == trained.held_out_entropy.below
    assert facts["recipe"]["steps"] == 9
    assert facts["recipe"]["seed"] == 5
    assert facts["torch"] == torch.__version__
    assert sum(facts["reference"]) == pytest.approx(1)

    read = read_classifier(out)
    assert facts["sha256"] == read.sha256() == trained.sha256()
    assert json.loads(json.dumps(read.to_dict())) == json.loads(json.dumps(trained.to_dict()))
    assert load_classifier(out, few_digits()).held_out_entropy == trained.held_out_entropy


def test_the_digest_is_that_of_names_and_bytes():
    digest = hashlib.sha256()
    for name, value in sorted(digits_classifier().network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    assert digits_classifier().sha256() == digest.hexdigest()


@pytest.mark.parametrize("taken", ["tiny.pt", "tiny.json"])
def test_a_file_that_exists_is_kept(tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(InputError, match=rf"{taken} exists, wanted a new file for --out"):
        train_classifier_file(few_digits(), out=tmp_path / "tiny.pt", network="cnn", epochs=1)
    assert os.listdir(tmp_path) == [taken]
    assert (tmp_path / taken).read_text() == "precious"


def test_places_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file cannot be made \(File exists\), wanted a folder for --out"):
        train_classifier_file(few_digits(), out=tmp_path / "file" / "tiny.pt")
    with pytest.raises(InputError, match="wanted --out with another suffix"):
        train_classifier_file(few_digits(), out=tmp_path / "tiny.json")


def test_a_full_disk_leaves_no_half_a_file(tmp_path, monkeypatch):
    def full_disk(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(InputError, match=r"tiny\.pt cannot be written \(No space left on device\)"):
        train_classifier_file(few_digits(), out=tmp_path / "tiny.pt", network="cnn", epochs=1)
    assert os.listdir(tmp_path) == []


def test_loading_draws_no_random_numbers(own_file):
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    read_classifier(own_file)
    assert torch.equal(torch.rand(3), want)


# A file of this package as the classifier


@pytest.fixture
def own_file(tmp_path) -> Path:
    digits_classifier().save(tmp_path / "digits.pt")
    return tmp_path / "digits.pt"


def test_a_file_of_this_package(own_file):
    classifier = open_classifier(str(own_file))
    images = digits().test_images
    with torch.no_grad():
        want = digits_classifier().network(to_float(images))
    assert torch.equal(classifier.logits(images), want)
    assert torch.equal(classifier.logits(list(images[:5])), classifier.logits(images[:5]))
    assert not classifier.logits(images[:5]).requires_grad
    assert classifier.inputs == Inputs((8, 8), 1, "none", "amgan")
    assert classifier.num_classes == 10
    assert classifier.sha256 == digits_classifier().sha256()
    assert classifier.test_accuracy == digits_classifier().test_accuracy
    assert classifier.tested_on == "held-out digits"
    assert (classifier.dataset, classifier.fingerprint) == ("digits", digits().fingerprint())
    torch.testing.assert_close(classifier.reference, digits_classifier().reference, rtol=0, atol=0)


def test_what_a_classifier_says_of_itself_is_json(own_file):
    classifier = open_classifier(str(own_file), resize="bicubic", dtype=torch.float64)
    facts = json.loads(json.dumps(classifier.to_dict()))
    assert facts["name"] == str(own_file)
    assert facts["inputs"] == {
        "size": [8, 8],
        "channels": 1,
        "resize": "bicubic",
        "value_range": "amgan",
        "dtype": "float64",
    }
    assert facts["test_accuracy"] == digits_classifier().test_accuracy
    assert facts["device"] == "cpu"


def test_a_runs_own_classifier(device):
    dataset = digits().to(device)
    trained = train_tiny(dataset, steps=2)
    classifier = trained.for_images()
    assert classifier.name == "densenet-bc of digits"
    assert classifier.device.type == device.type
    assert classifier.network is trained.network
    assert classifier.logits(digits().test_images[:3]).shape == (3, 10)


def test_another_dtype_leaves_the_trained_network_as_it_is():
    trained = digits_classifier()
    exact = trained.for_images(dtype=torch.float64)
    images = digits().test_images[:20]
    logits = exact.logits(images)
    assert logits.dtype == torch.float64
    assert exact.sha256 == trained.sha256()
    assert next(trained.network.parameters()).dtype == torch.float32
    torch.testing.assert_close(logits.float(), trained.for_images().logits(images), rtol=1e-4, atol=1e-4)


def test_images_of_another_size_are_resized_only_on_request(own_file):
    images = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"images are 16 x 16, wanted 8 x 8 as the classifier takes them"):
        open_classifier(str(own_file)).logits(images)
    assert open_classifier(str(own_file), resize="bilinear").logits(images).shape == (2, 10)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"value_range": "unit"}, r"value_range is 'unit' \(--input-range\), wanted none for .*: its own is 'amgan'"),
        ({"size": (16, 16)}, r"size is 16 x 16 \(--input-size\), wanted none for .*: its own is 8 x 8"),
        ({"weights": Path("x.pth")}, r"weights is x\.pth, wanted none for .*: they are for inception-2015 and inc"),
        (
            {"last_bias": False},
            "last_bias is False, wanted True for .*: only inception-2015 and inception-v3 do without",
        ),
        ({"resize": "lanczos"}, "resize is 'lanczos', wanted one of"),
    ],
)
def test_a_file_of_this_package_is_fixed_in_what_it_takes(own_file, options, said):
    with pytest.raises(InputError, match=said):
        open_classifier(str(own_file), **options)
    assert open_classifier(str(own_file), value_range="amgan", size=(8, 8)).num_classes == 10


class Malicious:
    """Would leave a file behind, were it unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self):
        return (Path.touch, (self._mark,))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, own_file):
    mark = tmp_path / "ran"
    torch.save(load_tensors(own_file) | {"recipe": Malicious(mark)}, tmp_path / "bad.pt")
    with pytest.raises(InputError, match=r"bad\.pt is damaged or no checkpoint"):
        open_classifier(str(tmp_path / "bad.pt"))
    with pytest.raises(InputError, match=r"bad\.pt is damaged or no checkpoint"):
        open_classifier("inception-v3", weights=tmp_path / "bad.pt")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": {"name": "resnet"}}, "architecture is 'resnet', wanted one of cnn, densenet-bc"),
        ({"architecture": {"name": "cnn", "width": 8}}, "Error.s. in loading state_dict"),
        ({"architecture": {"name": "cnn", "height": 8}}, "unexpected keyword argument 'height'"),
        ({"architecture": None}, "TypeError"),
        ({"image_shape": [1, 12, 12]}, "size mismatch"),
        ({"image_shape": [8, 8]}, "Error: "),
        ({"num_classes": "ten"}, "TypeError"),
        ({"reference": torch.ones(3, dtype=torch.float64)}, r"reference is \[3\] of torch\.float64"),
        ({"reference": [0.1] * 10}, "AttributeError"),
        ({"training_entropy": {"n": 3}}, "missing"),
        ({"test_accuracy": "good"}, "ValueError"),
    ],
)
def test_files_that_hold_something_else(own_file, change, said):
    save_tensors(own_file, load_tensors(own_file) | change)
    with pytest.raises(InputError, match=rf"digits\.pt holds no classifier that fits \(.*{said}.*, wanted") as caught:
        open_classifier(str(own_file))
    assert len(str(caught.value).splitlines()) == 1


def test_files_of_earlier_versions_are_refused(own_file):
    state = load_tensors(own_file)
    del state["architecture"]
    save_tensors(own_file, state)
    with pytest.raises(InputError, match="names no architecture, as files of earlier versions do not; wanted"):
        open_classifier(str(own_file))


def test_a_file_of_something_else_is_said_to_hold_what_it_holds(own_file):
    save_tensors(own_file, {"config": {}, "step": 3})
    with pytest.raises(InputError, match=r"fits \(no architecture, but config, step\), wanted one that amgan-fast"):
        open_classifier(str(own_file))


def test_a_classifier_that_is_nowhere():
    with pytest.raises(InputError, match=r"classifier is 'no\.pt', wanted a file, module:function, inception-2015 or"):
        open_classifier("no.pt")


def test_a_folder_is_no_classifier_but_may_have_one(own_file):
    folder = own_file.parent
    with pytest.raises(
        InputError, match=rf"classifier is '{folder}', a folder, wanted a file, module:function, inception"
    ):
        open_classifier(str(folder))
    own_file.rename(folder / "classifier.pt")
    with pytest.raises(InputError, match=rf"'{folder}', a folder; its classifier is {folder}/classifier\.pt, wanted"):
        open_classifier(str(folder))
    with pytest.raises(InputError, match=rf"^{folder} is a folder, wanted torchvision's state_dict"):
        open_classifier("inception-v3", weights=folder)


# The user's own network


LINEAR = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(12), nn.Linear(12, 4))

def function():
    return lambda images: images.flatten(1)[:, :4] * 2

class Names:
    net = staticmethod(net)
"""


def test_a_users_module(users_module, generator):
    name = users_module(LINEAR)
    classifier = open_classifier(f"{name}:net")
    images = torch.randint(256, (5, 3, 2, 2), generator=generator, dtype=torch.uint8)
    torch.manual_seed(0)
    want = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(12), nn.Linear(12, 4)).eval()
    torch.testing.assert_close(classifier.logits(images), want(images / 127.5 - 1).detach())
    assert classifier.inputs == Inputs(None, None, "none", "signed")
    assert classifier.num_classes is None
    assert classifier.test_accuracy is None
    digest = hashlib.sha256()
    for key, value in sorted(want.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    assert classifier.sha256 == digest.hexdigest()
    assert open_classifier(f"{name}:Names.net").sha256 == classifier.sha256


def test_a_users_module_with_other_inputs(users_module, generator):
    name = users_module(LINEAR)
    options = {"size": (2, 2), "resize": "nearest", "value_range": "unit", "dtype": torch.float64}
    classifier = open_classifier(f"{name}:net", **options)
    images = torch.randint(256, (3, 3, 4, 4), generator=generator, dtype=torch.uint8)
    logits = classifier.logits(images)
    assert logits.dtype == torch.float64
    torch.manual_seed(0)
    want = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(12), nn.Linear(12, 4)).double().eval()
    torch.testing.assert_close(logits, want(images[:, :, 1::2, 1::2].double() / 255).detach())


def test_a_users_function_has_no_digest(users_module, generator):
    name = users_module(LINEAR)
    classifier = open_classifier(f"{name}:function", value_range="byte")
    images = torch.randint(256, (5, 1, 2, 2), generator=generator, dtype=torch.uint8)
    assert torch.equal(classifier.logits(images), images.flatten(1).float() * 2)
    assert classifier.sha256 is None
    assert "no SHA-256" in classifier.note


@pytest.mark.parametrize(
    ("source", "function", "said"),
    [
        ("import no_such_library", "net", "cannot be imported .ModuleNotFoundError: No module named 'no_such_library'"),
        ("def net(:", "net", r"cannot be imported .SyntaxError: .*line 1"),
        ("raise SystemExit(3)", "net", "cannot be imported .SystemExit: 3"),
        ("", "net", "has no net, wanted a name there"),
        ("def net(depth): ...", "net", r"net\(\) fails .TypeError: net\(\) missing 1 required positional argument"),
        ("def net():\n  raise OSError('no\\nfile')", "net", r"net\(\) fails .OSError: no file.,"),
        ("net = 3", "net", r"net\(\) fails .TypeError: 'int' object is not callable"),
        (
            "def net(): return {}",
            "net",
            r"net\(\) returns a dict without 'network', wanted a torch.nn.Module or another",
        ),
        (
            "def net(): return {'network': 3}",
            "net",
            r"net\(\) returns a int, wanted a torch.nn.Module or another callable",
        ),
        ("def __getattr__(name): raise SystemExit(5)", "net", "has no net that can be had .SystemExit: 5"),
        ("def net(): raise SystemExit(5)", "net", r"net\(\) fails .SystemExit: 5"),
        ("def net(): return dict", "net", r"net\(\) returns the class dict, wanted a torch.nn.Module"),
        ("", "", "wanted module:name"),
    ],
)
def test_a_users_module_that_does_not_work(users_module, source, function, said):
    name = users_module(source)
    with pytest.raises(InputError, match=rf"{name}.*{said}") as caught:
        open_classifier(f"{name}:{function}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("'size': 8", "a dict with 'size', wanted network, input_size, input_range, classes"),
        ("'input_size': 0", r"input_size 0, wanted pixels: a number, \(height, width\), or None for any"),
        ("'input_size': (3, 8, 8)", r"input_size \(3, 8, 8\), wanted pixels"),
        ("'input_size': '8'", "input_size '8', wanted pixels"),
        ("'input_size': True", "input_size True, wanted pixels"),
        ("'input_range': [0, 1]", r"input_range \[0, 1\], wanted one of amgan, signed, unit, byte, imagenet"),
        ("'classes': 1", "classes 1, wanted how many, at least 2, or their names"),
        ("'classes': ['cat']", r"classes \['cat'\], wanted how many"),
        ("'classes': [1, 2]", r"classes \[1, 2\], wanted how many"),
    ],
)
def test_a_function_that_says_what_cannot_be(users_module, said, complaint):
    name = users_module(f"def net(): return {{'network': len, {said}}}")
    with pytest.raises(InputError, match=rf"^classifier {name}:net: net\(\) returns {complaint}[^\n]*$"):
        open_classifier(f"{name}:net")


SAYS = """
def net():
    return {"network": lambda images: images.flatten(1)[:, :4], "input_size": 2, "input_range": "unit", "classes": %s}
"""


def test_a_function_says_what_its_network_was_made_for(users_module, generator):
    name = users_module(SAYS % ["a", "b", "c", "d"])
    classifier = open_classifier(f"{name}:net", resize="nearest")
    assert classifier.inputs == Inputs((2, 2), None, "nearest", "unit")
    assert (classifier.num_classes, classifier.class_names) == (4, ("a", "b", "c", "d"))
    images = torch.randint(256, (3, 1, 4, 4), generator=generator, dtype=torch.uint8)
    torch.testing.assert_close(classifier.logits(images), images[:, :, 1::2, 1::2].flatten(1) / 255)
    with pytest.raises(InputError, match=r"images are 4 x 4, wanted 2 x 2 as the classifier takes them, or a way to"):
        open_classifier(f"{name}:net").logits(images)
    with pytest.raises(InputError, match=r"size is 4 x 4 \(--input-size\), wanted none for .*: its own is 2 x 2"):
        open_classifier(f"{name}:net", size=(4, 4))
    with pytest.raises(InputError, match=r"value_range is 'byte' .*, wanted none for .*: its own is 'unit'"):
        open_classifier(f"{name}:net", value_range="byte")


def test_a_function_that_says_another_number_of_classes_than_there_are(users_module):
    name = users_module(SAYS % 5)
    with pytest.raises(InputError, match=rf"{name}:net gives \[2, 4\] of torch.float32, wanted logits \[2, 5\]"):
        open_classifier(f"{name}:net").logits(torch.zeros(2, 1, 2, 2))


MODULES = {
    "lazy": ("nn.LazyLinear(4)", "uninitialized parameter"),
    "without values": ("nn.Linear(4, 4, device='meta')", "NotImplementedError"),
    "exported": ("torch.export.export(nn.Linear(4, 4), (torch.zeros(1, 4),)).module()", "eval"),
}


@pytest.mark.parametrize(("makes", "said"), MODULES.values(), ids=MODULES)
def test_modules_that_cannot_be_scored_with(users_module, makes, said):
    name = users_module(f"import torch\nfrom torch import nn\ndef net(): return {makes}")
    with pytest.raises(InputError, match=rf"^classifier {name}:net: its module [^\n]*{said}[^\n]*, wanted") as caught:
        open_classifier(f"{name}:net").logits(torch.zeros(2, 1, 2, 2))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.parametrize(
    "makes",
    [
        "torch.jit.script(flat)",
        "torch.jit.trace(flat, torch.zeros(1, 1, 2, 2))",
        "torch.jit.freeze(torch.jit.script(flat))",
        "flat.to(torch.float8_e4m3fn)",
        "nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))",
    ],
)
def test_modules_of_other_kinds(users_module, makes):
    name = users_module(
        f"import torch\nfrom torch import nn\ndef net():\n"
        f"    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()\n    return {makes}"
    )
    classifier = open_classifier(f"{name}:net")
    assert classifier.logits(torch.zeros(2, 1, 2, 2)).shape == (2, 3)
    assert len(classifier.sha256) == 64


def test_a_network_that_exits(users_module):
    """Its exit code would be the command's, without a word."""
    name = users_module("def net(): return lambda images: exit(5)")
    with pytest.raises(InputError, match=rf"^{name}:net fails on images .*SystemExit: 5\), wanted a classifier"):
        open_classifier(f"{name}:net").logits(torch.zeros(2, 1, 2, 2))


def test_a_module_that_is_not_there(users_module):
    with pytest.raises(InputError, match=r"nowhere cannot be imported \(ModuleNotFoundError: No module named"):
        open_classifier("nowhere:net")


@dataclass
class Gives:
    """A network that gives always the same."""

    value: object

    def __call__(self, images: Tensor) -> object:
        return self.value


@pytest.mark.parametrize(
    ("value", "num_classes", "said"),
    [
        ((torch.zeros(2, 4),), None, r"gives a tuple, wanted logits \[2, K\], floating point"),
        (torch.zeros(2, 4, 1, 1), None, r"gives \[2, 4, 1, 1\] of torch\.float32, wanted logits \[2, K\]"),
        (torch.zeros(()), None, r"gives \[\] of torch\.float32, wanted logits"),
        (torch.zeros(1, 4), None, r"gives \[1, 4\] of torch\.float32, wanted logits \[2, K\]"),
        (torch.zeros(2, 4, dtype=torch.int64), None, r"gives \[2, 4\] of torch\.int64, wanted logits"),
        (torch.zeros(2, 4), 5, r"gives \[2, 4\] of torch\.float32, wanted logits \[2, 5\]"),
        (torch.zeros(2, 0), None, "gives 0 classes, wanted logits of at least 2"),
        (torch.zeros(2, 1), None, "gives 1 classes, wanted logits of at least 2"),
        (torch.zeros(2, 4).to_sparse(), None, r"gives a tensor of layout torch\.sparse_coo, wanted logits"),
        (torch.zeros(2, 4, device="meta"), None, r"gives a tensor without values \(meta\), wanted logits"),
        (torch.zeros(2, 4).to(torch.float8_e5m2), None, r"gives \[2, 4\] of torch\.float8_e5m2, wanted logits"),
        (torch.randn(2, 4).softmax(1), None, "gives probabilities"),
        (torch.randn(2, 40).softmax(1).bfloat16(), None, "gives probabilities"),
    ],
)
def test_a_network_that_gives_no_logits(value, num_classes, said):
    classifier = ImageClassifier("net", Gives(value), Inputs(), torch.device("cpu"), num_classes, is_users=True)
    with pytest.raises(InputError, match=f"net {said}"):
        classifier.logits(torch.zeros(2, 1, 4, 4))


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
@pytest.mark.parametrize(
    "network",
    [
        lambda images: torch.nested.nested_tensor([torch.zeros(4), torch.zeros(3)]),
        lambda images: FakeTensorMode(allow_non_fake_inputs=True).from_tensor(torch.zeros(2, 4)),
    ],
    ids=["nested", "fake"],
)
def test_a_network_whose_logits_cannot_be_looked_at(network):
    classifier = ImageClassifier("net", network, Inputs(), torch.device("cpu"), is_users=True)
    with pytest.raises(InputError, match=r"^net fails on images [^\n]*, wanted a classifier that takes them$"):
        classifier.logits(torch.zeros(2, 1, 4, 5))


def test_a_network_that_fails_on_its_images():
    network = nn.Linear(3, 4)
    classifier = ImageClassifier("net", network, Inputs(), torch.device("cpu"))
    with pytest.raises(
        InputError, match=r"net fails on images \[2, 1, 4, 5\] of torch.float32 .RuntimeError: "
    ) as caught:
        classifier.logits(torch.zeros(2, 1, 4, 5))
    assert len(str(caught.value).splitlines()) == 1


# Inception v3


@pytest.fixture(scope="module")
def inception():
    """torchvision's own, with random weights and the statistics of two images: its logits depend on the image."""
    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, transform_input=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(2, 3, 299, 299))
    return network.eval()


@pytest.fixture(scope="module")
def inception_file(inception, tmp_path_factory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(inception.state_dict(), path)
    yield path
    path.unlink()  # 100 MB


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    return torch.randint(256, (2, 3, 299, 299), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(scope="module")
def torchvisions_logits(inception, photographs) -> Tensor:
    """By its documented preprocessing, and its own input transformation behind that."""
    transforms = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    with torch.no_grad():
        logits = inception(normalize(photographs / 255, transforms.mean, transforms.std))
    assert (logits[0] - logits[1]).abs().max() > 0.05  # or the weights do not depend on the image
    return logits


def of_no_values(network: nn.Module) -> dict[str, Tensor]:
    """Zeros of the true shapes that are stored as one each: a file of a few hundred kilobytes."""
    return {
        name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in network.state_dict().items()
    }


def test_inception_v3_gives_torchvisions_logits(inception, inception_file, photographs, torchvisions_logits):
    classifier = open_classifier("inception-v3", weights=inception_file)
    assert classifier.network.Conv2d_1a_3x3.conv.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(classifier.logits(photographs), torchvisions_logits, rtol=1e-3, atol=1e-4)
    other = replace(classifier, inputs=replace(classifier.inputs, value_range="unit"))
    assert (other.logits(photographs[:1]) - torchvisions_logits[:1]).abs().max() > 0.01  # the range matters
    # Nothing of the file is lost but what is only for training.
    kept = {name: value for name, value in inception.state_dict().items() if not name.startswith("AuxLogits")}
    torch.testing.assert_close(dict(classifier.network.state_dict()), kept, rtol=0, atol=0)


def test_what_inception_v3_says_of_itself(inception_file, photographs):
    classifier = open_classifier("inception-v3", weights=inception_file)
    assert classifier.inputs == Inputs((299, 299), 3, "bilinear", "signed")
    assert classifier.num_classes == 1000
    assert classifier.sha256 == hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert classifier.test_accuracy is None
    assert classifier.sha256_of == str(inception_file)
    assert "with the bias of the last layer" in classifier.note
    assert classifier.logits(photographs[:1, :1, :32, :32]).shape == (1, 1000)  # small and grey


def test_inception_v3_from_safetensors_without_the_last_bias(inception, photographs, torchvisions_logits, tmp_path):
    path = tmp_path / "inception.safetensors"
    safetensors.torch.save_file(inception.state_dict(), path)
    classifier = open_classifier("inception-v3", weights=path, last_bias=False)
    want = torchvisions_logits - inception.fc.bias.detach()
    torch.testing.assert_close(classifier.logits(photographs), want, rtol=1e-3, atol=1e-4)
    assert inception.fc.bias.abs().max() > 0.01
    assert classifier.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "without the bias of the last layer" in classifier.note
    path.unlink()


def test_inception_v3_of_another_number_of_classes(inception, tmp_path):
    state = of_no_values(inception)
    state |= {"fc.weight": torch.zeros(7, 2048), "fc.bias": torch.zeros(7)}
    torch.save(state, tmp_path / "seven.pth")
    assert open_classifier("inception-v3", weights=tmp_path / "seven.pth").num_classes == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("fc.bias"), r"does not fit inception_v3 \(KeyError: 'fc.bias'\)"),
        (lambda state: state.pop("Conv2d_1a_3x3.conv.weight"), "Missing key.*Conv2d_1a_3x3.conv.weight"),
        (lambda state: state.update({"head.weight": torch.ones(2)}), "Unexpected key.*head.weight"),
        (lambda state: state.update({"fc.weight": torch.ones(1000, 3)}), "size mismatch for fc.weight"),
        (lambda state: state.update({"epoch": 3}), "holds 'epoch', which is no tensor"),
    ],
)
def test_inception_v3_with_the_weights_of_something_else(inception, tmp_path, change, said):
    state = of_no_values(inception)
    change(state)
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(InputError, match=said) as caught:
        open_classifier("inception-v3", weights=path)
    assert str(caught.value).startswith(str(path))
    assert "wanted torchvision's state_dict of inception_v3" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_network_of_fid_is_not_taken_for_torchvisions(inception, tmp_path):
    """torch-fidelity's, whose names and shapes are those of torchvision's with 1,008 outputs."""
    state = of_no_values(inception)
    state |= {"fc.weight": torch.zeros(()).expand(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(state, tmp_path / "fid.pth")
    with pytest.raises(InputError, match=r"fid\.pth has 1,008 outputs, which is the network of FID .*; wanted [^\n]*$"):
        open_classifier("inception-v3", weights=tmp_path / "fid.pth")


def test_inception_v3_without_usable_weights(tmp_path):
    with pytest.raises(InputError, match=r"weights is None, wanted the file of torchvision's weights"):
        open_classifier("inception-v3")
    with pytest.raises(InputError, match=r"none\.pth does not exist, wanted torchvision's state_dict"):
        open_classifier("inception-v3", weights=tmp_path / "none.pth")
    for name, said in (("bad.pth", "is damaged or no checkpoint"), ("bad.safetensors", "is damaged or no safetensors")):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(InputError, match=said):
            open_classifier("inception-v3", weights=tmp_path / name)
    with pytest.raises(InputError, match=r"size is 128 x 128 .*, wanted none for inception-v3: its own is 299 x 299"):
        open_classifier("inception-v3", weights=tmp_path / "bad.pth", size=(128, 128))
