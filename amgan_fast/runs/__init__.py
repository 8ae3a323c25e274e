"""What a training run consists of on disk: its configuration, its checkpoint, its folder."""

from amgan_fast.runs.checkpoint import (
    load_last_checkpoint,
    previous_checkpoint,
    put_previous_in_place,
    save_checkpoint,
)
from amgan_fast.runs.config import LABELS, Config
from amgan_fast.runs.folder import RunFolder
from amgan_fast.runs.recipes import RECIPES

__all__ = [
    "LABELS",
    "RECIPES",
    "Config",
    "RunFolder",
    "load_last_checkpoint",
    "previous_checkpoint",
    "put_previous_in_place",
    "save_checkpoint",
]
