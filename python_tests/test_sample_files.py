"""``amgan-fast sample --count``: samples of a run as files, which others read and which score as the run does."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import tiny_run, use_classifier_cache
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.evaluate import open_run, save_samples
from amgan_fast.evaluate.sample_files.asked_labels import asked_labels
from amgan_fast.evaluate.sample_files.npz import write_npz
from amgan_fast.evaluate.sample_files.png import write_png_folder
from amgan_fast.seeds import Purpose, random_stream

COUNT = 700  # more than is drawn at once


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run of each labelling; tests read them."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        use_classifier_cache(folder / "cache", patch)
        for labels in ("dynamic", "predefined"):
            tiny_run(folder / labels, labels=labels, seed=3)
    return folder


def sample(*arguments: object):
    return CliRunner().invoke(app, ["sample", "--device", "cpu", *map(str, arguments)])


def written(run: Path, out: Path, *arguments: object) -> Path:
    result = sample("--run", run, "--out", out, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    return out


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def pixels(images: torch.Tensor) -> np.ndarray:
    """uint8 [N, H, W, C], by the formula of the authors' scaling, u = 128 x + 127.5."""
    return (
        np.clip(np.round(images.numpy() * np.float32(128) + np.float32(127.5)), 0, 255)
        .astype(np.uint8)
        .transpose(0, 2, 3, 1)
    )


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
def test_an_npz_has_the_samples_that_the_run_is_scored_with(runs, labels, tmp_path):
    found = arrays(written(runs / labels, tmp_path / "s.npz", "--count", COUNT))
    run = open_run(runs / labels, "cpu")
    images, asked = run.samples(COUNT)
    assert found["arr_0"].dtype == np.uint8
    np.testing.assert_array_equal(found["arr_0"], pixels(images))
    if labels == "dynamic":
        assert found.keys() == {"arr_0"}
    else:
        assert found["arr_1"].dtype == np.int64
        np.testing.assert_array_equal(found["arr_1"], asked.numpy())


def test_a_seed_gives_the_same_samples_in_every_form(runs, tmp_path):
    run = runs / "predefined"
    npz = arrays(written(run, tmp_path / "s.npz", "--count", COUNT, "--seed", 5))
    flat = written(run, tmp_path / "flat", "--count", COUNT, "--seed", 5)
    by_class = written(run, tmp_path / "classes", "--count", COUNT, "--seed", 5, "--by-class", "--format", "png")
    names = [f"{i:03}.png" for i in range(COUNT)]
    with (flat / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["file", "label"], *([name, str(label)] for name, label in zip(names, npz["arr_1"], strict=True))]
    assert sorted(path.name for path in flat.iterdir()) == [*names, "labels.csv"]
    for name, image, label in zip(names, npz["arr_0"], npz["arr_1"], strict=True):
        for path in (flat / name, by_class / str(label) / name):
            with Image.open(path) as picture:
                assert picture.mode == "L"
                np.testing.assert_array_equal(np.array(picture), image[..., 0])
    assert not np.array_equal(arrays(written(run, tmp_path / "t.npz", "--count", COUNT))["arr_0"], npz["arr_0"])


def test_grey_images_in_three_channels(runs, tmp_path):
    grey = arrays(written(runs / "dynamic", tmp_path / "s.npz", "--count", 3))["arr_0"]
    rgb = arrays(written(runs / "dynamic", tmp_path / "rgb.npz", "--count", 3, "--rgb"))["arr_0"]
    np.testing.assert_array_equal(rgb, grey.repeat(3, axis=3))
    folder = written(runs / "dynamic", tmp_path / "rgb", "--count", 3, "--rgb")
    with Image.open(folder / "2.png") as picture:
        np.testing.assert_array_equal(np.array(picture), rgb[2])


