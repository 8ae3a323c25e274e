"""Networks, datasets and models that users write, by module:name."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_resume import StopAt
from tiny_runs import assert_same_run, tiny_config, train_classifiers_for_a_moment, use_classifier_cache
from torch import nn
from typer.testing import CliRunner

from amgan_fast import load_generator
from amgan_fast.cli import app
from amgan_fast.data import load_dataset
from amgan_fast.errors import InputError
from amgan_fast.evaluate import open_run
from amgan_fast.images import ImageItems, LazyImages
from amgan_fast.runs import Checkpoint, Config, export_generator
from amgan_fast.train import TrainingStopped, resume, train
from amgan_fast.train.capture import is_captured

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")

PARTS = """
import torch
from torch import nn
from amgan_fast.objectives import AMGAN, Objective

def generator(*, inputs, image_shape, labels, width=24):
    assert inputs == 32 + labels
    size = image_shape[0] * image_shape[1] * image_shape[2]
    layers = [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, size), nn.Tanh()]
    return nn.Sequential(*layers, nn.Unflatten(1, image_shape))

class Features(nn.Module):
    def __init__(self, size, width):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))  # changes from step to step, as spectral norms do
        self.linear = nn.Linear(size, width)

    def forward(self, images):
        if self.training:
            self.seen = self.seen + 1
        noise = torch.randn_like(images) * 0.1 if self.training else 0
        return torch.relu(self.linear((images + noise).flatten(1))) + 0.01 * self.seen.log1p()

def discriminator(*, image_shape, width=20):
    return Features(image_shape[0] * image_shape[1] * image_shape[2], width)

class Hinge(Objective):
    name = "hinge"
    def outputs(self, num_classes):
        return 1
    def discriminator_loss(self, real_logits, real_labels, fake_logits, fake_labels=None):
        return (1 - real_logits).relu().mean() + (1 + fake_logits).relu().mean()
    def generator_loss(self, fake_logits, labels=None):
        return -fake_logits.mean()

class Smoothed(AMGAN):
    pass
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def parts(users_module):
    return users_module(PARTS)


OWN = {
    "networks": {"generator": "{}:generator", "discriminator": "{}:discriminator"},
    "given labels, bfloat16, another width": {
        "generator": "{}:generator",
        "discriminator": "{}:discriminator",
        "generator_options": {"width": 16},
        "discriminator_options": {"width": 12},
        "labels": "predefined",
        "precision": "bfloat16",
        "network_options": {"spectral_norm": True, "minibatch_discrimination": True},
    },
    "the generator alone": {"generator": "{}:generator"},
    "the discriminator alone, and its model": {
        "discriminator": "{}:discriminator",
        "model": "{}:Smoothed",
        "objective": {"real_smoothing": 0.1},
        "feature_matching": 0.1,
    },
    "a plain model": {"model": "{}:Hinge", "network_options": {"dropout": 0.1}},
}


@pytest.mark.parametrize("options", OWN.values(), ids=OWN)
def test_a_run_of_own_parts_that_was_stopped_goes_on_to_the_same_end(tmp_path, cache, parts, options):
    options = {name: value.format(parts) if isinstance(value, str) else value for name, value in options.items()}
    config = tiny_config(steps=8, checkpoint_every=3, **options)
    train(config, tmp_path / "whole")
    with pytest.raises(TrainingStopped, match="saved at step 6"):
        train(config, tmp_path / "stopped", StopAt(6, signal.SIGTERM))
    resume(tmp_path / "stopped", allow_code=[parts])
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_own_networks_are_trained_as_they_are(tmp_path, cache, parts):
    config = tiny_config(generator=f"{parts}:generator", discriminator=f"{parts}:discriminator", steps=2)
    run = train(config, tmp_path / "run").folder
    opened = open_run(run.path, "cpu", allow_code=[parts])
    assert [type(layer).__name__ for layer in opened.sampler.generator][:3] == ["Linear", "BatchNorm1d", "ReLU"]
    assert opened.sampler.generator[0].out_features == 24
    images, _ = opened.samples(10)
    assert images.shape == (10, 1, 8, 8)


def test_a_colon_in_a_path_names_no_code(tmp_path):
    config = tiny_config(data_dir="photos:2026", init="runs:old/first")
    config.save(tmp_path / "config.toml")
    assert Config.load(tmp_path / "config.toml") == config
    assert config.modules() == []


