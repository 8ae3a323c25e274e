"""Batches on their way from the host's memory to a device that goes on computing."""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.memory import to_device


def is_on(tensor: Tensor, device: torch.device) -> bool:
    """Of a device without a number any will do."""
    return tensor.device.type == device.type and device.index in (None, tensor.device.index)


def select(images: Tensor, indices: Tensor, device: torch.device) -> Tensor:
    """``images[indices]``, where they go to ``device`` from without waiting."""
    # On the CPU index_select copies whole images, images[indices] value after value: 11 and 220 us for 3x32x32.
    if not (device.type == "cuda" and images.is_cpu):
        return images.index_select(0, indices)
    out = torch.empty((len(indices), *images.shape[1:]), dtype=images.dtype, pin_memory=True)
    return torch.index_select(images, 0, indices, out=out)


class Uploads:
    """Batch after batch to a device. To a GPU they go beside what it computes, on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: Tensor) -> Tensor:
        """``batch`` on the device, there before what the current stream is given next."""
        if self._stream is None or not batch.is_cpu:
            return batch.to(self._device)
        with torch.cuda.stream(self._stream):
            there = to_device(batch, self._device)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        there.record_stream(current)  # its memory is another batch's only after that stream is done with it
        return there
