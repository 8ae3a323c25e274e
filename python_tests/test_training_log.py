"""Rows that are written once their losses have come from the device, and checkpoints that a GPU can afford."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import assert_same_run, tiny_config, tiny_run, use_classifier_cache

from amgan_fast.runs import RunFolder
from amgan_fast.train import AdversarialStep, Observer, train
from amgan_fast.train.moment import Moment, Numbers
from amgan_fast.train.pace import CheckpointPace

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


def never_early(monkeypatch) -> None:
    """Losses have come where they are waited for, and not before, as from a GPU that is far behind."""
    monkeypatch.setattr(Moment, "has_come", lambda moment: False)


def test_late_losses_make_the_same_rows(tmp_path, monkeypatch):
    options = {"steps": 10, "log_every": 2, "score_every": 6, "checkpoint_every": 3}
    tiny_run(tmp_path / "at once", **options)
    never_early(monkeypatch)
    tiny_run(tmp_path / "late", **options)
    assert_same_run(tmp_path / "late", tmp_path / "at once")


def test_rows_are_on_the_disk_before_the_checkpoint_after_them(tmp_path, monkeypatch):
    never_early(monkeypatch)
    options = {"log_every": 2, "score_every": 8, "checkpoint_every": 3, "keep_best": False}
    config, folder, seen = tiny_config(steps=9, **options), tmp_path / "run", []
    save = RunFolder.sync_metrics
    monkeypatch.setattr(
        RunFolder,
        "sync_metrics",
        lambda run: (seen.append([row["step"] for row in run.read_metrics()]), save(run)),
    )
    train(config, folder)
    assert seen == [[2], [2, 4, 6], [2, 4, 6, 8, 9]]


@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_is_not_finite_is_of_its_own_step(tmp_path, monkeypatch, late):
    if late:
        never_early(monkeypatch)
    losses = iter([torch.tensor([0.5, 0.5]), torch.tensor([float("nan"), 0.5]), torch.tensor([0.5, 0.5])])
    monkeypatch.setattr(AdversarialStep, "pop_losses_there", lambda step: next(losses))
    with pytest.raises(FloatingPointError, match=r"^step 4: discriminator loss nan"):
        tiny_run(tmp_path / "run", log_every=2, score_every=12, steps=12)
    assert [row["step"] for row in RunFolder(tmp_path / "run").read_metrics()] == [2]


def test_seconds_are_those_of_the_steps(tmp_path, monkeypatch):
    """Not those of scoring and of an observer that takes its time with a row."""

    class Slow(Observer):
        def logged(self, row):
            time.sleep(0.3)

    train(tiny_config(steps=4, log_every=1, score_every=4), tmp_path / "run", Slow())
    rows = RunFolder(tmp_path / "run").read_metrics()
    assert 0 < rows[-1]["seconds"] < 4 * 0.3
    for row, before in zip(rows, [{"seconds": 0.0}, *rows], strict=False):
        assert row["images_per_second"] == pytest.approx(100 / (row["seconds"] - before["seconds"]))


def test_numbers_are_those_of_their_moment(device):
    values = torch.tensor([1.0, 2.0], device=device)
    numbers = Numbers(values)
    values.zero_()
    assert numbers.read() == [1.0, 2.0]
    assert numbers.moment.has_come()
    assert Numbers(values).moment.seconds_since(numbers.moment) >= 0


@pytest.fixture
def clock(monkeypatch):
    """That the test moves."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("amgan_fast.train.pace.time.perf_counter", lambda: now.seconds)
    return now


def save(pace: CheckpointPace, clock: SimpleNamespace, seconds: float) -> None:
    with pace.saving():
        clock.seconds += seconds


def test_on_a_gpu_checkpoints_take_a_twentieth_of_the_time(clock):
    pace = CheckpointPace(torch.device("cuda"), minutes=0)
    assert pace.is_due()  # how long one takes is not known yet
    save(pace, clock, 0.1)
    clock.seconds += 1.9
    assert not pace.is_due()
    clock.seconds += 0.2
    assert pace.is_due()
    save(pace, clock, 10.0)
    clock.seconds += 199.0
    assert not pace.is_due()


def test_on_a_cpu_they_are_where_the_settings_say(clock):
    pace = CheckpointPace(torch.device("cpu"), minutes=0)
    save(pace, clock, 1000.0)
    assert pace.is_due()


def test_checkpoints_that_are_left_out_change_nothing_else(tmp_path, monkeypatch):
    options = {"steps": 9, "checkpoint_every": 1}
    tiny_run(tmp_path / "each", **options)
    monkeypatch.setattr(CheckpointPace, "is_due", lambda pace: False)
    tiny_run(tmp_path / "last", **options)
    assert not (tmp_path / "last" / "checkpoint.previous.pt").exists()
    assert_same_run(tmp_path / "last", tmp_path / "each")
