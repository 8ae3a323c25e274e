"""``amgan-fast`` as a program: help at 80 columns, completion, its version, and the exit statuses of
docs/command_line.md."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import typer
from test_documents import parse_command
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.cli.examples import EXAMPLES
from amgan_fast.objectives import MODELS
from amgan_fast.runs import RunFolder
from amgan_fast.train import TrainingStopped

ROOT = Path(__file__).parent.parent
GROUP = typer.main.get_command(app)
PAGE = (ROOT / "docs" / "command_line.md").read_text()


def ran(*arguments: object, **environment: str):
    return CliRunner().invoke(app, [str(x) for x in arguments], env=environment, prog_name="amgan-fast")


# --- Help


def shown_help(*command: str) -> list[str]:
    result = ran(*command, "--help", COLUMNS="80")
    assert result.exit_code == 0
    return re.sub(r"\x1b\[[\d;]*m", "", result.stdout).splitlines()


@pytest.mark.parametrize("command", [None, *GROUP.commands])
def test_help_fits_80_columns_and_cuts_no_word(command):
    lines = shown_help() if command is None else shown_help(command)
    assert max(map(len, lines)) <= 80
    words = " ".join(line.strip("│ ") for line in lines).split()
    assert not [word for word in words if "…" in word]
    for option in (GROUP if command is None else GROUP.commands[command]).params:
        names = [name for name in (*option.opts, *option.secondary_opts) if name.startswith("--")]
        assert {*names, *(option.help or "").split()} <= {*words}


@pytest.mark.parametrize("command", [None, *GROUP.commands])
def test_flags_take_no_word_in_help(command):
    """Those that Typer adds neither."""
    lines = shown_help() if command is None else shown_help(command)
    assert any("--help" in line for line in lines)
    assert "<bool>" not in " ".join(lines)


@pytest.mark.parametrize("command", GROUP.commands)
def test_help_ends_with_examples_that_the_command_takes(command):
    lines = [line.strip() for line in shown_help(command) if line.strip()]
    assert tuple(lines[-len(EXAMPLES[command]) - 1 :]) == ("Examples:", *EXAMPLES[command])
    for example in EXAMPLES[command]:
        program, *arguments = example.split()
        assert (program, arguments[0]) == ("amgan-fast", command)
        parse_command(arguments)


@pytest.mark.parametrize("command", GROUP.commands)
def test_a_long_list_of_options_has_headings(command):
    panels = [option.rich_help_panel for option in GROUP.commands[command].params if hasattr(option, "rich_help_panel")]
    assert max(panels.count(panel) for panel in panels) <= 13


def test_what_is_off_has_no_word_for_off():
    assert ran("evaluate", "--no-cas").exit_code == 2
    assert "--no-cas" in ran("evaluate", "--no-cas").stderr


# --- Version


def test_the_version_is_printed(monkeypatch):
    monkeypatch.setattr("amgan_fast.cli.version.version", lambda name: f"1.2.3 of {name}")
    assert ran("--version").stdout == "amgan-fast 1.2.3 of amgan-fast\n"


def test_the_version_of_what_is_not_installed_is_that_of_the_compiled_module(monkeypatch):
    def none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("amgan_fast.cli.version.version", none)
    monkeypatch.setattr("amgan_fast.__version__", "4.5.6", raising=False)
    assert ran("--version").stdout == "amgan-fast 4.5.6\n"


# --- Completion


def completed(*words: str) -> list[str]:
    """What bash is given for the last word."""
    environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    return ran(_AMGAN_FAST_COMPLETE="complete_bash", **environment).stdout.split()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("amgan-fast com", ["compare"]),
        ("amgan-fast train --se", ["--seed", "--set"]),
        ("amgan-fast train --dataset ti", ["tiny-imagenet"]),
        ("amgan-fast train-classifier --dataset fa", ["fashion-mnist"]),
        ("amgan-fast evaluate --dataset ci", ["cifar10"]),
        ("amgan-fast train --model acgan-star", ["acgan-star", "acgan-star-plus"]),
        ("amgan-fast train --labels p", ["predefined"]),
        ("amgan-fast train --recipe mo", ["modern"]),
        ("amgan-fast train --device c", ["cpu", "cuda"]),
        ("amgan-fast train --observer w", ["wandb"]),
        ("amgan-fast compare --models gan,catgan,ga", ["gan,catgan,gan-star"]),
        ("amgan-fast compare --labels dynamic,", ["dynamic,predefined"]),
        ("amgan-fast evaluate --json --comp", ["--compat"]),
        ("amgan-fast evaluate --features i", ["inception-2015", "inception-v3"]),
        ("amgan-fast evaluate --classifier i", ["inception-2015", "inception-v3"]),
        ("amgan-fast evaluate --compat torch", ["torch-fidelity", "torchmetrics"]),
        ("amgan-fast train --out ", []),
    ],
)
def test_known_values_are_completed(line, wanted):
    assert completed(*line.split(" ")) == wanted


def test_every_model_is_completed():
    assert completed("amgan-fast", "train", "--model", "") == list(MODELS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_and_completions(shell):
    source = ran(_AMGAN_FAST_COMPLETE=f"source_{shell}").stdout
    assert f"_AMGAN_FAST_COMPLETE=complete_{shell}" in source
    asked = {"_TYPER_COMPLETE_ARGS": "amgan-fast train --dataset ci", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    bash = {"COMP_WORDS": "amgan-fast\ntrain\n--dataset\nci", "COMP_CWORD": "3"}
    assert "cifar10" in ran(_AMGAN_FAST_COMPLETE=f"complete_{shell}", **asked, **bash).stdout


# --- Exit statuses


def test_the_page_has_every_command():
    for command in GROUP.commands:
        assert f"| `{command}` |" in PAGE


def documented(status: int) -> bool:
    return f"| {status} |" in PAGE


def test_status_0_is_of_what_was_done(tmp_path):
    assert ran("new", tmp_path).exit_code == 0
    assert documented(0)


def test_status_1_is_of_losses_that_are_not_finite_or_of_memory(monkeypatch):
    for error in (FloatingPointError("the losses are NaN"), MemoryError("no more")):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("amgan_fast.runs.Config.compose", fail)
        result = ran("train")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert documented(1)


@pytest.mark.parametrize(
    "arguments", [("trian",), ("train", "--steps", "many"), ("train", "--model", "vae"), ("export", "--run", "nowhere")]
)
def test_status_2_is_of_what_cannot_be_used(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ran(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert documented(2)


def test_status_2_comes_with_the_scores_of_what_was_read(tmp_path):
    logits = 9 * np.eye(4, dtype=np.float32).repeat(25, axis=0)
    logits[60] = np.nan
    np.save(tmp_path / "logits.npy", logits)
    result = ran("evaluate", "--logits", tmp_path / "logits.npy", "--batch-size", "50")
    assert result.exit_code == 2
    assert "PARTIAL" in result.stdout


def test_status_130_is_of_ctrl_c(monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("amgan_fast.runs.list_runs", interrupt)
    result = ran("runs")
    assert (result.exit_code, result.stderr) == (130, "amgan-fast: interrupted\n")
    assert documented(130)


@pytest.mark.parametrize(("command", "function"), [("train", "train.train"), ("compare", "compare.compare")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_status_of_a_run_that_a_signal_stopped_is_that_of_the_signal(
    command, function, number, tmp_path, monkeypatch
):
    def stopped(*_: object, **__: object) -> None:
        raise TrainingStopped(RunFolder(tmp_path), 7, number)

    monkeypatch.setattr(f"amgan_fast.{function}", stopped)
    result = ran(command, "--out", tmp_path / "out")
    assert result.exit_code == 128 + number
    assert documented(128 + number)


def test_status_1_is_of_a_reader_that_has_gone():
    """As ``head`` does: nothing is said, and no traceback."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import amgan_fast.cli as c, sys; sys.argv[1:] = ['train', '--help']; input(); c.main()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.close()
    errors = process.stderr.read() if process.stderr is not None else ""
    assert (process.wait(60), errors) == (1, "")
