"""What a training run consists of on disk: its configuration, its checkpoint, its summary, its folder.

Each name is imported when it is first asked for: what lists runs takes no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amgan_fast.runs.checkpoint import Checkpoint, put_previous_in_place
    from amgan_fast.runs.config import LABELS, Config
    from amgan_fast.runs.export import export_generator
    from amgan_fast.runs.folder import RunFolder, previous_checkpoint
    from amgan_fast.runs.generator_file import GeneratorFile
    from amgan_fast.runs.listing import ListedRun, differing_settings, list_runs, listed_run, listing_rows
    from amgan_fast.runs.listing_page import save_listing
    from amgan_fast.runs.loading import load_generator
    from amgan_fast.runs.recipes import DATASETS_WITH_RECIPES, RECIPES
    from amgan_fast.runs.sampler import find_checkpoint, load_sampler
    from amgan_fast.runs.step_options import StepOptions
    from amgan_fast.runs.summary import Summary, TrainingFacts

__all__ = [
    "DATASETS_WITH_RECIPES",
    "LABELS",
    "RECIPES",
    "Checkpoint",
    "Config",
    "GeneratorFile",
    "ListedRun",
    "RunFolder",
    "StepOptions",
    "Summary",
    "TrainingFacts",
    "differing_settings",
    "export_generator",
    "find_checkpoint",
    "list_runs",
    "listed_run",
    "listing_rows",
    "load_generator",
    "load_sampler",
    "previous_checkpoint",
    "put_previous_in_place",
    "save_listing",
]

_MODULES = {
    "checkpoint": "Checkpoint put_previous_in_place",
    "config": "LABELS Config",
    "export": "export_generator",
    "folder": "RunFolder previous_checkpoint",
    "generator_file": "GeneratorFile",
    "listing": "ListedRun differing_settings list_runs listed_run listing_rows",
    "listing_page": "save_listing",
    "loading": "load_generator",
    "recipes": "DATASETS_WITH_RECIPES RECIPES",
    "sampler": "find_checkpoint load_sampler",
    "step_options": "StepOptions",
    "summary": "Summary TrainingFacts",
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
