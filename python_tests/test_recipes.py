"""Recipes that ship, and what a configuration is put together from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from test_data import write_idx_set
from test_data_cifar10 import write_python
from test_data_tiny_imagenet import write_tiny_imagenet
from tiny_runs import tiny_run, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import DATASETS, load_dataset
from amgan_fast.data.registry import size_of_images
from amgan_fast.errors import InputError
from amgan_fast.runs import DATASETS_WITH_RECIPES, RECIPES, Config
from amgan_fast.runs.recipes import read_additions
from amgan_fast.train import train, train_classifier
from amgan_fast.train.checks import check_run

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")

FEW = {"steps": 2, "batch_size": 8, "log_every": 1, "score_every": 2, "score_samples": 20, "final_samples": 30}


def test_recipes_are_of_datasets_and_are_whole():
    assert {"cifar10", "tiny-imagenet", "fashion-mnist"} <= set(DATASETS_WITH_RECIPES) <= set(DATASETS)
    for dataset in DATASETS_WITH_RECIPES:
        assert Config.for_dataset(dataset).dataset == dataset


def test_the_papers_settings():
    """SPEC section 5: what the authors trained CIFAR-10 with."""
    config = Config.for_dataset("cifar10")
    assert (config.steps, config.batch_size, config.latent_size, config.halve_every) == (10**6, 100, 100, 10**5)
    assert (config.generator_lr, config.discriminator_lr) == (4e-4, 8e-4)
    options = config.build_network_options()
    assert (options.weight_norm, options.input_noise, options.dropout) == (True, 0.1, 0.3)
    assert not options.running_statistics


@pytest.mark.parametrize(
    ("dataset", "labels", "write"),
    [
        ("cifar10", "dynamic", write_python),
        ("tiny-imagenet", "predefined", lambda folder: write_tiny_imagenet(folder, train=6, val=4)),
    ],
)
def test_the_papers_recipes_start_up(dataset, write, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "amgan_fast.train.start.cached_classifier", lambda images, observer: train_classifier(images, steps=2)
    )
    folder = write(tmp_path / "data")
    config = Config.for_dataset(dataset, data_dir=str(folder), labels=labels, device="cpu", **FEW)
    result = train(config, tmp_path / "run")
    assert result.evaluation.generated.scores.n == 30
    assert Config.load(result.folder.config) == config


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
@pytest.mark.parametrize(
    ("dataset", "write"),
    [
        ("digits", lambda folder: None),
        ("mnist", lambda folder: write_idx_set(folder, packed=False)),
        ("cifar10", write_python),
    ],
)
def test_the_modern_recipe_trains_every_network(dataset, write, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "amgan_fast.train.start.cached_classifier", lambda images, observer: train_classifier(images, steps=2)
    )
    folder = write(tmp_path / "data")
    data = {} if folder is None else {"data_dir": str(folder)}
    config = Config.for_dataset(dataset, recipe="modern", labels=labels, device="cpu", **FEW, **data)
    result = train(config, tmp_path / "run")
    assert result.evaluation.generated.scores.n == 30
    assert Config.load(result.folder.config) == config


@pytest.mark.parametrize("dataset", ["digits", *DATASETS_WITH_RECIPES, "mnist"])
def test_a_recipe_changes_what_it_says_and_nothing_else(dataset):
    paper, modern = (Config.for_dataset(dataset, recipe=recipe).to_dict() for recipe in RECIPES)
    assert paper == Config.for_dataset(dataset).to_dict()
    changed = {name for name in modern if modern[name] != paper.get(name)}
    assert changed == set(read_additions("modern"))


def test_the_recipe_is_an_option_a_setting_and_a_line_of_a_file(tmp_path):
    (tmp_path / "c.toml").write_text('recipe = "modern"\n')
    modern = Config.for_dataset("digits", recipe="modern")
    assert Config.compose(tmp_path / "c.toml", {}, []) == modern
    assert Config.compose(None, {"recipe": "modern"}, []) == modern
    assert Config.compose(None, {}, ["recipe=modern"]) == modern
    assert Config.compose(None, {"recipe": "modern"}, ["recipe=paper"]) == Config()
    changed = Config.compose(None, {"recipe": "modern"}, ["r1=0.5"])
    assert (changed.r1, changed.r2) == (0.5, modern.r2)
    with pytest.raises(InputError, match="recipe is 'future', wanted one of paper, modern"):
        Config.compose(None, {}, ["recipe=future"])


def test_tables_of_recipe_and_user_are_merged(monkeypatch):
    monkeypatch.setattr(
        "amgan_fast.runs.config.read_additions", lambda recipe: {"network_options": {"width": 0.5, "dropout": 0.1}}
    )
    config = Config.for_dataset("digits", recipe="modern", network_options={"dropout": 0.2})
    assert config.network_options == {"width": 0.5, "dropout": 0.2}


@pytest.mark.parametrize("command", ["train", "compare"])
def test_commands_take_a_recipe(command, tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    few = [x for name, value in FEW.items() for x in ("--set", f"{name}={value}")]
    only = ["--models", "amgan", "--labels", "dynamic", "--seeds", "1"] if command == "compare" else []
    arguments = [command, "--recipe", "modern", "--device", "cpu", "--out", str(tmp_path / "out"), *few, *only]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    run = tmp_path / "out" / ("runs/amgan-dynamic-seed0" if command == "compare" else "")
    assert Config.load(run / "config.toml") == Config.for_dataset("digits", recipe="modern", device="cpu", **FEW)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_recipe_that_is_named_stands_above_that_of_a_file(command, monkeypatch):
    """One that is not leaves the file's, the default too."""
    asked = []

    def compose(path, options, settings, notify=None, *, allow_code):
        asked.append(options.get("recipe"))
        raise InputError("enough")

    monkeypatch.setattr(Config, "compose", staticmethod(compose))
    for given in (["--recipe", "paper"], ["--recipe", "modern"], []):
        assert CliRunner().invoke(app, [command, *given]).exit_code == 2
    assert asked == ["paper", "modern", None]


