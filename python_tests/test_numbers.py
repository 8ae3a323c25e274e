"""Measurements as plain values, and back."""

from __future__ import annotations

import json
import math

import pytest
import torch

from amgan_fast.metrics import Estimate, ResolutionAccuracy, Scores, entropy_histogram, scores

K = 7


@pytest.fixture
def measured(generator) -> Scores:
    return scores(torch.randn(300, K, generator=generator), [1 / K] * K)


def test_scores_come_back_from_their_dict_and_from_their_json(measured):
    assert Scores.from_dict(measured.to_dict()) == measured
    assert Scores.from_dict(json.loads(measured.to_json())) == measured
    without_reference = scores(4 * torch.eye(3).repeat(5, 1), splits=1, blocks=1)
    assert Scores.from_dict(json.loads(without_reference.to_json())) == without_reference


def test_other_measurements_come_back_too(generator):
    histogram = entropy_histogram(torch.randn(50, K, generator=generator))
    assert type(histogram).from_dict(json.loads(json.dumps(histogram.to_dict()))) == histogram


def test_what_was_infinite_is_none_or_not_a_number():
    never = scores(torch.tensor([[0.0, -math.inf]] * 20), [0.5, 0.5])
    assert never.am_score == math.inf
    assert Scores.from_dict(json.loads(never.to_json())).am_score is None
    accuracy = ResolutionAccuracy(n=1, sizes=(4,), accuracy=(1.0,), standard_error=(math.nan,))
    assert math.isnan(ResolutionAccuracy.from_dict(accuracy.to_dict()).standard_error[0])


def test_a_whole_number_in_json_is_a_float_where_one_is_wanted():
    value = Estimate.from_dict(json.loads('{"value": 1, "standard_error": 0, "degrees_of_freedom": null}')).value
    assert (value, type(value)) == (1.0, float)


@pytest.mark.parametrize("name", ["n", "mean_entropy", "class_distribution", "am_score_ci95"])
def test_a_field_that_is_missing_is_named(measured, name):
    values = measured.to_dict()
    del values[name]
    with pytest.raises(ValueError, match=f"Scores have no {name}, as those that earlier versions wrote; wanted"):
        Scores.from_dict(values)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("n", "many", "n is 'many', wanted int"),
        ("n", True, "n is True, wanted int"),
        ("n", 3.5, "n is 3.5, wanted int"),
        ("n", None, "n is None, wanted int"),
        pytest.param("inception_score", 10**400, "inception_score is 1000", id="beyond a float"),
        ("inception_score", [1.0], r"inception_score is \[1.0\], wanted float"),
        ("class_distribution", [1, "a"], r"class_distribution\[1\] is 'a', wanted float"),
        ("class_distribution", 1.0, "class_distribution is 1.0, wanted tuple"),
        ("am_score_ci95", [1], r"am_score_ci95 is \[1\], wanted tuple"),
        ("splits_rule", 3, "splits_rule is 3, wanted str"),
        ("probability_like", 1, "probability_like is 1, wanted bool"),
    ],
)
def test_a_value_that_does_not_fit_is_named(measured, name, value, said):
    with pytest.raises(ValueError, match=said):
        Scores.from_dict(measured.to_dict() | {name: value})


@pytest.mark.parametrize("values", [[], None, 3, "scores"])
def test_what_is_no_dict_is_refused(values):
    with pytest.raises(ValueError, match=r"Scores are .*, wanted what to_dict\(\) gives"):
        Scores.from_dict(values)
