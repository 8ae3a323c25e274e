"""Those who are told what a run does: what they hear, what they add to its rows, and that they cannot harm it."""

from __future__ import annotations

import json
import math
import os
import signal
from fractions import Fraction
from pathlib import Path
from traceback import walk_tb

import numpy as np
import pytest
import torch
from forked import torchrun_forked
from tiny_runs import assert_same_run, assert_same_state, tiny_config, tiny_run, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.metrics import finite
from amgan_fast.processes import Share
from amgan_fast.runs import RunFolder
from amgan_fast.tensor_files import load_tensors
from amgan_fast.train import Observer, Observers, ScoredStep, TrainingStopped, resume, train
from amgan_fast.train.job import Job
from amgan_fast.train.listeners import Listeners

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


class Listener(Observer):
    """Keeps what it is told of a run."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def began(self, folder, config, step):
        self.heard.append(("began", folder, config, step))

    def logged(self, row):
        self.heard.append(("logged", row["step"]))

    def drawn(self, step, path):
        assert path.exists()
        self.heard.append(("drawn", step, path))

    def saved(self, step, path):
        assert load_tensors(path)["step"]["steps"] == step
        self.heard.append(("saved", step, path))

    def finished(self, summary):
        self.heard.append(("finished", summary))

    def stopped(self, error):
        self.heard.append(("stopped", type(error)))


class Fails(Listener):
    """In one event, from a step on."""

    def __init__(self, event: str) -> None:
        super().__init__()
        told = getattr(self, event)

        def fail(*facts):
            told(*facts)
            raise KeyError("my bucket")

        setattr(self, event, fail)


class Measures(Observer):
    """Has metrics of its own."""

    def __init__(self, returned: object) -> None:
        self.returned = returned

    def metrics(self, scored):
        return self.returned(scored) if callable(self.returned) else self.returned


def events(listener: Listener) -> list[tuple]:
    return [heard[:2] if heard[0] in ("drawn", "saved", "logged") else heard[:1] for heard in listener.heard]


def test_an_observer_hears_what_a_run_does(tmp_path):
    listener = Listener()
    folder = train(tiny_config(checkpoint_every=3), tmp_path / "run", listener).folder
    assert events(listener) == [
        ("began",),
        ("logged", 2),
        ("saved", 3),
        ("drawn", 4),
        ("logged", 4),
        ("drawn", 6),
        ("logged", 6),
        ("saved", 6),
        ("finished",),
    ]
    _, began_in, config, step = listener.heard[0]
    assert (began_in, config, step) == (folder.path, tiny_config(checkpoint_every=3).to_dict(), 0)
    assert listener.heard[3][2] == folder.grid(4)
    assert listener.heard[2][2] == folder.checkpoint
    assert json.loads(json.dumps(listener.heard[-1][1])) == json.loads(folder.summary.read_text())


def test_an_observer_hears_where_a_run_stops_and_goes_on(tmp_path):
    class StopsAt4(Listener):
        def drawn(self, step, path):
            os.kill(os.getpid(), signal.SIGTERM)

    listener, second = StopsAt4(), Listener()
    with pytest.raises(TrainingStopped):
        train(tiny_config(), tmp_path / "run", listener)
    assert events(listener)[-1] == ("stopped",)
    assert listener.heard[-1][1] is TrainingStopped
    resume(tmp_path / "run", second)
    assert second.heard[0][3] == 4
    assert events(second)[1:] == [("drawn", 6), ("logged", 6), ("saved", 6), ("finished",)]


def test_an_observer_hears_of_losses_that_are_not_finite(tmp_path):
    listener = Listener()
    with pytest.raises(FloatingPointError):
        train(tiny_config(generator_lr=1e30, discriminator_lr=1e30), tmp_path / "run", listener)
    assert listener.heard[-1] == ("stopped", FloatingPointError)


def test_several_observers_hear_the_same_in_their_order(tmp_path):
    order: list[str] = []

    class Named(Listener):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def logged(self, row):
            super().logged(row)
            order.append(self.name)

    a, b, c = map(Named, "abc")
    together = Observers([a, Observers([b, c])])
    assert together.observers == (a, b, c)
    train(tiny_config(), tmp_path / "run", together)
    assert a.heard == b.heard == c.heard
    assert order == ["a", "b", "c"] * 3
    numbers = [Measures({"mine": 1}), Measures({"yours": 2})]
    assert Observers(numbers).metrics(None) == {"mine": 1, "yours": 2}


# Metrics of one's own


def test_own_metrics_are_in_the_journal_and_in_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen: list[ScoredStep] = []

    def metrics(scored):
        seen.append(scored)
        images = torch.cat([images for images, _ in scored.sampler.batches(50, scored.random())])
        logits = scored.discriminator(images)
        return {"ink": images.mean(), "real": scored.objective.realness(logits).mean()}

    heard: list[dict] = []
    observer = Measures(metrics)
    observer.logged = heard.append
    folder = train(tiny_config(), tmp_path / "run", observer).folder
    rows = folder.read_metrics()
    assert [row["step"] for row in rows if "ink" in row] == [4, 6]
    assert [row.get("ink") for row in heard] == [row.get("ink") for row in rows]
    assert [scored.step for scored in seen] == [4, 6]
    events = EventAccumulator(str(folder.tensorboard))
    events.Reload()
    assert [event.value for event in events.Scalars("ink")] == pytest.approx([row["ink"] for row in rows[1:]])
    scored = seen[-1]  # whose networks are those of the last step
    state = load_tensors(folder.checkpoint)["step"]
    assert_same_state(scored.sampler.generator.state_dict(), state["averaged"])
    assert_same_state(scored.discriminator.state_dict(), state["discriminator"])
    assert scored.dataset.name == "digits"
    assert scored.classifier.network.num_classes == 10
    images = torch.cat([images for images, _ in scored.sampler.batches(50, scored.random())])
    assert images.mean().item() == pytest.approx(rows[-1]["ink"])


def test_own_metrics_that_draw_random_numbers_change_nothing_of_the_run(tmp_path):
    """Dropout, noise and batch norm of the discriminator included."""

    def metrics(scored):
        assert not scored.discriminator.training
        assert not torch.is_grad_enabled()
        images = torch.rand(20, *scored.dataset.image_shape) * 2 - 1
        return {"drawn": float(torch.randn(3).sum() + scored.discriminator(images).sum())}

    class Draws(Measures):
        def logged(self, row):
            torch.rand(5)

    tiny_run(tmp_path / "alone", steps=8)
    train(tiny_config(steps=8), tmp_path / "watched", Observers([Draws(metrics), Draws({})]))
    journal = RunFolder(tmp_path / "watched")
    rows = journal.read_metrics()
    drawn = [row.pop("drawn", None) for row in rows]
    assert [number is None for number in drawn] == [True, False, True, False]
    journal.rewrite_metrics(rows)
    assert_same_run(tmp_path / "watched", tmp_path / "alone")


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.int64(2), 2.0),
        (torch.tensor([[1.5]]), 1.5),
        (Fraction(1, 4), 0.25),
        (math.inf, None),
        (torch.tensor(math.nan), None),
    ],
    ids=str,
)
def test_what_is_a_number(number, written):
    numbers = Listeners(Measures({"mine": number}), CPU).metrics_beside((), None)
    assert type(numbers["mine"]) is float
    assert finite(numbers) == {"mine": written}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (3.0, "it returned 3.0, wanted a mapping of names to numbers"),
        (None, "it returned None, wanted a mapping of names to numbers"),
        ([("a", 1)], "it returned a list, wanted a mapping of names to numbers"),
        ({"am_score": 1.0}, "it returned am_score, which the row has already, wanted another name"),
        ({"step": 1.0}, "it returned step, which the row has already, wanted another name"),
        ({3: 1.0}, "it returned the name 3, wanted a text that does not end in _ci95"),
        ({"": 1.0}, "it returned the name '', wanted a text that does not end in _ci95"),
        ({"mine_ci95": 1.0}, "it returned the name 'mine_ci95', wanted a text that does not end in _ci95"),
        ({"mine": "1"}, "it returned mine = '1', wanted one real number"),
        ({"mine": None}, "it returned mine = None, wanted one real number"),
        ({"mine": True}, "it returned mine = True, wanted one real number"),
        ({"mine": 1j}, "it returned mine = 1j, wanted one real number"),
        ({"mine": torch.ones(2)}, "it returned mine = a Tensor, wanted one real number"),
        ({"mine": [1.0]}, "it returned mine = a list, wanted one real number"),
    ],
    ids=str,
)
def test_what_is_no_metric_is_said_by_name(returned, said):
    with pytest.raises(InputError) as error:
        Listeners(Measures(returned), CPU).metrics_beside({"step", "am_score"}, None)
    assert str(error.value) == f"observer Measures: metrics failed: {said}"


def test_a_run_ends_with_what_is_no_metric(tmp_path):
    """And two observers cannot have one name."""

    class Second(Measures):
        pass

    with pytest.raises(InputError) as error:
        train(tiny_config(), tmp_path / "run", Observers([Measures({"mine": 1}), Second({"mine": 2})]))
    assert str(error.value) == (
        "observer Second: metrics failed: it returned mine, which the row has already, wanted another name; "
        f"saved at step 4, amgan-fast train --resume {tmp_path / 'run'} goes on"
    )
    assert RunFolder(tmp_path / "run").read_metrics()[-1]["mine"] == 1


# Errors


@pytest.mark.parametrize(("event", "step"), [("metrics", 4), ("drawn", 4), ("logged", 2), ("saved", 4)])
def test_an_observer_that_fails_loses_nothing_of_the_run(tmp_path, event, step):
    options = {"steps": 8, "checkpoint_every": 3}
    tiny_run(tmp_path / "whole", **options)
    failing, other = Fails(event), Listener()
    with pytest.raises(InputError) as error:
        train(tiny_config(**options), tmp_path / "run", Observers([failing, other]))
    frames = walk_tb(error.value.__cause__.__traceback__)
    line = next(number for frame, number in frames if frame.f_code.co_filename == __file__)
    assert str(error.value) == (
        f"observer Fails: {event} failed at test_observers.py, line {line} (KeyError: 'my bucket'); "
        f"saved at step {step}, amgan-fast train --resume {tmp_path / 'run'} goes on"
    )
    assert isinstance(error.value.__cause__, KeyError)
    assert failing.heard[-1] == other.heard[-1] == ("stopped", InputError)
    assert ("saved", step, RunFolder(tmp_path / "run").checkpoint) in other.heard
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_observer_that_fails_before_the_first_step_ends_the_run_there(tmp_path):
    failing, other = Fails("began"), Listener()
    with pytest.raises(InputError, match=r"^observer Fails: began failed at test_observers\.py, line \d+ \(KeyError"):
        train(tiny_config(), tmp_path / "run", Observers([failing, other]))
    assert events(failing) == events(other) == [("began",), ("stopped",)]
    with pytest.raises(InputError, match="observer Fails: message failed"):
        train(tiny_config(), tmp_path / "other", Fails("message"))
    assert not (tmp_path / "other").exists()


def test_an_observer_that_fails_at_the_end_finds_the_run_whole(tmp_path):
    failing, other = Fails("finished"), Listener()
    with pytest.raises(InputError, match=rf"^observer Fails: finished failed .*; {tmp_path / 'run'} is whole$"):
        train(tiny_config(), tmp_path / "run", Observers([failing, other]))
    assert events(failing)[-1] == events(other)[-1] == ("finished",)
    assert_same_run(tmp_path / "run", tiny_run(tmp_path / "whole").folder.path)


def test_an_observer_that_fails_when_a_run_is_stopped_hides_nothing(tmp_path):
    with pytest.raises(FloatingPointError, match="discriminator loss"):
        train(tiny_config(generator_lr=1e30, discriminator_lr=1e30), tmp_path / "run", Fails("stopped"))


def test_an_observer_that_exits_is_one_that_fails(tmp_path):
    class Exits(Observer):
        def logged(self, row):
            raise SystemExit(3)

    with pytest.raises(InputError, match=r"^observer Exits: logged failed .*SystemExit: 3\); saved at step 2"):
        train(tiny_config(), tmp_path / "run", Exits())


def test_of_several_processes_the_first_one_tells(tmp_path):
    listener = Listener()
    for rank, observers in ((0, (listener,)), (1, ())):
        job = Job.of(tiny_config(), RunFolder(tmp_path), listener, Share(rank, 2))
        assert job.observer.observers == observers


TWO_PROCESSES = """
from pathlib import Path
import torch
from amgan_fast.processes import join_processes
from amgan_fast.runs import Config
from amgan_fast.train import Observer, train

