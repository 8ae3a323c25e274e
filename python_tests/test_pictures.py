"""What is drawn of a run and of a comparison can be seen, however few scores there are."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tiny_runs import tiny_config
from torchvision.utils import make_grid

from amgan_fast.compare import figure as comparison_figure
from amgan_fast.compare import plan
from amgan_fast.drawing import save_sheet
from amgan_fast.metrics import Scores, scores
from amgan_fast.nn import LatentSource, Sampler
from amgan_fast.objectives import MODELS
from amgan_fast.runs import RunFolder
from amgan_fast.train import pictures
from amgan_fast.train.journal import Journal


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that would have been saved."""
    figures: list[Figure] = []
    for module in (comparison_figure, pictures):
        monkeypatch.setattr(module, "save_figure", lambda path, figure: figures.append(figure))
    return figures


def coloured_pixels(axes: Axes) -> int:
    """Within the frame and beside the legend; what is grey or black are grid, frame and text."""
    if axes.get_legend():
        axes.get_legend().remove()
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba()).astype(int)[::-1, :, :3]
    box = axes.get_window_extent()
    inside = image[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
    return int((np.ptp(inside, axis=2) > 40).sum())


def labels_in_view(axis: Axis) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    seen = [tick for tick in axis.get_major_ticks() + axis.get_minor_ticks() if low <= tick.get_loc() <= high]
    return [text for tick in seen if (text := tick.label1.get_text())]


def row(step: int, **more) -> dict:
    numbers = {"discriminator_loss": 1.0, "generator_loss": 2.0, "am_score": 0.5, "inception_score": 7.0}
    return {"step": step, "kl_reference": 0.1, "mean_entropy": 0.4, "class_distribution": [0.25] * 4, **numbers, **more}


@pytest.fixture
def held_out() -> Scores:
    return scores(torch.eye(4).repeat(5, 1), [0.25] * 4, from_logits=False)


@pytest.mark.parametrize("shape", [(3, 4, 3, 32, 32), (2, 1, 1, 8, 8), (1, 3, 1, 5, 9), (1, 2, 3, 70, 60)])
def test_a_sheet_has_the_pixels_of_torchvisions_grid(shape, tmp_path):
    rows = torch.randint(256, shape, dtype=torch.uint8)
    save_sheet(tmp_path / "sheet.png", rows)
    enlarge = max(1, round(56 / shape[-1]))
    images = torch.kron(rows.flatten(0, 1), torch.ones(enlarge, enlarge, dtype=torch.uint8))
    grid = make_grid(images, nrow=shape[1], padding=2, pad_value=128)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), grid.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("steps", [(100,), (100, 200)])
def test_curves_of_a_run(drawn, held_out, steps):
    accuracy = {"discriminator_accuracy": 0.9, "discriminator_accuracy_ci95": [0.8, 0.95]}
    pictures.save_training_curves("curves.png", [row(step, **accuracy) for step in steps], held_out)
    assert [axes.get_title().split()[0] for axes in drawn[0].axes] == ["Losses", "AM", "Inception", "Class", "Accuracy"]
    assert all(coloured_pixels(axes) > 10 for axes in drawn[0].axes)
    pictures.save_training_curves("curves.png", [row(step) for step in steps], held_out)
    assert len(drawn[1].axes) == 4


@pytest.mark.parametrize("steps", [(100,), (100, 200)])
def test_curves_of_a_comparison(drawn, tmp_path, steps):
    cells = plan(tiny_config(), models=["amgan"], seeds=2)
    for cell in cells:
        folder = cell.run(tmp_path)
        folder.path.mkdir(parents=True)
        folder.metrics.write_text("".join(json.dumps(row(step)) + "\n" for step in steps))
    comparison_figure.save_comparison_curves("comparison.png", tmp_path, cells)
    assert len(drawn[0].axes) == 4
    assert all(coloured_pixels(axes) > 10 for axes in drawn[0].axes)


@pytest.mark.parametrize(
    ("steps", "labels"), [((1,), ["1"]), ((1, 3), ["1", "2", "3"]), ((0, 15_000), ["0", "5,000", "10,000", "15,000"])]
)
def test_steps_are_whole_and_apart(drawn, held_out, steps, labels):
    pictures.save_training_curves("curves.png", [row(step) for step in steps], held_out)
    FigureCanvasAgg(drawn[0]).draw()
    for axes in drawn[0].axes[:3]:
        assert labels_in_view(axes.xaxis) == labels


