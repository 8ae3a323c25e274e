"""The option of commands that train on a dataset by name."""

from __future__ import annotations

from typing import Annotated

from amgan_fast.data import DATASETS
from amgan_fast.option_declarations import Option

DatasetName = Annotated[str, Option(f"one of {', '.join(DATASETS)}; digits need no download")]
