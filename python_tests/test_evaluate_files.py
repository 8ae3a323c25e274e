"""``amgan-fast evaluate`` on files as users have them: of another kind than the option, damaged in part, with labels of
their own, under other names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import torchrun_forked
from PIL import Image
from tiny_runs import digits, digits_classifier
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import load_dataset
from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources import ImageFolderSource, NpzSource, open_source
from amgan_fast.train import train_classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "classifier.pt"
    digits_classifier().save(path)
    return path


def save_digits(folder: Path, count: int, names: str = "{:05}.png") -> Path:
    """The first digits to train on, in a flat folder."""
    folder.mkdir(parents=True)
    for i, image in enumerate(digits().train_images[:count]):
        Image.fromarray(image[0].numpy()).save(folder / names.format(i))
    return folder


def break_pixels(path: Path) -> None:
    """The header stays whole."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])


def command(*arguments: object) -> list[str]:
    return ["evaluate", *map(str, arguments), "--device", "cpu", "--splits", "1"]


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [*command(*arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, command(*arguments))
    assert result.exit_code == 2, result.output
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("amgan-fast: ")]
    return line


# What fits no classifier, or is scaled otherwise, is named with the place that it is from.


def test_images_that_do_not_fit_are_named_by_where_they_are(tmp_path, classifier):
    samples, coloured = save_digits(tmp_path / "samples", 20), tmp_path / "coloured.npz"
    large = tmp_path / "large"
    large.mkdir()
    for i in range(20):
        Image.new("L", (16, 16), 10 * i).save(large / f"{i}.png")
    np.savez(coloured, arr_0=np.full((20, 8, 8, 3), 200, np.uint8))
    for option, path, said in (
        ("--held-out", large, "images are 16 x 16, wanted 8 x 8"),
        ("--reference", large, "images are 16 x 16, wanted 8 x 8"),
        ("--held-out", coloured, "images have 3 channels, wanted 1"),
    ):
        line = refused("--images", samples, option, path, "--classifier", classifier)
        assert f"{path}" in line.split(said)[0]


@pytest.mark.parametrize("largest", [1, 16])
def test_images_of_another_scale_in_whole_numbers_are_warned_of(tmp_path, classifier, largest):
    images = digits().train_images[:40].permute(0, 2, 3, 1).numpy()
    dark = tmp_path / "dark.npz"
    np.savez(dark, arr_0=(images / 255 * largest).round().astype(np.uint8))
    folder = save_digits(tmp_path / "samples", 40)
    said = f"no pixel of the first 16 images is above {largest} of 255"
    (warning,) = [x for x in run("--npz", dark, "--classifier", classifier)["warnings"] if said in x]
    assert str(dark) in warning
    for option in ("--reference", "--held-out"):
        warnings = run("--images", folder, option, dark, "--classifier", classifier)["warnings"]
        assert [str(dark) in x for x in warnings if said in x] == [True]
    shards = [tmp_path / f"{i}.safetensors" for i in (1, 2)]
    for i, state in enumerate(shards, 1):
        run("--npz", dark, "--classifier", classifier, "--shard", f"{i}/2", "--state", state)
    merged = CliRunner().invoke(app, ["merge", *map(str, shards), "--json"])
    assert [said in x for x in json.loads(merged.stdout)["warnings"] if "255" in x] == [True]


def test_images_with_one_bright_pixel_are_not_warned_of(tmp_path, classifier):
    images = np.zeros((40, 8, 8, 1), np.uint8)
    images[3, 4, 4] = 17
    np.savez(tmp_path / "bright.npz", arr_0=images)
    warnings = run("--npz", tmp_path / "bright.npz", "--classifier", classifier)["warnings"]
    assert not [x for x in warnings if "of 255" in x]


# Samples that cannot be used are counted once, and alike everywhere.


def test_images_that_break_at_different_times_are_counted_alike_everywhere(tmp_path, classifier):
    folder, held_out = save_digits(tmp_path / "samples", 20), save_digits(tmp_path / "real", 10)
    (folder / "00003.png").write_bytes(b"")
    for path in (folder / "00000.png", folder / "00011.png", held_out / "00005.png"):
        break_pixels(path)
    arguments = ("--images", folder, "--held-out", held_out, "--classifier", classifier, "--skip-unreadable")
    got = run(*arguments)
    assert got["generated"]["scores"]["n"] == 17
    assert got["source"] == f"17 images of {folder}/, no class folders, 3 left out"
    assert len(got["skipped"]) == 3
    assert got["held_out"]["scores"]["n"] == 9
    assert got["held_out_source"] == f"9 images of {held_out}/, no class folders, 1 left out"
    assert len(got["held_out_skipped"]) == 1
    table = CliRunner().invoke(app, command(*arguments)).stdout
    assert f"left out:    3 generated images that cannot be used, the first: {folder}/00003.png: no image" in table
    assert f"left out:    1 held-out image that cannot be used, the first: {held_out}/00005.png: " in table


