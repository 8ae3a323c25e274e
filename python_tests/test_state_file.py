"""Files of sums: what comes back, and what is said of a file that is damaged or of something else."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from amgan_fast.errors import InputError
from amgan_fast.evaluate.state_file import read_state, write_state

STATE = {
    "version": "0.1.0",
    "name": "of bytes that are no UTF-8: \udcff",
    "numbers": [1, 0.1, None, True, float("inf")],
    "parts": [{"sums": torch.arange(6.0, dtype=torch.float64).view(2, 3), "n": 7}, {"sums": torch.zeros(())}],
    "tuple": ("adm", (1, torch.ones(1))),
    "empty": {"images": None, "rows": torch.zeros(0, dtype=torch.int64)},
}


def assert_same(got, want) -> None:
    if isinstance(want, torch.Tensor):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
    elif isinstance(want, dict):
        assert got.keys() == want.keys()
        for name, value in want.items():
            assert_same(got[name], value)
    elif isinstance(want, list | tuple):
        assert type(got) is type(want)
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_same(one, other)
    else:
        assert got == want


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_state(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_everything_comes_back(tmp_path):
    write_state(tmp_path / "a.safetensors", STATE)
    assert_same(read_state(tmp_path / "a.safetensors"), STATE)


def test_a_file_may_be_read_by_whom_others_may(tmp_path):
    write_state(tmp_path / "a.safetensors", STATE)
    (tmp_path / "b").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_tensors_that_share_memory_come_back(tmp_path):
    both = torch.arange(6).view(2, 3)
    write_state(tmp_path / "a.safetensors", {"a": both[0], "b": both[1], "c": both.T})
    assert_same(read_state(tmp_path / "a.safetensors"), {"a": both[0], "b": both[1], "c": both.T.contiguous()})


def test_every_flipped_byte_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    write_state(path, STATE)
    whole = path.read_bytes()
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    fills = range(len(whole[:end].rstrip()), end)  # blanks
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        if place in fills:
            assert_same(read_state(path), STATE)
        else:
            refused(path)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_file_that_ends_early_is_named(tmp_path, length):
    path = tmp_path / "a.safetensors"
    write_state(path, STATE)
    path.write_bytes(path.read_bytes()[:length])
    assert "damaged" in refused(path)


def test_files_of_something_else_are_named(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "weights.safetensors")
    assert "a safetensors file of something else" in refused(tmp_path / "weights.safetensors")
    np.save(tmp_path / "logits.npy", np.zeros((3, 3)))
    assert "no safetensors file" in refused(tmp_path / "logits.npy")
    torch.save({"a": 1}, tmp_path / "weights.pt")
    assert "no safetensors file" in refused(tmp_path / "weights.pt")
    assert "does not exist" in refused(tmp_path / "nothing")
    assert "is no file" in refused(tmp_path)
    header = json.dumps({"__metadata__": {"state": "[" * 100_000, "sha256": "0"}}).encode()
    (tmp_path / "deep").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "another checksum" in refused(tmp_path / "deep")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_state(path, STATE)

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        write_state(path, {})
    assert_same(read_state(path), STATE)
    assert [one.name for one in tmp_path.iterdir()] == ["a.safetensors"]
