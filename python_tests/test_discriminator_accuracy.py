"""The discriminator's accuracy on held-out images: right numbers, in the right mode, wherever a run leaves scores."""

from __future__ import annotations

import copy
import dataclasses
import json
import statistics

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import digits, tiny_config, tiny_run, use_classifier_cache
from torch import nn
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import to_float
from amgan_fast.nn import build_discriminator, network_options, set_reference_batch
from amgan_fast.objectives import AMGAN, MODELS
from amgan_fast.train import DiscriminatorAccuracy, discriminator_accuracy


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (352, 360), (9, 17)])
def test_the_interval_is_wilsons(correct, n):
    """As the formula is written: where |p - k/n| = z sqrt(p (1 - p) / n)."""
    z = statistics.NormalDist().inv_cdf(0.975)
    for p in DiscriminatorAccuracy(correct, n, "nothing").ci95:
        assert (p - correct / n) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, abs=1e-9)


def predicted(model: str, logits: torch.Tensor) -> torch.Tensor:
    """Written out: where each model has its real classes."""
    if model == "adcgan":
        return logits[:, 1::2].argmax(1)
    beside_a_binary_one = model in ("gan-star", "acgan", "acgan-star", "acgan-star-plus", "tacgan", "reacgan")
    return logits[:, 1 if beside_a_binary_one else 0 :][:, :10].argmax(1)


@pytest.mark.parametrize("model", MODELS)
def test_held_out_images_whose_label_is_the_likeliest_real_class_are_counted(model):
    torch.manual_seed(0)
    objective = MODELS[model]()
    discriminator = build_discriminator("mlp", objective, 10, (1, 8, 8))
    dataset = digits()
    got = discriminator_accuracy(discriminator, objective, dataset, batch_size=100)
    if model == "gan":
        assert got is None
        return
    with torch.no_grad():
        logits = copy.deepcopy(discriminator).eval()(to_float(dataset.test_images))
    want = (predicted(model, logits) == dataset.test_labels).sum()
    assert (got.correct, got.n, got.accuracy) == (int(want), 360, float(want) / 360)
    assert all(layer.training for layer in discriminator.modules())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "running averages"),
        ({"normalization": "virtual"}, "its reference batch"),
        ({"normalization": "none", "weight_norm": True}, "nothing"),
        ({"running_statistics": False}, "the statistics of held-out images, a batch at a time"),
    ],
)
def test_no_dropout_and_no_noise_and_nothing_of_the_discriminator_changes(options, said):
    torch.manual_seed(0)
    objective, dataset = MODELS["amgan"](), digits()
    changes = {"dropout": 0.9, "input_noise": 5.0, **options}
    discriminator = build_discriminator("mlp", AMGAN(), 10, (1, 8, 8), network_options("mlp", **changes))
    if options.get("normalization") == "virtual":
        set_reference_batch(discriminator, to_float(dataset.train_images[:50]))
    before = {name: x.clone() for name, x in discriminator.state_dict().items()}
    first, second = (discriminator_accuracy(discriminator, objective, dataset, batch_size=359) for _ in range(2))
    assert first == second
    assert said in first.normalization
    torch.testing.assert_close(dict(discriminator.state_dict()), before, rtol=0, atol=0)


def test_a_part_of_the_images_is_from_everywhere():
    """Held-out images of a folder are in the order of their classes."""
    dataset = digits()
    order = dataset.test_labels.argsort()
    sorted_by_class = dataclasses.replace(
        dataset, test_images=dataset.test_images[order], test_labels=dataset.test_labels[order]
    )
    seen = []

    class Sees(nn.Module):
        def forward(self, images):
            seen.append(images)
            return torch.zeros(len(images), 11)

    got = discriminator_accuracy(Sees(), MODELS["amgan"](), sorted_by_class, batch_size=20, most=50)
    assert got.n == 50
    shown = torch.cat(seen)
    labels = [
        int(sorted_by_class.test_labels[(to_float(sorted_by_class.test_images) == image).flatten(1).all(1)][0])
        for image in shown
    ]
    assert set(labels) == set(range(10))
    assert got.correct == labels.count(0)


def test_a_semi_supervised_run_reports_it_everywhere(tmp_path, cache):
    result = tiny_run(tmp_path / "run", model="improved-gan", labelled_per_class=5)
    accuracy = result.discriminator
    rows = [json.loads(line) for line in result.folder.metrics.read_text().splitlines()]
    scored = [row for row in rows if "am_score" in row]
    assert len(scored) == 2
    for row in scored:
        low, high = row["discriminator_accuracy_ci95"]
        assert low < row["discriminator_accuracy"] < high
    summary = json.loads(result.folder.summary.read_text())["discriminator"]
    assert summary == accuracy.to_dict()
    assert summary["n"] == 360
    assert summary["accuracy"] == summary["correct"] / 360
    (events,) = map(str, result.folder.tensorboard.iterdir())
    logged = EventAccumulator(events).Reload()
    for name, want in (
        ("discriminator_accuracy", [row["discriminator_accuracy"] for row in scored]),
        ("discriminator_accuracy/low", [row["discriminator_accuracy_ci95"][0] for row in scored]),
        ("discriminator_accuracy/high", [row["discriminator_accuracy_ci95"][1] for row in scored]),
    ):
        assert [event.value for event in logged.Scalars(name)] == pytest.approx(want)


def test_the_command_prints_it(tmp_path, cache):
    tiny_config(model="improved-gan", labelled_per_class=5).save(tmp_path / "config.toml")
    arguments = ["train", "--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    accuracy = json.loads((tmp_path / "run" / "summary.json").read_text())["discriminator"]["accuracy"]
    (line,) = [line for line in result.output.splitlines() if "accuracy of the discriminator" in line]
    assert f"{accuracy:.2%}" in line
