"""What the commands share: options, and how errors reach the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from amgan_fast.data import DATASETS
from amgan_fast.errors import InputError, in_one_line, printable

DatasetName = Annotated[str, typer.Option(help=f"one of {', '.join(DATASETS)}; digits need no download")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="auto: CUDA where there is a GPU and kernels for it")
]
DataDir = Annotated[Path | None, typer.Option(help="the dataset's files, if not in their usual place")]


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except FloatingPointError as error:
        complain(f"training stopped: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        complain("interrupted")
        raise typer.Exit(130) from None
    except OSError as error:  # a file that no one foresaw trouble with
        if error.errno in (None, errno.EPIPE):
            raise
        complain(f"{error.filename or 'a file'} cannot be used ({error.strerror})")
        raise typer.Exit(2) from None
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        complain(f"there is not enough memory ({in_one_line(error)}), wanted a smaller batch or smaller networks")
        raise typer.Exit(1) from None


def complain(text: str) -> None:
    typer.echo(f"amgan-fast: {printable(text)}", err=True)


def _is_of_memory(error: Exception) -> bool:
    """torch's allocator of the CPU has no exception of its own."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)
