"""Loads the compiled operations, ``torch.ops.amgan_fast``: a library of torch's, which knows nothing of Python."""

from __future__ import annotations

import re
from typing import Any

import torch  # first: the library links against torch's own

_REINSTALL = "in its checkout, pip install --no-build-isolation --force-reinstall --no-deps ."

try:
    from amgan_fast._library import LIBRARY
except ModuleNotFoundError as error:
    raise ImportError(
        "amgan_fast has no compiled operations here: this is its source, not an installation, wanted "
        "pip install --no-build-isolation . in it, and Python started elsewhere"
    ) from error
try:
    torch.ops.load_library(LIBRARY)
except OSError as error:
    raise ImportError(
        f"{LIBRARY} cannot be loaded with torch {torch.__version__} ({error}). It must be built against the "
        f"torch it runs with: {_REINSTALL}"
    ) from error


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split("+")[0].split(".")[:2])


def build_info() -> dict[str, Any]:
    """What this build of the compiled operations is, and what of it is in use.

    >>> import amgan_fast
    >>> amgan_fast.build_info()["cpu_builds"]
    ['DEFAULT', ...]

    Keys: ``version``; ``torch``, the version it was built against; ``compiler``; ``cpu_capability``, the
    instruction set in use (``ATEN_CPU_CAPABILITY`` overrides it); ``cpu_builds``, those compiled in; ``cuda``,
    whether CUDA kernels are built in; ``cuda_reason``, why not (or None); ``cuda_version`` of nvcc and
    ``cuda_architectures``, None and [] without CUDA.
    """
    info: dict[str, Any] = dict(torch.ops.amgan_fast_build.info())
    info["cpu_builds"] = info["cpu_builds"].split()
    info["cuda"] = bool(info["cuda"])
    info["cuda_reason"] = info["cuda_reason"] or None
    info["cuda_version"] = info["cuda_version"] if info["cuda"] else None
    info["cuda_architectures"] = [_architecture(name) for name in info["cuda_architectures"].split()]
    return info


def _architecture(name: str) -> str:
    """CMake's spelling in torch's: '86-real' (machine code) is 8.6, '120' (and PTX, for later GPUs) is 12.0+PTX."""
    number, _, kind = name.partition("-")
    major_minor = re.sub(r"(\d)([a-z]?)$", r".\1\2", number)
    return major_minor if kind == "real" else f"{major_minor}+PTX"


if _release(build_info()["torch"]) != _release(torch.__version__):
    raise ImportError(
        f"amgan_fast was built against torch {build_info()['torch']}, found torch {torch.__version__}: {_REINSTALL}"
    )

__version__: str = build_info()["version"]
