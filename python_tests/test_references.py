"""References, labels and arrays that are not what they should be: one line each, that names the file."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources import NpzSource
from amgan_fast.evaluate.training_distribution import read_training_distribution

CLASSES = 3


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def with_header(text: str, version: int = 1, rows: bytes = b"") -> bytes:
    """An npy file whose header is any text."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + rows


def header(shape: str, dtype: str = "'<f8'", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def scores(distribution: object) -> bytes:
    return json.dumps({"generated": {"scores": {"class_distribution": distribution}}}).encode()


WHOLE = npy(np.full(CLASSES, 1 / CLASSES))
ARRAYS = {
    "empty": b"",
    "text": b"0.1 0.2 0.7",
    "npz": npz(arr_0=np.full(CLASSES, 1 / CLASSES)),
    "no rows": npy(np.zeros(0)),
    "a number": npy(np.float64(1)),
    "objects": npy(np.array([None, {}], dtype=object)),
    "text in it": npy(np.array(["a", "b"])),
    "times": npy(np.zeros(3, "datetime64[s]")),
    "complex": npy(np.full(CLASSES, 1 / CLASSES, np.complex64)),
    "three dimensions": npy(np.zeros((2, 2, 2))),
    "absurd": with_header(header("(1000000000000000000,)")),
    "beyond 64 bits": with_header(header(f"({10**30},)")),
    "a number of 4,000 digits": with_header(header(f"({'9' * 4000},)")),
    "a number of 5,000 digits": with_header(header(f"({'9' * 5000},)")),
    "negative": with_header(header("(-1,)")),
    "a product beyond 64 bits": with_header(header(f"({2**40}, {2**40}, {2**40})")),
    "no size": with_header(header(f"({10**18},)", "'|V0'")),
    "nested": with_header("(" * 5000),
    "signs": with_header("-" * 9000 + "1"),
    "a shape of lists": with_header(header("[[3]]")),
    "a type of nothing": with_header(header("(3,)", "'?!'")),
    "a type of types": with_header(header("(3,)", "[('a', [('b', '<f8')])]"), rows=bytes(24)),
    "a header of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "a header too long": with_header(header("(3,)") + " " * 60_000),
    "version 3": with_header(header("(3,)"), version=3, rows=bytes(24)),
    "version 9": with_header(header("(3,)"), version=9, rows=bytes(24)),
    "more rows": WHOLE + bytes(8),
} | {f"{count} bytes": WHOLE[:count] for count in (5, 6, 8, 9, 10, 60, 127, 128, 130, len(WHOLE) - 1)}
VECTORS = {
    "not one": npy(np.full(CLASSES, 0.5)),
    "NaN": npy(np.full(CLASSES, np.nan)),
    "infinite": npy(np.array([np.inf, 0, 0])),
    "below 0": npy(np.array([2.0, -1, 0])),
    "whole numbers": npy(np.arange(CLASSES)),
}
TEXTS = {
    "empty": b"",
    "no JSON": b"{",
    "nested": b"[" * 100_000,
    "nested tables": b'{"generated":' * 100_000,
    "no UTF-8": b"\xff\xfe",
    "another": b"[]",
    "null": b"null",
    "a number": b"5",
    "a text": scores("abc"),
    "nothing": scores(None),
    "a table": scores({}),
    "an empty list": scores([]),
    "one": scores([1.0]),
    "texts": scores(["a", "b", "c"]),
    "lists": scores([[0.5], [0.5], [0]]),
    "too large": scores([10**400, 0, 0]),
    "of too many digits": scores([0, 0, 1]).replace(b"1", b"9" * 5000),
    "beyond a float": scores([0, 0, 1]).replace(b"1", b"1e400"),
    "NaN": scores([float("nan"), 0, 0]),
}


@pytest.fixture
def logits(tmp_path: Path) -> Path:
    np.save(tmp_path / "logits.npy", np.eye(CLASSES, dtype=np.float32).repeat(20, 0))
    return tmp_path / "logits.npy"


def refused(name: str, *arguments: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of headers that Python 2 wrote
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("amgan-fast: ")
    assert name in line
    assert len(line) < 900


@pytest.mark.parametrize("content", [*ARRAYS.values(), *VECTORS.values()], ids=[*ARRAYS, *VECTORS])
def test_references_in_files_of_arrays(content, logits, tmp_path):
    (tmp_path / "reference.npy").write_bytes(content)
    refused("reference.npy", "--logits", logits, "--reference", tmp_path / "reference.npy")


@pytest.mark.parametrize("content", TEXTS.values(), ids=TEXTS)
def test_references_in_json(content, logits, tmp_path):
    (tmp_path / "reference.json").write_bytes(content)
    refused("reference.json", "--logits", logits, "--reference", tmp_path / "reference.json")


@pytest.mark.parametrize("option", ["--labels", "--held-out", "--logits"])
@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS)
def test_arrays_as_labels_logits_and_held_out_samples(content, option, logits, tmp_path):
    (tmp_path / "x.npy").write_bytes(content)
    source = () if option == "--logits" else ("--logits", logits)
    refused("x.npy", *source, option, tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["arr_0", "arr_1"])
@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS)
def test_arrays_in_an_npz(content, name, tmp_path):
    images = npy(np.zeros((5, 8, 8, 1), np.uint8))
    with zipfile.ZipFile(tmp_path / "images.npz", "w") as archive:
        for member in ("arr_0", "arr_1"):
            archive.writestr(f"{member}.npy", content if member == name else images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=f"{name} of .*images.npz"):
            NpzSource(tmp_path / "images.npz")


@pytest.mark.parametrize("name", ["r.json", "r.npy", "r.npz"])
def test_a_folder_whose_name_is_that_of_a_file(name, logits, tmp_path):
    """It is a folder of images like any other."""
    (tmp_path / name).mkdir()
    refused(name, "--logits", logits, "--reference", tmp_path / name)


@pytest.mark.parametrize("write", [lambda path: None, lambda path: path.with_suffix(".npz").write_bytes(b"")])
def test_a_reference_that_is_not_there(write: Callable[[Path], object], logits, tmp_path):
    write(tmp_path / "r.json")
    for suffix in (".json", ".npy", ".npz"):
        refused(f"r{suffix}", "--logits", logits, "--reference", tmp_path / f"r{suffix}")


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2", "<i8"])
def test_vectors_of_every_type_are_read(dtype, tmp_path):
    vector = np.array([0.25, 0.5, 0.25]) if "f" in dtype else np.array([0, 1, 0])
    np.save(tmp_path / "v.npy", vector.astype(dtype))
    assert read_training_distribution(tmp_path / "v.npy").probabilities.tolist() == vector.tolist()
    np.save(tmp_path / "v.npy", np.zeros((5, 3)))
    assert read_training_distribution(tmp_path / "v.npy") is None
