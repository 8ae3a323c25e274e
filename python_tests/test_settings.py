"""Every setting with every hostile value: it is accepted and the run can be built, or one line names it, and that
before anything is written."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import Listener
from tiny_runs import digits, digits_classifier, tiny_config
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import Dataset, load_dataset
from amgan_fast.errors import InputError
from amgan_fast.nn import NetworkOptions
from amgan_fast.objectives import MODELS
from amgan_fast.runs import LABELS, Config
from amgan_fast.train import train
from amgan_fast.train.checks import check_classifier, check_losses, check_run


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE = {
    "2^63": 2**63,
    "2^63 - 1": 2**63 - 1,
    "-2^63": -(2**63),
    "10^400": 10**400,
    "10^5000": 10**5000,
    "0": 0,
    "-1": -1,
    "0.5": 0.5,
    "inf": float("inf"),
    "-inf": float("-inf"),
    "nan": float("nan"),
    "1e39": 1e39,
    "1e38": 1e38,
    "1e18": 1e18,
    "1e6": 1e6,
    "5e-324": 5e-324,
    "no text": "",
    "text": "yes",
    "NUL": "\0",
    "no UTF-8": "\udcff",
    "a megabyte": "x" * 2**20,
    "lines": "a\nb",
    "list": [],
    "list of text": ["a"],
    "list of nan": [float("nan")],
    "list of 10^400": [10**400],
    "tuple": (0.5, 0.5),
    "table": {},
    "table of numbers": {1: 2},
    "nested": nested(100_000),
    "True": True,
    "None": None,
    "bytes": b"1",
    "complex": 1j,
}
CPU = torch.device("cpu")


def checked(config: Config) -> None:
    check_run(config, digits(), CPU)


def with_losses(config: Config) -> None:
    objective = config.build_objective()
    check_losses(config, objective, torch.empty(4, objective.outputs(10), device="meta"))


def accepted(name: str, tmp_path: Path, check: Callable[[Config], None] = checked, **options) -> bool:
    """Whether a configuration can be run, and comes back from its file; else one line names what is wrong."""
    try:
        config = Config(**{"device": "cpu", "batch_size": 8, **options})
        check(config)
    except InputError as error:
        text = str(error)
        assert name in text
        assert len(text.splitlines()) == 1
        assert len(text) < 900
        return False
    config.save(tmp_path / "config.toml")
    assert Config.load(tmp_path / "config.toml").to_dict() == plain(config.to_dict())
    return True


def plain(value):
    """TOML has lists where options are tuples."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Config)])
def test_every_setting(name, value, tmp_path):
    accepted(name, tmp_path, **{name: value})


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(NetworkOptions)])
def test_every_option_of_a_network(name, value, tmp_path):
    for network in ("mlp", "conv"):
        accepted(name, tmp_path, network=network, network_options={name: value})


@pytest.mark.parametrize("value", [-1, "wide", [], True])
def test_an_option_of_a_network_is_named_with_its_table(value):
    with pytest.raises(InputError, match=r"^network_options\.width is .*, wanted "):
        Config(network_options={"width": value})


