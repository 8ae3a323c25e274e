"""Options, each declared once for the command line and for Python: on a field of a dataclass, with what it may be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from amgan_fast.option_checks import LARGEST_INT, check_range, check_that
from amgan_fast.user_code import check_name


@dataclasses.dataclass(frozen=True)
class Option:
    """What the annotation ``Annotated[TYPE, Option(...)]`` of a field says beside its type and default."""

    help: str
    panel: str | None = None
    """The heading that the command line lists it under; None: with those of no heading."""
    lowest: int | None = None
    """Of a number."""
    highest: int = LARGEST_INT
    needs: str | None = None
    """What it would do nothing without, in words."""
    flag: str | None = None
    """Its name on the command line; None: the field's, with hyphens."""
    placeholder: str | None = None
    """What stands for the value in the help of the command line; None: its type."""
    values: tuple[str, ...] = ()
    """Of a text that may be more than these: what a shell completes it to."""
    several: bool = False
    """Whether it may be several of ``values``, with commas between."""


_UNIONS = (Union, UnionType)

ModelName = Literal[
    "gan",
    "gan-star",
    "catgan",
    "labelgan",
    "acgan",
    "acgan-star",
    "acgan-star-plus",
    "amgan",
    "improved-gan",
    "relativistic-amgan",
    "rpgan",
    "adcgan",
    "tacgan",
    "ecgan",
    "omni-gan",
    "multi-hinge",
    "reacgan",
]
"""Of :data:`amgan_fast.objectives.MODELS`."""
DatasetName = Literal[
    "digits", "fashion-mnist", "mnist", "cifar10", "svhn", "svhn-extra", "tiny-imagenet", "image-folder"
]
"""Of :data:`amgan_fast.data.DATASETS`."""
MODEL_NAMES: tuple[str, ...] = get_args(ModelName)
DATASET_NAMES: tuple[str, ...] = get_args(DatasetName)
NAMES_OF_MODELS = ", ".join(MODEL_NAMES)
NAMES_OF_DATASETS = ", ".join(DATASET_NAMES)


def check_model(value: str | None) -> None:
    """
    Raises:
        InputError: neither a name nor ``module:Class``, nor None.
    """
    check_name("model", value, MODEL_NAMES, "module:Class")


def check_dataset(value: str | None) -> None:
    """
    Raises:
        InputError: neither a name nor ``module:function``, nor None.
    """
    check_name("dataset", value, DATASET_NAMES, "module:function")


RecipeName = Literal["paper", "modern"]
"""Of :data:`amgan_fast.runs.RECIPES`."""
Labels = Literal["dynamic", "predefined"]
LABEL_NAMES: tuple[str, ...] = get_args(Labels)
INCEPTION_NAMES = ("inception-2015", "inception-v3")
"""Networks that are opened with a file of weights."""
SampleFormat = Literal["png", "npz"]
DeviceName = Literal["auto", "cpu", "cuda"]
Resize = Literal["none", "bilinear", "bicubic", "nearest"]
UserRange = Literal["signed", "unit", "byte", "imagenet"]
ValueRange = Literal["amgan", UserRange]
DtypeName = Literal["float32", "float64", "bfloat16", "float16"]

DEVICE = Option("auto: CUDA where there is a GPU and kernels for it")
Device = Annotated[DeviceName, DEVICE]
ALLOW_CODE = Option(
    "modules, with commas between, that a run or a .toml may name code of: own networks and the like",
    placeholder="<modules>",
)
AllowCode = Annotated[str | None, ALLOW_CODE]
DATA_DIR = Option("the dataset's files, if not in their usual place")
DataDir = Annotated[Path | None, DATA_DIR]


@dataclasses.dataclass(frozen=True)
class Declaration:
    """A field that is an option."""

    kind: Any
    """Its type, without what :class:`Option` adds."""
    default: Any
    """:data:`dataclasses.MISSING`: there is none."""
    option: Option


def declarations(options: type) -> dict[str, Declaration]:
    """The fields of a dataclass that are options, by name."""
    hints = get_type_hints(options, include_extras=True)
    split = {field: split_option(hints[field.name]) for field in dataclasses.fields(options)}
    return {field.name: Declaration(kind, field.default, found) for field, (kind, found) in split.items() if found}


def split_option(annotation: Any) -> tuple[Any, Option | None]:
    """The type that is annotated, and what it is annotated with."""
    kind, *extras = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    return kind, next((extra for extra in extras if isinstance(extra, Option)), None)


def check_options(options: Any) -> None:
    """
    Args:
        options: an instance of a dataclass of options.

    Raises:
        ValueError: a value of another type than its field's, or a number out of range.
    """
    for name, declared in declarations(type(options)).items():
        value, option = getattr(options, name), declared.option
        check_that(_is(value, declared.kind), name, value, _in_words(declared.kind))
        if option.lowest is not None and value is not None:
            check_range(name, value, option.lowest, option.highest)


def flag_of(name: str, option: Option, value: Any = None) -> str:
    """How the option of a field is written on the command line, where it has ``value``."""
    flag = option.flag or f"--{name.replace('_', '-')}"
    return flag.replace("--", "--no-", 1) if value is False else flag


def _is(value: object, kind: Any) -> bool:
    if get_origin(kind) in _UNIONS:
        return any(_is(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _in_words(kind: Any) -> str:
    if get_origin(kind) in _UNIONS:
        return " or ".join(map(_in_words, get_args(kind)))
    return ", ".join(get_args(kind)) if get_origin(kind) is Literal else str(kind.__name__)
