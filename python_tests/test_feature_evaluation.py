"""``evaluate --features`` and ``--cas``: one pass, from the command line to JSON, against other tools' functions on the
same features."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from forked import torchrun_forked
from tiny_runs import (
    digits,
    digits_classifier,
    tiny_run,
    train_classifiers_for_a_moment,
    use_classifier_cache,
    write_digits,
)
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate import EvaluationError, EvaluationInterrupted, Request, evaluate_request
from amgan_fast.train import train_classifier

EXTRACTORS = """
import torch
from torch import nn

def pixels():
    return {"network": nn.Flatten(), "input_range": "unit"}

class Both(nn.Module):
    def forward(self, images):
        features = images.flatten(1)
        return {"logits": 4 * features[:, :10], "features": features}

def both():
    return {"network": Both(), "input_range": "unit"}

class Broken(nn.Module):
    def forward(self, images):
        return images.flatten(1) / (images.flatten(1).sum(1, keepdim=True) > 0.3 * 64)

def broken():
    return {"network": Broken(), "input_range": "unit"}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A classifier, a run, and held-out digits as files; tests read them."""
    folder = tmp_path_factory.mktemp("files")
    write_digits(folder, 60)
    images = digits().train_images
    np.savez(folder / "training.npz", arr_0=images.permute(0, 2, 3, 1).numpy(), arr_1=digits().train_labels.numpy())
    with pytest.MonkeyPatch.context() as patch:
        use_classifier_cache(folder / "cache", patch)
        tiny_run(folder / "run", labels="predefined")
        tiny_run(folder / "dynamic")
    return folder


@pytest.fixture(autouse=True)
def few_frequencies(monkeypatch):
    """Of diversity, which takes most of the time of small sets."""
    monkeypatch.setattr("amgan_fast.evaluate.feature_scores._FREQUENCIES", 32)


@pytest.fixture
def pixels(users_module) -> str:
    """The name of an extractor of 64 features, of which everything is quick."""
    return f"{users_module(EXTRACTORS)}:pixels"


def command(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def evaluate(*arguments: object) -> dict:
    return command("evaluate", "--device", "cpu", *arguments)


def features_of(images: torch.Tensor) -> np.ndarray:
    """What the last layer of the tests' classifier takes."""
    with torch.no_grad():
        return digits_classifier().network.layers[:-1](to_float(images)).double().numpy()


