"""Rows of classes in the terminal and on the page."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from amgan_fast.console import print_evaluation
from amgan_fast.evaluate import ClassTable, Evaluation, ImageClassifier, Inputs, evaluate, save_report
from amgan_fast.evaluate.sources import ImageFolderSource, LogitsSource
from amgan_fast.metrics import LabelSums, PerClass

K = 30


@pytest.fixture
def evaluation(tmp_path: Path, generator: torch.Generator) -> Evaluation:
    """Of 30 classes, of which the classifier takes the last ones for others the more often the later they are."""
    labels = torch.arange(K).repeat_interleave(20)
    logits = torch.randn(len(labels), K, generator=generator) + 9 * torch.eye(K)[labels]
    for k in range(21, K):
        logits[torch.arange(k * 20, k * 20 + k - 18)] = 9 * torch.eye(K)[0]
    np.save(tmp_path / "logits.npy", logits.numpy())
    np.save(tmp_path / "labels.npy", labels.numpy())
    return evaluate(LogitsSource(tmp_path / "logits.npy", labels=tmp_path / "labels.npy"), None)


def printed(evaluation: Evaluation) -> str:
    text = io.StringIO()
    print_evaluation(Console(file=text, width=80), evaluation)
    return text.getvalue()


def sums(labels: list[int], classes: torch.Tensor | None = None) -> PerClass:
    collected = LabelSums(3, 3, classes=classes)
    collected.update(torch.eye(3)[[0] * len(labels)] * 50, torch.tensor(labels))
    return collected.compute(["ant", "bee", "cat"])


def test_the_terminal_shows_the_ten_worst_in_eighty_columns(evaluation):
    text = printed(evaluation)
    shown = re.findall(r"^ +(\d+) +20 +(\d+\.\d%) \(", text, re.MULTILINE)
    assert "the 10 worst of 30 classes" in text
    assert [int(label) for label, _ in shown[:9]] == list(range(29, 20, -1))
    assert shown[0][1] == "45.0%"
    assert len(shown) == 10


def test_the_page_shows_the_worst_and_unfolds_all(evaluation, tmp_path):
    save_report(tmp_path / "page.html", evaluation)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    worst, unfolded = page.split("<details>", 1)
    assert worst.count('<tr><th scope="row">29</th>') == 1
    assert "<summary>all 30 classes</summary>" in unfolded
    assert len(re.findall(r'<tr><th scope="row">\d+</th>', unfolded.split("</details>")[0])) == K


def test_without_labels_there_are_no_rows(tmp_path):
    np.save(tmp_path / "logits.npy", np.eye(4, dtype=np.float32).repeat(20, 0))
    evaluation = evaluate(LogitsSource(tmp_path / "logits.npy"), None)
    save_report(tmp_path / "page.html", evaluation)
    assert "classes, the worst first" not in printed(evaluation)
    assert "Classes:" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_columns_of_which_nothing_is_known_are_left_out():
    assert ClassTable.worst(sums([0, 0, 1])).columns == ("class", "samples", "mean entropy")
    table = ClassTable.worst(sums([0, 0, 1], torch.arange(3)))
    assert table.columns == ("class", "samples", "agreement", "mean entropy")
    assert [row[:2] for row in table.rows] == [("bee", "1"), ("ant", "2")]


def test_all_classes_have_a_row_those_without_samples_too():
    table = ClassTable.all(sums([0, 0, 1], torch.arange(3)))
    assert (table.title, [row[0] for row in table.rows]) == ("all 3 classes", ["ant", "bee", "cat"])
    assert table.rows[2][1:] == ("0", "-", "-")


def test_names_of_classes_are_no_markup(tmp_path):
    for name in ("[red]b", "<b>c"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("L", (2, 2)).save(tmp_path / "images" / name / f"{i}.png")
    pixels = ImageClassifier("pixels", nn.Flatten(), Inputs(), torch.device("cpu"))
    evaluation = evaluate(ImageFolderSource(tmp_path / "images"), pixels)
    save_report(tmp_path / "page.html", evaluation)
    assert "[red]b" in printed(evaluation)
    assert '<th scope="row">&lt;b&gt;c</th>' in (tmp_path / "page.html").read_text(encoding="utf-8")