def test_what_a_file_names_is_run_only_where_it_is_allowed(tmp_path, cache, parts, users_module):
    train(tiny_config(generator=f"{parts}:generator", steps=2), tmp_path / "run")
    users_module("raise SystemExit('it was run')")  # from here on importing it ends this process
    said = rf"config\.toml names code to be run, generator = {parts}:generator; wanted --allow-code {parts} "
    for go_on in (resume, open_run):
        with pytest.raises(InputError, match=said):
            go_on(tmp_path / "run")
        with pytest.raises(InputError, match=said):
            go_on(tmp_path / "run", allow_code=["another"])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f"model = 'os:abort'\ngenerator = '{parts}:generator'")
    with pytest.raises(
        InputError, match=r"recipe\.toml names code to be run, model = os:abort; wanted --allow-code os "
    ):
        Config.compose(recipe, {}, [], allow_code=[parts])
    for command in (["evaluate"], ["sample"], ["train", "--resume"]):
        option = [] if command[-1] == "--resume" else ["--run"]
        result = CliRunner().invoke(app, [*command, *option, str(tmp_path / "run")])
        assert result.exit_code == 2
        assert "--allow-code" in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "def generator(*, inputs, image_shape): ...",
            "it fails when called with inputs=..., image_shape=..., labels=...",
        ),
        ("generator = 3", "it fails when called with .* 'int' object is not callable"),
        ("def generator(**given): return 3", "it returns a int, wanted a torch.nn.Module"),
        ("def generator(**given): raise SystemExit(3)", "SystemExit: 3"),
        (
            "from torch import nn\ndef generator(**given): return nn.Identity()",
            "has no parameters, wanted some to train",
        ),
        (
            "from torch import nn\ndef generator(**given): return nn.Linear(32, 7)",
            r"of \[2, 32\] its network makes \[2, 7\] of torch.float32, wanted images \[2, 1, 8, 8\] of torch.float32",
        ),
        (
            "from torch import nn\ndef generator(**given): return nn.Linear(7, 7)",
            r"its network fails on \[2, 32\] .RuntimeError: .*, wanted a network of one tensor",
        ),
        ("", "has no generator, wanted a name there"),
    ],
)
def test_a_generator_that_is_none(tmp_path, cache, users_module, source, said):
    name = users_module(source)
    with pytest.raises(InputError, match=rf"^generator {name}:generator: .*{said}") as caught:
        train(tiny_config(generator=f"{name}:generator"), tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_discriminator_that_is_none(tmp_path, cache, users_module):
    name = users_module("from torch import nn\ndef d(*, image_shape): return nn.Conv2d(1, 2, 3)")
    with pytest.raises(
        InputError, match=r"makes \[2, 2, 6, 6\] of torch.float32, wanted features \[2, F\] of torch.float32"
    ):
        train(tiny_config(discriminator=f"{name}:d"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("M = 3", {}, "it is a int, wanted a subclass of Objective"),
        (
            "from amgan_fast.objectives import Objective as M",
            {},
            "it has no discriminator_loss, generator_loss, outputs",
        ),
        (
            "from amgan_fast.objectives import AMGAN as M",
            {"width": 3},
            r"AMGAN\(width=3\) fails .TypeError: .*, wanted options of AMGAN\(fake: ",
        ),
    ],
)
def test_a_model_that_is_none(users_module, source, options, said):
    name = users_module(source)
    with pytest.raises(InputError, match=rf"^model {name}:M: {said}"):
        tiny_config(model=f"{name}:M", objective=options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "nobody"}, "model is 'nobody', wanted one of gan, .*, or module:Class"),
        ({"dataset": "nobody"}, "dataset is 'nobody', wanted one of digits, .*, or module:function"),
        ({"generator": "conv"}, "generator is 'conv', wanted module:function, or none"),
        ({"discriminator_options": {"width": 3}}, "discriminator_options is .*, wanted none without discriminator"),
        (
            {"generator": "a:b", "network_options": {"weight_norm": True}},
            "network_options.weight_norm is True, wanted false with generator = a:b",
        ),
        (
            {"discriminator": "a:b", "network_options": {"normalization": "virtual"}},
            "network_options.normalization is 'virtual', wanted batch or none with discriminator = a:b",
        ),
        (
            {"generator": "a:b", "labels": "predefined", "network_options": {"conditioning": "embedding"}},
            "network_options.conditioning is 'embedding', wanted concatenation with generator = a:b",
        ),
        (
            {"generator": "a:b", "discriminator": "a:c", "network_options": {"width": 0.5}},
            "network_options has unknown keys width, wanted some of minibatch_discrimination, spectral_norm",
        ),
    ],
)
def test_settings_that_do_not_go_with_own_parts(options, said):
    with pytest.raises(InputError, match=said):
        tiny_config(**options) if "dataset" not in options else Config(**options)


