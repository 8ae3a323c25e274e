"""Scoring: of a generator, of real images, of a finished run."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
import torch
from tiny_runs import digits, digits_classifier, tiny_run, use_classifier_cache
from torch import nn
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate import Request, evaluate_request, open_run, score_generator, score_images
from amgan_fast.metrics import scores
from amgan_fast.nn import LatentSource, Sampler
from amgan_fast.tensor_files import load_tensors, save_tensors


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that tests may read and not write."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_classifier_cache(folder / "cache", monkeypatch)
        return tiny_run(folder / "run", labels="predefined")


@pytest.fixture
def own_copy(finished, tmp_path):
    return shutil.copytree(finished.folder.path, tmp_path / "run")


@torch.no_grad()
def logits_of(images: torch.Tensor) -> torch.Tensor:
    return digits_classifier().network(to_float(images))


def assert_same_scores(got, want):
    for name in ("am_score", "kl_reference", "mean_entropy", "inception_score"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-5)


def test_real_images_against_plain_torch():
    classifier = digits_classifier()
    images = to_float(digits().test_images)
    scores = score_images(images.split(50), classifier.network, classifier.reference)
    probability = classifier.network(images).double().softmax(1)
    mean = probability.mean(0)
    assert scores.n == 360
    assert scores.mean_entropy == pytest.approx(float(torch.special.entr(probability).sum(1).mean()), rel=1e-5)
    kl = (classifier.reference * (classifier.reference / mean).log()).sum()
    assert scores.kl_reference == pytest.approx(float(kl), rel=1e-4)
    assert_same_scores(score_images(images, classifier.network, classifier.reference), scores)


def test_held_out_images_of_a_run_are_scored_as_so_many_of_each_class(finished):
    held_out = finished.evaluation.held_out
    want = scores(logits_of(digits().test_images), digits_classifier().reference, strata=digits().test_labels)
    assert held_out.scores.sampling == "per-class"
    assert held_out.scores.am_score_corrected == pytest.approx(want.am_score_corrected, rel=1e-5)
    assert held_out.scores.am_score_corrected >= held_out.scores.mean_entropy
    assert [row.n for row in held_out.classes.rows] == digits().test_labels.bincount().tolist()
    assert finished.evaluation.generated.scores.sampling == "random"


def test_strata_of_real_images_are_those_of_their_logits():
    classifier, images, labels = digits_classifier(), digits().test_images, digits().test_labels
    got = score_images(to_float(images).split(50), classifier.network, classifier.reference, strata=labels)
    want = scores(logits_of(images), classifier.reference, strata=labels)
    assert got.am_score_ci95 == pytest.approx(want.am_score_ci95, rel=1e-5)


def test_the_reference_is_the_classifiers_mean_on_the_training_set():
    classifier = digits_classifier()
    with torch.no_grad():
        want = classifier.network(to_float(digits().train_images)).double().softmax(1).mean(0)
    torch.testing.assert_close(classifier.reference, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("count", [1, 500, 1201])
def test_generate_gives_exactly_what_was_asked_for(count):
    network = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8)))
    batches = list(Sampler(network, LatentSource(4)).batches(count, torch.Generator().manual_seed(0)))
    assert sum(len(images) for images, _ in batches) == count
    assert not any(images.requires_grad for images, _ in batches)


def test_a_generator_of_one_image_has_inception_score_1():
    class Constant(nn.Module):
        def forward(self, inputs):
            return to_float(digits().train_images[:1]).expand(len(inputs), -1, -1, -1)

    classifier = digits_classifier()
    random = torch.Generator().manual_seed(0)
    scores = score_generator(
        Sampler(Constant(), LatentSource(4)), classifier.network, classifier.reference, samples=700, random=random
    )
    assert scores.n == 700
    assert scores.inception_score == pytest.approx(1, abs=1e-5)
    assert scores.am_score > 1


def test_scoring_a_run_again_gives_its_summary(finished):
    again = evaluate_request(Request(run=finished.folder.path, samples=600, device="cpu"))
    assert_same_scores(again.generated.scores, finished.evaluation.generated.scores)
    assert_same_scores(again.held_out.scores, finished.evaluation.held_out.scores)
    assert again.classifier.sha256 == finished.evaluation.classifier.sha256


def test_samples_of_a_run_are_the_first_it_was_scored_with(finished):
    run = open_run(finished.folder.path, "cpu")
    images, labels = run.samples(1000)
    (batch,) = run.source(1500).batches(1500)
    assert torch.equal(images, batch.values[:1000])
    assert torch.equal(labels, batch.labels[:1000])
    with pytest.raises(InputError, match="count is 0, wanted at least 1"):
        run.samples(0)


def test_samples_with_dynamic_labels_are_of_the_class_that_the_classifier_sees(finished):
    network = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    run = dataclasses.replace(open_run(str(finished.folder.path)), sampler=Sampler(network, LatentSource(4)))
    images, labels = run.samples(600, torch.Generator().manual_seed(3))
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        want = torch.cat([network(torch.randn(count, 4, generator=random)) for count in (500, 100)])
        likeliest = run.classifier.network(want).argmax(1)
    assert torch.equal(images, want)
    assert torch.equal(labels, likeliest)


def test_evaluate_command(finished):
    path = str(finished.folder.path)
    as_json = CliRunner().invoke(app, ("evaluate", "--run", path, "--samples", "300", "--device", "cpu", "--json"))
    assert as_json.exit_code == 0, as_json.output
    scores = json.loads(as_json.stdout)
    assert scores["generated"]["scores"]["n"] == 300
    table = CliRunner().invoke(app, ("evaluate", "--run", path, "--samples", "300", "--device", "cpu"))
    assert table.exit_code == 0
    for value in (scores["generated"]["scores"]["am_score"], scores["held_out"]["scores"]["inception_score"]):
        assert f"{value:.4f}" in table.stdout


def test_evaluate_command_on_what_is_no_run(tmp_path):
    result = CliRunner().invoke(app, ("evaluate", "--run", str(tmp_path)))
    assert result.exit_code == 2
    assert "has no config.toml, wanted the folder of a training run" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_run_with_damaged_files(own_copy):
    checkpoint = own_copy / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged or no checkpoint"):
        evaluate_request(Request(run=own_copy, samples=10, device="cpu"))
    checkpoint.write_bytes(whole)
    save_tensors(checkpoint, load_tensors(checkpoint) | {"class_frequencies": None})
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged or of another version"):
        evaluate_request(Request(run=own_copy, samples=10, device="cpu"))
    (own_copy / "classifier.pt").unlink()
    with pytest.raises(InputError, match=r"has no classifier\.pt"):
        evaluate_request(Request(run=own_copy, samples=10, device="cpu"))


def test_no_samples(finished):
    with pytest.raises(InputError, match="samples is 0, wanted at least 1"):
        evaluate_request(Request(run=finished.folder.path, samples=0))


def test_the_operations_do_not_import_the_application():
    heavy = "torchvision matplotlib sklearn typer rich amgan_fast.train amgan_fast.data"
    check = f"import sys, amgan_fast.ops, amgan_fast.metrics; print([m for m in '{heavy}'.split() if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
