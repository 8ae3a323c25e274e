"""CIFAR-10: both versions against torchvision, and files that would execute something."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
import torch
from torchvision import datasets as oracle
from torchvision.datasets import cifar

from amgan_fast.data import load_dataset, plain_pickle
from amgan_fast.errors import InputError

TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
COUNT = 4


def batch(name: str) -> tuple[np.ndarray, list[int]]:
    random = np.random.default_rng(sum(name.encode()))
    return random.integers(0, 256, (COUNT, 3072), dtype=np.uint8), random.integers(0, 10, COUNT).tolist()


def python2(data: np.ndarray, labels: list[int]) -> bytes:
    """The opcodes that Python 2 wrote the published files with (protocol 2: text and bytes are the same)."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    shape = struct.pack("<cHcHc", b"M", data.shape[0], b"M", data.shape[1], b"\x86")
    content = b"T" + struct.pack("<i", data.size) + data.tobytes()
    state = b"(K\x01" + shape + dtype + b"K\x00tb" + b"\x89" + content + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    entries = (text(b"batch_label"), text(b"training batch"), text(b"labels"), numbers, text(b"data"), array, state)
    return b"\x80\x02}(" + b"".join(entries) + b"u."


def python3(protocol: int):
    return lambda data, labels: pickle.dumps({"labels": labels, "data": data}, protocol)


def write_python(folder: Path, dump=python2) -> Path:
    folder.mkdir(parents=True)
    for name in (*TRAIN, "test_batch"):
        (folder / name).write_bytes(dump(*batch(name)))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    return folder


def write_binary(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in (*TRAIN, "test_batch"):
        records = [bytes([label]) + pixels.tobytes() for pixels, label in zip(*batch(name), strict=True)]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    return folder


def expected(names: list[str]) -> tuple[torch.Tensor, list[int]]:
    batches = [batch(name) for name in names]
    images = np.concatenate([data for data, _ in batches]).reshape(-1, 3, 32, 32)
    return torch.from_numpy(images), [label for _, labels in batches for label in labels]


def test_the_published_format_reads_as_torchvision_reads_it(tmp_path, monkeypatch):
    write_python(tmp_path / "cifar-10-batches-py")
    loaded = load_dataset("cifar10", tmp_path)
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5: True)  # the MD5 of the published files
    for train, images, labels in (
        (True, loaded.train_images, loaded.train_labels),
        (False, loaded.test_images, loaded.test_labels),
    ):
        want = oracle.CIFAR10(tmp_path, train=train)
        assert np.array_equal(images.permute(0, 2, 3, 1), want.data)
        assert labels.tolist() == want.targets
    assert loaded.image_shape == (3, 32, 32)
    assert loaded.mirror_symmetric


@pytest.mark.parametrize(
    "write",
    [write_binary, write_python, *(lambda folder, p=p: write_python(folder, python3(p)) for p in range(6))],
    ids=["binary", "python 2", *(f"python 3 protocol {p}" for p in range(6))],
)
def test_every_version_holds_the_same(tmp_path, write):
    folder = write(tmp_path / "batches")
    loaded = load_dataset("cifar10", folder)
    images, labels = expected(TRAIN)
    assert torch.equal(loaded.train_images, images)
    assert loaded.train_labels.tolist() == labels
    images, labels = expected(["test_batch"])
    assert torch.equal(loaded.test_images, images)
    assert loaded.test_labels.tolist() == labels


def memory_map(data: np.ndarray) -> np.ndarray:
    with TemporaryFile() as file:
        mapped = np.memmap(file, np.uint8, "w+", shape=data.shape)
    mapped[:] = data
    return mapped


ARRAYS = {
    "contiguous": np.array,
    "read only": lambda data: np.frombuffer(data.tobytes(), np.uint8).reshape(data.shape),
    "column-major": np.asfortranarray,
    "strided": lambda data: np.repeat(data, 2, axis=1)[:, ::2],
    "big-endian type": lambda data: data.astype(">u1"),
    "memory map": memory_map,
}
LABELS = {
    "a list": list,
    "a tuple": tuple,
    "NumPy's numbers": lambda labels: [np.int64(label) for label in labels],
    "NumPy's floats": lambda labels: [np.float32(label) for label in labels],
    **{name: lambda labels, name=name: np.array(labels, name) for name in ("u1", "i2", ">i4", "i8", ">u8", "f4", "f8")},
    "strided": lambda labels: np.repeat(np.array(labels), 2)[::2],
}


def as_numpy_1_names_it(content: bytes) -> bytes:
    """NumPy 2 has moved its modules: the file that NumPy 1 writes names them so."""
    short = content.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    return short.replace(b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric").replace(
        b"cnumpy._core.", b"cnumpy.core."
    )


