"""One policy for image files: whatever is in a folder, training and evaluation make the same of it, as Pillow does."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from image_content import content, cut_short
from PIL import Image

from amgan_fast.data import load_dataset
from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources import ImageFolderSource
from amgan_fast.images import IMAGE_FORMATS, plain_png, read_pixels

SIZE = (12, 10)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F")
GREY = ("1", "L", "LA")
SUFFIXES = {"JPEG": "jpg", "JPEG2000": "jp2", "TIFF": "tiff", "PPM": "pnm"}
REMEDIES = ("image_size brings all to one, skip_unreadable leaves others out", "--skip-unreadable leaves others out")


def noise(mode: str, size: tuple[int, int] = SIZE) -> Image.Image:
    numbers = np.random.default_rng(0)
    if mode in ("RGBX", "I;16", "I;16B"):
        count = size[0] * size[1] * (4 if mode == "RGBX" else 2)
        return Image.frombytes(mode, size, numbers.integers(0, 256, count, dtype=np.uint8).tobytes())
    image = Image.fromarray(numbers.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    return image.convert({"I": "L", "F": "L", "PA": "P"}.get(mode, mode)).convert(mode)


def written(file_format: str, mode: str) -> bytes | None:
    """None: Pillow does not write such a file."""
    try:
        return content(noise(mode), file_format)
    except (OSError, KeyError, ValueError):
        return None


def odd_files() -> dict[str, bytes]:
    """What else is found in folders; those of a name with ``bad`` cannot be used."""
    first, second = noise("RGB"), noise("L").convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    png = content(first, "PNG")
    frames = {"save_all": True, "append_images": [second]}
    return {
        "animated.gif": content(first, "GIF", **frames),
        "animated.png": content(first, "PNG", **frames),
        "animated.webp": content(first, "WEBP", lossless=True, **frames),
        "several.tiff": content(first, "TIFF", **frames),
        "of_a_camera.jpg": content(first, "MPO", **frames),
        "turned.jpg": content(first, "JPEG", exif=turned),
        "of_another_suffix.jpg": png,
        "transparent.png": content(noise("P"), "PNG", transparency=bytes(range(16))),
        "bad_cut_short.png": cut_short(png),
        "bad_cut_short.jpg": cut_short(content(first, "JPEG")),
        "bad_empty.png": b"",
        "bad_text.png": b"no image",
        "bad_program.png": content(first, "EPS"),
        "bad_size.png": content(noise("RGB", (9, 9)), "PNG"),
    }


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory) -> Path:
    """``train``, a class folder for each format with a file of each mode, and one of odd files; ``test`` is a copy."""
    root = tmp_path_factory.mktemp("every_kind")
    for file_format in IMAGE_FORMATS:
        folder = root / "train" / file_format
        folder.mkdir(parents=True)
        for mode in MODES:
            if (whole := written(file_format, mode)) is not None:
                (folder / f"{mode.replace(';', '_')}.{SUFFIXES.get(file_format, file_format.lower())}").write_bytes(
                    whole
                )
    (root / "train/odd").mkdir()
    for name, whole in odd_files().items():
        (root / "train/odd" / name).write_bytes(whole)
    shutil.copytree(root / "train", root / "test")
    return root


def as_the_policy_says(path: Path) -> np.ndarray | None:
    """RGB [H, W, 3] by Pillow alone; None: it cannot be used."""
    if path.name.startswith("bad"):
        return None
    with Image.open(path) as image:
        image.load()
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
            return np.stack([np.asarray(image) >> 8] * 3, -1).astype(np.uint8)
        if image.mode in ("I", "F", "LAB"):
            return None
        image.info.pop("transparency", None)
        return np.asarray(image.convert("RGB"))


def test_every_format_and_mode_is_the_same_to_training_and_to_evaluation(every_kind):
    trained = load_dataset("image-folder", every_kind, skip_unreadable=True)
    scored = ImageFolderSource(every_kind / "train", skip_unreadable=True)
    batches = list(scored.batches(7))
    names = sorted(path.name for path in (every_kind / "train").iterdir())
    files = [path for name in names for path in sorted((every_kind / "train" / name).iterdir())]
    labels = [names.index(path.parent.name) for path in files]
    want = [as_the_policy_says(path) for path in files]
    good = [i for i, pixels in enumerate(want) if pixels is not None]
    assert trained.class_names == scored.class_names == tuple(names)
    assert set(IMAGE_FORMATS) < set(names)
    assert trained.train_labels.tolist() == torch.cat([batch.labels for batch in batches]).tolist()
    assert trained.train_labels.tolist() == [labels[i] for i in good]
    assert torch.equal(trained.train_images, torch.cat([batch.values for batch in batches]))
    assert torch.equal(trained.train_images, torch.from_numpy(np.stack([want[i] for i in good])).permute(0, 3, 1, 2))
    of_training = [text for text in trained.left_out if text.startswith(f"{every_kind}/train/")]
    assert of_training == scored.skipped
    assert {text.partition(": ")[0] for text in scored.skipped} == {
        str(path) for path, pixels in zip(files, want, strict=True) if pixels is None
    }


def refusal(read) -> str:
    with pytest.raises(InputError) as error:
        read()
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["odd/bad_cut_short.png", "odd/bad_cut_short.jpg", "odd/bad_empty.png", "odd/bad_text.png",
             "odd/bad_program.png", "odd/bad_size.png", "TIFF/F.tiff", "TIFF/I.tiff", "TIFF/LAB.tiff", "PPM/F.pnm"]
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_the_same_words(every_kind, tmp_path, name):
    for part in ("train", "test"):
        for class_name in ("a", "b"):
            (tmp_path / part / class_name).mkdir(parents=True)
            for i in range(3):
                noise("RGB").save(tmp_path / part / class_name / f"{i}.png")
    shutil.copy(every_kind / "train" / name, tmp_path / "train/b")
    trained = refusal(lambda: load_dataset("image-folder", tmp_path))
    scored = refusal(lambda: list(ImageFolderSource(tmp_path / "train").batches(4)))
    texts = [text.removesuffix(f" ({remedy})") for text, remedy in zip((trained, scored), REMEDIES, strict=True)]
    assert texts[0] == texts[1]
    assert not texts[0].endswith(")")
    assert Path(name).name in texts[0]
    assert "wanted images that can be read" in texts[0]


@pytest.mark.parametrize("mode", [*GREY, "I;16"])
def test_grey_images_alone_have_one_channel_in_both(tmp_path, mode):
    for part in ("train", "test"):
        for class_name in ("a", "b"):
            (tmp_path / part / class_name).mkdir(parents=True)
            noise(mode).save(tmp_path / part / class_name / "0.png")
    trained, scored = load_dataset("image-folder", tmp_path), ImageFolderSource(tmp_path / "train")
    assert trained.image_shape == (scored.channels, *SIZE[::-1]) == (1, *SIZE[::-1])


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path, monkeypatch):
    """Pillow's guard against files that unpack to more than the memory holds."""
    for class_name in ("a", "b"):
        (tmp_path / class_name).mkdir()
        for i in range(2):
            noise("RGB").save(tmp_path / class_name / f"{i}.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    for read in (lambda: load_dataset("image-folder", tmp_path), lambda: ImageFolderSource(tmp_path)):
        assert "4 of 4 images" in (text := refusal(read))
        assert "(120 pixels) exceeds limit of 100 pixels" in text


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_plain_png_files_have_the_pixels_that_pillow_reads(tmp_path, mode, interlaced):
    for compression in (0, 1, 9):
        whole = content(noise(mode, (33, 7)), "PNG", compress_level=compression)
        if interlaced:  # of a single pass: 1 x 1
            whole = with_interlacing(content(noise(mode, (1, 1)), "PNG"))
        path = tmp_path / "a.png"
        path.write_bytes(whole)
        with Image.open(path) as image:
            size, want = image.size, np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        png = plain_png.plain_png(whole[: plain_png.START])
        assert png == (*size[::-1], 1 if mode == "L" else 3)
        assert (plain_png.decode(whole, 3) == want).all()
        assert (read_pixels(path, channels=3) == want).all()
        if mode == "L":
            assert (read_pixels(path, channels=1) == want[:1]).all()


def with_interlacing(whole: bytes) -> bytes:
    header = whole[12:28] + b"\1"
    return whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]


def test_png_files_with_more_than_pixels_are_left_to_pillow(monkeypatch):
    plain = content(noise("RGB"), "PNG")
    assert plain_png.plain_png(plain[: plain_png.START])
    others = [
        content(noise("RGB"), "PNG", dpi=(72, 72)),
        content(noise("RGB"), "PNG", transparency=(1, 2, 3)),
        content(noise("P"), "PNG"),
        content(noise("RGBA"), "PNG"),
        content(noise("I;16"), "PNG"),
        content(noise("1"), "PNG"),
        content(noise("RGB"), "JPEG"),
        plain[:30],
        b"",
    ]
    assert [plain_png.plain_png(whole[: plain_png.START]) for whole in others] == [None] * len(others)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    assert plain_png.plain_png(plain[: plain_png.START]) is None


def test_without_the_decoder_of_torchvision_pillow_reads_plain_png_files_too(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(content(noise("RGB"), "PNG"))
    want = read_pixels(tmp_path / "a.png", channels=3)
    monkeypatch.setattr(plain_png, "_decoder", lambda: None)
    assert (read_pixels(tmp_path / "a.png", channels=3) == want).all()