def test_steps_with_own_code_are_captured_only_where_that_is_said(parts):
    device = torch.device("cuda")
    assert is_captured(tiny_config(), device, 1)
    for own in ({"generator": f"{parts}:generator"}, {"model": f"{parts}:Hinge"}):
        assert not is_captured(tiny_config(**own), device, 1)
        assert is_captured(tiny_config(**own, cuda_graph="on"), device, 1)


DATA = """
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

images = (load_digits().images * 15).astype(np.uint8)
labels = load_digits().target

def arrays():
    return images[:, None], labels

def tensors():
    return torch.from_numpy(images[:, None]), torch.from_numpy(labels)

def split():
    names = [f"digit {i}" for i in range(10)]
    return {"train": (images[:1000, None], labels[:1000]), "test": (images[1000:, None], labels[1000:]),
            "class_names": names, "mirror_symmetric": False}

class Pairs:
    def __len__(self):
        return len(images)
    def __getitem__(self, i):
        return torch.from_numpy(images[i][None]), int(labels[i])

class Pictures(Pairs):
    targets = labels.tolist()
    def __getitem__(self, i):
        return Image.fromarray(images[i]), -1  # targets say it

def pairs():
    return Pairs()

def pictures():
    return Pictures()

def sized(data_dir=None, image_size=8):
    return np.kron(images, np.ones((1, image_size // 8, image_size // 8), np.uint8))[:, None], labels
"""


@pytest.fixture
def data(users_module):
    return users_module(DATA)


