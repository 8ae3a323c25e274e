"""Runs that grow, that start from others, that keep their best, and that are only estimated."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch
from test_resume import StopAt
from tiny_runs import assert_same_state, tiny_config, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.runs import Checkpoint, Config, RunFolder
from amgan_fast.tensor_files import load_tensors
from amgan_fast.train import Observer, TrainingStopped, dry_run, log, pace, resume, train

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


class Messages(Observer):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


@pytest.mark.parametrize("options", [{}, {"halve_every": 3, "labels": "predefined", "r1": 0.1}], ids=["plain", "more"])
@pytest.mark.parametrize("stopped", [False, True], ids=["finished", "stopped"])
def test_a_run_with_more_steps_is_the_longer_run(tmp_path, cache, options, stopped):
    options = {"log_every": 2, "score_every": 4, **options}
    whole = train(tiny_config(steps=12, **options), tmp_path / "whole")
    if stopped:
        with pytest.raises(TrainingStopped):
            train(tiny_config(steps=8, **options), tmp_path / "run", StopAt(6))
    else:
        train(tiny_config(steps=8, **options), tmp_path / "run")
    longer = resume(tmp_path / "run", steps=12)
    assert longer.evaluation.generated.scores == whole.evaluation.generated.scores
    assert_same_state(load_tensors(longer.folder.checkpoint), load_tensors(whole.folder.checkpoint))
    rows = [[row["step"] for row in run.folder.read_metrics()] for run in (longer, whole)]
    assert rows[0] == rows[1] == [2, 4, 6, 8, 10, 12]
    assert Config.load(longer.folder.config).steps == 12
    assert json.loads(longer.folder.summary.read_text())["config"]["steps"] == 12


def test_a_run_that_was_to_be_longer_and_was_stopped_goes_on(tmp_path, cache):
    train(tiny_config(steps=4), tmp_path / "run")
    with pytest.raises(TrainingStopped, match="saved at step 6"):
        resume(tmp_path / "run", StopAt(6), steps=8)
    resume(tmp_path / "run")
    assert Checkpoint.load(RunFolder(tmp_path / "run").checkpoint).steps == 8


def test_a_run_may_end_before_it_was_to(tmp_path, cache):
    with pytest.raises(TrainingStopped):
        train(tiny_config(steps=100), tmp_path / "run", StopAt(4))
    resume(tmp_path / "run", steps=6)
    assert Checkpoint.load(RunFolder(tmp_path / "run").checkpoint).steps == 6


@pytest.mark.parametrize("steps", [4, 3])
def test_no_more_steps_than_there_were(tmp_path, cache, steps):
    train(tiny_config(steps=4), tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.*") if path.is_file()}
    with pytest.raises(InputError, match=rf"^steps is {steps}, wanted more than the 4 that .*run has taken$"):
        resume(tmp_path / "run", steps=steps)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.*") if path.is_file()} == before


def test_the_command_line_takes_steps_with_resume_and_nothing_else(tmp_path, cache):
    train(tiny_config(steps=2), tmp_path / "run")
    result = CliRunner().invoke(app, ["train", "--resume", str(tmp_path / "run"), "--seed", "3", "--dry-run"])
    assert result.exit_code == 2
    assert "found --seed, --dry-run with --resume, wanted it alone, or with --steps and --observer" in result.stderr
    result = CliRunner().invoke(app, ["train", "--resume", str(tmp_path / "run"), "--steps", "4"])
    assert result.exit_code == 0, result.output
    assert Checkpoint.load(RunFolder(tmp_path / "run").checkpoint).steps == 4


def test_a_run_starts_from_the_weights_of_another(tmp_path, cache):
    first = train(tiny_config(steps=6), tmp_path / "first").folder
    weights = load_tensors(first.checkpoint)["step"]
    messages = Messages()
    # Rates so small that no weight changes, with another seed, and another model of as many outputs.
    options = {"model": "labelgan", "seed": 1, "generator_lr": 1e-30, "discriminator_lr": 1e-30, "ema_decay": 0.0}
    second = train(tiny_config(steps=1, init=str(first.path), **options), tmp_path / "second", messages).folder
    got = load_tensors(second.checkpoint)["step"]
    for name in ("generator", "discriminator"):
        for key, value in weights[name].items():
            if "running" not in key and "batches" not in key:
                assert torch.equal(got[name][key], value), key
    assert got["steps"] == 1
    assert f"init: generator of {first.path}, step 6" in messages.texts
    assert f"init: discriminator of {first.path}, step 6" in messages.texts


def test_a_run_that_starts_from_another_goes_on_without_it(tmp_path, cache, monkeypatch):
    first = train(tiny_config(steps=2), tmp_path / "first").folder
    config = tiny_config(steps=6, checkpoint_every=100, init=str(first.path), seed=1)
    whole = train(config, tmp_path / "whole").folder

    def die(training, stop):
        raise OSError("killed")

    with monkeypatch.context() as dying:
        dying.setattr("amgan_fast.train.start.take_steps", die)
        with pytest.raises(OSError, match="killed"):
            train(config, tmp_path / "killed")
    (first.path / "checkpoint.pt").unlink()
    resume(tmp_path / "killed")
    assert_same_state(load_tensors(tmp_path / "killed" / "checkpoint.pt"), load_tensors(whole.checkpoint))


def test_what_does_not_fit_is_new_and_named(tmp_path, cache):
    first = train(tiny_config(steps=2, model="amgan"), tmp_path / "first").folder
    messages = Messages()
    train(tiny_config(steps=1, model="gan", init=str(first.checkpoint)), tmp_path / "second", messages)
    assert f"init: discriminator of {first.checkpoint}, step 2, new: head.weight, head.bias" in messages.texts


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"init": "nowhere"}, r"init is .*nowhere, wanted a run that has a checkpoint\.pt, or such a file"),
        (
            {"init": "first", "network_options": {"width": 0.5}},
            r"init: \d+% of the generator's weights are found in first, with the same .*, wanted at least 50%",
        ),
        ({"init": "first/config.toml"}, "is no file of tensors|cannot be read|is damaged"),
        ({"init": ""}, "init is '', wanted the name of a run"),
    ],
)
def test_weights_that_cannot_be_had(tmp_path, cache, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    train(tiny_config(steps=2), tmp_path / "first")
    with pytest.raises(InputError, match=said):
        train(tiny_config(**options), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_the_best_step_is_kept(tmp_path, cache, monkeypatch):
    """Scores that fall until step 6, whatever the samples; it is the checkpoint of that step, whole."""
    scored = log._scores

    def scores(training):
        return scored(training) | {"am_score": abs(training.step.steps - 6) + 0.5}

    monkeypatch.setattr(log, "_scores", scores)
    options = {"log_every": 2, "score_every": 2, "checkpoint_every": 2}
    run = train(tiny_config(steps=10, **options), tmp_path / "run").folder
    there = train(tiny_config(steps=6, **options), tmp_path / "there").folder
    kept, wanted = load_tensors(run.best_checkpoint), load_tensors(there.checkpoint)
    assert_same_state(kept | {"config": None}, wanted | {"config": None})
    assert kept["step"]["steps"] == 6
    assert not list(run.path.glob("*best.previous*"))
    resume(run.path, steps=12)
    assert load_tensors(run.best_checkpoint)["step"]["steps"] == 6


def test_no_best_step_is_kept_where_it_is_not_wanted(tmp_path, cache):
    run = train(tiny_config(steps=4, keep_best=False), tmp_path / "run").folder
    assert not run.best_checkpoint.exists()


class Clock:
    """Each look at it takes ten seconds."""

    def __init__(self):
        self.seconds = 0.0

    def perf_counter(self) -> float:
        self.seconds += 10.0
        return self.seconds


class Checkpoints(Observer):
    def __init__(self, run):
        self.run, self.steps = run, []

    def progress(self, what, done, total):
        if what == "step" and self.run.checkpoint.exists():
            self.steps.append(Checkpoint.load(self.run.checkpoint).steps)


@pytest.mark.parametrize(("minutes", "wanted"), [(5.0, [6, 36]), (0.5, [3, 6, 9]), (0.0, [])])
def test_checkpoints_by_the_time(tmp_path, cache, monkeypatch, minutes, wanted):
    """The first after a minute, the others after so many; not one where no minutes are set."""
    monkeypatch.setattr(pace, "time", Clock())
    run = RunFolder(tmp_path / "run")
    options = {"steps": 40, "log_every": 1, "score_every": 100, "checkpoint_every": 1000}
    observer = Checkpoints(run)
    train(tiny_config(checkpoint_minutes=minutes, **options), run.path, observer)
    found = sorted(set(observer.steps) - {40})
    assert found[: len(wanted)] == wanted if wanted else not found


def test_a_dry_run_tells_and_writes_nothing(tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["amgan_fast.train.dry_run"], "_SECONDS", 0.1)
    before = sorted(tmp_path.rglob("*"))
    state = torch.get_rng_state()
    estimate = dry_run(tiny_config(steps=1000))
    assert torch.equal(torch.get_rng_state(), state)
    result = CliRunner().invoke(app, ["train", "--dry-run", "--steps", "1000", "--set", "latent_size=7"])
    assert result.exit_code == 0, result.output
    assert sorted(tmp_path.rglob("*")) == before
    assert "latent_size = 7" in result.output
    assert re.search(r"time: +about \d+:\d\d:\d\d for 1,000 steps and scores", result.output)
    # Of nn.Linear(32, 256), (256, 256), (256, 64), and a gain and a bias of batch norm for each hidden unit.
    assert estimate.generator_parameters == sum(
        p.numel() for p in tiny_config().build_sampler((1, 8, 8), None).generator.parameters()
    )
    assert estimate.discriminator_parameters > 0
    assert estimate.bytes_at_least > 4 * 4 * (estimate.generator_parameters + estimate.discriminator_parameters)
    assert estimate.seconds >= 1000 * estimate.times.step > 0
    assert estimate.classifier is not None


def test_a_dry_run_refuses_what_a_run_would(tmp_path, cache):
    with pytest.raises(InputError, match="batch_size"):
        dry_run(tiny_config(batch_size=2**40))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(InputError, match="is not empty"):
        dry_run(tiny_config(), tmp_path / "used")
