"""``amgan-fast evaluate --against``: the difference to another evaluation, and with what there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import digits, digits_classifier
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.evaluate.passes import Pass
from amgan_fast.metrics import Scores, difference

NETWORK = """
import torch
def make():
    torch.manual_seed(SEED)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
def function():
    return lambda images: images.flatten(1)[:, :10] * 9
"""


def logits(count: int, certainty: float, seed: int, classes: int = 10) -> np.ndarray:
    return (certainty * np.random.default_rng(seed).normal(size=(count, classes))).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """With logits of two models and of a training set, in which the tests run."""
    np.save(tmp_path / "mine.npy", logits(600, 4.0, 1))
    np.save(tmp_path / "other.npy", logits(400, 3.8, 2))
    np.save(tmp_path / "training.npy", logits(2000, 4.0, 3))
    images = digits().test_images.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "half.npz", images[::2])
    np.savez(tmp_path / "rest.npz", images[1::2])
    digits_classifier().save(tmp_path / "classifier.pt")
    for seed in (0, 1):
        (tmp_path / f"network{seed}.py").write_text(NETWORK.replace("SEED", str(seed)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu"], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.stdout


def run(*arguments: object) -> dict:
    return json.loads(call(*arguments, "--json"))


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu"])
    assert result.exit_code == 2, result.output
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("amgan-fast: ")]
    return line


def scored(name: str, *arguments: object) -> str:
    """The file of an evaluation's JSON."""
    Path(name).write_text(call(*arguments, "--json"))
    return name


REFERENCE = ("--reference", "training.npy")


def test_the_difference_stands_beside_the_scores_in_table_json_and_page(folder):
    other = scored("other.json", "--logits", "other.npy", *REFERENCE)
    arguments = ("--logits", "mine.npy", *REFERENCE, "--against", other)
    got = run(*arguments, "--report", "page.html")
    mine, others = (Scores.from_dict(one["generated"]["scores"]) for one in (got, json.loads(Path(other).read_text())))
    want = difference(mine, others)
    assert got["difference"]["am_score"] == want.am_score.to_dict()
    assert (got["difference"]["n"], got["difference"]["against"]) == ([600, 400], other)
    assert "400 x 10 logits" in got["difference"]["source"]
    for shown in (call(*arguments), Path("page.html").read_text(encoding="utf-8")):
        assert "generated less other.json" in shown
        assert "samples taken as independent" in shown
        for text in (text for _, texts in want.rows() for text in texts):
            assert text in shown
    assert run("--logits", "mine.npy", *REFERENCE)["difference"] is None


def test_an_evaluation_says_which_reference_it_was_compared_with(folder):
    got = run("--logits", "mine.npy", *REFERENCE)
    assert got["reference"]["sha256"] == Scores.from_dict(got["generated"]["scores"]).reference_sha256
    assert got["reference"]["origin"] == "2,000 x 10 logits (float32) of training.npy"
    assert got["reference"]["sha256"] in call("--logits", "mine.npy", *REFERENCE)
    assert run("--logits", "mine.npy")["reference"] is None
    np.save("vector.npy", np.full(10, 0.1))
    origins = {
        ("--reference", "vector.npy"): "vector.npy",
        ("--reference", scored("t.json", "--logits", "training.npy")): "scores of t.json",
    }
    for arguments, origin in origins.items():
        assert run("--logits", "mine.npy", *arguments)["reference"]["origin"] == origin
    trained = run("--npz", "half.npz", "--classifier", "classifier.pt")
    assert trained["reference"]["origin"] == "the classifier's own"


def test_against_itself_there_is_no_difference_and_a_warning(folder):
    same = scored("same.json", "--logits", "mine.npy", *REFERENCE)
    got = run("--logits", "mine.npy", *REFERENCE, "--against", same)
    assert (got["difference"]["am_score"]["value"], got["difference"]["am_score"]["p_value"]) == (0, 1)
    (text,) = got["warnings"]
    assert "both sets are the same samples" in text


def test_a_reference_measured_in_other_batches_is_the_same(folder):
    other = scored("other.json", "--logits", "other.npy", *REFERENCE, "--batch-size", 77)
    assert run("--logits", "mine.npy", *REFERENCE, "--against", other)["difference"]["am_score"] is not None


def test_a_reference_taken_as_exact_by_one_alone_makes_no_difference(folder):
    """The other takes it for the sample that it is, and corrects for that."""
    other = scored("other.json", "--logits", "other.npy", *REFERENCE)
    exact = scored("exact.json", "--logits", "other.npy", "--reference", scored("t.json", "--logits", "training.npy"))
    bias, none = (json.loads(Path(x).read_text())["generated"]["scores"]["reference_bias"] for x in (other, exact))
    assert bias > none == 0
    found = [run("--logits", "mine.npy", *REFERENCE, "--against", x)["difference"] for x in (other, exact)]
    for name in ("am_score", "kl_reference"):
        one, same = (x[name] for x in found)
        assert [*same["interval"], same["p_value"]] == pytest.approx([*one["interval"], one["p_value"]], rel=1e-9)


