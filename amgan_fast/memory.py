"""How much memory a device has, whether something fits in it beside what else is to be there, and the way there."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor


def memory_of(device: torch.device) -> int:
    """Bytes: on CUDA what is free now, on a CPU what the machine has."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fits_in_half_of(device: torch.device, size: int) -> bool:
    """Whether so many bytes are at most half of the device's memory."""
    return size <= memory_of(device) // 2


def to_device(values: Tensor, device: torch.device | str | None) -> Tensor:
    """On a device, None: where it is. From the CPU to CUDA by way of memory that CUDA copies from while both go on: a
    copy of other memory waits for all that the GPU has to do before."""
    if device is None:
        return values
    device = torch.device(device)
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def all_to_device(values: Sequence[Tensor], device: torch.device | str | None) -> list[Tensor]:
    """Tensors of one dtype and any shapes on a device, None: where they are; from the CPU to CUDA in one copy."""
    if device is None or torch.device(device).type != "cuda" or any(x.device.type != "cpu" for x in values):
        return [to_device(x, device) for x in values]
    together = to_device(torch.cat([x.flatten() for x in values]), device)
    return [part.view(x.shape) for part, x in zip(together.split([x.numel() for x in values]), values, strict=True)]
