"""``amgan-fast evaluate --compat``: what other tools give for the same logits, beside the scores of the same pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.evaluate import Request, evaluate_request, provenance, score_rows
from amgan_fast.metrics import COMPAT_TOOLS, inception_score, inception_score_infinity

N, K = 5407, 6
NAMES = [*COMPAT_TOOLS, "is-infinity"]


@pytest.fixture
def logits(generator: torch.Generator) -> torch.Tensor:
    return 3 * torch.randn(N, K, generator=generator, dtype=torch.float64)


@pytest.fixture
def file(logits, tmp_path) -> Path:
    np.save(tmp_path / "logits.npy", logits.numpy())
    return tmp_path / "logits.npy"


def test_all_are_those_of_the_tools_for_all_logits_and_keep_the_generator(file, logits):
    torch.manual_seed(3)
    follows = torch.rand(())
    torch.manual_seed(3)
    got = evaluate_request(Request(logits=file, compat="all", batch_size=100, device="cpu")).generated.compat
    assert torch.rand(()) == follows
    assert list(got) == NAMES
    for tool in COMPAT_TOOLS:
        torch.manual_seed(0)
        want = inception_score(logits, compat=tool)
        assert got[tool].mean == pytest.approx(want.mean, rel=1e-12)
        assert got[tool].std == (None if want.std is None else pytest.approx(want.std, rel=1e-9))
    infinity = inception_score_infinity(logits)
    assert got["is-infinity"].mean == pytest.approx(infinity.value, rel=1e-12)
    assert got["is-infinity"].interval == pytest.approx(infinity.interval, rel=1e-12)


def test_splits_are_those_asked_for(file, logits):
    got = evaluate_request(Request(logits=file, compat="all", splits=4, device="cpu")).generated.compat
    assert {tool: score.splits for tool, score in got.items()} == {
        "openai": 4,
        "torch-fidelity": 4,
        "torchmetrics": 4,
        "ignite": 1,
        "adm": 2,
        "is-infinity": None,
    }
    assert got["openai"].mean == pytest.approx(inception_score(logits, compat="openai", splits=4).mean, rel=1e-12)


@pytest.mark.parametrize("name", ["adm", "is-infinity"])
def test_one_by_its_name(file, name):
    evaluation = evaluate_request(Request(logits=file, held_out=file, compat=name, device="cpu"))
    assert list(evaluation.generated.compat) == list(evaluation.held_out.compat) == [name]
    rows = dict(score_rows(evaluation))
    assert rows[f"  {name}"] == [f"{evaluation.generated.compat[name].mean:.4f}"] * 2
    assert ("    95% interval" in rows) == (name == "is-infinity")


def test_none_unless_asked_for(file):
    evaluation = evaluate_request(Request(logits=file, device="cpu"))
    assert evaluation.generated.compat is None
    assert evaluation.to_dict()["generated"]["compat"] is None
    assert not [name for name, _ in score_rows(evaluation) if "others" in name]
    assert "other rules" not in dict(provenance(evaluation))


def test_table_json_and_page_have_them(file, logits, tmp_path):
    arguments = ["evaluate", "--logits", str(file), "--device", "cpu", "--compat", "all"]
    done = CliRunner().invoke(
        app, [*arguments, "--json", str(tmp_path / "all.json"), "--report", str(tmp_path / "page.html")]
    )
    assert done.exit_code == 0, done.output
    adm = inception_score(logits, compat="adm").mean
    found = json.loads((tmp_path / "all.json").read_text())["generated"]["compat"]
    assert found["adm"] == {"mean": pytest.approx(adm), "std": None, "splits": 2, "interval": None, "note": None}
    for text in (done.output, (tmp_path / "page.html").read_text()):
        for wanted in (*NAMES, f"{adm:.4f}", "torchmetrics shuffles as after torch.manual_seed(0)"):
            assert wanted in text


def test_what_cannot_be_had_of_some_of_the_samples_is_said(logits, tmp_path):
    logits[7] = torch.nan
    np.save(tmp_path / "bad.npy", logits.numpy())
    evaluation = evaluate_request(
        Request(logits=tmp_path / "bad.npy", compat="all", skip_non_finite=True, device="cpu")
    )
    got = evaluation.generated.compat
    assert [name for name, score in got.items() if score.mean is None] == [
        "openai",
        "torch-fidelity",
        "torchmetrics",
        "adm",
    ]
    assert got["ignite"].mean == pytest.approx(evaluation.generated.scores.inception_score, rel=1e-12)
    said = "openai, torch-fidelity, torchmetrics, adm: wants all 5,407 samples in their order, and 5,406 were scored"
    assert ("other rules", f"{said} (generated)") in provenance(evaluation)


def test_few_samples_have_no_extrapolation(tmp_path):
    np.save(tmp_path / "few.npy", np.eye(9, dtype=np.float32))
    request = Request(logits=tmp_path / "few.npy", compat="is-infinity", splits=3, device="cpu")
    (score,) = evaluate_request(request).generated.compat.values()
    assert (score.mean, score.note) == (None, "blocks with samples are 9, wanted at least 10")


def test_an_extrapolation_beside_scores_of_strata_says_that_it_is_too_high(tmp_path):
    labels = np.arange(500) % 50
    np.save(tmp_path / "logits.npy", 9 * np.eye(50, dtype=np.float32)[np.random.default_rng(0).permutation(labels)])
    np.save(tmp_path / "labels.npy", np.random.default_rng(0).permutation(labels))
    request = Request(
        logits=tmp_path / "logits.npy", labels=tmp_path / "labels.npy", compat="is-infinity", device="cpu"
    )
    evaluation = evaluate_request(request)
    (score,) = evaluation.generated.compat.values()
    assert score.mean > 1.01 * evaluation.generated.scores.inception_score_corrected
    said = (
        "is-infinity: takes samples to be drawn at random, and is too high for a fixed number of each class; "
        "an Inception Score is at most 50, and this one is not held to that (generated)"
    )
    assert ("other rules", said) in provenance(evaluation)


def test_an_extrapolation_of_random_samples_beyond_the_number_of_classes_is_not_left_unsaid(tmp_path):
    labels = np.random.default_rng(0).integers(0, 10, 200)
    np.save(tmp_path / "sharp.npy", 20 * np.eye(10, dtype=np.float32)[labels])
    evaluation = evaluate_request(Request(logits=tmp_path / "sharp.npy", compat="is-infinity", device="cpu"))
    (score,) = evaluation.generated.compat.values()
    assert score.interval[1] > 10
    assert score.note == "an Inception Score is at most 10, and this one is not held to that"