@pytest.mark.parametrize(
    ("least", "greatest", "labels"),
    [(0.33, 1.1, ["0.4", "0.6", "1"]), (0.02, 0.2, ["0.02", "0.04", "0.06", "0.1", "0.2"])],
)
def test_am_scores_of_a_comparison_are_written_as_people_do(drawn, tmp_path, least, greatest, labels):
    (cell,) = plan(tiny_config(), models=["amgan"], labels=["dynamic"], seeds=1)
    folder = cell.run(tmp_path)
    folder.path.mkdir(parents=True)
    scored = [row(100, am_score=greatest), row(200, am_score=least)]
    folder.metrics.write_text("".join(json.dumps(one) + "\n" for one in scored))
    comparison_figure.save_comparison_curves("comparison.png", tmp_path, [cell])
    FigureCanvasAgg(drawn[0]).draw()
    assert labels_in_view(drawn[0].axes[1].yaxis) == labels


def test_no_two_models_of_a_comparison_look_alike(drawn, tmp_path):
    cells = plan(tiny_config(), models=list(MODELS), labels=["dynamic"], seeds=1)
    for cell in cells:
        folder = cell.run(tmp_path)
        folder.path.mkdir(parents=True)
        folder.metrics.write_text(json.dumps(row(100)) + "\n")
    comparison_figure.save_comparison_curves("comparison.png", tmp_path, cells)
    lines = drawn[0].axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == len(MODELS)


@pytest.mark.parametrize(("frequencies", "most", "rows"), [(torch.full((1000,), 1e-3), 1200, 100), (None, 500, 10)])
def test_samples_of_very_many_classes_are_a_sheet_of_some(tmp_path, frequencies, most, rows):
    """One row a class would be a picture of 1,000 rows, and as many passes."""
    made = []

    def generator(inputs):
        made.append(len(inputs))
        return torch.zeros(len(inputs), 1, 8, 8)

    def network(images):
        return torch.eye(1000)[: len(images)]

    network.num_classes = 1000
    classifier = SimpleNamespace(network=network, class_names=None)
    path, random = tmp_path / "samples.png", torch.Generator().manual_seed(0)
    pictures.save_samples(path, Sampler(generator, LatentSource(4, frequencies)), classifier, random)
    assert sum(made) == most
    with Image.open(path) as picture:
        assert picture.height == rows * (7 * 8 + 2) + 2


def test_scores_that_are_infinite_are_null_in_the_journal_and_gaps_in_curves(drawn, held_out, tmp_path):
    """A class of the reference that no sample has any probability of makes the AM Score infinite."""
    told: list[dict] = []
    folder, observer = RunFolder(tmp_path), SimpleNamespace(logged=told.append, message=print)
    journal = Journal(folder, observer)
    infinite = {"am_score": float("inf"), "kl_reference": float("inf"), "inception_score": float("nan")}
    for written in (row(100, **infinite), row(200), row(300, **infinite)):
        journal.log(written)
    journal.close()
    assert told[0]["am_score"] == float("inf")
    journal.go_back_to(200)  # which writes the file again
    lines = folder.metrics.read_text().splitlines()
    parsed = [json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) for line in lines]
    assert parsed == journal.rows == [row(100, am_score=None, kl_reference=None, inception_score=None), row(200)]

    pictures.save_training_curves("curves.png", journal.rows, held_out)
    (cell,) = plan(tiny_config(), models=["amgan"], labels=["dynamic"], seeds=1)
    cell.run(tmp_path).path.mkdir(parents=True)
    cell.run(tmp_path).rewrite_metrics(journal.rows)
    comparison_figure.save_comparison_curves("comparison.png", tmp_path, [cell])
    shown = [drawn[0].axes[1].lines[0], drawn[0].axes[2].lines[0], drawn[1].axes[0].lines[0], drawn[1].axes[1].lines[0]]
    for line, value in zip(shown, (0.5, 7.0, 7.0, 0.5), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), [np.nan, value])