def test_options_stand_above_a_file_and_settings_above_both(tmp_path):
    (tmp_path / "c.toml").write_text('model = "labelgan"\nsteps = 7\nlog_every = 1\n[objective]\nsaturating = true\n')
    config = Config.compose(
        tmp_path / "c.toml",
        {"steps": 8},
        ["log_every=2", "objective.fake=zero", "network_options.dropout=0.1", 'precision="bfloat16"'],
    )
    assert (config.model, config.steps, config.log_every) == ("labelgan", 8, 2)
    assert config.precision == "bfloat16"
    assert config.objective == {"saturating": True, "fake": "zero"}
    assert config.build_network_options().dropout == 0.1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps", "found --set steps, wanted NAME=VALUE"),
        ("stepz=3", "has unknown keys stepz"),
        ("steps='3'", "steps is '3', wanted int"),
        ("objective.smoothness=3", "objective has unknown keys smoothness"),
        ("objective.real_smoothing=3", "objective: real_smoothing"),
        ("network_options.dropout=3", "dropout is 3, wanted a number in"),
        ("network_options.depth=3", "network_options has unknown keys depth"),
        ("labelled_per_class=3", None),
        ("precision='float16'", "precision is 'float16', wanted one of float32, bfloat16"),
    ],
)
def test_bad_settings(setting, said):
    if said is None:
        assert Config.compose(None, {}, [setting]).labelled_per_class == 3
        with pytest.raises(InputError, match="labelled_per_class is 3, wanted none: gan has no loss of unlabelled"):
            Config.compose(None, {"model": "gan"}, [setting])
        return
    with pytest.raises(InputError, match=said):
        Config.compose(None, {}, [setting])


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
def test_sample_command_draws_three_sheets(labels, tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    tiny_run(tmp_path / "run", labels=labels)
    result = CliRunner().invoke(app, ["sample", "--run", str(tmp_path / "run"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for name in ("grid.png", "interpolation.png", "classes.png"):
        with Image.open(tmp_path / "run" / "sheets" / name) as sheet:
            assert sheet.size == (12 * 58 + 2, 10 * 58 + 2)
    missing = CliRunner().invoke(app, ["sample", "--run", str(tmp_path)])
    assert missing.exit_code == 2


def folder_of(root: Path, size: tuple[int, int], count: int = 12) -> Path:
    height, width = size
    for label in "ab":
        (root / label).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (width, height), (20 * i, 0, 0)).save(root / label / f"{i}.png")
    return root


def chosen(*settings: str, **options: object) -> tuple[Config, str]:
    told: list[str] = []
    config = Config.compose(None, options, settings, told.append)
    return config, "\n".join(told)


@pytest.mark.parametrize(
    ("size", "network", "why"),
    [
        ((8, 8), "mlp", "so few pixels need no convolutions"),
        ((16, 12), "mlp", "so few pixels"),
        ((28, 28), "conv", "convolutions, for sides that are multiples of 4"),
        ((32, 32), "conv", "convolutions, for sides"),
        ((32, 64), "conv", "convolutions, for sides"),
        ((64, 64), "conv", "convolutions, for sides"),
        ((96, 96), "conv", "convolutions, for sides"),
        ((128, 128), "acgan128", "a network made for that size"),
        ((50, 47), "mlp", "convolutions want sides that are multiples of 4, as image_size=48 makes them"),
    ],
)
def test_a_folder_of_images_has_the_settings_of_its_size(size, network, why, tmp_path):
    """Which can be trained: shapes alone are looked at."""
    config, told = chosen(dataset="image-folder", data_dir=str(folder_of(tmp_path, size)))
    assert config.network == network
    assert told.startswith(f"image-folder has no recipe: settings for images of {size[0]} x {size[1]} ({why}")
    assert f"network = {network}" in told
    check_run(config, config.load_dataset(), torch.device("cpu"))


@pytest.mark.parametrize("dataset", ["mnist", "svhn", "svhn-extra"])
def test_datasets_without_a_recipe_are_not_trained_as_digits_are(dataset):
    config, told = chosen(dataset=dataset)
    assert (config.network, config.threads, config.steps) == ("conv", 0, 20_000)
    assert told.startswith(f"{dataset} has no recipe: settings for images of ")


@pytest.mark.parametrize("dataset", ["digits", *DATASETS_WITH_RECIPES])
def test_of_datasets_with_a_recipe_nothing_is_said(dataset):
    assert chosen(dataset=dataset)[1] == ""


def test_what_was_asked_for_stands_above_the_settings_of_a_size(tmp_path):
    folder = folder_of(tmp_path, (40, 40))
    config, told = chosen("image_size=8", "steps=7", dataset="image-folder", data_dir=str(folder), network="mlp")
    assert (config.network, config.steps, config.image_size) == ("mlp", 7, 8)
    assert told == ""  # nothing that no one asked for
    config, told = chosen("steps=7", dataset="image-folder", data_dir=str(folder))
    assert (config.network, config.steps) == ("conv", 7)
    assert "steps" not in told
    assert "latent_size = 64" in told


def test_a_folder_that_cannot_be_looked_at_is_refused_when_it_is_loaded(tmp_path):
    for data_dir in (None, str(tmp_path / "none")):
        config, told = chosen(**{"dataset": "image-folder"} | ({"data_dir": data_dir} if data_dir else {}))
        assert told == ""
        with pytest.raises(InputError):
            config.load_dataset()


def test_the_command_says_which_settings_it_took(tmp_path, monkeypatch):
    monkeypatch.setattr("amgan_fast.train.start.cached_classifier", lambda *_: pytest.fail("too late"))
    folder = folder_of(tmp_path / "images", (20, 20))
    arguments = ["train", "--dataset", "image-folder", "--data-dir", str(folder), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*arguments, "--set", "labelled_per_class=500", "--device", "cpu"])
    assert "image-folder has no recipe: settings for images of 20 x 20" in result.stdout
    assert "labelled_per_class" in result.stderr


def test_sizes_are_those_of_the_datasets():
    """What is known before they are loaded."""
    assert size_of_images("digits") == load_dataset("digits").image_shape[1:]
    assert [name for name in DATASETS if size_of_images(name) is None] == ["image-folder"]
