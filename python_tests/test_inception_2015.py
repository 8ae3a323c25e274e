"""The Inception network of published scores against torch-fidelity's own, with the same random weights from a file."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from amgan_fast.errors import InputError
from amgan_fast.evaluate import Inputs, OutputFiles, Settings, evaluate, open_classifier, open_extractor
from amgan_fast.evaluate.classifiers.inception_2015 import load_inception_2015
from amgan_fast.evaluate.network_copies import network_copies
from amgan_fast.evaluate.sources import ImageFolderSource

theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Iterator[Path]:
    """Random, with the statistics of two images, so that logits depend on the image."""
    path = tmp_path_factory.mktemp("inception") / "inception-2015.pth"
    network = nn.Module.__new__(theirs.FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "load_state_dict_from_url", lambda *arguments, **options: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *arguments: None)
        torch.manual_seed(0)
        network.__init__("random", ["logits"])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(noise(2, 40))
    # Names and tensors in the form before PyTorch 1.6, as weights of those years are.
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    yield path
    path.unlink()  # 100 MB


@pytest.fixture(scope="module")
def features_of_theirs(weights) -> theirs.FeatureExtractorInceptionV3:
    names = ["2048", "logits_unbiased", "logits"]
    return theirs.FeatureExtractorInceptionV3("theirs", names, feature_extractor_weights_path=str(weights))


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    """Of coarse squares, since networks see little of fine noise."""
    coarse = torch.randint(256, (count, 3, 5, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return nn.functional.interpolate(coarse, (side, side), mode="nearest")


def assert_same(found: Tensor, want: Tensor, tolerance: float = 1e-3) -> None:
    """To rounding, relative to how far images differ in it."""
    torch.testing.assert_close(found, want, rtol=0, atol=tolerance * float(want.std(0, unbiased=False).max()))


def test_logits_and_features_are_those_of_torch_fidelity(weights, features_of_theirs):
    with_bias = open_classifier("inception-2015", weights=weights)
    without = open_classifier("inception-2015", weights=weights, last_bias=False)
    channels_outermost = load_inception_2015(weights)
    for images in (noise(2, 32), noise(2, 299), noise(2, 317)):
        features, unbiased, logits = features_of_theirs(images)
        assert features.std(0).max() > 0.1  # or the weights do not depend on the image
        to_the_bit = channels_outermost(images.float())
        assert torch.equal(to_the_bit["features"], features)
        outputs = with_bias.outputs(images)
        assert_same(outputs.features, features)
        assert_same(outputs.logits, logits)
        assert_same(without.logits(images), unbiased)
    assert (logits - unbiased).abs().max() > 0.01


def test_images_of_several_sizes_come_together(weights, features_of_theirs):
    images = [*noise(2, 32), noise(1, 47, seed=1)[0, :1], noise(1, 32, seed=2)[0]]  # the third is grey
    extractor = open_extractor("inception-2015", weights=weights)
    colour = [image.expand(3, -1, -1)[None] for image in images]
    want = torch.cat([features_of_theirs(image)[0] for image in colour])
    assert_same(extractor.features(images), want)
    assert extractor.dim == want.size(1) == 2048


def test_images_of_a_generator_are_rounded_to_pixels_as_files_have_them(weights, features_of_theirs):
    images = noise(2, 32)
    between = (images.float() + 0.3 - 127.5) / 128
    assert_same(open_extractor("inception-2015", weights=weights).features(between), features_of_theirs(images)[0])


def test_other_floating_point_types(weights, features_of_theirs):
    images = noise(2, 40)
    want = features_of_theirs(images)[0]
    double = open_extractor("inception-2015", weights=weights, dtype=torch.float64).features(images)
    assert double.dtype == torch.float64
    assert_same(double.float(), want)
    half = open_extractor("inception-2015", weights=weights, dtype=torch.bfloat16).features(images)
    assert half.dtype == torch.bfloat16
    differences, expected = half.float().diff(dim=0), want.diff(dim=0)
    assert nn.functional.cosine_similarity(differences, expected) > 0.8  # random weights amplify what 8 bits lose


def test_what_it_says_of_itself(weights):
    published = open_classifier("inception-2015", weights=weights, last_bias=False)
    assert published.inputs == Inputs(None, 3, "none", "byte")
    assert (published.num_classes, published.takes_any_size, published.takes_mixed_sizes) == (1008, True, True)
    assert published.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert published.note.startswith("the network of published Inception Scores, without the bias")
    assert "but with the bias" in open_classifier("inception-2015", weights=weights).note
    assert "published FIDs" in open_extractor("inception-2015", weights=weights).note


def test_the_same_from_safetensors(weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    safetensors.torch.save_file(state, tmp_path / "inception.safetensors")
    found = load_inception_2015(tmp_path / "inception.safetensors").state_dict()
    torch.testing.assert_close(dict(load_inception_2015(weights).state_dict()), dict(found), rtol=0, atol=0)
    (tmp_path / "inception.safetensors").unlink()


def test_copies_for_threads(weights):
    extractor = open_extractor("inception-2015", weights=weights)
    assert len(network_copies(extractor, lambda one: [one.features(noise(1, 32))], 2)) == 2


def test_a_folder_of_several_sizes_is_scored_and_its_features_saved(weights, features_of_theirs, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    sides = [24, 24, 31, 24]
    for i, side in enumerate(sides):
        pixels = noise(1, side, seed=i)[0].permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    classifier = open_classifier("inception-2015", weights=weights, last_bias=False)
    source = ImageFolderSource(folder, channels=classifier.inputs.channels, mixed_sizes=classifier.takes_mixed_sizes)
    files = OutputFiles(logits=tmp_path / "logits.npy", features=tmp_path / "features.npy")
    result = evaluate(source, classifier, settings=Settings(splits=1, batch_size=3), save=files)
    assert result.generated.scores.n == 4
    theirs_of_each = [features_of_theirs(noise(1, side, seed=i)) for i, side in enumerate(sides)]
    assert_same(torch.from_numpy(np.load(files.features)), torch.cat([one[0] for one in theirs_of_each]))
    assert_same(torch.from_numpy(np.load(files.logits)), torch.cat([one[1] for one in theirs_of_each]))


def small(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the true shapes, stored as a number each."""
    return {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in state.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("fc.bias"), "does not fit inception-2015 .*Missing key.*fc.bias"),
        (lambda state: state.update({"head.weight": torch.ones(2)}), "Unexpected key.*head.weight"),
        (lambda state: state.update({"fc.weight": torch.ones(1000, 2048)}), "size mismatch for fc.weight"),
        (lambda state: state.update({"epoch": 3}), "holds 'epoch', which is no tensor"),
    ],
)
def test_weights_of_something_else(weights, tmp_path, change, said):
    state = small(torch.load(weights, weights_only=True))
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=said) as caught:
        open_classifier("inception-2015", weights=tmp_path / "other.pth")
    assert "wanted torch-fidelity's weights-inception-2015-12-05-6726825d" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


