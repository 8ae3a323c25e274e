"""Class balance in an evaluation: which counts of the reference it is tested with, and where there is no p."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import digits, digits_classifier
from torch import Tensor

from amgan_fast.data import to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate import Evaluation, Request, evaluate, evaluate_request, provenance, read_classifier, score_rows
from amgan_fast.evaluate.sources import TensorSource
from amgan_fast.metrics import LabelCounts, label_balance
from amgan_fast.metrics.homogeneity import homogeneity
from amgan_fast.tensor_files import load_tensors, save_tensors

K = 10
ROW = "class balance as in the reference, p"


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(600, K, generator=generator)


def saved(path: Path, values: Tensor) -> Path:
    np.save(path, values.numpy())
    return path


def evaluated(folder: Path, logits: Tensor, reference: Path, labels: Tensor | None = None) -> Evaluation:
    given = None if labels is None else saved(folder / "labels.npy", labels)
    file = saved(folder / "samples.npy", logits)
    return evaluate_request(Request(logits=file, reference=reference, labels=given, device="cpu"))


def counted_on_training_images() -> Tensor:
    """[K, K], by label."""
    dataset = digits()
    likeliest = digits_classifier().network(to_float(dataset.train_images)).argmax(1)
    return (dataset.train_labels * K + likeliest).bincount(minlength=K**2).view(K, K)


def test_a_reference_of_samples_is_counted_in_the_pass_over_it(tmp_path, logits):
    evaluation = evaluated(tmp_path, logits[:200], saved(tmp_path / "training.npy", logits[200:]))
    want = label_balance(logits[:200], logits[200:].argmax(1).bincount(minlength=K))
    assert evaluation.generated.balance.p_value == want.p_value
    assert dict(score_rows(evaluation))[ROW] == [f"{want.p_value:.2g}"]


def test_a_set_has_the_balance_of_itself(tmp_path, logits):
    evaluation = evaluated(tmp_path, logits, saved(tmp_path / "training.npy", logits))
    assert dict(score_rows(evaluation))[ROW] == ["1"]


def test_numbers_that_were_fixed_by_class_are_strata(tmp_path, logits):
    labels = torch.arange(600) % K
    logits += 3 * torch.eye(K)[labels]
    evaluation = evaluated(tmp_path, logits[:200], saved(tmp_path / "training.npy", logits[200:]), labels[:200])
    want = LabelCounts(K, strata=K)
    want.update(logits[:200], strata=labels[:200])
    balance = evaluation.generated.balance
    assert evaluation.generated.class_counts.equal(want.table())
    assert balance.p_value == want.compute(logits[200:].argmax(1).bincount(minlength=K)).p_value
    assert evaluation.to_dict()["generated"]["class_counts"] is None  # of many classes it would be a long table


def test_why_there_is_no_p_is_said_where_one_could_be_expected():
    images = digits().train_images[digits_classifier().network(to_float(digits().train_images)).argmax(1) == 0]
    source = TensorSource(images, torch.zeros(len(images), dtype=torch.int64), "zeros")
    classifier = digits_classifier().for_images()
    assert ROW in dict(score_rows(evaluate(source, classifier)))
    only_zeros = torch.tensor([7] + [0] * (K - 1))
    evaluation = evaluate(source, replace(classifier, reference_counts=only_zeros))
    assert ROW not in dict(score_rows(evaluation))
    assert ("no p", "class balance of generated: all samples of both sets are of one class") in provenance(evaluation)


def test_the_json_of_a_training_set_has_its_counts(tmp_path, logits):
    training = saved(tmp_path / "training.npy", logits[200:])
    found = evaluate_request(Request(logits=training, device="cpu")).to_dict()
    assert found["generated"]["class_counts"] == logits[200:].argmax(1).bincount(minlength=K).tolist()
    file = tmp_path / "training.json"
    file.write_text(json.dumps(found))
    want = evaluated(tmp_path, logits[:200], training).generated.balance
    assert evaluated(tmp_path, logits[:200], file).generated.balance.p_value == want.p_value

    del found["generated"]["class_counts"]
    file.write_text(json.dumps(found))
    of_an_earlier_version = evaluated(tmp_path, logits[:200], file)
    balance = of_an_earlier_version.generated.balance
    assert (balance.p_value, balance.counts) == (None, want.counts)
    assert balance.to_dict()["reason"] == "the reference's counts are not known, only its mean distribution"
    assert ROW not in dict(score_rows(of_an_earlier_version))


@pytest.mark.parametrize("counts", [[40] * (K - 1), [40.0] * K, [-1] + [40] * (K - 1), [0] * K, {"0": 40}, "40"])
def test_counts_of_a_json_that_are_none_are_refused(tmp_path, logits, counts):
    found = evaluate_request(Request(logits=saved(tmp_path / "x.npy", logits), device="cpu")).to_dict()
    found["generated"]["class_counts"] = counts
    file = tmp_path / "training.json"
    file.write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"training.json has class_counts = .*, wanted 10 counts of samples"):
        evaluated(tmp_path, logits, file)


def test_a_classifier_keeps_the_counts_of_its_training_set(tmp_path):
    want = counted_on_training_images()
    digits_classifier().save(tmp_path / "digits.pt")
    for classifier in (digits_classifier(), read_classifier(tmp_path / "digits.pt")):
        assert classifier.reference_counts.equal(want)
        assert classifier.to_dict()["reference_counts"] == want.sum(0).tolist()
        evaluation = evaluate(TensorSource.held_out(digits()), classifier.for_images())
        assert evaluation.generated.balance.p_value == homogeneity(evaluation.generated.class_counts, want).p_value
        assert evaluation.generated.balance.p_value > 1e-3
        assert ROW in dict(score_rows(evaluation))


def test_a_classifier_of_an_earlier_version_gives_no_p(tmp_path):
    file = tmp_path / "digits.pt"
    digits_classifier().save(file)
    state = load_tensors(file)
    del state["reference_counts"]
    save_tensors(file, state)
    evaluation = evaluate(TensorSource.held_out(digits()), read_classifier(file).for_images())
    assert evaluation.generated.balance.p_value is None
    assert ROW not in dict(score_rows(evaluation))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (torch.full((9,), 100), r"reference_counts are \[9\] of torch.int64"),
        (torch.full((10,), 100.0), r"reference_counts are \[10\] of torch.float32"),
        (torch.zeros(10, dtype=torch.int64), "reference_counts are none, or below 0"),
        (torch.arange(-1, 9), "reference_counts are none, or below 0"),
        ([100] * 10, "AttributeError"),
    ],
)
def test_counts_of_a_classifier_that_are_none_are_refused(tmp_path, counts, said):
    file = tmp_path / "digits.pt"
    digits_classifier().save(file)
    save_tensors(file, load_tensors(file) | {"reference_counts": counts})
    with pytest.raises(InputError, match=said):
        read_classifier(file)
