"""Samples in an npz file, written as they are made."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.evaluate.npy_writing import write_npy_header
from amgan_fast.files import check_space, whole_file


def write_npz(path: Path, count: int, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
    """What guided-diffusion's evaluator takes, and :class:`amgan_fast.evaluate.sources.NpzSource`: ``arr_0``, uint8
    [N, H, W, C], and where there are labels ``arr_1``, int64 [N]. In memory are a batch, and the labels.

    Args:
        path: the file takes its place once it is whole.
        count: N, at least 1.
        batches: uint8 [n, C, H, W] and int64 [n] or None, N samples in all.

    Raises:
        InputError: the disk has less room than the file takes, as the first batch tells.
        OSError: the file cannot be written; what was there is as it was.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> import torch
    >>> from amgan_fast.evaluate.sample_files.npz import write_npz
    >>> write_npz(Path("black.npz"), 3, [(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.arange(3))])
    >>> with np.load("black.npz") as file:
    ...     print(file["arr_0"].shape, file["arr_1"])
    (3, 8, 8, 1) [0 1 2]
    """
    rest = iter(batches)
    first = next(rest)
    channels, height, width = first[0].shape[1:]
    check_space(path, count * (channels * height * width + torch.int64.itemsize))
    asked: list[Tensor] = []
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:  # stored: pixels hardly shrink
        with archive.open("arr_0.npy", "w", force_zip64=True) as member:
            write_npy_header(member, (count, height, width, channels), np.uint8)
            for images, labels in chain([first], rest):
                member.write(images.permute(0, 2, 3, 1).contiguous().numpy().data)
                if labels is not None:
                    asked.append(labels)
        if asked:
            with archive.open("arr_1.npy", "w", force_zip64=True) as member:
                write_npy_header(member, (count,), np.int64)
                member.write(torch.cat(asked).numpy().data)
