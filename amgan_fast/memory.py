"""How much memory a device has, and whether something fits in it beside what else is to be there."""

from __future__ import annotations

import os

import torch


def memory_of(device: torch.device) -> int:
    """Bytes: on CUDA what is free now, on a CPU what the machine has."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fits_in_half_of(device: torch.device, size: int) -> bool:
    """Whether so many bytes are at most half of the device's memory."""
    return size <= memory_of(device) // 2
