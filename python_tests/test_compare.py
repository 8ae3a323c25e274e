"""A comparison: each run once, tables and curves of all."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from test_resume import StopAt
from tiny_runs import tiny_config, use_classifier_cache
from typer.testing import CliRunner
from waiting import waited_for

from amgan_fast.cli import app
from amgan_fast.compare import COMPARED, compare, dry_run, plan
from amgan_fast.compare.own_processes import call_in_processes
from amgan_fast.compare.tables import mean_and_spread
from amgan_fast.errors import InputError
from amgan_fast.objectives import MODELS
from amgan_fast.runs import Checkpoint, RunFolder, previous_checkpoint
from amgan_fast.train import Observer, TrainingStopped, train
from amgan_fast.train.dry_run import Times


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


class Listener(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.told: list[tuple[str, int, int]] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


def test_the_plan_has_every_model_labelling_and_seed_once():
    cells = plan(tiny_config(seed=5), seeds=2)
    assert len(cells) == len({cell.name for cell in cells}) == len(COMPARED) * 2 * 2
    assert {cell.config.seed for cell in cells[: len(cells) // 2]} == {5}
    assert set(COMPARED) <= set(MODELS)
    with pytest.raises(InputError, match="model is 'vae'"):
        plan(tiny_config(), models=["vae"])
    with pytest.raises(InputError, match="seeds is 0"):
        plan(tiny_config(), seeds=0)


def test_tables_curves_and_going_on(tmp_path, cache):
    cells = plan(tiny_config(), models=["gan", "amgan"], labels=["dynamic"], seeds=2)
    listener = Listener()
    comparison = compare(tmp_path / "all", cells, observer=listener)
    assert listener.told == [("runs", done, 4) for done in range(5)]
    assert len(listener.said) == 4
    summaries = [json.loads(RunFolder(tmp_path / "all" / "runs" / cell.name).summary.read_text()) for cell in cells]
    by_model = {}
    for summary in summaries:
        scores = summary["generated"]["scores"]
        by_model.setdefault(summary["config"]["model"], []).append(scores["am_score"])
    table = (tmp_path / "all" / "comparison.md").read_text()
    for model, values in by_model.items():
        (line,) = [x for x in table.splitlines() if x.startswith(f"| {model} |") and x.count("|") == 6]
        assert f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}" in line
    assert f"{summaries[0]['held_out']['scores']['am_score']:.4f}" in table
    accuracies = [s["discriminator"]["accuracy"] for s in summaries if s["config"]["model"] == "amgan"]
    assert f"| amgan | {statistics.fmean(accuracies):.4f} ± {statistics.stdev(accuracies):.4f} |" in table
    low, high = next(s for s in summaries if s["config"]["model"] == "amgan")["discriminator"]["ci95"]
    assert f"| {low:.4f} to {high:.4f} |" in table
    runs = table.split("## Every run: corrected scores with their 95% intervals")[1]
    for summary in summaries:
        scores, config = summary["generated"]["scores"], summary["config"]
        name = f"| {config['model']}, dynamic, seed {config['seed']} |"
        (line,) = [line for line in runs.splitlines() if line.startswith(name)]
        for field in ("inception_score", "am_score"):
            low, high = scores[f"{field}_ci95"]
            assert f" | {scores[f'{field}_corrected']:.4f} | {low:.4f} to {high:.4f} | " in line
    for cell in comparison.cells:
        low, high = cell.ms_ssim.ci95
        assert f" | {cell.ms_ssim.corrected:.3f} | {low:.3f} to {high:.3f} | " in runs
        assert low < cell.ms_ssim.corrected <= cell.ms_ssim.plain
    assert [cell.discriminator_accuracy for cell in comparison.cells if cell.model == "gan"] == [None, None]
    assert len(comparison.cells) == 4
    assert json.loads((tmp_path / "all" / "comparison.json").read_text())["cells"][0]["model"] == "gan"
    assert (tmp_path / "all" / "comparison.png").stat().st_size > 10_000

    again = Listener()
    (tmp_path / "all" / "comparison.md").unlink()
    assert compare(tmp_path / "all", cells, observer=again) == comparison
    assert (again.said, again.told) == ([], [("runs", 4, 4)])  # nothing was trained
    assert (tmp_path / "all" / "comparison.md").read_text() == table


def test_a_dry_run_tells_what_is_left_and_writes_nothing(tmp_path, cache, monkeypatch):
    """Of four runs one is finished and one has taken 4 of 8 steps; of a kind that is finished no step is tried."""
    root = tmp_path / "all"
    config = tiny_config(steps=8)
    cells = plan(config, models=["gan", "amgan"], labels=["dynamic"], seeds=2)
    compare(root, cells[:1])
    with pytest.raises(TrainingStopped):
        train(cells[1].config, cells[1].run(root).path, StopAt(4))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    tried = []
    times = {"gan": Times(step=1.0, sample=0.01), "amgan": Times(step=2.0, sample=0.01)}
    module = importlib.import_module("amgan_fast.compare.dry_run")
    monkeypatch.setattr(module, "_times", lambda root, cell, _: tried.append(cell.name) or times[cell.config.model])
    found = dry_run(root, cells)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    scores, end = 200 * 0.01, 600 * 0.01
    assert [planned.taken for planned in found.cells] == [None, 4, 0, 0]
    left = [0, 4 * 2 + scores + end, 8 * 1 + 2 * scores + end, 8 * 2 + 2 * scores + end]
    assert [planned.seconds for planned in found.cells] == pytest.approx(left)
    assert found.seconds == pytest.approx(sum(left))
    assert dry_run(root, cells, jobs=2).seconds == pytest.approx(max(left[1] + left[3], left[2]))
    assert len(tried) == 2 * 2
    text = "\n".join(found.lines())
    assert "runs:       4: 1 finished, 1 begun, 2 new" in text
    assert "steps = 8" in text
    assert "model =" not in text
    assert str(cache) in text
    with pytest.raises(InputError, match="holds a comparison with another steps"):
        dry_run(root, plan(tiny_config(steps=9), models=["gan"], seeds=1))
    monkeypatch.setattr(module, "_times", None)
    assert dry_run(root, cells[:1]).seconds == 0


def test_a_dry_run_counts_the_steps_that_resuming_goes_on_behind(tmp_path, cache, monkeypatch):
    """Rows of the journal behind the checkpoint are of steps that are taken again."""
    root = tmp_path / "all"
    cells = plan(tiny_config(steps=8, checkpoint_every=2), models=["gan"], labels=["dynamic"], seeds=2)
    compare(root, cells[1:])
    run = cells[0].run(root)
    monkeypatch.setattr(importlib.import_module("amgan_fast.compare.dry_run"), "_times", lambda *_: Times(1.0, 0.01))

    def taken() -> int | None:
        return dry_run(root, cells).cells[0].taken

    with pytest.raises(TrainingStopped):
        train(cells[0].config, run.path, StopAt(4))
    run.append_metrics({"step": 6})
    assert taken() == 4
    previous = Checkpoint.load(previous_checkpoint(run.checkpoint)).steps
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])
    assert taken() == previous < 4
    previous_checkpoint(run.checkpoint).write_bytes(b"")
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged[^\n]*; [^\n]*checkpoint\.previous\.pt is damaged"):
        taken()
    previous_checkpoint(run.checkpoint).unlink()
    run.checkpoint.unlink()
    assert taken() == 0  # it begins anew


def test_the_command_tries_steps_of_each_model_in_a_dry_run(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(sys.modules["amgan_fast.train.dry_run"], "_SECONDS", 0.01)
    arguments = ["compare", "--models", "gan,amgan", "--labels", "dynamic", "--out", str(tmp_path / "c"), "--dry-run"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert re.search(r"amgan, dynamic: \d+\.\d\d ms a step, \d:\d\d:\d\d a run, 3 left in", result.stdout)
    assert not (tmp_path / "c").exists()


def test_a_comparison_of_before_the_correction_goes_on(tmp_path, cache):
    """Its files hold the largest mean alone."""
    cells = plan(tiny_config(), models=["gan"], labels=["predefined"], seeds=1)
    comparison = compare(tmp_path / "all", cells)
    file = tmp_path / "all" / "runs" / cells[0].name / "ms_ssim.json"
    measured = json.loads(file.read_text())
    assert measured["maximum_corrected"] == comparison.cells[0].ms_ssim.corrected
    file.write_text(json.dumps({name: measured[name] for name in ("maximum", "maximum_standard_error")}))
    assert compare(tmp_path / "all", cells) == comparison
    assert json.loads(file.read_text()) == measured
    file.write_text(json.dumps({"maximum": None, "maximum_standard_error": None}))  # no class of two samples
    (cell,) = compare(tmp_path / "all", cells).cells
    assert (cell.ms_ssim.plain, cell.ms_ssim.corrected, cell.ms_ssim.ci95) == (None, None, None)


def test_scores_that_are_infinite_are_no_number_in_the_tables(tmp_path, cache):
    """Files hold null for them."""
    out = tmp_path / "all"
    cells = plan(tiny_config(), models=["amgan"], labels=["dynamic"], seeds=1)
    compare(out, cells)
    file = RunFolder(out / "runs" / cells[0].name).summary
    summary = json.loads(file.read_text())
    for of in ("generated", "held_out"):
        infinite = ("am_score", "am_score_corrected", "am_score_ci95", "kl_reference")
        summary[of]["scores"] |= dict.fromkeys(infinite)
    file.write_text(json.dumps(summary))
    compare(out, cells)
    first, last = (out / "comparison.md").read_text().split("## Every run")
    inception = f"{summary['generated']['scores']['inception_score']:.3f}"
    entropy = f"{summary['generated']['scores']['mean_entropy']:.4f}"
    assert f"| amgan | {inception} | - | - | {entropy} |" in first
    assert mean_and_spread([0.25, None, 0.75, float("inf")], 2) == "0.50 ± 0.35 (2 of 4 runs)"
    assert mean_and_spread([0.25, 0.75], 2) == "0.50 ± 0.35"
    assert [line.split(" | ")[3:5] for line in last.splitlines()[-2:]] == [["-", "-"]] * 2


def test_two_jobs_give_the_same_scores(tmp_path, cache):
    cells = plan(tiny_config(), models=["gan", "amgan"], labels=["predefined"], seeds=1)
    one, two = (compare(tmp_path / str(jobs), cells, jobs=jobs) for jobs in (1, 2))
    assert [cell.scores for cell in one.cells] == [cell.scores for cell in two.cells]


@pytest.fixture
def two_of_three(tmp_path, cache) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The command with two jobs for three runs, once the first two have taken a step."""
    settings = {"steps": 100_000, "log_every": 1, "score_every": 50_000, "threads": 1}
    command = [sys.executable, "-m", "amgan_fast", "compare", "--models", "gan,amgan,labelgan", "--labels", "dynamic"]
    command += ["--seeds", "1", "--jobs", "2", "--out", "all"]
    command += [
        f"--set={name}={value}" for name, value in tiny_config(**settings).to_dict().items() if name in settings
    ]
    root = tmp_path / "all" / "runs"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            begun = [root / f"{model}-dynamic-seed0" / "metrics.jsonl" for model in ("gan", "amgan")]
            assert waited_for(lambda: all(file.exists() for file in begun))
            yield process, root
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_runs_in_other_processes_are_saved_and_end_with_the_one_that_began_them(two_of_three, number):
    """As a batch system ends it, or one that is short of memory."""
    process, root = two_of_three
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)  # all of them have the pipe
    if number == signal.SIGTERM:
        assert (process.returncode, errors) == (143, "amgan-fast: stopped; the same command goes on\n")
    assert {path.name for path in root.iterdir()} == {"gan-dynamic-seed0", "amgan-dynamic-seed0"}
    for path in root.iterdir():
        assert RunFolder(path).has_checkpoint