MODEL_OPTIONS = [(model, field.name) for model, kind in MODELS.items() for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_every_option_of_a_model(value, tmp_path):
    for model, name in MODEL_OPTIONS:
        for labels in LABELS:
            accepted(name, tmp_path, with_losses, model=model, labels=labels, objective={name: value})


def test_tuples_of_python_are_the_lists_of_a_file(tmp_path):
    """A run that was begun with some goes on from its config.toml; checkpoints of before have tuples."""
    config = tiny_config(objective={"class_prior": (0.1,) * 10})
    config.save(tmp_path / "config.toml")
    loaded = Config.load(tmp_path / "config.toml")
    assert loaded.differences(config.to_dict()) == []
    assert loaded.differences(config.to_dict() | {"objective": {"class_prior": (0.1,) * 10}}) == []
    assert len(loaded.differences(config.to_dict() | {"objective": {"class_prior": "uniform"}})) == 1


def test_settings_that_are_written_too_large():
    for setting in (f"steps={'9' * 5000}", "seed=" + "[" * 3000, "objective." + "a." * 3000 + "a=1", "steps=1e400"):
        with pytest.raises(InputError) as error:
            Config.compose(None, {}, [setting])
        assert len(str(error.value)) < 900


@pytest.mark.parametrize("text", ["steps = " + "9" * 5000, "steps = " + "[" * 3000, "seed = 1e400"])
def test_files_that_are_written_too_large(text, tmp_path):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError) as error:
        Config.load(tmp_path / "c.toml")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "paper"}, "images for network 'paper' are 8 x 8, wanted 32 x 32"),
        ({"labelled_per_class": 140}, "labelled_per_class: 140 labelled images of each class, wanted 1 to 139"),
        ({"objective": {"class_prior": [0.5, 0.5]}, "labelled_per_class": 5}, "class_prior has 2 numbers, wanted one"),
        (
            {"objective": {"target_temperature": 0.5}, "labels": "predefined"},
            "target_temperature is 0.5 and labels are given",
        ),
        ({"latent_size": 10**13}, "latent_size 10000000000000 .* take at least .* GiB, wanted at most"),
        ({"network_options": {"width": 1e5}}, "network_options.width 100000.0: .* wanted at most the"),
        ({"batch_size": 10**10}, "batch_size is 10000000000: a step take"),
        (
            {"batch_size": 200_000, "network_options": {"minibatch_discrimination": True}},
            "batch_size is 200000: a step take",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_file(options, said, tmp_path, monkeypatch):
    monkeypatch.setattr("amgan_fast.train.start.cached_classifier", None)  # would be called too late
    with pytest.raises(InputError, match=said):
        train(tiny_config(**options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{}, {"minibatch_discrimination": True, "normalization": "none"}])
def test_a_process_has_two_images_a_batch_where_they_are_compared(options):
    config = tiny_config(batch_size=4, network_options=options)
    check_run(config, digits(), CPU, processes=2)
    with pytest.raises(InputError, match="batch_size is 4 for 4 processes, wanted at least 8"):
        check_run(config, digits(), CPU, processes=4)
    check_run(tiny_config(batch_size=4, network_options={"normalization": "virtual"}), digits(), CPU, processes=4)


def small(dataset: Dataset, count: int) -> Dataset:
    return dataclasses.replace(
        dataset, train_images=dataset.train_images[:count], train_labels=dataset.train_labels[:count]
    )


@pytest.mark.parametrize("options", [{}, {"normalization": "virtual", "weight_norm": True}], ids=str)
def test_a_batch_may_have_more_images_than_there_are(options, tmp_path, monkeypatch):
    few = small(digits(), 30)
    monkeypatch.setattr(Config, "load_dataset", lambda self, progress: few)
    monkeypatch.setattr("amgan_fast.train.start.cached_classifier", lambda *_: digits_classifier())
    listener = Listener()
    result = train(tiny_config(batch_size=50, network_options=options), tmp_path / "run", listener)
    assert result.evaluation.generated.scores.n == 600
    assert "batch_size is 50: a batch has some of the 30 images more than once" in listener.said


def test_images_of_one_class_are_refused_before_the_first_file(tmp_path, users_module):
    name = users_module("import numpy as np\ndef f(): return np.zeros((20, 1, 8, 8), np.uint8), np.zeros(20, int)")
    said = f"{name}:f has 1 class, wanted at least 2: scores are those of a classifier"
    with pytest.raises(InputError, match=said):
        train(Config(dataset=f"{name}:f"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=said):
        check_classifier(load_dataset(f"{name}:f"), "cnn", 10, None, 0, {})


def test_samples_that_are_not_finite_stop_the_run(tmp_path, monkeypatch):
    """Whose losses, computed before the weights went, were finite."""
    monkeypatch.setattr("amgan_fast.train.start.cached_classifier", lambda *_: digits_classifier())
    config = tiny_config(steps=1, generator_lr=3e38, historical_averaging=1.0, network_options={"weight_norm": True})
    with pytest.raises(FloatingPointError, match=r"step 1: samples cannot be scored .*; no checkpoint was written yet"):
        train(config, tmp_path / "run")


# Command line

NUMBERS = [str(2**63), "9" * 5000, "1e400", "nan", "-1", ""]
NAMES = ["x" * 300, ".", "/", "\udcff/\udcff", "a\nb", ""]


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, SystemExit), (arguments, result.exception)
    assert result.exit_code == 2, result.output
    assert "Usage:" in result.stderr or len(result.stderr.splitlines()) == 1
    return result.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["train"], ["steps", "batch-size", "checkpoint-every", "seed"]),
        (["train-classifier", "--out", "c.pt"], ["epochs", "seed", "threads"]),
        (["train-classifier", "--out", "c.pt", "--network", "densenet-bc"], ["depth", "growth"]),
        (["compare"], ["seeds", "seed", "jobs"]),
        (["evaluate", "--logits", "l.npy"], ["samples", "splits", "batch-size", "workers", "input-size"]),
    ],
    ids=str,
)
def test_commands_with_numbers_out_of_range(command, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in options:
        for number in NUMBERS:
            assert option in refused(*command, f"--{option}", number).replace("_", "-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--out"],
        ["train", "--config"],
        ["train", "--resume"],
        ["train", "--dataset", "mnist", "--data-dir"],
        ["train-classifier", "--epochs", "1", "--depth", "5", "--network", "densenet-bc", "--out"],
        ["train-classifier", "--dataset", "cifar10", "--out", "c.pt", "--data-dir"],
        ["compare", "--models", "gan", "--set", "network=paper", "--out"],
        ["compare", "--config"],
        ["sample", "--run"],
        ["evaluate", "--images"],
        ["evaluate", "--npz"],
        ["evaluate", "--logits"],
        ["evaluate", "--run"],
        ["evaluate", "--logits", "l.npy", "--labels"],
        ["evaluate", "--logits", "l.npy", "--reference"],
        ["evaluate", "--logits", "l.npy", "--held-out"],
        ["evaluate", "--logits", "l.npy", "--report"],
        ["evaluate", "--images", "i", "--classifier"],
    ],
    ids=" ".join,
)
def test_commands_with_names_that_lead_nowhere(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "i").mkdir()
    np.save(tmp_path / "l.npy", np.zeros((20, 3), np.float32))
    if command == ["train", "--out"]:
        command = ["train", "--set", "network=paper", "--out"]
    before = sorted(tmp_path.iterdir())
    for name in NAMES:
        refused(*command, name)
    assert sorted(tmp_path.iterdir()) == before


