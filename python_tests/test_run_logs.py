"""Runs that are logged elsewhere: as a table, at Weights & Biases, by the observers that the command line names."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_runs import tiny_config, use_classifier_cache

from amgan_fast.errors import InputError
from amgan_fast.runs import RunFolder
from amgan_fast.train import CsvLog, Observer, Observers, WandbLog, observers_named, resume, train


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


class StopAt(Observer):
    """Ends a run by an error."""

    def __init__(self, step: int) -> None:
        self.step = step

    def logged(self, row):
        if row["step"] == self.step:
            raise RuntimeError("enough")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


# CSV


def test_a_table_has_the_numbers_of_the_journal(tmp_path, cache):
    folder = train(tiny_config(), tmp_path / "run", CsvLog()).folder
    rows = folder.read_metrics()
    lines = table(folder.path)
    assert [line["step"] for line in lines] == ["2", "4", "6"]
    for row, line in zip(rows, lines, strict=True):
        low, high = row.pop("discriminator_accuracy_ci95", (None, None))
        row |= {"discriminator_accuracy/low": low, "discriminator_accuracy/high": high}
        row.pop("class_distribution", None)
        assert {name: value for name, value in line.items() if value} == {
            name: str(value) for name, value in row.items() if value is not None
        }


def test_a_table_is_whole_after_every_row_though_columns_come(tmp_path):
    folder, log = RunFolder(tmp_path), CsvLog()
    log.began(tmp_path, {}, 0)
    assert (tmp_path / "metrics.csv").read_text() == "step\n"
    wanted = []
    for row in (
        {"step": 1, "a": 0.5},
        {"step": 2, "a": math.nan, "text, with a comma": 1e-300},
        {"step": 3, "b_ci95": [0.25, math.inf], "list": [1, 2]},
        {"step": 4, "a": 1.5},
    ):
        folder.append_metrics(row)
        log.logged(row)
        wanted.append(row["step"])
        assert [int(line["step"]) for line in table(tmp_path)] == wanted
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        'step,a,"text, with a comma",b/low,b/high',
        "1,0.5,,,",
        "2,,1e-300,,",
        "3,,,0.25,",
        "4,1.5,,,",
    ]


def test_a_table_goes_on_with_its_run(tmp_path, cache):
    """What was logged after the checkpoint goes, and what a killed process has left of a line."""
    options = {"steps": 8, "checkpoint_every": 3}
    whole = train(tiny_config(**options), tmp_path / "whole", CsvLog()).folder.path
    with pytest.raises(InputError):
        train(tiny_config(**options), tmp_path / "run", Observers([CsvLog(), StopAt(4)]))
    path = tmp_path / "run" / "metrics.csv"
    path.write_text(path.read_text() + "6,1.0\n7,")
    resume(tmp_path / "run", CsvLog())
    assert without_times(table(tmp_path / "run")) == without_times(table(whole))
    path.unlink()
    resume(tmp_path / "run", CsvLog())
    assert without_times(table(tmp_path / "run")) == without_times(table(whole))


def test_a_table_that_cannot_be_written_is_said(tmp_path, cache):
    (tmp_path / "run" / "metrics.csv").mkdir(parents=True)
    log = CsvLog()
    with pytest.raises(InputError, match=r"metrics\.csv cannot be written \(Is a directory\)"):
        log.began(tmp_path / "run", {}, 0)


# Weights & Biases


class Wandb(SimpleNamespace):
    """What of the package wandb is used, without it; keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(inits=[], logs=[], summary={}, exit_codes=[], Image=lambda path: ("image", Path(path)))

    def init(self, **options):
        self.inits.append(options)
        return self

    def log(self, data, step=None):
        self.logs.append((step, data))

    def finish(self, exit_code):
        self.exit_codes.append(exit_code)