@pytest.mark.parametrize("function", ["arrays", "tensors", "pairs", "pictures"])
def test_a_part_may_be_arrays_or_pairs(data, function):
    """Whatever it is, the same images are held out, as of a folder of images."""
    dataset, wanted = load_dataset(f"{data}:{function}"), load_dataset(f"{data}:arrays")
    assert torch.equal(dataset.train_images, wanted.train_images)
    assert torch.equal(dataset.test_images, wanted.test_images)
    assert torch.equal(dataset.train_labels, wanted.train_labels)
    assert dataset.test_labels.bincount().tolist() == [
        count // 10 for count in [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    ]
    assert dataset.train_images.dtype == torch.uint8
    assert dataset.num_classes == 10
    assert dataset.stratified


def test_test_images_and_names_of_the_users(data):
    dataset = load_dataset(f"{data}:split")
    assert (len(dataset.train_images), len(dataset.test_images)) == (1000, 797)
    assert dataset.class_names[3] == "digit 3"
    assert not dataset.stratified


def test_options_reach_the_function(data, tmp_path):
    assert load_dataset(f"{data}:sized", image_size=16).image_shape == (1, 16, 16)
    assert load_dataset(f"{data}:sized", tmp_path).image_shape == (1, 8, 8)
    with pytest.raises(InputError, match=rf"image_size is 16 for {data}:arrays, wanted none: .* has no argument"):
        load_dataset(f"{data}:arrays", image_size=16)
    with pytest.raises(InputError, match=rf"data_dir is .*, wanted none: {data}:arrays has no argument"):
        load_dataset(f"{data}:arrays", tmp_path)
    assert Config.for_dataset(f"{data}:sized", image_size=32).network == "conv"  # for images of such a size


def test_pairs_that_do_not_fit_in_memory_are_read_when_they_are_wanted(data, monkeypatch):
    whole = load_dataset(f"{data}:pairs")
    monkeypatch.setattr("amgan_fast.data.own_dataset.fits_in_half_of", lambda device, size: False)
    dataset = load_dataset(f"{data}:pairs")
    assert isinstance(dataset.train_images, LazyImages)
    assert torch.equal(dataset.train_images[torch.arange(50)], whole.train_images[:50])
    assert torch.equal(dataset.test_images, whole.test_images)
    assert dataset.fingerprint() == load_dataset(f"{data}:pairs").fingerprint()
    few = dataset.labelled_subset(5, seed=0)
    assert torch.equal(few.train_images[torch.arange(50)], whole.labelled_subset(5, seed=0).train_images)


def test_a_run_on_pairs_in_nobodys_memory_is_that_on_arrays(data, monkeypatch, tmp_path, cache):
    train_classifiers_for_a_moment(monkeypatch)
    runs = {}
    for function in ("arrays", "pairs"):
        if function == "pairs":
            monkeypatch.setattr("amgan_fast.data.own_dataset.fits_in_half_of", lambda device, size: False)
        own = tiny_config(steps=4).to_dict() | {"dataset": f"{data}:{function}"}
        runs[function] = train(Config(**own), tmp_path / function)
    samples = [open_run(run.folder.path, "cpu", allow_code=[data]).samples(20)[0] for run in runs.values()]
    assert torch.equal(*samples)


def test_a_memory_map_is_not_copied(users_module, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((40, 1, 4, 4), np.uint8))
    name = users_module(
        "import numpy as np\n"
        f"def f(): return {{'train': (np.load({str(tmp_path / 'images.npy')!r}, mmap_mode='r'), np.arange(40) % 2),"
        " 'test': (np.ones((4, 1, 4, 4), np.uint8), np.arange(4) % 2)}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load_dataset(f"{name}:f")
    before = np.lib.format.open_memmap(tmp_path / "images.npy", mode="r+")
    before[0] = 7
    before.flush()
    assert dataset.train_images[0].unique().tolist() == [7]  # still the file's


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(x): ...", r"it fails when called with \(\) .TypeError"),
        ("f = 3", "it is 3, wanted a function"),
        ("def f(): return 3", r"is a int, wanted a pair \(images, labels\), or a sequence of pairs"),
        ("def f(): return {'test': 3}", "returns a dict without 'train'"),
        (
            "def f(): return {'train': 3, 'val': 3}",
            "returns a dict with 'val', wanted some of train, test, class_names",
        ),
        (
            "import numpy as np\ndef f(): return np.zeros((4, 8, 8), np.uint8), [0, 0, 1, 1]",
            r"images are \[4, 8, 8\] of torch.uint8, wanted uint8 \[N, C, H, W\] with C of 1 or 3",
        ),
        (
            "import numpy as np\ndef f(): return np.zeros((4, 1, 8, 8)), [0, 0, 1, 1]",
            r"images are \[4, 1, 8, 8\] of torch.float64, wanted uint8",
        ),
        (
            "import numpy as np\ndef f(): return np.zeros((4, 1, 8, 8), np.uint8), [0, 1]",
            r"labels are \[2\] of torch.int64, wanted integers \[4\]",
        ),
        (
            "import numpy as np\ndef f(): return np.zeros((4, 1, 8, 8), np.uint8), [0., 0., 1., 1.]",
            r"labels are \[4\] of torch.float64, wanted integers",
        ),
        (
            "import numpy as np\ndef f(): return np.zeros((4, 1, 8, 8), np.uint8), [0, 0, 0, -1]",
            "labels are -1 to 0, wanted 0 to 0",
        ),
        (
            "import numpy as np\ndef f(): return np.zeros((4, 1, 8, 8), np.uint8), [0, 0, 0, 1]",
            "has 1 images of class 1, wanted at least 2",
        ),
        ("def f(): return []", "its first item cannot be used .ValueError: it has none"),
        ("def f(): return [(3, 0)] * 4", "image is a int, wanted uint8"),
        (
            "import torch\ndef f():\n  x = torch.zeros(1, 4, 4, dtype=torch.uint8)\n"
            "  return [(x, 0)] * 4 + [(x[:, 1:], 1)] * 4",
            r"\[4\]: image is 1 x 3 x 4, the first one is 1 x 4 x 4; wanted images that can be read",
        ),
        (
            "import numpy as np\nx = np.zeros((4, 1, 8, 8), np.uint8)\n"
            "def f(): return {'train': (x, [0, 0, 1, 1]), 'test': (x, [0, 0, 0, 0])}",
            "test has no image of class 1, wanted some of each class",
        ),
        (
            "import numpy as np\nx = np.zeros((4, 1, 8, 8), np.uint8)\n"
            "def f(): return {'train': (x, [0, 0, 1, 1]), 'class_names': 'ab'}",
            "class_names are 'ab', wanted a list of texts",
        ),
        (
            "import numpy as np\nx = np.zeros((4, 1, 8, 8), np.uint8)\n"
            "def f(): return {'train': (x, [0, 0, 1, 1]), 'test': (x[..., 1:], [0, 0, 1, 1])}",
            "test images are 1 x 8 x 7, train images 1 x 8 x 8, wanted one shape",
        ),
    ],
)
def test_a_dataset_that_is_none(users_module, source, said):
    name = users_module(source)
    with pytest.raises(InputError, match=rf"dataset {name}:f.*{said}") as caught:
        load_dataset(f"{name}:f")
    assert len(str(caught.value).splitlines()) == 1


