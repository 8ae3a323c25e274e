"""Whether images fit where they are to live."""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from torch import Tensor

from amgan_fast.data.dataset import Dataset


def fits(dataset: Dataset, device: torch.device | str) -> bool:
    """Whether ``dataset.to(device)`` leaves at least half of the memory to the networks.

    On CUDA that is half of what is free now, on a CPU half of what the machine has. What is there already fits, and
    images in files take no room.
    """
    device = torch.device(device)
    parts = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    moving = [part.nbytes for part in parts if isinstance(part, Tensor) and part.device != device]
    return not moving or fits_in(device, sum(moving))


def to_device(dataset: Dataset, device: torch.device | str) -> Dataset:
    """The dataset on a device; training images that do not fit there stay where they are, and batches of them move."""
    if fits(dataset, device):
        return dataset.to(device)
    return replace(dataset, test_images=dataset.test_images.to(device), test_labels=dataset.test_labels.to(device))


def fits_in(device: torch.device, size: int) -> bool:
    """Whether so many bytes are at most half of the device's memory."""
    return size <= memory_of(device) // 2


def memory_of(device: torch.device) -> int:
    """Bytes: on CUDA what is free now, on a CPU what the machine has."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