@pytest.fixture
def wandb(monkeypatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("PROJECT", "NAME", "DIR"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    return module


def test_a_run_at_weights_and_biases_has_settings_rows_and_pictures(tmp_path, cache, wandb):
    folder = train(tiny_config(), tmp_path / "run", WandbLog(group="digits")).folder
    (init,) = wandb.inits
    assert len(init.pop("id")) == 16
    assert init == {
        "project": "amgan-fast",
        "name": "run",
        "dir": str(folder.path),
        "config": tiny_config().to_dict(),
        "group": "digits",
        "resume": "allow",
        "allow_val_change": True,
        "reinit": "create_new",
    }
    rows = folder.read_metrics()
    logged = [(step, data) for step, data in wandb.logs if "seconds" in data]
    assert [step for step, _ in logged] == [2, 4, 6]
    for row, (_, data) in zip(rows, logged, strict=True):
        assert {name: row[name] for name in data if "/" not in name} == {k: v for k, v in data.items() if "/" not in k}
    pictures = [(step, data) for step, data in wandb.logs if "seconds" not in data]
    assert pictures == [
        (4, {"samples": ("image", folder.grid(4))}),
        (6, {"samples": ("image", folder.grid(6))}),
        (None, {"final/samples": ("image", folder.samples), "final/curves": ("image", folder.curves)}),
    ]
    scores = json.loads(folder.summary.read_text())["generated"]["scores"]
    assert wandb.summary["final/am_score"] == scores["am_score"]
    assert wandb.exit_codes == [0]


def test_a_run_goes_on_under_its_name_at_weights_and_biases(tmp_path, cache, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    log = WandbLog(name="given")
    with pytest.raises(InputError):
        train(tiny_config(), tmp_path / "run", Observers([log, StopAt(2)]))
    assert log.run is None
    resume(tmp_path / "run", WandbLog())
    first, second = wandb.inits
    assert first["id"] == second["id"] == (tmp_path / "run" / "wandb_id.txt").read_text()
    assert (first["name"], second["name"]) == ("given", "run")
    assert "project" not in first  # wandb's own reading of the environment
    assert wandb.exit_codes == [1, 0]


def test_without_the_package_nothing_begins(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="wandb is not installed, wanted pip install"):
        observers_named(["wandb"])


def test_a_service_that_cannot_be_reached_ends_the_run_before_its_first_step(tmp_path, cache, wandb):
    def init(**options):
        raise ConnectionError("no network")

    wandb.init = init
    with pytest.raises(InputError, match=r"observer WandbLog: began failed .*ConnectionError: no network"):
        train(tiny_config(), tmp_path / "run", WandbLog())
    assert wandb.exit_codes == []


# By name


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """With observers of the user's, in the current folder."""
    (tmp_path / "my_observers.py").write_text(
        "from amgan_fast.train import Observer\n"
        "class Steps(Observer):\n"
        "    def logged(self, row):\n"
        "        open('steps.txt', 'a').write(f\"{row['step']} \")\n"
        "class Asks(Observer):\n"
        "    def __init__(self, path):\n"
        "        pass\n"
        "ready = Steps()\n"
        "def other():\n"
        "    return print\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_observers", raising=False)
    return "my_observers"


def test_observers_by_name(module, wandb):
    made = observers_named(["csv", f"{module}:Steps", "wandb"])
    assert [type(observer).__name__ for observer in made] == ["CsvLog", "Steps", "WandbLog"]
    assert observers_named([]) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tensorboard", r"^observer is 'tensorboard', wanted csv, wandb or module:Class$"),
        (
            "my_observers:Asks",
            r"^observer my_observers:Asks cannot be made \(TypeError: .*path.*\), wanted a class that",
        ),
        (
            "my_observers:other",
            r"^observer my_observers:other makes a builtin_function_or_method, wanted an amgan_fast",
        ),
        ("my_observers:ready", r"^observer my_observers:ready cannot be made \(TypeError: .* not callable\), wanted a"),
        ("my_observers:Nobody", r"^observer my_observers:Nobody: my_observers has no Nobody, wanted a name there$"),
        ("nowhere:Log", r"^observer nowhere:Log: nowhere cannot be imported \(ModuleNotFoundError: "),
    ],
)
def test_names_of_no_observer_are_refused(module, name, said):
    with pytest.raises(InputError, match=said):
        observers_named([name])
