"""Which GPU, driver, torch and build."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata

import torch

import amgan_fast
from benchmarks import gpu
from tools.gpu_check.first_contact.measurement import Figures, Measurement


def _card() -> Figures:
    fields = ("power.limit", "power.draw", "temperature.gpu", "ecc.mode.current", "persistence_mode")
    more = dict(zip(fields, gpu.driver_says(*fields), strict=True))
    free, _ = torch.cuda.mem_get_info()
    return gpu.describe() | {"free_bytes": free} | gpu.clocks() | more


def _software() -> Figures:
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "nccl": torch.distributed.is_available() and torch.distributed.is_nccl_available(),
    }


def _packages() -> Figures:
    """What this package asks for and is not installed. The operations need none of it but torch."""
    try:
        wanted = [text for text in metadata.requires("amgan-fast") or [] if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        return {"missing": "unknown, since amgan-fast is not installed"}
    names = [re.split(r"[^\w.-]", text)[0] for text in wanted if "python_version" not in text]
    return {"missing": [name for name in names if not _is_installed(name)] or "none"}


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _build(device: torch.device) -> Figures:
    info = amgan_fast.build_info()
    if device.type == "cuda" and not info["cuda"]:
        return info | {"problem": f"no CUDA kernels were built ({info['cuda_reason']})"}
    return info


def facts(device: torch.device) -> Iterator[Measurement]:
    yield Measurement("software", _software)
    yield Measurement("packages", _packages)
    yield Measurement("build", lambda: _build(device))
    if device.type == "cuda":
        yield Measurement("card", _card)