def test_what_a_reference_lacks_is_said(tmp_path, classifier):
    folder, reference = save_digits(tmp_path / "samples", 20), save_digits(tmp_path / "real", 30)
    for name in ("00005.png", "00007.png"):
        break_pixels(reference / name)
    arguments = ("--images", folder, "--reference", reference, "--classifier", classifier)
    assert f"{reference}/00005.png: " in refused(*arguments)
    warnings = run(*arguments, "--skip-unreadable")["warnings"]
    (said,) = [text for text in warnings if text.startswith("reference: ")]
    assert said.startswith(f"reference: 2 images that cannot be used, the first: {reference}/00005.png: ")


def test_two_processes_count_what_either_has_left_out(tmp_path, classifier):
    folder = save_digits(tmp_path / "samples", 1200)
    for number in (3, 7, 1111):  # shares are 0 to 999 and the rest
        break_pixels(folder / f"{number:05}.png")
    arguments = command("--images", folder, "--classifier", classifier, "--skip-unreadable", "--json")
    arguments += ["--splits", "2", "--compat", "all"]
    result = torchrun_forked(["-m", "amgan_fast", *arguments], tmp_path)
    assert result.returncode == 0, result.stderr
    got = json.loads(result.stdout)
    assert got["generated"]["scores"]["n"] == 1197
    assert got["source"].endswith(", 3 left out")
    assert [text.partition(": ")[0][-9:] for text in got["skipped"]] == ["00003.png", "00007.png", "01111.png"]
    compat = got["generated"]["compat"]
    assert compat["openai"]["note"] == "wants all 1,200 samples in their order, and 1,197 were scored"
    assert compat["ignite"]["mean"] == pytest.approx(got["generated"]["scores"]["inception_score"])


# Files of another kind than the option takes.


@pytest.fixture
def kinds(tmp_path, classifier) -> dict[str, Path]:
    save_digits(tmp_path / "folder", 3)
    np.savez(tmp_path / "images.npz", digits().test_images[:3].permute(0, 2, 3, 1).numpy())
    np.save(tmp_path / "logits.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("")
    (tmp_path / "run" / "classifier.pt").write_bytes(classifier.read_bytes())
    return {
        "folder": tmp_path / "folder",
        "npz": tmp_path / "images.npz",
        "npy": tmp_path / "logits.npy",
        "image": tmp_path / "folder" / "00000.png",
        "weights": classifier,
        "run": tmp_path / "run",
    }


WHAT = {
    "folder": "a folder, wanted .*: --images takes a folder of images",
    "npz": r"an archive of arrays \(\.npz\), wanted .*: --npz takes one of images",
    "npy": r"one array \(\.npy\), wanted .*: --logits takes one of logits",
    "image": "one image, wanted .*: --images takes the folder it is in",
    "weights": "a file of PyTorch, wanted .*: --classifier takes one of train-classifier",
    "run": "the folder of a training run, wanted .*: --run takes it",
}


@pytest.mark.parametrize("kind", WHAT)
@pytest.mark.parametrize(
    ("option", "own"), [("--images", "folder"), ("--npz", "npz"), ("--logits", "npy"), ("--run", "run")]
)
def test_a_file_of_another_kind_is_named_with_the_option_that_takes_it(kinds, classifier, option, own, kind):
    if kind == own or (option, kind) == ("--run", "folder"):
        return
    path = kinds[kind]
    line = refused(option, path, *(() if option == "--logits" else ("--classifier", classifier)))
    with pytest.raises(InputError, match=f"{option} is {path}, {WHAT[kind]}"):
        raise InputError(line)


def test_what_is_real_is_opened_by_its_content(kinds, tmp_path):
    kinds["npz"].rename(tmp_path / "images.npy")
    kinds["npy"].rename(tmp_path / "logits.npz")
    assert open_source(tmp_path / "images.npy").kind == "images"
    assert open_source(tmp_path / "logits.npz").kind == "logits"


# Arrays by other names.


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("x", "y"), ("arr_0", "arr_1"), ("arr_0", "labels"), ("images", "y"), ("x", None)],
)
def test_images_and_labels_by_the_names_they_often_have(tmp_path, images, labels):
    pixels = digits().test_images[:30].permute(0, 2, 3, 1).numpy()
    arrays = {images: pixels} | ({labels: digits().test_labels[:30].numpy()} if labels else {"more": np.zeros(2)})
    np.savez(tmp_path / "a.npz", **arrays)
    source = NpzSource(tmp_path / "a.npz")
    (batch,) = source.batches(100)
    assert torch.equal(batch.values, digits().test_images[:30])
    assert (batch.labels is None) if labels is None else torch.equal(batch.labels, digits().test_labels[:30])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("arr_0", "images"), "holds arr_0 and images, which may all be images; wanted one of them"),
        (("x", "images", "labels"), "holds images and x, which may all be images"),
        (("x", "labels", "y"), "holds labels and y, which may all be labels"),
        (("arr_0", "arr_1", "y"), "holds arr_1 and y, which may all be labels"),
        (("x_train", "y_train", "x_test"), "holds x_train, y_train, x_test; wanted images as arr_0, images, x, or a"),
    ],
)
def test_arrays_of_which_nobody_knows_which_is_meant_are_named(tmp_path, names, said):
    np.savez(tmp_path / "a.npz", **dict.fromkeys(names, np.zeros((2, 4, 4, 1), np.uint8)))
    with pytest.raises(InputError, match=rf"a\.npz {said}"):
        NpzSource(tmp_path / "a.npz")