class Watches(Observer):
    def metrics(self, scored):
        return {"drawn": torch.rand(()) + scored.discriminator(torch.rand(3, 1, 8, 8)).sum()}

    def logged(self, row):
        if row["step"] == 4:
            raise RuntimeError("enough")

with join_processes(torch.device("cpu")) as share:
    train(Config.load(Path("config.toml")), Path("run"), Watches(), share)
"""


def test_two_processes_end_together_where_an_observer_of_the_first_fails(tmp_path):
    """At the next checkpoint, the one step at which they agree."""
    tiny_config(checkpoint_every=3, steps=9).save(tmp_path / "config.toml")
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    errors = torchrun_forked(["script.py"], tmp_path).stderr
    failed = "observer Watches: logged failed at script.py, line 14 (RuntimeError: enough); saved at step 6"
    assert errors.count(failed) >= 2, errors  # of either process
    run = RunFolder(tmp_path / "run")
    assert [(row["step"], "drawn" in row) for row in run.read_metrics()] == [(2, False), (4, True), (6, False)]
    assert load_tensors(run.checkpoint)["step"]["steps"] == 6


def test_observers_of_the_command_line(tmp_path, cache, users_module):
    name = users_module(
        "from amgan_fast.train import Observer\n"
        "class Loud(Observer):\n"
        "    def metrics(self, scored): return {'loud': scored.step}\n"
        "    def finished(self, summary): print('finished loudly')\n"
    )
    tiny_config(steps=4).save(tmp_path / "settings.toml")
    own = ["--observer", "csv", "--observer", f"{name}:Loud"]
    command = ["train", "--config", str(tmp_path / "settings.toml"), "--out", str(tmp_path / "run"), *own]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "finished loudly" in result.output
    assert (tmp_path / "run" / "metrics.csv").is_file()
    result = CliRunner().invoke(app, ["train", "--resume", str(tmp_path / "run"), "--steps", "8", *own])
    assert result.exit_code == 0, result.output
    rows = RunFolder(tmp_path / "run").read_metrics()
    assert [row["loud"] for row in rows if "loud" in row] == [4, 8]
    refused = CliRunner().invoke(app, ["train", "--out", str(tmp_path / "other"), "--observer", "mlflow"])
    assert refused.exit_code == 2
    assert refused.stderr == "amgan-fast: observer is 'mlflow', wanted csv, wandb or module:Class\n"
    assert not (tmp_path / "other").exists()
