"""Options that are declared once: what Python refuses, and how they become those of a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
import typer
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.cli.command import command
from amgan_fast.errors import InputError
from amgan_fast.evaluate import Request, Settings, evaluate_request
from amgan_fast.evaluate.classifiers.inputs import RANGES
from amgan_fast.option_declarations import Option, ValueRange, declarations


@dataclass(frozen=True)
class Weather:
    wind: Annotated[Literal["calm", "storm"], Option("how it blows")]
    rain_today: Annotated[bool, Option("whether it rains", needs="a cloud")] = True
    degrees: Annotated[int | None, Option("of Celsius; default: those of yesterday", "Heat", lowest=-273)] = None
    secret: int = 7


def forecast(*arguments: str) -> tuple[list[object], object]:
    """What a command of these options gets, and Typer's result."""
    got: list[object] = []

    @command
    def tell(
        weather: Weather,
        to: Annotated[str, Option("whom", flag="--whom")] = "all",
        files: Annotated[list[Path] | None, Option("where else")] = None,
    ) -> None:
        got.extend((weather, to, files))

    program = typer.Typer()
    program.command()(tell)
    return got, CliRunner().invoke(program, arguments)


def test_a_field_is_an_option_of_its_name_type_and_default():
    got, _ = forecast("--wind", "calm")
    assert got == [Weather("calm"), "all", None]
    got, _ = forecast("--wind", "storm", "--no-rain-today", "--degrees", "-5", "--whom", "me", "--files", "a")
    assert got == [Weather("storm", rain_today=False, degrees=-5), "me", [Path("a")]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--wind"),
        (("--wind", "gale"), "'gale'"),
        (("--wind", "calm", "--degrees", "-300"), "--degrees"),
        (("--wind", "calm", "--secret", "1"), "--secret"),
    ],
)
def test_a_command_refuses_what_its_field_does_not_take(arguments, said):
    got, result = forecast(*arguments)
    assert (got, result.exit_code) == ([], 2)
    assert said in result.stderr


def test_the_help_of_a_command_has_help_and_headings_of_its_fields(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    _, result = forecast("--help")
    for text in ("how it blows", "calm|storm", "of Celsius; default: those of yesterday", "x>=-273", "─ Heat ─"):
        assert text in result.stdout


def test_the_help_of_every_command_is_whole(monkeypatch):
    """Typer takes some texts in brackets for markup, and leaves them out."""
    monkeypatch.setenv("COLUMNS", "400")
    shown = CliRunner().invoke(app, ["evaluate", "--help"]).stdout
    for name, declared in declarations(Request).items():
        assert f"--{name.replace('_', '-')} " in shown
        assert declared.option.help in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float8"}, "dtype is 'float8', wanted float32, float64, bfloat16, float16"),
        ({"resize": "cubic"}, "resize is 'cubic', wanted none, bilinear, bicubic, nearest or None"),
        ({"splits": 0}, "splits is 0, wanted at least 1 and at most 100,000"),
        ({"splits": True}, "splits is True, wanted int"),
        ({"batch_size": 1.5}, "batch_size is 1.5, wanted int or None"),
        ({"contiguous": 1}, "contiguous is 1, wanted bool"),
        ({"held_out": "real.npy"}, "held_out is 'real.npy', wanted Path or None"),
        ({"workers": 2}, "found --workers without a folder of images, wanted it with"),
        ({"last_bias": False}, "found --no-last-bias without --classifier, wanted it with"),
    ],
)
def test_python_refuses_what_the_command_line_does(options, said):
    with pytest.raises(InputError) as error:
        evaluate_request(Request(logits=Path("l.npy"), **options))
    assert str(error.value).startswith(said)


def test_a_request_says_what_to_score_once():
    assert Request(npz=Path("a.npz")).scored == ("npz", Path("a.npz"))
    with pytest.raises(InputError, match="found nothing to score"):
        Request().check()
    with pytest.raises(InputError, match="found --run and --npz"):
        Request(run=Path("a"), npz=Path("b")).check()


def test_a_request_has_the_settings_that_it_is_made_of():
    settings = Request(logits=Path("l.npy"), splits=3, batch_size=7, modes=False).settings
    assert settings == Settings(splits=3, batch_size=7, modes=False)


def test_every_range_of_pixels_is_told():
    assert set(RANGES) == set(get_args(ValueRange))
