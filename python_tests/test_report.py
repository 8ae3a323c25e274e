"""``amgan-fast report``: pages of what runs wrote."""

from __future__ import annotations

import html
import json
import re
import shutil

import pytest
from test_documents import parse_command
from test_resume import StopAt
from test_start_up import python
from tiny_runs import tiny_config, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.evaluate import recorded_evaluation
from amgan_fast.metrics import Scores, difference
from amgan_fast.report import read_run, side_by_side
from amgan_fast.train import TrainingStopped, resume, train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two finished runs and one that was stopped."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        use_classifier_cache(folder / "cache", patch)
        train(tiny_config(), folder / "a")
        train(tiny_config(model="labelgan", labels="predefined", seed=1), folder / "b")
        with pytest.raises(TrainingStopped):
            train(tiny_config(steps=8), folder / "stopped", StopAt(4))
    return folder


@pytest.fixture
def runs(made, tmp_path):
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


def report(*arguments: object):
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def text_of(page) -> str:
    """Without its pictures and tags."""
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page.read_text())).split())


def summary(run) -> dict:
    return json.loads((run / "summary.json").read_text())


def test_an_evaluation_is_what_its_dict_says(runs):
    for run in ("a", "b"):
        told = summary(runs / run)
        again = recorded_evaluation(told).to_dict()
        assert again == {name: told[name] for name in again}


def test_warnings_of_what_is_not_kept_stay(runs):
    told = summary(runs / "a")
    told["warnings"].append("reference: of few images")
    assert recorded_evaluation(told).to_dict()["warnings"] == told["warnings"]


def test_the_page_of_a_run_has_its_scores_pictures_settings_and_files(runs):
    assert report(runs / "a").exit_code == 0
    page = runs / "a" / "report.html"
    text, told = text_of(page), summary(runs / "a")
    for of in ("generated", "held_out"):
        scores = told[of]["scores"]
        assert f"{scores['am_score']:.4f}" in text
        low, high = scores["am_score_ci95"]
        assert f"{low:.4f} to {high:.4f}" in text
    assert f"accuracy of the discriminator - {told['discriminator']['accuracy']:.2%}" in text
    for part in (
        "Samples",
        "Curves",
        "Classes: held-out real",
        "Class balance",
        "Entropy",
        "Mode drop",
        "score_every 4",
    ):
        assert part in text
    assert "checkpoint.pt" in text
    assert page.read_text().count("data:image/png;base64,") == 2 + 3
    assert "not finished" not in text


def test_a_page_stands_alone(runs):
    """No script, and nothing from elsewhere."""
    report(runs / "a")
    text = (runs / "a" / "report.html").read_text()
    assert not re.search(r"<script|<link|https?://|url\(|@import", text)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', text))


def test_what_is_missing_comes_with_a_command_that_is_one(runs):
    for run, count in (("a", 3), ("stopped", 4)):
        missing = read_run(runs / run).missing
        assert len(missing) == count
        for _, command in missing:
            program, *arguments = command.split()
            assert program == "amgan-fast"
            parse_command(arguments)


def test_several_runs_are_side_by_side_with_their_differences(runs, tmp_path):
    assert report(runs / "a", runs / "b", "--out", tmp_path / "both.html").exit_code == 0
    text = text_of(tmp_path / "both.html")
    first, second = (Scores.from_dict(summary(runs / run)["generated"]["scores"]) for run in "ab")
    wanted = difference(second, first)
    (found,) = side_by_side([read_run(runs / run) for run in "ab"])
    assert found.against.difference == wanted
    assert f"b less a difference 95% interval p AM Score (lower is better) {wanted.am_score.value:+.4f}" in text
    for name in ("labels", "model", "seed"):
        assert re.search(rf"differing a b .*{name} ", text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told["classifier"].update(sha256="0" * 64), "is of a classifier with SHA-256 0000"),
        (lambda told: told["generated"]["scores"].update(reference=[0.1] * 10), "wanted a reference of SHA-256"),
    ],
)
def test_runs_that_were_judged_otherwise_are_not_compared(runs, tmp_path, change, said):
    told = summary(runs / "a")
    change(told)
    (runs / "a" / "summary.json").write_text(json.dumps(told))
    assert report(runs / "a", runs / "b", "--out", tmp_path / "both.html").exit_code == 0
    text = text_of(tmp_path / "both.html")
    assert "Not compared: " in text
    assert said in text
    assert f" as in {runs / 'b' / 'summary.json'}" in text
    assert "as here" not in text
    alarm = "Scores of 2 classifiers or references stand side by side here, and cannot be compared but within one of"
    assert text.index(f"{alarm} them: a; b.") < text.index("AM Score")
    assert "a b held-out real of a held-out real of b" in text


