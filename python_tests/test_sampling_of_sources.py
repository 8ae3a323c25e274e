"""What evaluation takes samples to be drawn as, by source, settings and counts, and that scores follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import digits
from torch import Tensor, nn
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.evaluate import ImageClassifier, Inputs, Measurements, Settings, evaluate, passes, provenance
from amgan_fast.evaluate.sources import (
    GeneratorSource,
    ImageFolderSource,
    LogitsSource,
    NpzSource,
    Source,
    TensorSource,
)
from amgan_fast.evaluate.training_distribution import measure_training_distribution
from amgan_fast.metrics import ScoreAccumulator, Scores, scores
from amgan_fast.nn import LatentSource, Sampler
from amgan_fast.processes import Share

K = 10
EACH = 36
PER_CLASS = torch.randperm(EACH * K, generator=torch.Generator().manual_seed(0)) % K
REFERENCE = [1 / K] * K


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    """Of samples of which the classifier is fairly certain, less so of higher labels."""
    certain = 6 - 0.4 * PER_CLASS
    return torch.randn(len(PER_CLASS), K, generator=generator) + certain[:, None] * torch.eye(K)[PER_CLASS]


@pytest.fixture
def files(tmp_path: Path, logits: Tensor) -> Path:
    np.save(tmp_path / "logits.npy", logits.numpy())
    np.save(tmp_path / "labels.npy", PER_CLASS.numpy())
    return tmp_path


def command(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["generated"]


def measured(source: Source, **settings) -> Measurements:
    pixels = ImageClassifier("pixels", nn.Flatten(), Inputs(value_range="unit"), torch.device("cpu"))
    return evaluate(source, pixels if source.kind == "images" else None, settings=Settings(**settings)).generated


def sampled(source: Source, **settings) -> tuple[str, str]:
    result = measured(source, **settings)
    return result.scores.sampling, result.sampling_reason


def of_logits(files: Path, labels: Tensor, **settings) -> tuple[str, str]:
    np.save(files / "labels.npy", labels.numpy())
    return sampled(LogitsSource(files / "logits.npy", labels=files / "labels.npy"), **settings)


def assert_same(got: Scores, want: Scores) -> None:
    for name, value in want.to_dict().items():
        if isinstance(value, float):
            assert getattr(got, name) == pytest.approx(value, rel=1e-9), name
    for name, estimate in want.estimates.items():
        assert got.estimates[name].to_dict() == pytest.approx(estimate.to_dict(), rel=1e-6), name


def brightness(labels: Tensor) -> np.ndarray:
    """Images [N, 2, 5, 1] of which a pixel is bright, that of the label."""
    images = np.full((len(labels), K), 20, np.uint8)
    images[np.arange(len(labels)), labels.numpy()] = 250
    return images.reshape(-1, 2, 5, 1)


@pytest.mark.parametrize("batch_size", [7, 500])
def test_logits_with_so_many_labels_of_each_class_are_scored_by_strata(files, logits, batch_size):
    got = command("--logits", files / "logits.npy", "--labels", files / "labels.npy", "--batch-size", batch_size)
    assert got["scores"]["sampling"] == "per-class"
    assert got["sampling_reason"] == "360 samples of 10 classes, 36 each, closer to equal shares than chance allows"
    want = scores(logits, strata=PER_CLASS)
    for name in ("inception_score", "inception_score_corrected", "inception_score_ci95", "mean_entropy_ci95"):
        assert got["scores"][name] == pytest.approx(getattr(want, name), rel=1e-9), name
    assert got["scores"]["inception_score_corrected"] < scores(logits).inception_score_corrected


def test_without_labels_samples_are_random_ones(files, logits):
    got = command("--logits", files / "logits.npy")
    assert (got["scores"]["sampling"], got["sampling_reason"]) == (
        "random",
        "no labels that could tell otherwise",
    )
    assert got["scores"]["inception_score_corrected"] == pytest.approx(scores(logits).inception_score_corrected)
    assert got["classes"] is None


def test_labels_drawn_at_random_are_no_strata(files, logits, generator):
    sampling, reason = of_logits(files, torch.randint(K, (len(logits),), generator=generator))
    assert sampling == "random"
    assert reason.endswith("each, no closer to equal shares than by chance")


def test_a_set_that_is_its_own_reference_is_not_taken_for_one_drawn_per_class(files, generator):
    """Its labels come in the shares of the reference because they are these."""
    labels = torch.randint(K, (360,), generator=generator)
    logits = torch.randn(360, K, generator=generator) + 9 * torch.eye(K)[labels]
    np.save(files / "logits.npy", logits.numpy())
    np.save(files / "labels.npy", labels.numpy())
    source = LogitsSource(files / "logits.npy", labels=files / "labels.npy")
    training = measure_training_distribution(source, None, Settings(), Share())
    assert training.class_shares is not None
    got = evaluate(source, None, reference=training).generated
    assert got.scores.sampling == "random"
    assert any("of these very samples" in text for text in got.warnings)


@pytest.mark.parametrize(("said", "labels"), [("random", PER_CLASS), ("per-class", torch.arange(360) % 7 % 4)])
def test_what_is_said_of_the_sampling_holds(files, logits, said, labels):
    sampling, reason = of_logits(files, labels, sampling=said)
    assert sampling == said
    assert reason.endswith("as was said (--sampling)")
    got = measured(LogitsSource(files / "logits.npy", labels=files / "labels.npy"), sampling=said)
    assert_same(got.scores, scores(logits, strata=labels if said == "per-class" else None))


def test_per_class_without_labels_is_refused(files):
    said = "^--sampling is per-class, and 360 x 10 logits .* has no labels, wanted labels or --sampling auto$"
    with pytest.raises(InputError, match=said):
        sampled(LogitsSource(files / "logits.npy"), sampling="per-class")
    result = CliRunner().invoke(app, ["evaluate", "--logits", str(files / "logits.npy"), "--sampling", "fixed"])
    assert result.exit_code == 2


def test_class_folders_and_archives_tell_alike(tmp_path):
    images = brightness(PER_CLASS)
    for i, (image, label) in enumerate(zip(images, PER_CLASS.tolist(), strict=True)):
        (tmp_path / "folders" / f"class{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(tmp_path / "folders" / f"class{label}" / f"{i}.png")
    np.savez(tmp_path / "set.npz", arr_0=images, arr_1=PER_CLASS.numpy())
    of_folder, of_archive = measured(ImageFolderSource(tmp_path / "folders")), measured(NpzSource(tmp_path / "set.npz"))
    for one in (of_folder, of_archive):
        assert one.scores.sampling == "per-class"
        assert one.sampling_reason == "360 samples of 10 classes, 36 each, closer to equal shares than chance allows"
    assert of_folder.label_accuracy is None  # no one knows which classes these are, and strata they are all the same
    assert of_archive.label_accuracy == 1
    assert_same(of_folder.scores, of_archive.scores)
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.fromarray(images[0, ..., 0]).save(flat / "0.png")
    assert sampled(ImageFolderSource(flat), splits=1)[0] == "random"


def test_held_out_parts_that_were_set_aside_class_by_class_say_so():
    got = sampled(TensorSource.held_out(digits()))
    assert got == ("per-class", "360 samples of 10 classes, 35 to 37 each, drawn class by class")
    published = replace(digits(), stratified=False, test_labels=digits().train_labels[:360])
    assert sampled(TensorSource.held_out(published))[0] == "random"


def test_a_held_out_part_in_proportion_to_a_training_set_is_per_class(generator):
    sizes = torch.arange(1, 11) * 40
    labels = torch.arange(K).repeat_interleave(sizes)
    images = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    test = torch.arange(K).repeat_interleave(sizes // 10)
    uneven = replace(
        digits(), train_images=images, train_labels=labels, test_images=images[: len(test)], test_labels=test
    )
    source = TensorSource.held_out(replace(uneven, stratified=False))
    sampling, reason = sampled(source)
    assert sampling == "per-class"
    assert reason.endswith("closer to the training set's shares than chance allows")
    source.label_shares = None
    assert sampled(source)[0] == "random"


def test_what_a_generator_is_asked_for_is_drawn_at_random():
    network = nn.Sequential(nn.Linear(4 + K, K), nn.Tanh(), nn.Unflatten(1, (1, 2, 5))).eval()
    source = GeneratorSource(Sampler(network, LatentSource(4, torch.full((K,), 1 / K))), 700, seed=0)
    sampling, reason = sampled(source)
    assert sampling == "random"
    assert reason.startswith("700 samples of 10 classes, ")
    assert reason.endswith(" each, their labels drawn at random")


def test_contiguous_splits_of_strata_stay_contiguous(files, logits):
    source = LogitsSource(files / "logits.npy", labels=files / "labels.npy")
    got = measured(source, contiguous=True).scores
    in_order, by_strata = scores(logits, num_samples=len(logits)), scores(logits, strata=PER_CLASS)
    assert (got.sampling, got.splits_rule) == ("per-class", "contiguous")
    assert (got.split_mean, got.split_std) == pytest.approx((in_order.split_mean, in_order.split_std))
    assert got.inception_score_ci95 == pytest.approx(by_strata.inception_score_ci95)


def test_one_sample_of_each_label_shows_no_spread(tmp_path, generator):
    np.save(tmp_path / "logits.npy", torch.randn(100, 100, generator=generator).numpy())
    np.save(tmp_path / "labels.npy", np.arange(100))
    source = LogitsSource(tmp_path / "logits.npy", labels=tmp_path / "labels.npy")
    sampling, reason = sampled(source)
    assert sampling == "random"
    assert reason.endswith("closer to equal shares than chance allows; but one sample each shows no spread")
    with pytest.raises(InputError, match="100 hold one sample each, wanted two or more in one of them at least"):
        sampled(source, sampling="per-class")


def test_where_sums_by_label_do_not_fit_samples_are_random_ones_unless_it_was_said(files, monkeypatch):
    source = LogitsSource(files / "logits.npy", labels=files / "labels.npy")
    blocks = passes._COPIES * 3 * 100 * K * 8
    monkeypatch.setattr(passes, "fits_in_half_of", lambda device, size: size == blocks)
    sampling, reason = sampled(source)
    assert sampling == "random"
    assert "; but sums of 10 labels and 10 classes take 0 GiB, more than half of the memory" in reason
    with pytest.raises(InputError, match=r"^--sampling is per-class, and sums of 10 labels .* wanted at most half"):
        sampled(source, sampling="per-class")


def test_rows_that_are_left_out_are_in_no_stratum(files, logits):
    bad = logits.clone()
    bad[5::60] = torch.nan
    good = ~bad.isnan().any(1)
    np.save(files / "bad.npy", bad.numpy())
    source = LogitsSource(files / "bad.npy", labels=files / "labels.npy")
    got = measured(source, skip_non_finite=True, sampling="per-class").scores
    assert (got.n, got.non_finite_rows) == (354, 6)
    assert_same(replace(got, non_finite_rows=0), scores(logits[good], strata=PER_CLASS[good]))


def test_the_table_says_which_class_makes_a_score_infinite(tmp_path, logits):
    without = logits.clone()
    without[:, [4, 7]] = -torch.inf
    np.save(tmp_path / "without.npy", without.numpy())
    lines = provenance(evaluate(LogitsSource(tmp_path / "without.npy"), None, reference=torch.full((K,), 1 / K)))
    said = "AM Score of generated: every sample gives probability 0 to 4, 7, which the reference has"
    assert [said in text for name, text in lines if name == "infinite"] == [True]
    assert any(name == "units" and "nats" in text for name, text in lines)
    np.save(tmp_path / "with.npy", logits.numpy())
    lines = provenance(evaluate(LogitsSource(tmp_path / "with.npy"), None, reference=torch.full((K,), 1 / K)))
    assert "infinite" not in dict(lines)


def test_the_table_says_how_both_sets_were_drawn(files):
    source = LogitsSource(files / "logits.npy", labels=files / "labels.npy")
    lines = provenance(evaluate(source, None, held_out=LogitsSource(files / "logits.npy")))
    at = lines.index(
        ("sampling", "per class: 360 samples of 10 classes, 36 each, closer to equal shares than chance allows")
    )
    assert lines[at + 1] == ("", "held-out random: no labels that could tell otherwise")
    assert lines[at + 2] == (
        "interval",
        "95%, jackknife over 110 groups of samples within 10 classes, of the corrected score; held-out: over 100 "
        "blocks of samples",
    )


def test_what_is_said_of_the_scored_samples_is_not_said_of_held_out_ones(files):
    source = LogitsSource(files / "logits.npy", labels=files / "labels.npy")
    got = evaluate(source, None, held_out=LogitsSource(files / "logits.npy"), settings=Settings(sampling="per-class"))
    assert (got.generated.scores.sampling, got.held_out.scores.sampling) == ("per-class", "random")


def test_the_error_of_a_reference_that_is_scored_here_is_in_the_interval(files, logits, generator):
    training = torch.randn(600, K, generator=generator) + 4 * torch.eye(K)[torch.arange(600) % K]
    np.save(files / "training.npy", training.numpy())
    np.save(files / "vector.npy", training.double().softmax(1).mean(0).numpy())
    labelled = ("--logits", files / "logits.npy", "--labels", files / "labels.npy")
    sampled_one = command(*labelled, "--reference", files / "training.npy")["scores"]
    exact = command(*labelled, "--reference", files / "vector.npy")["scores"]
    accumulator = ScoreAccumulator(K)
    accumulator.update(training)
    want = scores(logits, accumulator, strata=PER_CLASS)
    assert sampled_one["reference_error"] == pytest.approx(want.reference_error, rel=1e-6)
    assert sampled_one["am_score_ci95"] == pytest.approx(want.am_score_ci95, rel=1e-6)
    assert exact["reference_error"] is None
    assert sampled_one["am_score"] == pytest.approx(exact["am_score"], rel=1e-6)


def test_a_reference_with_labels_is_a_sample_per_class_and_tells_the_shares_of_classes(tmp_path, generator):
    training = torch.arange(K).repeat_interleave(torch.arange(1, 11) * 40)
    test = torch.arange(K).repeat_interleave(torch.arange(1, 11) * 4)
    for name, labels in (("training", training), ("test", test)):
        np.savez(tmp_path / f"{name}.npz", arr_0=brightness(labels), arr_1=labels.numpy())
    pixels = ImageClassifier("pixels", nn.Flatten(), Inputs(value_range="unit"), torch.device("cpu"))
    reference = measure_training_distribution(NpzSource(tmp_path / "training.npz"), pixels, Settings(), Share())
    assert reference.class_shares.tolist() == pytest.approx((training.bincount() / len(training)).tolist())
    got = evaluate(NpzSource(tmp_path / "test.npz"), pixels, reference=reference).generated
    assert got.scores.sampling == "per-class"
    assert got.sampling_reason.endswith("closer to the training set's shares than chance allows")
    assert measured(NpzSource(tmp_path / "test.npz")).scores.sampling == "random"


def test_it_is_said_how_the_samples_of_a_reference_were_drawn(files, generator):
    labelled = LogitsSource(files / "logits.npy", labels=files / "labels.npy")
    reason = "360 samples of 10 classes, 36 each, closer to equal shares than chance allows"
    reference = measure_training_distribution(labelled, None, Settings(), Share())
    evaluation = evaluate(LogitsSource(files / "logits.npy"), None, reference=reference)
    assert ("", f"reference per class: {reason}") in provenance(evaluation)
    said = evaluation.to_dict()["reference"]
    assert (said["sampling"], said["sampling_reason"]) == ("per-class", reason)
    exact = evaluate(LogitsSource(files / "logits.npy"), None, reference=reference.probabilities)
    assert not [text for _, text in provenance(exact) if text.startswith("reference per class")]
    assert (exact.to_dict()["reference"]["sampling"], exact.reference_sampling_reason) == (None, None)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [({}, "filled in turn within each class"), ({"contiguous": True}, "consecutive samples")],
)
def test_the_table_says_how_splits_were_filled(files, settings, rule):
    source = LogitsSource(files / "logits.npy", labels=files / "labels.npy")
    lines = dict(provenance(evaluate(source, None, settings=Settings(**settings))))
    assert lines["splits"] == f"10, {rule}, no shuffle, std with ddof 0"