def sqrtm_distance(a: np.ndarray, b: np.ndarray) -> float:
    """As it is written in Heusel et al."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = np.square(a.mean(0) - b.mean(0)).sum()
    return shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(scipy.linalg.sqrtm(cov_a @ cov_b).real)


def test_a_run_is_compared_with_its_training_images_by_its_classifier_s_features(files, tmp_path):
    saved = tmp_path / "features.npy"
    scored = ("--run", files / "run", "--samples", 700, "--features", "classifier")
    found = evaluate(*scored, "--save-features", saved)
    generated, real = np.load(saved), features_of(digits().train_images)
    scores, held_out = found["generated"]["features"], found["held_out"]["features"]
    assert (scores["n"], scores["n_reference"], scores["even"]) == (700, 1437, 700)
    assert scores["frechet"]["value"] == pytest.approx(sqrtm_distance(generated.astype(np.float64), real), rel=1e-5)
    want = sqrtm_distance(features_of(digits().test_images), real)
    assert held_out["frechet"]["value"] == pytest.approx(want, rel=1e-5)
    assert held_out["kernel"]["value"] < scores["kernel"]["value"]
    assert held_out["precision_recall"]["recall"] > scores["precision_recall"]["recall"]
    assert scores["memorisation"]["nearer"] < 0.5
    assert held_out["memorisation"] is None
    assert found["features"]["extractor"] is None
    reference = found["features"]["reference"]
    assert (reference["origin"], reference["exact"], reference["samples"]) == (
        "1,437 training images of digits",
        False,
        1437,
    )
    # A distance within each class, which the generator was asked for.
    assert len(scores["classes"]["classes"]) == 10


def test_what_is_printed(files, pixels):
    scored = ["evaluate", "--run", str(files / "run"), "--samples", "300", "--features", pixels]
    result = CliRunner().invoke(app, scored, env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    for row in ("Fréchet distance (lower is better)", "Kernel distance", "Precision", "Recall", "Vendi score"):
        assert row in result.stdout
    assert f"64 of {pixels}" in result.stdout


def test_shards_are_the_whole(files, tmp_path, pixels):
    scored = ("--run", files / "run", "--samples", 1500, "--features", pixels, "--batch-size", 128)
    whole = evaluate(*scored)
    states = [tmp_path / f"{i}.safetensors" for i in (1, 2)]
    for i, state in enumerate(states, start=1):
        part = evaluate(*scored, "--shard", f"{i}/2", "--state", state)
        assert part["generated"]["features"] is None
    merged = command("merge", *reversed(states))
    for name in ("generated", "held_out"):
        want, got = whole[name]["features"], merged[name]["features"]
        assert close(got["frechet"], want["frechet"])
        assert close(got["classes"], want["classes"])
        assert close(got["kernel"], want["kernel"])
        assert close(got["precision_recall"], want["precision_recall"])
        assert close(got["diversity"], want["diversity"])
        assert close(got["memorisation"], want["memorisation"])


def close(got: object, want: object) -> bool:
    """Whether all numbers within are."""
    if isinstance(want, dict):
        return all(close(got[key], value) for key, value in want.items())
    if isinstance(want, list):
        return all(map(close, got, want))
    return got == pytest.approx(want, rel=1e-4, abs=1e-5) if isinstance(want, float) else got == want


def test_shards_of_other_features_are_not_merged(files, tmp_path, pixels):
    scored = (
        "--npz",
        files / "digits.npz",
        "--classifier",
        files / "classifier.pt",
        "--reference",
        files / "training.npz",
    )
    states = [tmp_path / f"{i}.safetensors" for i in (1, 2)]
    for i, (state, features) in enumerate(zip(states, (["--features", pixels], []), strict=True), start=1):
        evaluate(*scored, *features, "--shard", f"{i}/2", "--state", state)
    for order in (states, states[::-1]):
        result = CliRunner().invoke(app, ["merge", *map(str, order)])
        assert result.exit_code == 2
        assert "scores of features" in result.output


def test_classes_in_turn_give_the_distance_of_classes_at_random(files, tmp_path, pixels):
    """Blocks of each fourth sample would have some of the classes only."""
    images, labels = digits().train_images, digits().train_labels
    order = torch.stack([(labels == k).nonzero()[:140, 0] for k in range(8)], 1).flatten()  # 0, 1, ... 7, 0, 1, ...
    found = []
    for name, places in (("turn", order), ("random", order[torch.randperm(len(order))])):
        np.savez(
            tmp_path / f"{name}.npz", arr_0=images[places].permute(0, 2, 3, 1).numpy(), arr_1=labels[places].numpy()
        )
        scored = ("--npz", tmp_path / f"{name}.npz", "--classifier", files / "classifier.pt", "--features", pixels)
        found.append(evaluate(*scored, "--dataset", "digits")["generated"]["features"]["frechet"])
    turn, random = found
    assert turn["value"] == pytest.approx(random["value"], rel=1e-6)
    reach = turn["ci95"][1] - turn["ci95"][0]
    assert 0.5 < reach / (random["ci95"][1] - random["ci95"][0]) < 2
    assert abs(turn["corrected"] - random["corrected"]) < reach


def test_two_processes_are_one(files, tmp_path, pixels):
    scored = ["--run", str(files / "run"), "--samples", "1000", "--features", pixels, "--device", "cpu"]
    result = torchrun_forked(["-m", "amgan_fast", "evaluate", *scored, "--json", "found.json"], tmp_path)
    assert result.returncode == 0, result.stderr
    got = json.loads((tmp_path / "found.json").read_text())["generated"]["features"]
    want = evaluate(*scored)["generated"]["features"]
    assert got["frechet"]["value"] == pytest.approx(want["frechet"]["value"], rel=1e-6)
    assert got["kernel"]["value"] == pytest.approx(want["kernel"]["value"], rel=1e-4)
    assert got["memorisation"]["nearer"] == pytest.approx(want["memorisation"]["nearer"], abs=2e-3)


@pytest.mark.parametrize("option", ["--reference", "--feature-reference"])
def test_statistics_of_other_tools_are_a_reference_of_the_frechet_distance_alone(files, tmp_path, option):
    real = features_of(digits().train_images)
    np.savez(tmp_path / "statistics.npz", mu=real.mean(0), sigma=np.cov(real, rowvar=False))
    scored = ("--npz", files / "digits.npz", "--classifier", files / "classifier.pt", "--features", "classifier")
    found = evaluate(*scored, option, tmp_path / "statistics.npz")
    scores = found["generated"]["features"]
    want = sqrtm_distance(features_of(digits().test_images), real)
    assert scores["frechet"]["value"] == pytest.approx(want, rel=1e-5)
    assert [scores[name] for name in ("kernel", "precision_recall", "memorisation")] == [None] * 3
    assert found["features"]["reference"]["exact"] is True
    assert found["reference"]["origin"] == "the classifier's own"


def test_the_state_of_an_evaluation_of_real_images_is_a_reference(files, tmp_path, pixels):
    judge = ("--classifier", files / "classifier.pt", "--features", pixels)
    state = tmp_path / "real.safetensors"
    evaluate("--npz", files / "training.npz", *judge, "--state", state)
    scored = ("--npz", files / "digits.npz", *judge)
    by_state = evaluate(*scored, "--feature-reference", state)["generated"]["features"]
    by_images = evaluate(*scored, "--feature-reference", files / "training.npz")["generated"]["features"]
    assert by_state["memorisation"] == by_images["memorisation"] is not None
    assert by_state["frechet"]["value"] == pytest.approx(by_images["frechet"]["value"], rel=1e-9)
    assert by_state["kernel"] == by_images["kernel"]


def test_a_state_that_kept_fewer_features_compares_as_many(files, tmp_path, pixels):
    judge = ("--classifier", files / "classifier.pt", "--features", pixels)
    state = tmp_path / "real.safetensors"
    evaluate("--npz", files / "training.npz", *judge, "--state", state, "--feature-samples", 200)
    found = evaluate("--npz", files / "digits.npz", *judge, "--feature-reference", state)["generated"]["features"]
    assert (found["kept"], found["kept_reference"], found["even"]) == (360, 200, 200)
    assert found["memorisation"] is None
    assert "200 of the real images were kept" in found["notes"][0]


def test_held_out_images_that_are_the_reference_tell_nothing_of_memory(files, pixels):
    scored = ("--run", files / "run", "--samples", 300, "--features", pixels)
    found = evaluate(*scored, "--feature-reference", files / "digits.npz")["generated"]["features"]
    assert found["memorisation"] is None
    assert "most held-out images are among the real ones" in found["notes"][0]


def test_images_given_for_both_references_are_both(files, pixels):
    judge = ("--classifier", files / "classifier.pt", "--features", pixels)
    given = ("--reference", files / "digits.npz", "--feature-reference", files / "digits.npz")
    found = evaluate("--npz", files / "training.npz", *judge, *given)
    assert "digits.npz" in found["reference"]["origin"]
    assert "digits.npz" in found["features"]["reference"]["origin"]


def test_images_that_the_am_score_compares_with_are_the_reference_too(files):
    judge = ("--classifier", files / "classifier.pt", "--features", "classifier")
    found = evaluate("--npz", files / "digits.npz", *judge, "--reference", files / "training.npz")
    want = sqrtm_distance(features_of(digits().test_images), features_of(digits().train_images))
    assert found["generated"]["features"]["frechet"]["value"] == pytest.approx(want, rel=1e-5)
    assert found["reference"]["origin"] == found["features"]["reference"]["origin"]


@pytest.mark.parametrize("own", [False, True])
def test_features_of_the_users_code(files, users_module, own):
    """By themselves, or beside the logits of one network."""
    name = users_module(EXTRACTORS)
    judge = ("--classifier", f"{name}:both", "--features", "classifier")
    if not own:
        judge = ("--classifier", files / "classifier.pt", "--features", f"{name}:pixels")
    found = evaluate("--npz", files / "digits.npz", *judge, "--feature-reference", files / "training.npz")
    pixels = [images.flatten(1).double().numpy() / 255 for images in (digits().test_images, digits().train_images)]
    assert found["generated"]["features"]["frechet"]["value"] == pytest.approx(sqrtm_distance(*pixels), rel=1e-5)
    extractor = found["features"]["extractor"]
    assert own == (extractor is None)
    if extractor is not None:
        assert len(extractor["sha256"]) == 64


def test_a_feature_that_is_not_finite_is_an_error_that_names_the_sample(files, users_module):
    name = users_module(EXTRACTORS)
    scored = ["--npz", str(files / "digits.npz"), "--classifier", str(files / "classifier.pt")]
    result = CliRunner().invoke(app, ["evaluate", *scored, "--features", f"{name}:broken", "--dataset", "digits"])
    assert result.exit_code == 2
    assert re.search(r"\(sample \d+\) hold \w+, wanted finite", " ".join(result.output.split()))


@pytest.mark.parametrize("error", [ValueError("too few"), KeyboardInterrupt()])
def test_what_stops_scores_of_features_leaves_the_others(files, pixels, monkeypatch, error):
    def stop(*args: object) -> None:
        raise error

    monkeypatch.setattr("amgan_fast.evaluate.feature_comparison.feature_scores", stop)
    scored = ["evaluate", "--run", str(files / "run"), "--samples", "300", "--features", pixels, "--json"]
    result = CliRunner().invoke(app, scored)
    assert result.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    found = json.loads(result.stdout)
    assert found["generated"]["scores"]["n"] == 300
    assert found["generated"]["features"] is None
    assert found["partial"].startswith("scores of features: ")


def test_differences_of_features_to_another_evaluation(files, tmp_path, pixels):
    scored = ("--run", files / "run", "--samples", 600, "--features", pixels)
    first = tmp_path / "first.json"
    first.write_text(json.dumps(evaluate(*scored)))
    found = evaluate("--run", files / "dynamic", "--samples", 600, "--features", pixels, "--against", first)
    difference = found["difference"]["features"]["frechet"]
    values = [
        one["generated"]["features"]["frechet"]["estimate"]["value"] for one in (found, json.loads(first.read_text()))
    ]
    assert difference["value"] == pytest.approx(values[0] - values[1])
    assert difference["interval"][0] < difference["value"] < difference["interval"][1]
    assert "recall" in found["difference"]["features"]
    fewer = evaluate("--run", files / "dynamic", "--samples", 300, "--features", pixels, "--against", first)[
        "difference"
    ]
    assert fewer["features"].keys() == {"frechet", "kernel"}
    assert "other numbers of samples" in fewer["note"]


@pytest.mark.parametrize("run", ["run", "dynamic"])
def test_a_classifier_is_trained_on_the_samples_and_tested_on_real_images(files, run, monkeypatch):
    train_classifiers_for_a_moment(monkeypatch)
    found = evaluate("--run", files / run, "--samples", 700, "--cas")["classification_accuracy"]
    assert (found["n_train"], found["n_test"]) == (700, 360)
    assert found["labels"] == {"run": "asked for", "dynamic": "the classifier's"}[run]
    rows = found["classes"]
    assert sum(row["n"] * row["accuracy"] for row in rows) == pytest.approx(360 * found["accuracy"])
    low, high = found["ci95"]
    assert 0 <= low <= found["accuracy"] <= high <= 1


def test_samples_that_are_real_images_train_a_classifier_as_these_do(files):
    request = Request(npz=files / "training.npz", classifier=str(files / "classifier.pt"), dataset="digits", cas=True)
    found = evaluate_request(request, trainer=partial(train_classifier, steps=300))
    assert found.classification_accuracy.n_train == 1437
    assert found.classification_accuracy.accuracy > 0.9


def test_samples_in_an_order_of_classes_train_as_shuffled_ones_do(files, tmp_path):
    images, labels = digits().train_images, digits().train_labels
    order = labels.argsort().repeat_interleave(2)  # more samples than training images
    np.savez(tmp_path / "sorted.npz", arr_0=images[order].permute(0, 2, 3, 1).numpy(), arr_1=labels[order].numpy())
    request = Request(npz=tmp_path / "sorted.npz", classifier=str(files / "classifier.pt"), dataset="digits", cas=True)
    found = evaluate_request(request, trainer=partial(train_classifier, steps=300)).classification_accuracy
    assert found.n_train == 1437
    assert found.accuracy > 0.9


REVERSED = """
import torch
from tiny_runs import digits_classifier

