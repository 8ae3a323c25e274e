"""Folders of images against torchvision's ImageFolder and Pillow."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import center_crop, pil_to_tensor

from amgan_fast.data import Dataset, image_folder, load_dataset
from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources import ImageFolderSource
from amgan_fast.images import IMAGE_SUFFIXES, ImageFiles


def noise(seed: int, mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> Image.Image:
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def write_classes(folder: Path, counts: dict[str, int], mode: str = "RGB", suffix: str = "png") -> Path:
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise(1000 * number + i, mode).save(folder / name / f"{i:03}.{suffix}")
    return folder


def write_split(folder: Path, held_out: str = "test", mode: str = "RGB", suffix: str = "png") -> Path:
    write_classes(folder / "train", {"cat": 3, "ant": 5}, mode, suffix)
    write_classes(folder / held_out, {"cat": 2, "ant": 1}, mode, suffix)
    return folder


def torchvisions(folder: Path) -> tuple[torch.Tensor, list[int]]:
    found = ImageFolder(folder, transform=pil_to_tensor)
    return torch.stack([image for image, _ in found]), found.targets


@pytest.mark.parametrize("held_out", ["test", "val"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff", "ppm"])
def test_a_split_folder_reads_as_torchvision_reads_it(tmp_path, held_out, suffix):
    write_split(tmp_path, held_out, suffix=suffix)
    loaded = load_dataset("image-folder", tmp_path)
    for part, images, labels in (
        ("train", loaded.train_images, loaded.train_labels),
        (held_out, loaded.test_images, loaded.test_labels),
    ):
        want, targets = torchvisions(tmp_path / part)
        assert torch.equal(images, want)
        assert labels.tolist() == targets
    assert loaded.describe() == (
        f"image-folder: 8 training and 3 held-out images (as in {held_out}) of 3 x 10 x 12, 2 classes"
    )
    assert not loaded.mirror_symmetric


@pytest.mark.parametrize("layout", [".", "train"])
def test_one_in_ten_of_each_class_is_held_out_where_there_is_no_split(tmp_path, layout):
    write_classes(tmp_path / layout, {"a": 30, "b": 7, "c": 2})
    loaded = load_dataset("image-folder", tmp_path)
    assert loaded.train_labels.bincount().tolist() == [27, 6, 1]
    assert loaded.test_labels.bincount().tolist() == [3, 1, 1]
    whole, _ = torchvisions(tmp_path / layout)
    parts = torch.cat([loaded.train_images, loaded.test_images])
    assert {image.numpy().tobytes() for image in parts} == {image.numpy().tobytes() for image in whole}
    assert "10% of each class, drawn with seed 0" in loaded.describe()
    assert load_dataset("image-folder", tmp_path).fingerprint() == loaded.fingerprint()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_channels_are_those_of_the_files(tmp_path, mode, channels):
    loaded = load_dataset("image-folder", write_split(tmp_path, mode=mode))
    assert loaded.image_shape == (channels, 10, 12)
    want, _ = torchvisions(tmp_path / "train")
    assert torch.equal(loaded.train_images, want[:, :channels])


def test_some_greyscale_images_among_coloured_ones(tmp_path):
    write_split(tmp_path)
    noise(5, "L").save(tmp_path / "train/ant/000.png")
    assert torch.equal(load_dataset("image-folder", tmp_path).train_images, torchvisions(tmp_path / "train")[0])


@pytest.mark.parametrize("name", ["train/cat/001.png", "train/ant/004.png", "test/cat/001.png"])
def test_one_coloured_image_among_greyscale_ones_makes_all_coloured(tmp_path, name):
    write_split(tmp_path, mode="L")
    noise(5).save(tmp_path / name)
    loaded = load_dataset("image-folder", tmp_path)
    assert torch.equal(loaded.train_images, torchvisions(tmp_path / "train")[0])
    assert torch.equal(loaded.test_images, torchvisions(tmp_path / "test")[0])


def test_images_of_several_sizes(tmp_path):
    write_split(tmp_path)
    for name in ("train/cat/001.png", "test/ant/000.png"):
        noise(5, size=(40, 20)).save(tmp_path / name)
    with pytest.raises(InputError, match=r"train cannot be used: cat/001\.png \(20 x 40 where most are 10 x 12\); .*i"):
        load_dataset("image-folder", tmp_path)
    noise(5).save(tmp_path / "train/cat/001.png")
    with pytest.raises(InputError, match=r"ant/000\.png \(20 x 40 where most to train on are 10 x 12\); .*image_size"):
        load_dataset("image-folder", tmp_path)
    assert load_dataset("image-folder", tmp_path, image_size=16).image_shape == (3, 16, 16)


def test_resizing_takes_the_square_in_the_middle_and_averages(tmp_path):
    write_split(tmp_path)
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 255 * (np.indices((64, 64)).sum(0) % 2)[..., None]  # a fine chequered square
    wide[:, :32, 0] = wide[:, 96:, 0] = 255  # between red edges
    Image.fromarray(wide).save(tmp_path / "train/ant/000.png")
    image = load_dataset("image-folder", tmp_path, image_size=8).train_images[0]
    assert image.shape == (3, 8, 8)
    # Grey: not red, and neither black nor white, as every eighth pixel would be.
    assert (image.int() - 127).abs().max() <= 12


@pytest.mark.parametrize("size", [(40, 17), (17, 40), (41, 18), (30, 30), (9, 33)])
@pytest.mark.parametrize("image_size", [7, 20])
def test_nothing_outside_the_square_is_looked_at(tmp_path, size, image_size):
    """torchvision crops and Pillow resizes, one after the other; what is outside may be anything."""
    write_split(tmp_path)
    path, side = tmp_path / "train/ant/000.png", min(size)
    whole = noise(3, size=size)
    square = center_crop(whole, [side])
    whole.save(path)
    want = pil_to_tensor(square.resize((image_size, image_size), Image.Resampling.LANCZOS))
    assert torch.equal(load_dataset("image-folder", tmp_path, image_size=image_size).train_images[0], want)


def test_resizing_changes_nothing_at_the_same_size(tmp_path):
    write_split(tmp_path)
    for path in tmp_path.rglob("*.png"):
        noise(3, size=(16, 16)).save(path)
    same = load_dataset("image-folder", tmp_path, image_size=16)
    assert torch.equal(same.train_images, torchvisions(tmp_path / "train")[0])


@pytest.mark.parametrize("image_size", [None, 6])
def test_images_that_would_not_fit_stay_in_their_files(tmp_path, monkeypatch, image_size):
    write_split(tmp_path)
    in_memory = load_dataset("image-folder", tmp_path, image_size=image_size)
    monkeypatch.setattr(image_folder, "fits_in_half_of", lambda device, size: size < in_memory.train_images.nbytes)
    loaded = load_dataset("image-folder", tmp_path, image_size=image_size)
    assert isinstance(loaded.train_images, ImageFiles)
    assert isinstance(loaded.test_images, torch.Tensor)
    assert loaded.image_shape == in_memory.image_shape
    assert torch.equal(torch.cat(list(loaded.train_images.split(3))), in_memory.train_images)
    assert torch.equal(loaded.train_images[torch.tensor([4, 1])], in_memory.train_images[[4, 1]])
    assert loaded.to("cpu").describe() == in_memory.describe()
    subset = loaded.labelled_subset(2, seed=0)
    assert torch.equal(torch.cat(list(subset.train_images.split(9))), in_memory.labelled_subset(2, seed=0).train_images)


def test_the_fingerprint_of_files_tells_sets_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "fits_in_half_of", lambda device, size: False)
    write_split(tmp_path / "a")
    write_split(tmp_path / "b")
    first = load_dataset("image-folder", tmp_path / "a").fingerprint()
    assert load_dataset("image-folder", tmp_path / "b").fingerprint() == first
    assert load_dataset("image-folder", tmp_path / "a", image_size=6).fingerprint() != first
    noise(77, size=(12, 10)).convert("L").save(tmp_path / "b/train/cat/002.png")
    assert load_dataset("image-folder", tmp_path / "b").fingerprint() != first


def one_class(root: Path) -> None:
    write_classes(root, {"all": 3})


def no_images(root: Path) -> None:
    write_classes(root, {"a": 3})
    (root / "b").mkdir()
    (root / "b/notes.txt").write_text("no image")


def one_image(root: Path) -> None:
    write_classes(root, {"a": 3, "b": 1})


def other_classes(root: Path) -> None:
    write_split(root)
    write_classes(root / "test", {"dog": 1})


def no_folders(root: Path) -> None:
    noise(0).save(root / "a.png")


def nothing(root: Path) -> None:
    pass


def both(root: Path) -> None:
    write_classes(root, {"a": 4, "b": 5})
    noise(0).save(root / "overview.png")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (one_class, "has one folder, all, wanted a folder of images for each class"),
        (no_images, r"has 2 subfolders, 1 without an image \(b\) and the others with 3; wanted images in each"),
        (one_image, "/b has one image, wanted at least 2: one is held out"),
        (other_classes, "/test and .*/train differ in the classes dog, wanted the same"),
        (no_folders, "has its images directly in it, wanted a folder of images for each class"),
        (nothing, r"holds no image \(0 other files\), wanted files of .*PNG"),
        (both, "holds 1 image beside its subfolders and 9 in them, wanted all of them directly in it, or in one"),
    ],
)
def test_a_folder_of_another_structure_is_refused_in_one_line(tmp_path, build, message):
    build(tmp_path)
    with pytest.raises(InputError, match=rf"^[^\n]*{message}[^\n]*$"):
        load_dataset("image-folder", tmp_path)


@pytest.mark.parametrize("name", ["train/cat/002.png", "train/ant/000.png", "test/cat/001.png"])
def test_damaged_and_wrong_images_are_refused_in_one_line(tmp_path, name):
    image = write_split(tmp_path) / name
    part, _, below = name.partition("/")
    whole = image.read_bytes()
    for content in (b"", whole[:30], b"nothing of the kind"):
        image.write_bytes(content)
        with pytest.raises(
            InputError, match=rf"^1 of \d images of [^\n]*{part} cannot be used: {below} \(no image [^\n]*$"
        ):
            load_dataset("image-folder", tmp_path)
    for content in (whole[:60], whole[:-200]):
        image.write_bytes(content)
        with pytest.raises(InputError, match=rf"^[^\n]*{name}: [^\n]+; wanted images that can be read \([^\n]*$"):
            load_dataset("image-folder", tmp_path)
    Image.fromarray(np.zeros((10, 12), np.float32)).save(image, "TIFF")
    with pytest.raises(InputError, match=rf"{below} \(pixels of mode F, wanted grey or RGB of 8 or 16 bits\)"):
        load_dataset("image-folder", tmp_path)


def test_no_image_is_handed_to_another_program(tmp_path, monkeypatch):
    """Pillow has Ghostscript execute EPS, whatever the file is called."""
    executed = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args: executed.append(args) or noise(0).im)
    image = write_split(tmp_path) / "train/cat/000.png"
    noise(0).save(image, "EPS")
    with pytest.raises(InputError, match=r"cat/000\.png \(no image that can be read\)"):
        load_dataset("image-folder", tmp_path)
    assert not executed
    with Image.open(image) as opened:
        opened.load()
    assert executed, "Pillow alone would have had it executed"


# One rule of what is an image and what a class, for training and for evaluation.


def both_readers(folder: Path) -> tuple[Dataset, ImageFolderSource]:
    """The same folder as a set to train on, a copy of it held out, and as samples to score."""
    shutil.copytree(folder / "train", folder / "test")
    return load_dataset("image-folder", folder), ImageFolderSource(folder / "train")


def assert_the_same_images(trained: Dataset, scored: ImageFolderSource) -> None:
    (batch,) = scored.batches(1000)
    assert torch.equal(trained.train_images, batch.values)
    assert torch.equal(trained.train_labels, batch.labels)
    assert trained.class_names == scored.class_names


def test_hidden_files_and_folders_are_neither_images_nor_classes(tmp_path):
    write_classes(tmp_path / "train", {"ant": 3, "cat": 2})
    write_classes(tmp_path / "train/ant", {"more": 2})
    for name in (".ipynb_checkpoints/000-checkpoint.png", "ant/.ipynb_checkpoints/000-checkpoint.png", "cat/._000.png"):
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "train" / name).write_bytes(b"what another program keeps beside an image")
    (tmp_path / "train/.DS_Store").write_bytes(b"")
    (tmp_path / "train/cat/Thumbs.db").write_bytes(b"")
    trained, scored = both_readers(tmp_path)
    assert trained.class_names == ("ant", "cat")
    assert trained.train_labels.tolist() == [0] * 5 + [1] * 2
    assert_the_same_images(trained, scored)


@pytest.mark.parametrize("suffix", [suffix for suffix in (".avif", ".gif", ".jp2", ".qoi", ".pnm", ".jfif", ".PNG")
                                    if suffix.lower() in IMAGE_SUFFIXES])  # fmt: skip
def test_every_format_that_is_scored_can_be_trained_on(tmp_path, suffix):
    write_classes(tmp_path / "train", {"ant": 3, "cat": 2}, suffix=suffix.removeprefix("."))
    assert_the_same_images(*both_readers(tmp_path))


def test_sixteen_bits_and_transparency_are_trained_on_as_they_are_scored(tmp_path):
    write_classes(tmp_path / "train", {"ant": 3, "cat": 2}, mode="L")
    deep = np.random.default_rng(0).integers(0, 2**16, (10, 12), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "train/ant/000.png")
    noise(4, "LA").save(tmp_path / "train/cat/000.png")
    trained, scored = both_readers(tmp_path)
    assert trained.image_shape == (1, 10, 12)
    assert torch.equal(trained.train_images[0, 0], torch.from_numpy((deep >> 8).astype(np.uint8)))
    assert_the_same_images(trained, scored)


def test_classes_called_by_integers_are_in_the_order_of_their_numbers(tmp_path):
    write_classes(tmp_path / "train", {str(i): 2 for i in (10, 2, 0, 11, 1, 9, 3, 8, 4, 7, 5, 6)})
    trained, scored = both_readers(tmp_path)
    assert trained.class_names == tuple(map(str, range(12)))
    first = torchvisions(tmp_path / "train/..")  # train and test as classes: any two folders
    assert len(first[1]) == 48
    with Image.open(tmp_path / "train/10/001.png") as image:
        assert torch.equal(trained.train_images[21], pil_to_tensor(image))
    assert trained.train_labels.tolist() == [i // 2 for i in range(24)]
    assert_the_same_images(trained, scored)


def test_two_folders_of_one_number_are_refused(tmp_path):
    write_classes(tmp_path, {"7": 3, "07": 3, "8": 3})
    for read in (ImageFolderSource, lambda folder: load_dataset("image-folder", folder)):
        with pytest.raises(InputError, match="has subfolders 07 and 7, wanted one for each number"):
            read(tmp_path)


# Images that cannot be used.


def damaged_split(folder: Path) -> Path:
    """Of the training images one is none, one of another size, one breaks while it is decoded; of the others one."""
    write_classes(folder / "train", {"cat": 5, "ant": 5})
    write_classes(folder / "test", {"cat": 3, "ant": 2})
    (folder / "train/cat/000.png").write_bytes(b"no image")
    noise(5, size=(40, 20)).save(folder / "train/ant/001.png")
    for name in ("train/ant/003.png", "test/cat/001.png"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 3 // 4])
    return folder


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_that_cannot_be_used_are_left_out_on_request(tmp_path, monkeypatch, in_memory):
    damaged_split(tmp_path)
    if not in_memory:
        monkeypatch.setattr(image_folder, "fits_in_half_of", lambda device, size: False)
    loaded = load_dataset("image-folder", tmp_path, skip_unreadable=True)
    for name in ("train/cat/000.png", "train/ant/001.png", "train/ant/003.png", "test/cat/001.png"):
        (tmp_path / name).unlink()
    want = load_dataset("image-folder", tmp_path)
    for part in ("train", "test"):
        images, expected = getattr(loaded, f"{part}_images"), getattr(want, f"{part}_images")
        assert torch.equal(torch.cat(list(images.split(3))), torch.cat(list(expected.split(3))))
        assert torch.equal(getattr(loaded, f"{part}_labels"), getattr(want, f"{part}_labels"))
    assert loaded.fingerprint() == want.fingerprint()
    names = [text.partition(": ")[0] for text in loaded.left_out]
    assert names == [
        f"{tmp_path}/{name}"
        for name in ("train/ant/001.png", "train/cat/000.png", "train/ant/003.png", "test/cat/001.png")
    ]
    assert "20 x 40 where most are 10 x 12" in loaded.left_out[0]
    assert "no image that can be read" in loaded.left_out[1]
    assert loaded.describe().endswith(f"2 classes, 4 left out, the first: {loaded.left_out[0]}")
    assert (len(loaded.train_images), len(loaded.test_images)) == (7, 4)


def test_without_a_split_what_cannot_be_used_is_left_out_before_some_are_held_out(tmp_path):
    write_classes(tmp_path, {"a": 30, "b": 20})
    (tmp_path / "a/007.png").write_bytes(b"")
    loaded = load_dataset("image-folder", tmp_path, skip_unreadable=True)
    assert len(loaded.left_out) == 1
    (tmp_path / "a/007.png").unlink()
    assert loaded.fingerprint() == load_dataset("image-folder", tmp_path).fingerprint()


def test_a_class_of_which_nothing_is_left_is_refused(tmp_path):
    write_split(tmp_path)
    for path in (tmp_path / "train/cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        InputError, match=r"train has no image left in cat, wanted some .* 3 images .*: .*cat/000\.png: no"
    ):
        load_dataset("image-folder", tmp_path, skip_unreadable=True)


def test_datasets_of_whole_files_have_nothing_to_leave_out():
    with pytest.raises(InputError, match="skip_unreadable is true for digits, wanted false: it is for image-folder"):
        load_dataset("digits", skip_unreadable=True)


@pytest.mark.parametrize("image_size", [0, -1])
def test_a_size_that_is_none(tmp_path, image_size):
    with pytest.raises(InputError, match=f"image_size is {image_size}, wanted at least 1"):
        load_dataset("image-folder", tmp_path, image_size=image_size)