def scores(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", "--device", "cpu", "--json", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["generated"]


def test_the_files_score_as_the_run_does_but_for_the_rounding_of_pixels(runs, tmp_path):
    run = runs / "predefined"
    npz = written(run, tmp_path / "s.npz", "--count", COUNT)
    flat = written(run, tmp_path / "flat", "--count", COUNT)
    by_class = written(run, tmp_path / "classes", "--count", COUNT, "--by-class")
    judge = ("--classifier", run / "classifier.pt")
    want = scores("--run", run, "--samples", COUNT)
    first, *others = (
        scores("--npz", npz, *judge),
        scores("--images", flat, "--labels", flat / "labels.csv", *judge),
        scores("--images", by_class, *judge),
    )
    # In the same order: every number; in that of classes those that order has no part in.
    assert others[0]["scores"] == first["scores"]
    for got in (first, *others):
        assert got["label_accuracy"] == pytest.approx(want["label_accuracy"], abs=2 / COUNT)
        for name in ("am_score", "inception_score", "kl_reference", "mean_entropy", "mode_score"):
            assert got["scores"][name] == pytest.approx(first["scores"][name], rel=1e-6)
            assert got["scores"][name] == pytest.approx(want["scores"][name], rel=5e-3)
    assert first["scores"]["am_score_ci95"] == pytest.approx(want["scores"]["am_score_ci95"], rel=5e-3)


def test_other_tools_find_the_files(runs, tmp_path):
    utils = pytest.importorskip("torch_fidelity.utils")
    flat = written(runs / "predefined", tmp_path / "flat", "--count", 20)
    by_class = written(runs / "predefined", tmp_path / "classes", "--count", 20, "--by-class")
    found = utils.glob_samples_paths(str(flat), False, "png,jpg,jpeg", verbose=False)
    assert found == [str(flat / f"{i:02}.png") for i in range(20)]
    assert len(utils.glob_samples_paths(str(by_class), True, "png,jpg,jpeg", verbose=False)) == 20


@pytest.mark.parametrize(
    ("labels", "count", "want"),
    [
        ("balanced", 23, [*range(10), *range(10), 0, 1, 2]),
        ("7,0,3", 7, [7, 0, 3, 7, 0, 3, 7]),
        ("0:4,9:2", None, [0, 9, 0, 0, 9, 0]),
        ("5", 3, [5, 5, 5]),
    ],
)
def test_classes_that_are_asked_for(runs, labels, count, want, tmp_path):
    options = () if count is None else ("--count", count)
    found = arrays(written(runs / "predefined", tmp_path / "s.npz", "--labels", labels, *options))
    assert found["arr_1"].tolist() == want
    sampler = open_run(runs / "predefined", "cpu").sampler
    inputs = sampler.latent.with_labels(torch.from_numpy(found["arr_1"]), random_stream(3, Purpose.EVALUATION))
    np.testing.assert_array_equal(found["arr_0"], pixels(sampler.generator(inputs)))


@pytest.mark.parametrize("text", ["balanced", "0:900,1:100,2:11", "2,0"])
def test_classes_come_evenly(text):
    """Every stretch of samples has each class within one of its proportion."""
    labels = asked_labels(text, 1011, 10)
    shares = labels.bincount(minlength=10).double() / len(labels)
    seen = torch.nn.functional.one_hot(labels, 10).cumsum(0)
    expected = shares * torch.arange(1, len(labels) + 1)[:, None]
    assert (seen - expected).abs().max() <= 1


def test_labels_drawn_are_those_of_no_option(runs, tmp_path):
    run = runs / "predefined"
    drawn = arrays(written(run, tmp_path / "a.npz", "--count", 30, "--labels", "random"))
    for name, values in arrays(written(run, tmp_path / "b.npz", "--count", 30)).items():
        np.testing.assert_array_equal(values, drawn[name])


BAD = [
    ("predefined", ("--count", 5, "--labels", "10"), "--labels has the class 10, wanted 0 to 9"),
    ("predefined", ("--count", 5, "--labels", "1,1"), "--labels has the class 1 twice"),
    ("predefined", ("--count", 5, "--labels", "1:5,2"), "with numbers for some classes only"),
    ("predefined", ("--count", 5, "--labels", "cats"), "--labels is 'cats', wanted random, balanced"),
    ("predefined", ("--count", 5, "--labels", ""), "--labels is '', wanted random, balanced"),
    ("predefined", ("--labels", "1:0"), "no samples of the class 1, wanted at least 1"),
    ("predefined", ("--count", 5, "--labels", "1:2,2:2"), "--count is 5 and --labels 1:2,2:2, which are 4 samples"),
    ("predefined", ("--labels", "balanced"), "without --count"),
    ("predefined", ("--rgb",), "without --count"),
    ("dynamic", ("--count", 5, "--labels", "balanced"), "found --labels balanced, wanted it with predefined labels"),
    ("dynamic", ("--count", 5, "--labels", "random"), "found --labels random, wanted it with predefined labels"),
    ("dynamic", ("--count", 5, "--by-class"), "found --by-class, wanted it with predefined labels"),
    ("predefined", ("--count", 5, "--by-class", "--format", "npz"), "found --by-class with --format npz"),
    ("predefined", ("--count", 5, "--format", "npz"), "wanted a new name that ends in .npz"),
    ("nothing", ("--count", 5), "wanted the folder of a training run"),
]


@pytest.mark.parametrize(
    ("run", "options", "said"), BAD, ids=lambda x: " ".join(map(str, x)) if type(x) is tuple else None
)
def test_what_cannot_be_written_is_one_line_and_nothing_written(runs, run, options, said, tmp_path):
    result = sample("--run", runs / run, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert re.fullmatch(r"amgan-fast: .*\n", result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_count_of_none_is_refused(runs, tmp_path):
    assert sample("--run", runs / "dynamic", "--out", tmp_path / "out", "--count", 0).exit_code == 2
    assert "wanted a new folder for png" in sample("--run", runs / "dynamic", "--count", 5).stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(runs, tmp_path):
    (tmp_path / "s.npz").write_text("precious")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("precious")
    (tmp_path / "empty").mkdir()
    for out in ("s.npz", "full", "full/file", "nowhere/s.npz", "nowhere/folder"):
        result = sample("--run", runs / "dynamic", "--count", 5, "--out", tmp_path / out)
        assert result.exit_code == 2
        assert f"--out is {tmp_path / out}" in result.stderr
    assert (tmp_path / "s.npz").read_text() == (tmp_path / "full" / "file").read_text() == "precious"
    written(runs / "dynamic", tmp_path / "empty", "--count", 5)
    assert len(list((tmp_path / "empty").iterdir())) == 5
    assert {path.name for path in tmp_path.iterdir()} == {"s.npz", "full", "empty"}


@pytest.mark.parametrize("out", ["s.npz", "folder"])
def test_nothing_is_left_after_ctrl_c(runs, out, tmp_path, monkeypatch):
    def interrupt(what: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr("amgan_fast.console.ProgressBar.progress", lambda bar, *far: interrupt(*far))
    result = sample("--run", runs / "dynamic", "--count", COUNT, "--out", tmp_path / out)
    assert (result.exit_code, result.stderr) == (130, "amgan-fast: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["s.npz", "folder"])
def test_nothing_is_left_where_a_file_cannot_be_written_to_its_end(runs, out, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))  # bytes; every file is larger
    try:
        result = sample("--run", runs / "dynamic", "--count", COUNT, "--out", tmp_path / out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 2
    assert f"{tmp_path / out} cannot be written (File too large); nothing is left of it" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_seen_before(runs, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    result = sample("--run", runs / "dynamic", "--count", COUNT, "--out", tmp_path / "s.npz")
    assert result.exit_code == 2
    assert "wanted more than the 0.00 GiB free there" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed(runs, tmp_path):
    left = tmp_path / f".folder.{2**22 + 1}.tmp"  # beyond the largest number of a process
    left.mkdir()
    (left / "0.png").write_text("half")
    written(runs / "dynamic", tmp_path / "folder", "--count", 5)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("write", [write_npz, write_png_folder])
def test_few_batches_are_in_memory_at_a_time(write, tmp_path):
    alive: list[weakref.ref] = []
    most = 0

    def batches() -> Iterator[tuple[torch.Tensor, None]]:
        nonlocal most
        for _ in range(100):
            array = np.zeros((50, 1, 8, 8), np.uint8)
            alive.append(weakref.ref(array))  # which the tensor keeps
            most = max(most, sum(one() is not None for one in alive))
            yield torch.from_numpy(array), None

    write(tmp_path / "out.npz", 5000, batches())
    assert most <= 3 + (os.cpu_count() or 1)


def test_the_dataset_is_not_needed(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("amgan_fast.runs.config.load_dataset", lambda *_, **__: pytest.fail("it was loaded"))
    assert save_samples(runs / "predefined", tmp_path / "s.npz", 5, form="npz", device="cpu") == 5


@pytest.mark.parametrize("names", [("a/b", "c"), ("..", "c"), ("", "c"), ("c" * 256, "d")])
def test_classes_whose_names_no_folder_can_have_are_numbers(names, tmp_path):
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    write_png_folder(tmp_path / "out", 2, [(images, torch.arange(2))], class_names=names, by_class=True)
    assert {str(path.relative_to(tmp_path / "out")) for path in tmp_path.rglob("*.png")} == {"0/0.png", "1/1.png"}


def test_folders_are_called_by_their_classes(tmp_path):
    images, names = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), ("cat, or lynx", "dog")
    write_png_folder(tmp_path / "out", 2, [(images, torch.tensor([1, 0]))], class_names=names, by_class=True)
    assert {path.parent.name for path in tmp_path.rglob("*.png")} == set(names)
    write_png_folder(tmp_path / "flat", 2, [(images, torch.tensor([1, 0]))], class_names=names)
    with (tmp_path / "flat" / "labels.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["file", "label"], ["0.png", "dog"], ["1.png", "cat, or lynx"]]