def test_runs_of_one_classifier_share_a_column_of_held_out_images(runs, tmp_path):
    (runs / "b").rename(runs / "held-out real")
    out = tmp_path / "both.html"
    report(runs / "a", runs / "held-out real", "--out", out)
    assert "a held-out real held-out real of a" in text_of(out)
    assert "side by side here" not in text_of(out)
    told = summary(runs / "a")["held_out"]["scores"]
    assert f"{told['am_score']:.4f}" in text_of(out)


def test_a_page_is_made_again_and_no_other_file_is_replaced(runs, tmp_path):
    page, out = runs / "a" / "report.html", tmp_path / "a.html"
    for _ in range(2):
        assert report(runs / "a").exit_code == 0
        assert report(runs / "a", "--out", out).exit_code == 0
    assert "the page of amgan-fast report" in text_of(page)
    out.write_text("mine")
    result = report(runs / "a", "--out", out)
    assert result.exit_code == 2
    assert "a.html is there and is no page of amgan-fast report, wanted a new file for --out" in result.stderr
    assert out.read_text() == "mine"


def test_a_run_is_named_once_and_no_two_runs_alike(runs, tmp_path):
    (runs / "also").symlink_to(runs / "a")
    for again in (runs / "a", runs / "b" / ".." / "a", runs / "also"):
        result = report(runs / "a", again, "--out", tmp_path / "p.html")
        assert result.exit_code == 2
        assert "are one folder, wanted each run once" in result.stderr
    (runs / "more").mkdir()
    shutil.copytree(runs / "b", runs / "more" / "a")
    report(runs / "a", runs / "more" / "a", "--out", tmp_path / "p.html")
    text = text_of(tmp_path / "p.html")
    assert f"{runs / 'more' / 'a'} less {runs / 'a'}" in text
    assert f"{runs / 'a'} {runs / 'more' / 'a'} held-out real" in text


def test_names_of_runs_are_told_apart_where_a_path_is_another_runs_name(runs, monkeypatch, tmp_path):
    """``c`` leads to a run called ``a``, as another one is, and a third one is called ``c``."""
    monkeypatch.chdir(runs)
    (runs / "c").symlink_to(runs / "a")
    for folder in ("x/a", "x/c"):
        shutil.copytree(runs / "b", runs / folder)
    report("c", "x/a", "x/c", "--out", tmp_path / "p.html")
    assert " ".join(str(runs / folder) for folder in ("a", "x/a", "x/c")) in text_of(tmp_path / "p.html")


def test_curves_have_the_width_of_the_page(runs, tmp_path):
    report(runs / "a", runs / "b", "--out", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    curves = page[page.index("<h2>Curves</h2>") : page.index("Curves of b")]
    assert 'class="side"' not in curves
    assert curves.count('<img class="figure"') == 2


def test_a_run_that_is_on_its_way_is_told_as_far_as_it_has_come(runs):
    assert report(runs / "stopped").exit_code == 0
    text = text_of(runs / "stopped" / "report.html")
    assert "not finished: 4 of 8 steps" in text
    assert "on the way" in text
    assert "Curves" in text  # of the journal
    assert f"amgan-fast train --resume {runs / 'stopped'}" in text


def test_scores_that_cannot_be_read_are_said_and_the_rest_is_told(runs):
    (runs / "a" / "summary.json").write_text("{")
    assert report(runs / "a").exit_code == 0
    text = text_of(runs / "a" / "report.html")
    assert "summary.json is damaged" in text
    assert "Curves" in text


def test_a_finished_run_with_damaged_scores_is_told_apart_and_gets_them_again(runs):
    before = summary(runs / "a")
    (runs / "a" / "summary.json").write_text("{")
    read = read_run(runs / "a")
    assert read.listed.state == "finished, scores unreadable"
    report(runs / "a")
    text = text_of(runs / "a" / "report.html")
    assert "not finished" not in text
    assert "what is left of its steps" not in text
    assert "scores that can be read" in text
    resume(runs / "a")  # as the page says
    assert summary(runs / "a")["generated"] == before["generated"]


def test_a_summary_stays_where_its_evaluation_alone_cannot_be_read(runs):
    told = summary(runs / "a")
    told["settings"] = {}
    (runs / "a" / "summary.json").write_text(json.dumps(told))
    read = read_run(runs / "a")
    assert read.evaluation is None
    assert "summary.json is damaged" in read.problem
    assert read.summary.training.seconds == told["training"]["seconds"]
    assert report(runs / "a").exit_code == 0
    assert "images/s" in text_of(runs / "a" / "report.html")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.toml", 'steps = "many"'),
        ("config.toml", "seed = 2026-01-01"),
        ("config.toml", "steps = = 3"),
        ("metrics.jsonl", '{"step": 4, "am_score": "low", "class_distribution": 3, "discriminator_loss": "x"}'),
        ("metrics.jsonl", '{"step": 4, "am_score": 0.1, "class_distribution": [0.5, 0.5]}'),
    ],
)
def test_damaged_files_are_said_on_the_page(runs, name, text):
    (runs / "stopped" / name).write_text(text)
    assert report(runs / "stopped").exit_code == 0
    page = text_of(runs / "stopped" / "report.html")
    assert ("unreadable: " if name == "config.toml" else "no curves: ") in page
    assert report(runs / "a", runs / "stopped", "--json").exit_code == 0


