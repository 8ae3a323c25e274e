"""Runs that end before their end: killed, stopped, broken, and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_config, tiny_run, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.runs import (
    RunFolder,
    load_checkpoint,
    load_last_checkpoint,
    previous_checkpoint,
    save_checkpoint,
)
from amgan_fast.train import Observer, TrainingStopped, resume, train


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


class StopAt(Observer):
    """Sends this process a signal once a step is logged."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.step = step
        self.number = number

    def logged(self, row):
        if row["step"] == self.step:
            os.kill(os.getpid(), self.number)


def assert_same_state(got, want, path=""):
    """Tensors to the bit."""
    assert type(got) is type(want), path
    if isinstance(want, dict):
        assert got.keys() == want.keys(), path
        for name in want:
            assert_same_state(got[name], want[name], f"{path}/{name}")
    elif isinstance(want, (list, tuple)):
        assert len(got) == len(want), path
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            assert_same_state(a, b, f"{path}/{i}")
    elif isinstance(want, torch.Tensor):
        assert torch.equal(got, want), path
    elif not path.endswith("/seconds"):
        assert got == want, path


def assert_same_run(got: Path, want: Path):
    a, b = RunFolder(got), RunFolder(want)
    assert_same_state(load_checkpoint(a.checkpoint), load_checkpoint(b.checkpoint))
    summaries = [json.loads(run.summary.read_text()) for run in (a, b)]
    assert summaries[0]["generated"] == summaries[1]["generated"]
    rows = [[json.loads(line) for line in run.metrics.read_text().splitlines()] for run in (a, b)]
    timed = ("seconds", "images_per_second")
    assert [{k: v for k, v in row.items() if k not in timed} for row in rows[0]] == [
        {k: v for k, v in row.items() if k not in timed} for row in rows[1]
    ]
    assert [grid.read_bytes() for grid in a.grids()] == [grid.read_bytes() for grid in b.grids()]


RUNS = {
    "amgan": {},
    "predefined": {"labels": "predefined"},
    "everything": {
        "model": "acgan",
        "labels": "predefined",
        "feature_matching": 0.1,
        "historical_averaging": 0.01,
        "halve_every": 3,
        "network_options": {"weight_norm": True, "minibatch_discrimination": True},
    },
    "virtual": {"network_options": {"normalization": "virtual"}},
    "unlabelled": {"model": "improved-gan", "labelled_per_class": 5},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, cache, options):
    number = signal.SIGINT if "labels" in options else signal.SIGTERM
    options = {"steps": 10, "log_every": 2, "score_every": 4, "checkpoint_every": 3, **options}
    tiny_run(tmp_path / "whole", **options)
    with pytest.raises(TrainingStopped, match=f"stopped by {number.name} and saved at step 6"):
        train(tiny_config(**options), tmp_path / "stopped", StopAt(6, number))
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_a_signal_while_the_end_is_scored_is_not_swallowed(tmp_path, cache):
    class StopTheScoring(Observer):
        def evaluated(self, what, done, total):
            os.kill(os.getpid(), signal.SIGINT)

    steps = tiny_config().steps
    with pytest.raises(TrainingStopped, match=f"stopped by SIGINT and saved at step {steps}"):
        train(tiny_config(), tmp_path / "stopped", StopTheScoring())
    whole = tiny_run(tmp_path / "whole")
    assert resume(tmp_path / "stopped").evaluation.generated.scores == whole.evaluation.generated.scores


