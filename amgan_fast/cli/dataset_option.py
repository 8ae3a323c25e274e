"""The option of commands that train on a dataset by name."""

from __future__ import annotations

from typing import Annotated

from amgan_fast.option_declarations import DATASET_NAMES, NAMES_OF_DATASETS, Option

Dataset = Annotated[
    str,
    Option(
        f"one of {NAMES_OF_DATASETS}, or module:function; digits need no download",
        placeholder="<name>",
        values=DATASET_NAMES,
    ),
]