def test_pillows_images_of_any_mode():
    items = [(Image.new(mode, (3, 2), 7), 0) for mode in ("RGB", "RGBA", "P")]
    images = ImageItems(items, "mine")
    assert images.shape == (3, 3, 2, 3)
    assert images[torch.tensor([0])].unique().tolist() == [0, 7]


def test_spectral_norm_is_not_applied_twice():
    from amgan_fast.nn import apply_spectral_norm

    layer = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)), nn.Linear(3, 2))
    apply_spectral_norm(layer)
    assert [len(each.parametrizations.weight) for each in layer] == [1, 1]


@pytest.fixture
def template(tmp_path, monkeypatch):
    """The folder that the template is in; what is imported of it is forgotten."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    train_classifiers_for_a_moment(monkeypatch)
    yield tmp_path / "mine"
    sys.modules.pop("parts", None)


SMALL = "--set=generator_options.width=4 --set=discriminator_options.width=4 --set=batch_size=8 --set=score_samples=20 "
SMALL += "--set=final_samples=40 --set=threads=1 --set=score_every=2 --set=log_every=2 --device=cpu"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_template_trains_as_it_is(template, monkeypatch):
    assert "mine/parts.py" in run("new", "mine")
    again = CliRunner().invoke(app, ["new", "mine"])
    assert (again.exit_code, len(again.stderr.splitlines())) == (2, 1)
    monkeypatch.chdir(template)
    own = [f"--{what}=parts:{what}" for what in ("generator", "discriminator", "dataset")] + ["--model=parts:Model"]
    run("train", *own, *SMALL.split(), "--set=image_size=16", "--steps=2", "--labels=predefined", "--out=runs/first")
    opened = open_run("runs/first", "cpu", allow_code=["parts"])
    assert opened.dataset.class_names == ("disc", "square", "cross")
    assert opened.sampler.latent.num_labels == 3


def test_the_ten_commands_of_the_document(template, monkeypatch, tmp_path):
    """As they stand there, but for the numbers: a few steps of narrow networks on small images, and 200 samples."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(60):  # six of each are held out
            pixels = random.integers(0, 256, (18, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    text = (Path(__file__).parent.parent / "docs" / "own_parts.md").read_text()
    block = re.search(r"## Ten commands.*?```sh\n(.*?)```", text, re.DOTALL)[1].replace("\\\n", " ")
    for large, small in (("image_size=32", "image_size=16"), ("2000", "2"), ("50000", "200"), ("4000", "4")):
        block = block.replace(large, small)
    commands = [shlex.split(line) for line in block.splitlines()]
    assert len(commands) == 10
    said = []
    for program, name, *options in commands:
        if program == "cd":
            monkeypatch.chdir(name)
            continue
        fresh = name == "train" and "--resume" not in options and "--config" not in options
        said.append(run(name, *options, *(SMALL.split() if fresh else [])))
    assert "nothing was trained" in said[1]
    steps = [Checkpoint.load(template / "runs" / name / "checkpoint.pt").steps for name in ("first", "second")]
    assert steps == [4, 4]
    second = Config.load(template / "runs" / "second" / "config.toml", allow_code=["parts"])
    assert (second.r1, second.generator) == (0.1, "parts:generator")
    with np.load(template / "samples.npz") as samples:
        assert (samples["arr_0"].shape, samples["arr_0"].dtype) == ((200, 16, 16, 3), np.uint8)
    assert json.loads((template / "scores.json").read_text())["generated"]["scores"]["n"] == 200
    program = torch.export.load(template / "generator.pt2").module()
    assert program(torch.zeros(5, second.latent_size)).shape == (5, 3, 16, 16)


def test_an_exported_own_generator_wants_its_module_allowed(tmp_path, cache, parts):
    folder = train(tiny_config(generator=f"{parts}:generator", steps=2), tmp_path / "run").folder
    export_generator(folder.path, tmp_path / "g.safetensors", allow_code=[parts])
    with pytest.raises(InputError, match=f"names code to be run, generator = {parts}:generator"):
        load_generator(tmp_path / "g.safetensors")
    images = [
        next(load_generator(path, allow_code=[parts]).batches(4, torch.Generator().manual_seed(0)))[0]
        for path in (tmp_path / "g.safetensors", folder.path, folder.checkpoint, folder.best_checkpoint)
    ]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert images[3].shape == (4, 1, 8, 8)
