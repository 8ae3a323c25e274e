"""What a training run consists of on disk: its configuration, its checkpoint, its summary, its folder."""

from amgan_fast.runs.checkpoint import Checkpoint, previous_checkpoint, put_previous_in_place
from amgan_fast.runs.config import LABELS, Config
from amgan_fast.runs.export import export_generator
from amgan_fast.runs.folder import RunFolder
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