class Reversed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = digits_classifier().network

    def forward(self, images):
        return self.network(images).flip(1)

def reversed():
    names = [str(k) for k in range(9, -1, -1)]
    return {"network": Reversed(), "input_range": "amgan", "classes": names}

def wide():
    return {"network": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 100)), "input_range": "amgan"}
"""


@pytest.mark.parametrize("labelled", [True, False])
def test_classes_of_a_classifier_in_another_order_are_those_of_the_dataset(tmp_path, users_module, labelled):
    images, labels = digits().train_images, digits().train_labels
    beside = {"arr_1": 9 - labels.numpy()} if labelled else {}  # numbers are the classifier's classes
    np.savez(tmp_path / "samples.npz", arr_0=images.permute(0, 2, 3, 1).numpy(), **beside)
    judge = f"{users_module(REVERSED)}:reversed"
    request = Request(npz=tmp_path / "samples.npz", classifier=judge, dataset="digits", cas=True)
    found = evaluate_request(request, trainer=partial(train_classifier, steps=300)).classification_accuracy
    assert found.accuracy > 0.85


def test_a_classifier_of_other_classes_labels_no_samples(tmp_path, users_module):
    np.savez(tmp_path / "samples.npz", arr_0=digits().test_images.permute(0, 2, 3, 1).numpy())
    request = Request(
        npz=tmp_path / "samples.npz", classifier=f"{users_module(REVERSED)}:wide", dataset="digits", cas=True
    )
    with pytest.raises(InputError, match=r"found --cas with the classes of .* \(100 classes\), wanted those of digits"):
        evaluate_request(request, trainer=train_classifier)


@pytest.mark.parametrize("error", [FloatingPointError("step 3: no loss"), KeyboardInterrupt()])
def test_what_stops_the_training_leaves_the_scores(files, error):
    def stop(samples: object) -> None:
        raise error

    request = Request(npz=files / "digits.npz", classifier=str(files / "classifier.pt"), dataset="digits", cas=True)
    with pytest.raises((EvaluationError, EvaluationInterrupted)) as stopped:
        evaluate_request(request, trainer=stop)
    assert stopped.value.evaluation.generated.scores.n == 360
    assert stopped.value.evaluation.partial.startswith("GAN-train: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--npz", "digits.npz", "--classifier", "classifier.pt", "--features", "nothing"], "wanted"),
        (["--run", "run", "--feature-samples", "200"], "found --feature-samples without --features"),
        (["--run", "run", "--features", "classifier", "--feature-weights", "w.pth"], "found --feature-weights with"),
        (
            ["--run", "run", "--features", "classifier", "--feature-reference", "other.npz"],
            "mu and sigma of other.npz: 3 features, wanted 256 as of",
        ),
        (["--run", "run", "--features", "classifier", "--feature-reference", "crooked.npz"], "sigma"),
        (["--run", "run", "--features", "classifier", "--feature-reference", "plain.safetensors"], "has no features"),
        (["--logits", "logits.npy", "--features", "classifier"], "without --run or --classifier"),
        (["--run", "run", "--cas", "--shard", "1/2", "--state", "s.safetensors"], "found --cas for a part"),
        (["--npz", "large.npz", "--classifier", "classifier.pt", "--resize", "bilinear", "--cas"], "wanted those of"),
    ],
)
def test_what_does_not_go_together(files, tmp_path, monkeypatch, options, said):
    for name in ("run", "digits.npz", "classifier.pt"):
        (tmp_path / name).symlink_to(files / name)
    monkeypatch.chdir(tmp_path)
    np.save("logits.npy", np.zeros((100, 10), np.float32))
    np.savez("other.npz", mu=np.zeros(3), sigma=np.eye(3))
    np.savez("crooked.npz", mu=np.zeros(2), sigma=np.array([[1.0, 0.5], [0.2, 1.0]]))
    np.savez("large.npz", arr_0=np.zeros((300, 16, 16, 1), np.uint8), arr_1=np.arange(300) % 10)
    if "plain.safetensors" in options:
        evaluate("--npz", "digits.npz", "--classifier", "classifier.pt", "--state", "plain.safetensors")
    result = CliRunner().invoke(app, ["evaluate", *options, "--json", "out.json"])
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())
    assert not Path("out.json").exists()


def test_cas_wants_someone_who_trains(files):
    with pytest.raises(InputError, match="found cas without trainer"):
        evaluate_request(Request(run=files / "run", samples=100, cas=True))