class Executed:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4:UserWarning")
@pytest.mark.parametrize("newer", [True, False])
def test_nothing_of_a_file_is_executed(tmp_path, newer):
    torch.save({"fc.weight": Executed()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=newer)
    with pytest.raises(InputError, match=r"evil\.pth is damaged or no checkpoint"):
        open_classifier("inception-2015", weights=tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Executed()))
    with pytest.raises(InputError, match=r"plain\.pth is damaged or no checkpoint"):
        open_classifier("inception-2015", weights=tmp_path / "plain.pth")


def test_what_it_does_not_take(tmp_path):
    for options, said in (
        ({}, "weights is None, wanted the file of torch-fidelity's weights for inception-2015"),
        ({"weights": tmp_path / "none.pth"}, "none.pth does not exist, wanted torch-fidelity's weights"),
        ({"size": (64, 64)}, r"size is \(64, 64\) \(--input-size\), wanted none for inception-2015: it resizes images"),
        ({"resize": "bicubic"}, r"resize is 'bicubic' \(--resize\), wanted none for inception-2015"),
        ({"value_range": "unit"}, "value_range is 'unit' .*, wanted none for inception-2015: its own is 'byte'"),
    ):
        with pytest.raises(InputError, match=said):
            open_classifier("inception-2015", **options)


def test_without_torch_fidelity(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.delitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", raising=False)
    said = r"is torch-fidelity's .*, wanted pip install .amgan-fast\[torch-fidelity\].$"
    with pytest.raises(InputError, match=said):
        open_classifier("inception-2015", weights=tmp_path / "none.pth")