def test_what_makes_the_other_scores_doubtful_is_said(folder):
    np.save("few.npy", logits(49, 4.0, 4))
    few = scored("few.json", "--logits", "few.npy")
    (text,) = run("--logits", "mine.npy", "--against", few)["warnings"]
    assert text.startswith("few.json: 49 samples of 10 classes")
    partial = json.loads(Path(few).read_text()) | {"partial": "20 of 49 samples: interrupted"}
    Path(few).write_text(json.dumps(partial))
    assert (
        "few.json: partial: 20 of 49 samples: interrupted" in run("--logits", "mine.npy", "--against", few)["warnings"]
    )


def test_under_one_classifier_images_are_compared_and_of_logits_it_is_said_that_it_is_not_known(folder):
    half = scored("half.json", "--npz", "half.npz", "--classifier", "classifier.pt")
    got = run("--npz", "rest.npz", "--classifier", "classifier.pt", "--against", half)["difference"]
    assert got["note"] is None
    assert got["am_score"]["p_value"] > 1e-4  # the same digits but for chance
    reference = digits_classifier().reference.numpy()
    np.save("vector.npy", reference)
    note = run("--logits", "mine.npy", "--reference", "vector.npy", "--against", half)["difference"]["note"]
    assert "that both are of one classifier is not known" in note
    assert note in call("--logits", "mine.npy", "--reference", "vector.npy", "--against", half)


def test_another_classifier_is_refused_and_both_are_named_by_their_weights(folder):
    first = scored("first.json", "--npz", "half.npz", "--classifier", "network0:make", "--input-size", 8)
    digests = [
        run("--npz", "half.npz", "--classifier", f"network{seed}:make", "--input-size", 8)["classifier"]["sha256"]
        for seed in (0, 1)
    ]
    line = refused("--npz", "half.npz", "--classifier", "network1:make", "--input-size", 8, "--against", first)
    assert f"first.json is of a classifier with SHA-256 {digests[0]}, wanted {digests[1]} as here" in line


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--dtype", "float64"), "dtype float32, wanted float64 as here"),
        (("--input-range", "unit"), "value_range signed, wanted unit as here"),
        (("--resize", "bilinear"), "resize none, wanted bilinear as here"),
    ],
)
def test_images_given_otherwise_are_refused(folder, option, said):
    arguments = ("--npz", "half.npz", "--classifier", "network0:make", "--input-size", 8)
    other = scored("other.json", *arguments)
    assert said in refused(*arguments, *option, "--against", other)


def test_a_classifier_without_weights_is_known_by_its_name_alone_which_is_said(folder):
    arguments = ("--npz", "half.npz", "--classifier", "network0:function", "--input-size", 8)
    other = scored("other.json", *arguments)
    assert "no weights to hash" in run(*arguments, "--against", other)["difference"]["note"]
    line = refused("--npz", "half.npz", "--classifier", "network1:function", "--input-size", 8, "--against", other)
    assert "with name network0:function, wanted network1:function as here" in line


def test_another_reference_or_number_of_classes_is_refused(folder):
    other = scored("other.json", "--logits", "other.npy", *REFERENCE)
    sha256 = json.loads(Path(other).read_text())["reference"]["sha256"]
    found = f"other.json has a reference of SHA-256 {sha256}, wanted"
    assert f"{found} no reference as here" in refused("--logits", "mine.npy", "--against", other)
    line = refused("--logits", "mine.npy", "--reference", "other.npy", "--against", other)
    assert f"{found} a reference of SHA-256" in line
    np.save("five.npy", logits(100, 4.0, 5, classes=5))
    assert "other.json has 10 classes, wanted 5 as here" in refused("--logits", "five.npy", "--against", other)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory), wanted what amgan-fast evaluate --json printed"),
        ("", "holds no scores (JSONDecodeError"),
        ("[" * 100_000, "holds no scores (RecursionError"),
        ("[]", "holds no scores (TypeError"),
        ('{"scores": 3}', "holds no scores (no 'classifier')"),
        ('{"classifier": null, "partial": null, "source": "x", "generated": {"scores": []}}', "wanted what to_dict"),
        ("earlier", "Scores have no estimates, as those that earlier versions wrote"),
        ("classifier", "holds no scores (no 'inputs')"),
        ("infinite", "mean_entropy is 'much', wanted float"),
    ],
)
def test_what_is_no_evaluation_is_refused_before_the_work_begins(folder, content, said, monkeypatch):
    if content is not None:
        good = json.loads(call("--logits", "other.npy", "--json"))
        if content == "earlier":
            del good["generated"]["scores"]["estimates"]
        if content == "classifier":
            good["classifier"] = {"sha256": "abc", "name": "x", "note": None}
        if content == "infinite":
            good["generated"]["scores"]["mean_entropy"] = "much"
        Path("bad.json").write_text(json.dumps(good) if content in ("earlier", "classifier", "infinite") else content)
    monkeypatch.setattr(Pass, "run", lambda self: pytest.fail("it has begun"))
    assert said in refused("--logits", "mine.npy", *REFERENCE, "--against", "bad.json")


def test_of_another_classifier_it_is_said_before_a_training_set_is_gone_through(folder, monkeypatch):
    other = scored("other.json", "--npz", "half.npz", "--classifier", "network0:make", "--input-size", 8)
    monkeypatch.setattr(Pass, "run", lambda self: pytest.fail("it has begun"))
    arguments = ("--npz", "half.npz", "--classifier", "network1:make", "--input-size", 8, "--reference", "rest.npz")
    assert "SHA-256" in refused(*arguments, "--against", other)
