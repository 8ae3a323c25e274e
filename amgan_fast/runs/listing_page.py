"""The page of a listing: the table, and the pictures that each run has left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amgan_fast.page import png_uri, save_page
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
    head, rows = listing_rows(runs)
    pictures = [(run.name, list(map(png_uri, run_pictures(RunFolder(run.path))))) for run in runs]
    save_page(path, "amgan_fast.runs", "runs.html.jinja", head=head, rows=rows, runs=pictures)


def run_pictures(folder: RunFolder) -> list[Path]:
    """Samples and curves; of a run that is on its way the last grid in place of samples."""
    samples = folder.samples if folder.samples.is_file() else next(iter(folder.grids()[::-1]), folder.samples)
    return [path for path in (samples, folder.curves) if path.is_file()]
