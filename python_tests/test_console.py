"""What is seen of long work: lines where the output is no terminal; names that no terminal takes are escaped."""

from __future__ import annotations

import io
import json
import os
import re
import time
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from tiny_runs import digits, digits_classifier
from typer.testing import CliRunner
from waiting import waited_for

from amgan_fast import console
from amgan_fast.cli import app
from amgan_fast.console import ProgressBar, print_evaluation
from amgan_fast.errors import printable
from amgan_fast.evaluate import evaluate, score_rows
from amgan_fast.evaluate.sources import TensorSource
from amgan_fast.runs import Config
from amgan_fast.train import train_classifier

ROW = {"step": 3, "discriminator_loss": 1.0, "generator_loss": 2.0, "images_per_second": 1000.0}


def training(bar: ProgressBar) -> None:
    bar.progress("step", 0, 2000)
    bar.logged(ROW)
    bar.progress("step", 3, 2000)


def reading(bar: ProgressBar) -> None:
    """Images to train on, then those held out."""
    bar.progress("image files", 2000, 2000)
    bar.progress("image files", 0, 2000)
    bar.progress("image files", 256, 2000)


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (training, r"step 3/2,000  D 1\.00  G 2\.00  AM Score -  1,000 images/s  after 0:00:0\d"),
        (reading, r"image files 256/2,000  [\d,]+/s  after 0:00:0\d"),
        (lambda bar: bar.progress("classifier", 3, 40), r"classifier 3/40    after 0:00:0\d"),
        (lambda bar: bar.progress("runs", 3, 12), r"runs 3/12    after 0:00:0\d"),  # which had been made before
        (lambda bar: bar.progress("[b].png", 5, 70), r"\[b\]\.png 5/70    after 0:00:0\d"),
    ],
)
def test_what_is_no_terminal_gets_a_line_now_and_then(work, line, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.01)
    to = Console(file=io.StringIO(), width=20)
    with ProgressBar(to) as bar:
        work(bar)
        seen = waited_for(lambda: re.search(f"^{line}$", to.file.getvalue(), re.MULTILINE))
    assert seen, to.file.getvalue()
    assert "\x1b" not in to.file.getvalue()


@pytest.mark.parametrize("work", [training, reading])
def test_of_several_processes_one_is_seen(work, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.01)
    to = Console(file=io.StringIO())
    with ProgressBar(to, shown=False) as bar:
        work(bar)
        time.sleep(0.05)
    assert to.file.getvalue() == ""


def test_every_command_that_reads_a_folder_of_images_is_told_how_far_it_is(tmp_path, monkeypatch):
    """Headers and images, to train on and held out."""
    folder, digit = tmp_path / "digits", digits().train_images[0, 0].numpy()
    for name, count in (("train/3", 3), ("train/7", 2), ("test/3", 2), ("test/7", 1)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(digit).save(folder / name / f"{i}.png")
    headers, images = "headers of image files", "image files"
    whole, told = [(headers, 5, 5), (headers, 3, 3), (images, 5, 5), (images, 3, 3)], []
    monkeypatch.setattr(ProgressBar, "progress", lambda bar, *far: told.append(far))
    options = ("--dataset", "image-folder", "--data-dir", folder)
    command("train-classifier", *options, "--epochs", 1, "--out", tmp_path / "c.pt")
    assert told[:4] == whole
    assert {what for what, _, _ in told[4:]} == {"classifier"}
    told.clear()
    few = ("steps=1", "score_samples=20", "final_samples=20", "batch_size=4")
    sets = [word for setting in few for word in ("--set", setting)]
    monkeypatch.setattr("amgan_fast.train.start.cached_classifier", lambda images, _: train_classifier(images, steps=2))
    command("train", *options, *sets, "--out", tmp_path / "run")
    assert told[:4] == whole
    assert told[4:6] == [("step", 0, 1), ("step", 1, 1)]
    told.clear()
    command("sample", "--run", tmp_path / "run")
    assert told == [*whole, *(("sheets", i, 3) for i in range(4))]
    told.clear()
    command("evaluate", "--run", tmp_path / "run", "--samples", 20)
    assert told[:4] == whole


@pytest.mark.parametrize(("width", "framed"), [(76, False), (80, True)])
def test_names_of_scores_stay_in_one_line(width, framed):
    """Where they can: the table leaves its frame off before it breaks them."""
    images, labels = digits().test_images, digits().test_labels
    judge = digits_classifier().for_images()
    evaluation = evaluate(
        TensorSource(images, labels, "digits"), judge, held_out=TensorSource(images, labels, "digits")
    )
    to = Console(file=io.StringIO(), width=width)
    print_evaluation(to, evaluation)
    lines = to.file.getvalue().splitlines()
    for name, cells in score_rows(evaluation):
        assert any(all(text in line for text in (name, *cells)) for line in lines), name
    assert any("┃" in line for line in lines) == framed


def test_no_line_is_printed_of_short_work():
    to = Console(file=io.StringIO())
    with ProgressBar(to) as bar:
        training(bar)
    assert to.file.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "want"),
    [("a b é 字 [x]", "a b é 字 [x]"), ("a\nb\x1b[1m", r"a\nb\x1b[1m"), (os.fsdecode(b"\xff.png"), r"\udcff.png")],
)
def test_printable(text, want):
    assert printable(text) == want