def test_an_error_interrupts_what_runs_beside_it():
    with pytest.raises(ValueError, match="could not convert") as error:
        list(call_in_processes([partial(time.sleep, 600), partial(float, "x")], 2))
    assert "Traceback" in str(error.value.__cause__)
    with pytest.raises(InputError, match="was killed by SIGKILL, as a system does that is short of memory"):
        list(call_in_processes([partial(signal.raise_signal, signal.SIGKILL)], 2))


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_processes_have_the_environment_of_now_and_no_gpu_that_another_has_opened(monkeypatch, system):
    monkeypatch.setattr("platform.system", lambda: system)
    for value in ("first", "second"):
        monkeypatch.setenv("AMGAN_TEST", value)
        assert list(call_in_processes([partial(os.getenv, "AMGAN_TEST")], 1)) == [value]
    monkeypatch.delenv("AMGAN_TEST")
    assert list(call_in_processes([partial(os.getenv, "AMGAN_TEST")], 1)) == [None]
    forked_late = "__import__('torch').cuda._is_in_bad_fork()"
    assert list(call_in_processes([partial(eval, forked_late)], 1)) == [False]


def test_other_settings_are_refused_by_name(tmp_path, cache):
    compare(tmp_path / "all", plan(tiny_config(), models=["gan"], labels=["dynamic"], seeds=1))
    with pytest.raises(InputError, match="holds a comparison with another steps; wanted the same"):
        compare(tmp_path / "all", plan(tiny_config(steps=8), models=["gan"], labels=["dynamic"], seeds=1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="is not empty and holds no comparison"):
        compare(tmp_path / "mine", plan(tiny_config(), models=["gan"], seeds=1))


def test_the_command(tmp_path, cache):
    tiny = [
        f"--set={name}={value}"
        for name, value in tiny_config().to_dict().items()
        if "_every" in name or "_samples" in name
    ]
    arguments = [
        "compare",
        "--models",
        "catgan",
        "--seeds",
        "1",
        "--set",
        "steps=6",
        *tiny,
        "--out",
        str(tmp_path / "c"),
    ]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "| catgan |" in result.stdout
    assert "catgan-predefined-seed0: AM Score" in result.stdout
    bad = CliRunner().invoke(app, ["compare", "--models", "vae"])
    assert bad.exit_code == 2
    assert "model is 'vae'" in bad.stderr


def test_files_of_a_comparison_that_are_damaged_are_named(tmp_path, cache):
    """A folder whose name is no UTF-8 goes on as any other."""
    root = tmp_path / os.fsdecode(b"c\xff")
    cells = plan(tiny_config(data_dir=os.fsdecode(b"d\xff")), models=["gan"], labels=["dynamic"], seeds=1)
    compare(root, cells)
    compare(root, cells)
    for name in ("runs/gan-dynamic-seed0/summary.json", "runs/gan-dynamic-seed0/ms_ssim.json", "settings.json"):
        whole = (root / name).read_text()
        for content in ("", "[" * 100_000, "[]"):
            (root / name).write_text(content)
            with pytest.raises(InputError, match=f"{Path(name).name} is damaged") as error:
                compare(root, cells)
            assert len(str(error.value).splitlines()) == 1
        (root / name).write_text(whole)
