"""Fused losses, scores and training for AM-GAN and label-aware GANs.

``amgan_fast.ops`` holds the operations, ``amgan_fast.metrics`` the scores, ``amgan_fast.objectives`` the models'
losses; the command ``amgan-fast`` trains and evaluates.
"""

from amgan_fast import metrics, objectives, ops
from amgan_fast._extension import build_info

__version__: str = build_info()["version"]

__all__ = ["__version__", "build_info", "metrics", "objectives", "ops"]