# Labels in a file of their own.


def test_labels_of_a_flat_folder(tmp_path, classifier):
    folder = save_digits(tmp_path / "samples", 60)
    labels = digits().train_labels[:60]
    np.save(tmp_path / "labels.npy", labels.numpy())
    lines = [f"{i:05}.png, {int(label)}" for i, label in enumerate(labels)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *reversed(lines), "another.png,3", ""]))
    logits = digits_classifier().for_images().logits(digits().train_images[:60])
    want = (logits.argmax(1) == labels).double().mean().item()
    for name in ("labels.npy", "labels.csv"):
        got = run("--images", folder, "--labels", tmp_path / name, "--classifier", classifier)
        assert got["generated"]["label_accuracy"] == pytest.approx(want)
        assert got["source"] == f"60 images of {folder}/, labels of {tmp_path / name}"
    (folder / "00003.png").write_bytes(b"")  # labels of what is left out are left out
    for name in ("labels.npy", "labels.csv"):
        source = ImageFolderSource(folder, labels=tmp_path / name, skip_unreadable=True)
        (batch,) = source.batches(100)
        names = source.class_names or tuple(map(str, range(10)))
        assert [int(names[label]) for label in batch.labels] == [*labels[:3].tolist(), *labels[4:].tolist()]


def test_labels_of_an_archive_without_any(tmp_path, classifier):
    images, labels = digits().test_images, digits().test_labels
    np.savez(tmp_path / "both.npz", images.permute(0, 2, 3, 1).numpy(), labels.numpy())
    np.savez(tmp_path / "images.npz", images.permute(0, 2, 3, 1).numpy())
    np.save(tmp_path / "labels.npy", labels.numpy())
    want = run("--npz", tmp_path / "both.npz", "--classifier", classifier)["generated"]["label_accuracy"]
    own = ("--npz", tmp_path / "images.npz", "--labels", tmp_path / "labels.npy", "--classifier", classifier)
    assert run(*own)["generated"]["label_accuracy"] == want
    both = ("--npz", tmp_path / "both.npz", "--labels", tmp_path / "labels.npy", "--classifier", classifier)
    assert f"arr_1 of {tmp_path / 'both.npz'} holds labels, wanted those or {tmp_path / 'labels.npy'}" in refused(*both)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("0.png,1\n1.png,2\n", r"lacks 1 of 3 images \(2\.png\), wanted a line file,label"),
        ("0.png,1\n1.png,\n2.png,1\n", r"lacks 1 of 3 images \(1\.png\)"),
        ("0.png,1\n1.png,2\n2.png,1,4\n", r"has the line '2\.png,1,4', wanted a line file,label"),
        ("0.png 1\n", r"has the line '0\.png 1', wanted"),
        ("0.png,1\n1.png,2\n2.png,1\n0.png,2\n", r"has 0\.png as 1 and as 2, wanted one label each"),
        (b"\xff\xfe\x00", "is damaged, or not what its suffix says"),
        ("", r"lacks 3 of 3 images \(0\.png, 1\.png, 2\.png\)"),
    ],
)
def test_lines_that_do_not_label_each_image_once(tmp_path, content, said):
    folder = save_digits(tmp_path / "samples", 3, "{}.png")
    (tmp_path / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=rf"labels\.csv {said}"):
        ImageFolderSource(folder, labels=tmp_path / "labels.csv")