def test_a_killed_process_goes_on_to_the_same_end(tmp_path, cache):
    """SIGKILL at some moment between two checkpoints, or while one is written."""
    options = {"steps": 60, "log_every": 1, "score_every": 20, "checkpoint_every": 1, "score_samples": 50}
    config = tiny_config(**options)
    config.save(tmp_path / "config.toml")
    train(config, tmp_path / "whole")
    command = [sys.executable, "-m", "amgan_fast", "train", "--config", tmp_path / "config.toml"]
    process = subprocess.Popen([*map(str, command), "--out", str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
    metrics = RunFolder(tmp_path / "killed").metrics
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (metrics.exists() and len(metrics.read_text().splitlines()) > 30):
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = load_last_checkpoint(RunFolder(tmp_path / "killed").checkpoint)[0]["step"]["steps"]
    assert 25 < done < 60
    result = subprocess.run(
        [sys.executable, "-m", "amgan_fast", "train", "--resume", str(tmp_path / "killed")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.fixture
def stopped(tmp_path, cache) -> Path:
    with pytest.raises(TrainingStopped):
        train(tiny_config(steps=8, checkpoint_every=2), tmp_path / "run", StopAt(4))
    return tmp_path / "run"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(stopped, tmp_path):
    tiny_run(tmp_path / "whole", steps=8, checkpoint_every=2)
    checkpoint = RunFolder(stopped).checkpoint
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 3] ^= 1  # one bit of a weight, say
    checkpoint.write_bytes(data)

    texts = []
    observer = Observer()
    observer.message = texts.append
    resume(stopped, observer)
    assert any("checkpoint.pt is damaged" in text and "checkpoint.previous.pt" in text for text in texts)
    assert_same_run(stopped, tmp_path / "whole")


def test_every_bit_of_a_checkpoint_counts(tmp_path):
    state = {"weights": torch.randn(300), "steps": 5, "names": ["a", "b"]}
    save_checkpoint(tmp_path / "a.pt", state)
    whole = (tmp_path / "a.pt").read_bytes()
    random = torch.Generator().manual_seed(0)
    for place in torch.randint(len(whole), (300,), generator=random).tolist():
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        (tmp_path / "b.pt").write_bytes(data)
        with contextlib.suppress(InputError):  # else it was padding, or a date
            assert_same_state(load_checkpoint(tmp_path / "b.pt"), state)


def test_when_both_are_damaged_nothing_is_guessed(stopped):
    run = RunFolder(stopped)
    for path in (run.checkpoint, previous_checkpoint(run.checkpoint)):
        path.write_bytes(b"no zip file")
    with pytest.raises(InputError, match=r"checkpoint\.previous\.pt is damaged"):
        resume(stopped)


def test_a_changed_configuration_is_refused_by_its_keys(stopped):
    path = RunFolder(stopped).config
    text = path.read_text().replace("generator_lr = 0.002", "generator_lr = 0.001", 1).replace("seed = 0", "seed = 3")
    path.write_text(text)
    with pytest.raises(
        InputError, match=r"discriminator_lr is 0\.001 instead of|generator_lr is .*; seed is 0 instead of 3"
    ):
        resume(stopped)


def test_options_beside_resume_are_refused(stopped):
    result = CliRunner().invoke(app, ["train", "--resume", str(stopped), "--steps", "9"])
    assert result.exit_code == 2
    assert "--steps" in result.stderr


def test_a_finished_run_is_not_trained_again(tmp_path, cache):
    result = tiny_run(tmp_path / "run")
    before = load_checkpoint(result.folder.checkpoint)
    again = resume(tmp_path / "run")
    assert_same_state(load_checkpoint(result.folder.checkpoint), before)
    assert again.evaluation.generated.scores == result.evaluation.generated.scores


def test_the_train_command_says_how_to_go_on(tmp_path, cache):
    config = tiny_config(steps=100_000, log_every=1, score_every=50)
    config.save(tmp_path / "config.toml")
    command = [sys.executable, "-m", "amgan_fast", "train", "--config", "config.toml", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = RunFolder(tmp_path / "run").metrics
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not metrics.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "amgan-fast: stopped by SIGINT and saved at step" in errors
    assert "amgan-fast train --resume run" in errors


def test_a_full_disk_leaves_earlier_files(stopped, monkeypatch):
    """The limit of a file's size stands in for a full disk: the system refuses to write on in either."""
    run = RunFolder(stopped)
    before = {path.name: path.read_bytes() for path in (run.checkpoint, previous_checkpoint(run.checkpoint))}
    size = run.checkpoint.stat().st_size
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}));"
        "sys.argv = ['amgan-fast', 'train', '--resume', sys.argv[1]];"
        "from amgan_fast.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", script, str(stopped)], capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert "checkpoint.pt cannot be written" in result.stderr
    assert {path.name: path.read_bytes() for path in (run.checkpoint, previous_checkpoint(run.checkpoint))} == before
    assert not [path for path in stopped.iterdir() if path.name.endswith(".tmp")]


def test_half_a_line_of_metrics_does_no_harm(stopped, tmp_path):
    tiny_run(tmp_path / "whole", steps=8, checkpoint_every=2)
    with RunFolder(stopped).metrics.open("a") as file:
        file.write('{"step": 6, "discrim')
    resume(stopped)
    assert_same_run(stopped, tmp_path / "whole")


def test_a_run_without_a_checkpoint_says_so(stopped):
    RunFolder(stopped).checkpoint.unlink()
    with pytest.raises(InputError, match=r"has no checkpoint\.pt yet"):
        resume(stopped)


def test_nan_stops_with_the_last_good_checkpoint_named(tmp_path, cache, monkeypatch):
    from amgan_fast.train.step import AdversarialStep

    update = AdversarialStep._update

    def break_at_five(self, name):
        update(self, name)
        if self.steps == 5:
            next(self.generator.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(AdversarialStep, "_update", break_at_five)
    with pytest.raises(FloatingPointError, match=r"step 6: .*last good checkpoint is .*checkpoint\.pt of step 4"):
        train(tiny_config(steps=12, checkpoint_every=2, log_every=2), tmp_path / "run")
    assert load_checkpoint(RunFolder(tmp_path / "run").checkpoint)["step"]["steps"] == 4