BYTES = b"\xff\xfe"


def folder_of_bytes(root: Path, count: int = 4) -> Path:
    """Classes and files whose names are no UTF-8, in a folder that is none either."""
    folder = root / os.fsdecode(b"digits" + BYTES)
    try:
        for label in (3, 7):
            members = digits().train_images[digits().train_labels == label][:count]
            (folder / os.fsdecode(f"{label}".encode() + BYTES)).mkdir(parents=True)
            for i, image in enumerate(members):
                Image.fromarray(image[0].numpy()).save(
                    folder / os.fsdecode(f"{label}".encode() + BYTES) / os.fsdecode(BYTES + f"{i}.png".encode())
                )
    except OSError as error:
        pytest.skip(f"a file system of UTF-8 alone: {error}")
    return folder


def command(*arguments: object):
    """With a standard output that takes UTF-8 alone."""
    result = CliRunner().invoke(app, [str(x) for x in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_names_that_are_no_utf8_are_escaped_wherever_they_are_shown(tmp_path):
    folder = folder_of_bytes(tmp_path)
    digits_classifier().save(folder / "classifier.pt")
    broken = next(folder.glob("3*")) / os.fsdecode(BYTES + b"broken.png")
    broken.write_bytes(b"no image")
    arguments = ("evaluate", "--images", folder, "--classifier", folder / "classifier.pt", "--splits", 1)
    failed = command(*arguments)
    assert failed.exit_code == 2
    assert r"\udcff\udcfebroken.png" in failed.stderr
    whole = command(*arguments, "--skip-unreadable", "--report", tmp_path / "report.html")
    assert whole.exit_code == 0, whole.output
    for text in (whole.stdout, (tmp_path / "report.html").read_text(encoding="utf-8")):
        assert r"digits\udcff\udcfe" in text
    printed = command(*arguments, "--skip-unreadable", "--json")
    assert r"digits\udcff\udcfe" in json.loads(printed.stdout)["source"]


def test_a_run_on_images_whose_names_are_no_utf8(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "amgan_fast.train.start.cached_classifier", lambda images, observer: train_classifier(images, steps=2)
    )
    folder = folder_of_bytes(tmp_path, count=20)
    few = {"steps": 2, "batch_size": 8, "log_every": 1, "score_every": 1, "score_samples": 20, "final_samples": 30}
    few |= {"network": "mlp", "latent_size": 4}
    settings = [f"--set={name}={value}" for name, value in few.items()]
    images = ("--dataset", "image-folder", "--data-dir", folder)
    result = command("train", *images, "--out", tmp_path / os.fsdecode(b"run" + BYTES), *settings)
    assert result.exit_code == 0, result.output
    assert r"run\udcff\udcfe" in result.stdout
    run = tmp_path / os.fsdecode(b"run" + BYTES)
    assert r"digits\udcff\udcfe" in json.loads((run / "summary.json").read_text())["config"]["data_dir"]
    assert Config.load(run / "config.toml").data_dir == str(folder)
    assert command("train", "--resume", run).exit_code == 0
    assert r"run\udcff\udcfe" in command("sample", "--run", run).stdout