def test_out_that_is_a_folder_or_a_file(tmp_path):
    (tmp_path / "file").write_text("precious")
    for out in (".", "/", str(tmp_path)):
        assert "is a folder, wanted a new file for --out" in refused("train-classifier", "--out", out)
    compare = ("compare", "--models", "gan", "--seeds", "1", "--out")
    assert "file cannot be" in refused(*compare, str(tmp_path / "file"))
    assert "report is" in refused("evaluate", "--logits", "l.npy", "--report", str(tmp_path / "r.html" / "x.html"))
    assert (tmp_path / "file").read_text() == "precious"


def test_a_comparison_is_checked_before_its_first_run(tmp_path):
    """Predefined labels come after dynamic ones, which can be trained."""
    settings = ("--models", "amgan", "--set", "objective.target_temperature=0.5")
    error = refused("compare", *settings, "--out", str(tmp_path / "c"))
    assert "target_temperature is 0.5 and labels are given" in error
    assert not (tmp_path / "c").exists()


def test_memory_that_is_not_there_is_one_line(monkeypatch):
    def allocate(*_: object, **__: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr("amgan_fast.evaluate.evaluate_request", allocate)
    result = CliRunner().invoke(app, ["evaluate", "--logits", "l.npy"])
    assert result.exit_code == 1
    assert result.stderr.startswith("amgan-fast: there is not enough memory (RuntimeError: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("value", ["", "two", "-1", "1.5", "9" * 5000])
def test_an_environment_that_torchrun_did_not_set(value, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", value)
    assert "WORLD_SIZE is '" in refused("evaluate", "--logits", "l.npy")


def test_only_writing_a_configuration_needs_tomli_w(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    path.write_text("steps = 7\n")
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(InputError, match="settings cannot be written: the package tomli_w is not installed, wanted"):
        Config(steps=8).save(path)
    assert Config.load(path).steps == 7
