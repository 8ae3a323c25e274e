"""Recipes that ship, and what a configuration is put together from."""

from __future__ import annotations

import pytest
from test_data_cifar10 import write_python
from test_data_tiny_imagenet import write_tiny_imagenet
from tiny_runs import tiny_run, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import DATASETS
from amgan_fast.errors import InputError
from amgan_fast.runs import RECIPES, Config
from amgan_fast.train import train, train_classifier

FEW = {"steps": 2, "batch_size": 8, "log_every": 1, "score_every": 2, "score_samples": 20, "final_samples": 30}


def test_recipes_are_of_datasets_and_are_whole():
    assert {"cifar10", "tiny-imagenet", "fashion-mnist"} <= set(RECIPES) <= set(DATASETS)
    for dataset in RECIPES:
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
        "amgan_fast.train.loop.cached_classifier", lambda images, observer: train_classifier(images, steps=2)
    )
    folder = write(tmp_path / "data")
    config = Config.for_dataset(dataset, data_dir=str(folder), labels=labels, device="cpu", **FEW)
    result = train(config, tmp_path / "run")
    assert result.evaluation.generated.scores.n == 30
    assert Config.load(result.folder.config) == config


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
    from PIL import Image

    use_classifier_cache(tmp_path / "cache", monkeypatch)
    tiny_run(tmp_path / "run", labels=labels)
    result = CliRunner().invoke(app, ["sample", "--run", str(tmp_path / "run"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for name in ("grid.png", "interpolation.png", "classes.png"):
        with Image.open(tmp_path / "run" / "sheets" / name) as sheet:
            assert sheet.size == (12 * 58 + 2, 10 * 58 + 2)
    missing = CliRunner().invoke(app, ["sample", "--run", str(tmp_path)])
    assert missing.exit_code == 2
