"""The page of a listing: the table, and the pictures that each run has left."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from amgan_fast.errors import InputError
from amgan_fast.files import write_text
from amgan_fast.runs.folder import RunFolder
from amgan_fast.runs.listing import ListedRun, listing_rows


def save_listing(path: Path, runs: Sequence[ListedRun]) -> None:
    """Write one HTML file, its pictures inside.

    Raises:
        InputError: the file cannot be written; an old one of its name is as it was.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import list_runs, save_listing
    >>> save_listing(Path("runs.html"), list_runs(Path("runs/digits")))
    >>> "<table" in Path("runs.html").read_text()
    True
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("amgan_fast.runs", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    head, rows = listing_rows(runs)
    page = environment.get_template("runs.html.jinja").render(
        head=head, rows=rows, runs=[(run.name, _pictures(run)) for run in runs]
    )
    try:
        write_text(path, page)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}), wanted a place for the report") from None


def _pictures(run: ListedRun) -> list[str]:
    """Data URIs; of a run that is on its way the last grid in place of samples."""
    folder = RunFolder(run.path)
    samples = folder.samples if folder.samples.is_file() else next(iter(folder.grids()[::-1]), folder.samples)
    there = [path for path in (samples, folder.curves) if path.is_file()]
    return ["data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() for path in there]