@pytest.mark.parametrize("names", ["{}.png", "sample-{}.png"])
def test_an_array_of_labels_is_refused_where_the_order_of_files_is_not_clear(tmp_path, names):
    folder = save_digits(tmp_path / "samples", 12, names)
    np.save(tmp_path / "labels.npy", np.arange(12))
    said = f"the order of files is not clear: {names.format(10)} comes before {names.format(2)} as text, and after it"
    with pytest.raises(InputError, match=said):
        ImageFolderSource(folder, labels=tmp_path / "labels.npy")
    for number in (10, 11):
        (folder / names.format(number)).unlink()
    np.save(tmp_path / "labels.npy", np.arange(10))
    assert ImageFolderSource(folder, labels=tmp_path / "labels.npy").num_labels == 10


def test_labels_that_do_not_go_with_the_samples(tmp_path, classifier):
    folder = save_digits(tmp_path / "samples", 4)
    save_digits(tmp_path / "classes" / "3", 4)
    np.save(tmp_path / "labels.npy", np.arange(3))
    np.save(tmp_path / "far.npy", np.array([0, 1, 2, 10]))
    arguments = ("--classifier", classifier, "--labels")
    assert "labels.npy is int64 [3], wanted integers [4]" in refused(
        "--images", folder, *arguments, tmp_path / "labels.npy"
    )
    assert f"{tmp_path / 'far.npy'} has a label of 10, wanted 0 to 9" in refused(
        "--images", folder, *arguments, tmp_path / "far.npy"
    )
    assert f"{tmp_path / 'classes'} has class folders and --labels is" in refused(
        "--images", tmp_path / "classes", *arguments, tmp_path / "far.npy"
    )
    assert "found --labels with --run" in refused("--run", tmp_path, "--labels", tmp_path / "far.npy")


def test_class_folders_without_images_are_kept_on_request(tmp_path, classifier):
    for name in ("0", "2"):
        save_digits(tmp_path / "samples" / name, 4)
    (tmp_path / "samples" / "1").mkdir()
    arguments = ("--images", tmp_path / "samples", "--classifier", classifier)
    assert "1 without an image (1) and the others with 8" in refused(*arguments)
    assert "in 3 class folders" in run(*arguments, "--allow-empty")["source"]
    source = ImageFolderSource(tmp_path / "samples", allow_empty=True)
    assert [int(label) for batch in source.batches(100) for label in batch.labels] == [0] * 4 + [2] * 4
    assert source.class_names == ("0", "1", "2")


def test_grey_and_coloured_images_train_and_are_scored_together(tmp_path):
    for name in ("one", "two"):
        save_digits(tmp_path / "data" / name, 30)
        with Image.open(tmp_path / "data" / name / "00029.png") as image:
            coloured = image.convert("RGB")
        coloured.save(tmp_path / "data" / name / "00029.png")
    arguments = ["train-classifier", "--dataset", "image-folder", "--data-dir", str(tmp_path / "data"), "--epochs", "1"]
    out = ["--out", str(tmp_path / "c.pt"), "--threads", "1", "--device", "cpu"]
    assert CliRunner().invoke(app, [*arguments, *out]).exit_code == 0
    got = run("--images", tmp_path / "data", "--classifier", tmp_path / "c.pt")
    assert got["classifier"]["inputs"]["channels"] == 3
    assert got["generated"]["scores"]["n"] == 60


@pytest.mark.parametrize("widest", [12, 16], ids=["one size", "many sizes"])
def test_a_folder_that_was_resized_to_train_on_is_scored_at_that_size(tmp_path, widest):
    numbers = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            width = 12 if i % 2 else widest
            image = Image.fromarray(numbers.integers(0, 256, (14, width, 3), dtype=np.uint8))
            image.save(tmp_path / "photos" / name / f"{i:02}.png")
    resized = load_dataset("image-folder", tmp_path / "photos", image_size=8)
    train_classifier(resized, steps=2).save(tmp_path / "c.pt")
    Image.fromarray(numbers.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "samples").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "samples/a.png")
    options = ("--classifier", tmp_path / "c.pt", "--dataset", "image-folder", "--data-dir", tmp_path / "photos")
    got = run("--images", tmp_path / "samples", *options, "--splits", "1")
    assert got["held_out"]["scores"]["n"] == len(resized.test_images)
    assert got["classifier"]["fingerprint"] == resized.fingerprint()