@pytest.mark.parametrize("numpy_1", [False, True], ids=["numpy 2", "numpy 1"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_whatever_torchvision_reads_reads_the_same(tmp_path, monkeypatch, protocol, numpy_1):
    """Every protocol, layout and type, without frames: they have lengths that the other names would make wrong."""
    folder = write_python(tmp_path / "cifar-10-batches-py")
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5: True)
    data, labels = batch("test_batch")
    for layout, kind in [*((name, "a list") for name in ARRAYS), *(("contiguous", name) for name in LABELS)]:
        content = unframed({"data": ARRAYS[layout](data), "labels": LABELS[kind](labels)}, protocol)
        (folder / "test_batch").write_bytes(as_numpy_1_names_it(content) if numpy_1 else content)
        loaded = load_dataset("cifar10", folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's, of the names of NumPy 1
            want = oracle.CIFAR10(tmp_path, train=False)
        assert np.array_equal(loaded.test_images.permute(0, 2, 3, 1), want.data), (layout, kind)
        assert loaded.test_labels.tolist() == want.targets == labels, (layout, kind)


def unframed(value: object, protocol: int) -> bytes:
    file = BytesIO()
    pickler = pickle._Pickler(file, protocol)
    pickler.framer.start_framing = lambda: None
    pickler.dump(value)
    return file.getvalue()


class Executes:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("where", ["labels", "data", "unused"])
def test_a_pickle_that_would_execute_something_is_refused(tmp_path, protocol, where):
    folder = write_python(tmp_path / "py")
    data, labels = batch(TRAIN[0])
    made = tmp_path / "made"
    content = pickle.dumps({"data": data, "labels": labels, where: Executes(made)}, protocol)
    (folder / TRAIN[0]).write_bytes(content)
    with pytest.raises(InputError, match=r"data_batch_1 is damaged or .*\(UnpicklingError: it asks for [^\n]*$"):
        load_dataset("cifar10", folder)
    assert not made.exists()
    pickle.loads(content)
    assert made.exists(), "the file would have executed something"


def labelled(labels: object) -> bytes:
    return pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": labels}, 5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.", "builtins.exec"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "numpy.ndarray.tofile"),
        (b"(S'touch it'\nios\nsystem\n.", "os.system"),
        (b"\x80\x02\x82\x01.", "extension"),
        (b"Pan id\n.", "persistent"),
        (pickle.dumps({"data": np.array([None]), "labels": [0]}, 2), "an array of 'O8', which are no numbers"),
        (pickle.dumps({"data": np.array(["x"]), "labels": [0]}, 5), "an array of 'U1', which are no numbers"),
        (pickle.dumps({"data": np.zeros((1, 3072)), "labels": [0]}, 2), "data is float64 [1, 3072], wanted uint8"),
        (pickle.dumps({"data": np.zeros((1, 3000), np.uint8), "labels": [0]}, 2), "[1, 3000], wanted uint8 [1, 3072]"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, 2), "[2, 3072], wanted uint8 [1, 3072]"),
        (pickle.dumps({"data": [0] * 3072, "labels": [0]}, 2), "data is int64 [3072], wanted uint8 [1, 3072]"),
        (pickle.dumps({"labels": [0]}, 2), "KeyError: 'data'"),
        (labelled(["cat"]), "labels are <U3 [1], wanted numbers [N]"),
        (labelled([[0]]), "labels are int64 [1, 1], wanted numbers [N]"),
        (labelled(0), "labels are int64 [], wanted numbers [N]"),
        (labelled({}), "labels are object [], wanted numbers [N]"),
        (labelled([10**30]), "labels are object [1], wanted numbers [N]"),
        (labelled([0.5]), "labels are not whole numbers"),
        (labelled(np.array([np.nan])), "labels are not whole numbers"),
        (labelled(np.array([np.inf])), "labels are not whole numbers"),
        (pickle.dumps([1, 2], 2), "no attribute 'items'"),
        (b"", "pickle exhausted before seeing STOP"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "it remembers an object by the number 4294967295, beyond its 9 bytes"),
        (b"\x80\x02]p4294967295\n.", "remembers an object by the number"),
        (b"\x80\x05\x96" + (2**34).to_bytes(8, "little") + b"abc.", "expected 17179869184 bytes in a bytearray8"),
        (b"nothing of the kind", "damaged"),
    ],
)
def test_other_pickles_are_refused_in_one_line(tmp_path, content, reason):
    folder = write_python(tmp_path / "py")
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(InputError, match=r"test_batch is damaged or no CIFAR-10 batch \([^\n]*\)$") as error:
        load_dataset("cifar10", folder)
    assert reason in str(error.value)


@pytest.mark.parametrize("name", [" ".join(name) for name in plain_pickle._STAND_INS])
def test_a_pickle_leaves_nothing_behind(tmp_path, name):
    """BUILD with a second dictionary sets attributes of what it is given: here of what stands in for a class."""
    folder = write_python(tmp_path / "py", python3(2))
    whole = (folder / "test_batch").read_bytes()
    poison = b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n(N}X\x07\x00\x00\x00__new__NstbN."
    (folder / "test_batch").write_bytes(poison)
    with pytest.raises(InputError, match="test_batch is damaged"):
        load_dataset("cifar10", folder)
    (folder / "test_batch").write_bytes(whole)
    assert torch.equal(load_dataset("cifar10", folder).test_images, expected(["test_batch"])[0])


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    folder = write_python(tmp_path / "py")
    file = folder / "data_batch_3"
    whole = file.read_bytes()
    for length in [*range(0, 250, 7), *range(250, len(whole), 1999), len(whole) - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match="data_batch_3 is damaged"):
            load_dataset("cifar10", folder)


def test_a_binary_file_cut_short(tmp_path):
    folder = write_binary(tmp_path / "bin")
    file = folder / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"data_batch_2\.bin is damaged .*: 12,291 bytes, no multiple of the 3,073"):
        load_dataset("cifar10", folder)


def test_a_label_that_there_is_not(tmp_path):
    folder = write_binary(tmp_path / "bin")
    (folder / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(InputError, match=r"test_batch\.bin has labels \[10\], wanted 0 to 9"):
        load_dataset("cifar10", folder)
    (folder / "test_batch.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"test_batch\.bin has labels \[\], wanted 0 to 9"):
        load_dataset("cifar10", folder)


def test_a_file_that_is_missing(tmp_path):
    folder = write_python(tmp_path / "py")
    (folder / "data_batch_4").unlink()
    with pytest.raises(InputError, match=r"has no file data_batch_4\[\.bin\], wanted data_batch_1, "):
        load_dataset("cifar10", folder)
