"""Fused losses, scores and training for AM-GAN and label-aware GANs.

``amgan_fast.ops`` holds the operations, ``amgan_fast.metrics`` the scores, ``amgan_fast.objectives`` the models'
losses; the command ``amgan-fast`` trains and evaluates, and ``amgan_fast.load_generator`` takes what was trained.

Each is imported when it is first asked for, and torch with it: the command says what it takes without them. What uses
``torch.ops.amgan_fast`` itself, such as an exported network, needs ``import amgan_fast.ops`` before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amgan_fast import metrics, objectives, ops
    from amgan_fast._extension import build_info
    from amgan_fast.runs import load_generator

    __version__: str

__all__ = ["__version__", "build_info", "load_generator", "metrics", "objectives", "ops"]


def __getattr__(name: str) -> Any:
    if name in ("metrics", "objectives", "ops"):
        return import_module(f"{__name__}.{name}")
    if name in ("__version__", "build_info"):
        return getattr(import_module(f"{__name__}._extension"), name)
    if name == "load_generator":
        return import_module(f"{__name__}.runs").load_generator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
