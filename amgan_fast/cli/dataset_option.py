"""The option of commands that train on a dataset by name."""

from __future__ import annotations

from typing import Annotated, get_args

from amgan_fast.option_declarations import DatasetName, Option

Dataset = Annotated[
    DatasetName, Option(f"one of {', '.join(get_args(DatasetName))}; digits need no download", placeholder="<name>")
]