@pytest.mark.parametrize(
    ("part", "damaged"),
    [("build", []), ("discriminator", "good"), ("training", {}), ("training", 3), ("generated", {"scores": 1})],
)
def test_a_damaged_part_of_a_summary_is_said(runs, part, damaged):
    told = summary(runs / "a") | {part: damaged}
    if part == "training" and damaged == {}:
        told[part] = {"seconds": "long", "images_per_second": 1.0, "device": "cpu", "threads": 1}
    (runs / "a" / "summary.json").write_text(json.dumps(told))
    assert report(runs / "a").exit_code == 0
    assert "summary.json is damaged" in text_of(runs / "a" / "report.html")


def test_json_is_the_same_and_alone_has_no_page_of_its_own(runs, tmp_path):
    result = report(runs / "a", runs / "b", "--json")
    assert result.exit_code == 0
    one, other = json.loads(result.stdout)
    assert one["summary"] == summary(runs / "a")
    assert one["state"] == "finished"
    assert other["beside"]["difference"]["am_score"]["value"] is not None
    assert not (runs / "a" / "report.html").exists()
    assert report(runs / "a", "--json", tmp_path / "a.json").exit_code == 0
    assert json.loads((tmp_path / "a.json").read_text())[0] == one
    assert (runs / "a" / "report.html").exists()
    assert report(runs / "a", runs / "b", "--json", tmp_path / "both.json").exit_code == 0
    assert json.loads((tmp_path / "both.json").read_text())[1]["beside"] == other["beside"]
    assert report(runs / "a", "--json", "--out", tmp_path / "a.html").exit_code == 0
    assert (tmp_path / "a.html").exists()


def test_names_are_text_and_code_is_named_not_run(runs, tmp_path):
    run = runs / "<b>"
    run.mkdir()
    (run / "config.toml").write_text('generator = "no_such_module:generator"\ndataset = "<i>"\n')
    shutil.copy(runs / "a" / "checkpoint.pt", run)
    assert report(run, "--out", tmp_path / "page.html").exit_code == 0
    raw = (tmp_path / "page.html").read_text()
    assert "<b>" not in raw
    assert "<i>" not in raw
    assert "--allow-code no_such_module" in raw


def test_what_cannot_be_reported_is_said_in_one_line(runs, tmp_path):
    for arguments, said in (
        ((tmp_path / "none",), "has no config.toml, wanted the folder of a training run"),
        ((runs / "a", tmp_path / "none", "--out", tmp_path / "p.html"), "none has no config.toml"),
        ((runs / "a", runs / "b"), "found 2 runs without --out"),
        ((runs / "a", "--out", tmp_path / "page.pdf"), "wanted a name that ends in .html"),
        ((runs / "a", "--out", tmp_path / "no" / "page.html"), "wanted a file in a folder that exists"),
    ):
        result = report(*arguments)
        assert result.exit_code == 2
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    with pytest.raises(InputError, match=r"has no config\.toml"):
        read_run(tmp_path)


def test_a_report_loads_no_weights(runs):
    """Whatever is in them."""
    for name in ("checkpoint.pt", "classifier.pt"):
        (runs / "a" / name).write_bytes(b"not a file of tensors")
    python(
        "import sys, torch\n"
        "def load(*_, **__): raise AssertionError\n"
        "torch.load = load\n"
        "from amgan_fast.cli import main\n"
        "sys.argv = ['amgan-fast', 'report', sys.argv[1]]\n"
        "main()\n",
        str(runs / "a"),
    )
    assert (runs / "a" / "report.html").exists()
