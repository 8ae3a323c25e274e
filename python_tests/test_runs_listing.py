"""``amgan-fast runs``: what a folder of runs is told as."""

from __future__ import annotations

import json
import os

import pytest
from test_resume import StopAt
from tiny_runs import tiny_config, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.runs import differing_settings, list_runs, listing_rows
from amgan_fast.train import TrainingStopped, train

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two that are finished, one that was stopped, one that has only begun, one that nobody can read."""
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    folder = tmp_path / "runs"
    train(tiny_config(steps=4, seed=1), folder / "a")
    train(tiny_config(steps=4, model="labelgan", objective={"saturating": True}), folder / "deep" / "er" / "b")
    with pytest.raises(TrainingStopped):
        train(tiny_config(steps=8), folder / "stopped", StopAt(4))
    (folder / "begun").mkdir()
    tiny_config(steps=8).save(folder / "begun" / "config.toml")
    (folder / "broken").mkdir()
    (folder / "broken" / "config.toml").write_text("steps = = 3")
    (folder / "no run").mkdir()
    return folder


def test_each_run_is_what_its_files_say(runs):
    found = {run.name: run for run in list_runs(runs)}
    assert set(found) == {"a", os.path.join("deep", "er", "b"), "stopped", "begun", "broken"}
    finished = json.loads((runs / "a" / "summary.json").read_text())["generated"]["scores"]
    assert found["a"].state == "finished"
    assert found["a"].scores["am_score"] == finished["am_score"]
    assert found["a"].scores["am_score_ci95"] == finished["am_score_ci95"]
    assert (found["stopped"].finished, found["stopped"].state) == (False, "4 of 8 steps")
    rows = [json.loads(line) for line in (runs / "stopped" / "metrics.jsonl").read_text().splitlines()]
    assert found["stopped"].scores == {name: rows[-1][name] for name in ("am_score", "inception_score")}
    assert (found["begun"].state, found["begun"].scores) == ("0 of 8 steps", {})
    assert found["broken"].state.startswith("unreadable: ")


def test_the_table_has_the_best_first_and_what_differs(runs):
    found = list_runs(runs)
    scores = [run.scores.get("am_score") for run in found]
    known = [score for score in scores if score is not None]
    assert known == sorted(known)
    assert scores[len(known) :] == [None, None]
    head, rows = listing_rows(found)
    assert head[7:] == ["model", "objective.saturating", "seed", "steps"]
    of = {row[0]: row for row in rows}
    assert of["a"][7:] == ["amgan", "-", "1", "4"]
    assert of[os.path.join("deep", "er", "b")][7:] == ["labelgan", "True", "0", "4"]
    assert of["stopped"][2].endswith(" on the way")


def test_the_command_prints_json_and_writes_a_page(runs, tmp_path):
    page = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["runs", str(runs), "--json", "--report", str(page)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert {os.path.basename(run["run"]) for run in told} == {"a", "b", "stopped", "begun", "broken"}
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2 + 2 + 1  # samples and curves, or the last grid
    assert "No pictures yet." in text
    assert CliRunner().invoke(app, ["runs", str(runs)]).exit_code == 0


def test_a_narrow_terminal_has_a_column_for_each_run_and_whole_words(tmp_path):
    for name, penalty in (("one", "exact"), ("other", "finite-difference")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        config = tiny_config(r1=1.0, gradient_penalty=penalty)
        config.save(tmp_path / "runs" / name / "config.toml")
    for width in ("60", "300"):
        result = CliRunner().invoke(app, ["runs", str(tmp_path / "runs")], env={"COLUMNS": width})
        assert result.exit_code == 0
        lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
        assert any("finite-difference" in line for line in lines)
        assert (["run", "one", "other"] in lines) == (width == "60")


def test_names_are_text_in_the_page(tmp_path):
    (tmp_path / "<b>").mkdir()
    tiny_config().save(tmp_path / "<b>" / "config.toml")
    assert CliRunner().invoke(app, ["runs", str(tmp_path), "--report", str(tmp_path / "page.html")]).exit_code == 0
    text = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def test_code_that_a_run_names_is_not_run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('generator = "no_such_module:generator"\nnew_setting = 3\n')
    (run,) = list_runs(tmp_path)
    assert run.settings["generator"] == "no_such_module:generator"
    assert run.settings["new_setting"] == 3


def test_settings_that_an_earlier_version_did_not_write_are_its_defaults(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        tiny_config(lecam_decay=0.5 if name == "new" else 0.99).save(tmp_path / name / "config.toml")
    file = tmp_path / "old" / "config.toml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("lecam")))
    found = {run.name: run for run in list_runs(tmp_path)}
    assert (found["old"].settings["lecam"], found["old"].settings["lecam_decay"]) == (0.0, 0.99)
    assert differing_settings(list(found.values())) == ["lecam_decay"]


@pytest.mark.parametrize(
    ("name", "said"), [(".", "has no run in it"), ("file", "is no folder"), ("nowhere", "is no folder")]
)
def test_where_there_are_no_runs(tmp_path, name, said):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=said):
        list_runs(tmp_path / name)


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ('steps = "many"', "steps is 'many', wanted a whole number"),
        ("steps = 2.5", "steps is 2.5"),
        ("steps = true", "steps is True"),
        ("seed = 2026-01-01", "seed is datetime.date(2026, 1, 1), wanted a text or a finite number"),
        ("[objective]\nweights = [1.0, nan]", "objective.weights is [1.0, nan]"),
    ],
)
def test_a_damaged_setting_is_a_row_that_says_so(tmp_path, damaged, said):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text(damaged)
    (run,) = list_runs(tmp_path)
    assert said in run.state
    result = CliRunner().invoke(app, ["runs", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)[0]["state"] == run.state
    assert CliRunner().invoke(app, ["runs", str(tmp_path)]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("metrics.jsonl", lambda text: text.replace('"am_score": 0', '"am_score": "0')),
        ("metrics.jsonl", lambda _: '{"step": 4, "seconds": "long", "am_score": "low", "inception_score": [1]}\n'),
        ("metrics.jsonl", lambda _: '{"step": 4, "seconds": NaN, "am_score": Infinity}\n'),
        ("summary.json", lambda _: '{"generated": {"scores": {"am_score": "low"}}}'),
        ("summary.json", lambda _: '{"generated": 3}'),
        ("summary.json", lambda _: "[]"),
    ],
)
def test_damaged_journals_and_scores_are_rows_too(runs, name, change):
    file = runs / "a" / name
    file.write_text(change(file.read_text()))
    for arguments in ([], ["--json"]):
        result = CliRunner().invoke(app, ["runs", str(runs), *arguments])
        assert result.exit_code == 0, result.exception
    found = {run.name: run for run in list_runs(runs)}["a"]
    assert found.state == ("finished" if name == "metrics.jsonl" else "finished, scores unreadable")
