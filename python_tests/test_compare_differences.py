"""Which differences between models are settled: of runs against SciPy, of samples, and what is adjusted how."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import scipy.stats

from amgan_fast.compare import CellResult, Comparison, MaxMsSsim, RealResult, model_differences
from amgan_fast.compare.difference_tables import difference_section
from amgan_fast.compare.differences import holm
from amgan_fast.metrics import Estimate

UNKNOWN = MaxMsSsim(None, None, None)
RUNS = {
    "gan": ((0.18, 8.3), (0.19, 8.4), (0.175, 8.25)),
    "amgan": ((0.12, 8.83), (0.127, 8.80), (0.121, 8.85)),
    "labelgan": ((0.119, 8.87), (0.124, 8.85), (0.116, 8.90)),
}


def cell(
    model: str, seed: int, am_score: float | None, inception_score: float, sha256: str = "abc", **more: object
) -> CellResult:
    scores = {"am_score_corrected": am_score, "inception_score_corrected": inception_score, **more}
    return CellResult(model, "dynamic", seed, scores, UNKNOWN, seconds=1.0, classifier_sha256=sha256)


def cells(seeds: int = 3) -> list[CellResult]:
    return [cell(model, seed, *RUNS[model][seed]) for seed in range(seeds) for model in RUNS]


def of_samples(log_inception_score: float, am_score: float) -> dict[str, dict[str, float]]:
    values = {"log_inception_score": log_inception_score, "am_score": am_score}
    return {name: Estimate(value, 0.001, 99).to_dict() for name, value in values.items()}


def found(cells: list[CellResult], score: str = "am_score") -> dict[tuple[str, str], object]:
    return {(one.model, one.better): one for one in model_differences(cells) if one.score == score}


@pytest.mark.parametrize(("score", "place"), [("am_score", 0), ("inception_score", 1)])
def test_over_runs_it_is_welchs_test_of_all_pairs_the_best_first(score, place):
    got = found(cells(), score)
    assert list(got) == [("amgan", "labelgan"), ("gan", "labelgan"), ("gan", "amgan")]
    for (model, better), one in got.items():
        values = [[run[place] for run in RUNS[name]] for name in (model, better)]
        want = scipy.stats.ttest_ind(*values, equal_var=False)
        assert one.over == "runs"
        assert one.difference.value == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
        assert one.difference.p_value == pytest.approx(want.pvalue, rel=1e-10)
        assert one.difference.interval == pytest.approx(tuple(want.confidence_interval()), rel=1e-10)


def test_with_one_run_each_it_is_over_their_samples_and_says_so():
    runs = [
        cell("gan", 0, 0.12, 8.8, estimates=of_samples(math.log(8.8), 0.12)),
        cell("amgan", 0, 0.11, 8.9, estimates=of_samples(math.log(8.9), 0.11)),
    ]
    (one,) = found(runs).values()
    assert (one.over, one.model, one.better) == ("samples", "gan", "amgan")
    assert one.difference.standard_error == pytest.approx(0.001 * math.sqrt(2))
    assert one.difference.degrees_of_freedom == pytest.approx(198)
    (inception,) = found(runs, "inception_score").values()
    assert inception.difference.value == pytest.approx(-0.1)
    assert inception.difference.standard_error == pytest.approx(0.001 * math.hypot(8.8, 8.9))
    text = "\n".join(difference_section(runs))
    assert "what is settled holds for these runs, not for the methods" in text


def test_runs_of_earlier_versions_have_no_interval_over_samples():
    (one, *_) = model_differences(cells(seeds=1))
    assert (one.difference, one.p_holm) == (None, None)
    assert "| gan | 0.1800 | - | - | - | - | - |" in "\n".join(difference_section(cells(seeds=1)))
    assert model_differences(cells(seeds=2))[0].difference is not None


def test_a_run_without_a_finite_score_is_not_left_out_of_a_mean():
    runs = [*cells(), cell("acgan", 0, 0.11, 9.0), cell("acgan", 1, None, 9.1), cell("acgan", 2, 0.11, 9.0)]
    got = found(runs)
    assert list(got)[-1][0] == "acgan"
    assert all((one.difference is None) == ("acgan" in pair) for pair, one in got.items())
    assert found(runs, "inception_score")["labelgan", "acgan"].difference is not None


@pytest.mark.parametrize(
    ("p", "want"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.6, 0.9], [1.0, 1.0]),
        ([], []),
        ([0.2], [0.2]),
    ],
)
def test_p_is_adjusted_as_holm_has_it(p, want):
    assert holm(p) == pytest.approx(want)


def test_over_runs_scores_are_those_before_they_are_set_to_what_is_possible():
    runs = [
        cell("amgan", seed, 0.011, 9.9, estimates=of_samples(math.log(9.9), am_score))
        for seed, am_score in enumerate((0.010, 0.012))
    ]
    runs += [cell("gan", seed, 0.1 + seed / 100, 8.0) for seed in range(2)]
    assert found(runs)["gan", "amgan"].difference.value == pytest.approx(0.105 - 0.011)
    assert found(runs)["gan", "amgan"].difference.standard_error == pytest.approx(math.hypot(0.001, 0.005))


def test_p_is_adjusted_for_the_pairs_of_one_score():
    got = found(cells()).values()
    assert [one.p_holm for one in got] == pytest.approx(holm([one.difference.p_value for one in got]))


def test_the_table_has_every_pair_and_marks_what_is_settled():
    text = "\n\n".join(difference_section(cells()))
    head, _, *lines = text.split("### AM Score, dynamic labels\n\n")[1].split("\n\n")[0].splitlines()
    assert head == "| model | AM Score | less labelgan | 95% | p | p by Holm, labelgan | p by Holm, amgan |"
    rows = [line.strip("| ").split(" | ") for line in lines]
    assert [row[:2] for row in rows] == [
        [model, f"{statistics.fmean(run[0] for run in RUNS[model]):.4f}"] for model in ("labelgan", "amgan", "gan")
    ]
    got = found(cells())
    (amgan, gan), settled = rows[1:], got["gan", "amgan"]
    assert amgan[2:5] == got["amgan", "labelgan"].difference.texts()
    assert amgan[5] == f"{got['amgan', 'labelgan'].p_holm:.2g}"
    assert settled.p_holm < 0.05
    assert gan[5:] == [f"**{got['gan', 'labelgan'].p_holm:.2g}**", f"**{settled.p_holm:.2g}**"]
    assert "Means over 3 runs" in text


def test_one_model_alone_has_no_section():
    assert difference_section([run for run in cells() if run.model == "gan"]) == []


def test_runs_under_several_classifiers_are_not_compared_and_these_are_named():
    runs = [*cells(seeds=2), cell("gan", 2, 0.1, 8.0, sha256="def")]
    assert model_differences(runs) == []
    _, text = difference_section(runs)
    assert "judged by 2 classifiers" in text
    assert "SHA-256 def of gan, dynamic, seed 2" in text


def test_all_pairs_are_in_the_json():
    comparison = Comparison("digits", {}, RealResult({}, UNKNOWN), tuple(cells()))
    kept = comparison.to_dict()["differences"]
    assert len(kept) == 6
    one = found(cells())["gan", "amgan"]
    assert [x for x in kept if (x["score"], x["model"], x["better"]) == ("am_score", "gan", "amgan")] == [one.to_dict()]
    assert one.to_dict()["difference"]["p_value"] == one.difference.p_value
