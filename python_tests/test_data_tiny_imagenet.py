"""Tiny-ImageNet's published folder, small, against Pillow and NumPy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from amgan_fast.data import load_dataset
from amgan_fast.errors import InputError
from amgan_fast.images import reading

WNIDS = ["n02124075", "n01443537", "n04067472"]  # as published, not in alphabetical order
WANTED = "64 x 64 pixels of mode RGB or L in a JPEG file"


def save_image(path: Path, seed: int, mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path, "JPEG")


def write_tiny_imagenet(folder: Path, train: int = 4, val: int = 2) -> Path:
    """The second image of every class is greyscale, and the last of val."""
    annotations = []
    for number, wnid in enumerate(WNIDS):
        for i in range(train):
            save_image(folder / f"train/{wnid}/images/{wnid}_{i}.JPEG", 100 * number + i, "L" if i == 1 else "RGB")
        (folder / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
        for _ in range(val):
            name = f"val_{len(annotations)}.JPEG"
            grey = len(annotations) == len(WNIDS) * val - 1
            save_image(folder / "val/images" / name, 1000 + len(annotations), "L" if grey else "RGB")
            annotations.append(f"{name}\t{wnid}\t0\t32\t44\t62\n")
    (folder / "val/val_annotations.txt").write_text("".join(annotations))
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (folder / "words.txt").write_text("n00001740\tentity\n")
    return folder


def two_by_two_means(path: Path) -> torch.Tensor:
    pixels = np.asarray(Image.open(path)).astype(int)
    means = (pixels.reshape(32, 2, 32, 2, 3).sum((1, 3)) + 2) // 4
    return torch.from_numpy(means.transpose(2, 0, 1).astype(np.uint8))


@pytest.mark.parametrize("workers_from", [0, 2000], ids=["workers", "no workers"])
def test_the_published_folder(tmp_path, monkeypatch, workers_from):
    monkeypatch.setattr(reading, "_WORTH_WORKERS", workers_from)
    monkeypatch.setattr(reading, "_AT_ONCE", 5)
    root = write_tiny_imagenet(tmp_path / "tiny-imagenet-200")
    loaded = load_dataset("tiny-imagenet", tmp_path)

    folder = ImageFolder(root / "train")
    kept = [(path, label) for path, label in folder.samples if Image.open(path).mode != "L"]
    assert len(kept) == 9
    assert loaded.train_labels.tolist() == [label for _, label in kept]
    assert torch.equal(loaded.train_images, torch.stack([two_by_two_means(path) for path, _ in kept]))

    lines = [line.split("\t") for line in (root / "val/val_annotations.txt").read_text().splitlines()]
    assert loaded.test_labels.tolist() == [folder.class_to_idx[line[1]] for line in lines[:-1]]
    means = [two_by_two_means(root / "val/images" / line[0]) for line in lines[:-1]]
    assert torch.equal(loaded.test_images, torch.stack(means))

    assert loaded.describe() == (
        "tiny-imagenet: 9 training and 5 held-out images (as published) of 3 x 32 x 32, 3 classes"
    )
    assert loaded.mirror_symmetric
    assert load_dataset("tiny-imagenet", root).fingerprint() == loaded.fingerprint()


def test_hidden_files_are_no_images(tmp_path):
    root = write_tiny_imagenet(tmp_path)
    want = load_dataset("tiny-imagenet", root).fingerprint()
    (root / f"train/{WNIDS[0]}/images/._{WNIDS[0]}_0.JPEG").write_bytes(b"what another program keeps beside an image")
    assert load_dataset("tiny-imagenet", root).fingerprint() == want


def test_progress_counts_up_to_the_number_of_training_images(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_AT_ONCE", 5)
    seen = []
    load_dataset("tiny-imagenet", write_tiny_imagenet(tmp_path), progress=lambda *done: seen.append(done))
    assert seen == [("image files", done, 12) for done in (5, 10, 12)]


def test_a_chunk_of_greyscale_images_only(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_AT_ONCE", 1)
    assert len(load_dataset("tiny-imagenet", write_tiny_imagenet(tmp_path)).train_images) == 9


def test_greyscale_images_only(tmp_path):
    root = write_tiny_imagenet(tmp_path, train=2)
    for wnid in WNIDS:
        (root / f"train/{wnid}/images/{wnid}_0.JPEG").unlink()
    with pytest.raises(InputError, match=r"has 3 images in .*, wanted some in colour"):
        load_dataset("tiny-imagenet", root)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "wnids.txt").write_text(""), "has 0 names, some twice or none"),
        (lambda root: (root / "wnids.txt").write_text("n01443537\nn01443537\n"), "has 2 names, some twice or none"),
        (lambda root: (root / "wnids.txt").write_bytes(b"\xff\xfe"), "is no text file"),
        (lambda root: (root / "wnids.txt").write_text("n00000000\n"), "train/n00000000/images has no files"),
        (lambda root: (root / "val/val_annotations.txt").unlink(), "val_annotations.txt does not exist"),
        (lambda root: (root / "val/val_annotations.txt").write_text("val_0.JPEG n01443537\n"), "has the line 'val_0"),
        (
            lambda root: (root / "val/images/val_0.JPEG").unlink(),
            r"val_0.JPEG: No such file or directory; wanted",
        ),
        (lambda root: shutil.rmtree(root / "train"), "images has no files"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_in_one_line(tmp_path, damage, message):
    root = write_tiny_imagenet(tmp_path)
    damage(root)
    with pytest.raises(InputError, match=rf"^[^\n]*{message}[^\n]*$"):
        load_dataset("tiny-imagenet", root)


@pytest.mark.parametrize("workers_from", [0, 2000], ids=["workers", "no workers"])
def test_damaged_and_wrong_images_are_refused_in_one_line(tmp_path, monkeypatch, workers_from):
    monkeypatch.setattr(reading, "_WORTH_WORKERS", workers_from)
    root = write_tiny_imagenet(tmp_path)
    image = root / f"train/{WNIDS[0]}/images/{WNIDS[0]}_2.JPEG"
    whole = image.read_bytes()
    for content in (b"", whole[:40], whole[: len(whole) // 2], b"nothing of the kind"):
        image.write_bytes(content)
        with pytest.raises(InputError, match=rf"^[^\n]*{image.name}: [^\n]+; wanted {WANTED}$"):
            load_dataset("tiny-imagenet", root)
    save_image(image, 0, size=(64, 63))
    with pytest.raises(InputError, match=rf"{image.name}: 64 x 63 pixels of mode RGB; wanted {WANTED}$"):
        load_dataset("tiny-imagenet", root)
    save_image(image, 0, "CMYK")
    with pytest.raises(InputError, match=rf"{image.name}: 64 x 64 pixels of mode CMYK; wanted {WANTED}$"):
        load_dataset("tiny-imagenet", root)
