"""The page that an evaluation leaves: one HTML file, its pictures inside."""

from __future__ import annotations

import platform
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from amgan_fast import __version__
from amgan_fast.drawing import save_sheet
from amgan_fast.evaluate.evaluation import Evaluation
from amgan_fast.evaluate.gallery import rows_are_classes
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluate.table import ClassTable, provenance, score_rows
from amgan_fast.metrics import save_entropy_histogram, save_label_balance, save_mode_drop
from amgan_fast.page import png_uri, save_page

_TEMPLATE = "report.html.jinja"


def save_report(path: Path, evaluation: Evaluation, command: Sequence[str] = ()) -> None:
    """Write the page: scores with intervals, samples, class balance, entropies and mode-drop curve, real held-out
    samples beside everything, and what made it: versions, date and, if it is given, the command with its arguments.

    Raises:
        InputError: the file cannot be written; an old one of its name is as it was.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.evaluate import ImageClassifier, Inputs, evaluate, save_report
    >>> from amgan_fast.evaluate.sources import TensorSource
    >>> images = torch.full((60, 1, 2, 2), 255, dtype=torch.uint8)
    >>> source = TensorSource(images, torch.zeros(60, dtype=torch.int64), "60 white images")
    >>> classifier = ImageClassifier("pixels", torch.nn.Flatten(), Inputs(), torch.device("cpu"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_report(Path(folder) / "page.html", evaluate(source, classifier))
    ...     print([path.name for path in Path(folder).iterdir()])
    ['page.html']
    """
    sets = _sets(evaluation)
    names = (evaluation.classifier and evaluation.classifier.class_names) or ()
    save_page(
        path,
        "amgan_fast.evaluate",
        _TEMPLATE,
        evaluation=evaluation,
        provenance=provenance(evaluation),
        columns=list(sets),
        rows=score_rows(evaluation),
        classes=class_tables(sets),
        pictures=drawn_pictures(sets, names),
        made=made_by(command),
    )


def made_by(command: Sequence[str]) -> list[tuple[str, str]]:
    """(name, value): where, when and by what a page was made."""
    lines = [("command", shlex.join(command))] if command else []
    lines.append(("made", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    versions = {"amgan_fast": __version__, "PyTorch": torch.__version__, "Python": platform.python_version()}
    lines.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return lines


def _sets(evaluation: Evaluation) -> dict[str, Measurements]:
    """By what they are called."""
    sets = {"generated": evaluation.generated, "held-out real": evaluation.held_out}
    return {name: one for name, one in sets.items() if one is not None}


def class_tables(sets: Mapping[str, Measurements]) -> list[dict[str, Any]]:
    """Heading, table of the worst and table of all classes, where these are more, of each set that has labels."""
    tables = []
    for name, one in sets.items():
        if one.classes is not None and one.scores.n:
            worst, every = ClassTable.worst(one.classes), ClassTable.all(one.classes)
            more = every if len(every.rows) > len(worst.rows) else None
            tables.append({"heading": f"Classes: {name}", "worst": worst, "all": more})
    return tables


def drawn_pictures(sets: Mapping[str, Measurements], names: Sequence[str]) -> list[dict[str, Any]]:
    """Heading, text and data URI of each picture there is something to draw for.

    Args:
        sets: by what they are called, all of one classifier.
        names: of its classes; none: not known.
    """

    def all_of(field: str) -> dict[str, Any]:
        return {name: getattr(one, field) for name, one in sets.items() if getattr(one, field) is not None}

    drawn: list[dict[str, Any]] = []

    def add(heading: str, draw: Callable[[Path, Any], None], what: Any, text: str) -> None:
        drawn.append({"heading": heading, "text": text, "uri": drawn_uri(draw, what)})

    draw_named = partial(save_sheet, names=names if rows_are_classes(len(names)) else ())
    for name, gallery in all_of("gallery").items():
        add(f"Samples: {name}", draw_named, _small(gallery), _ABOUT_SAMPLES)
    if balances := all_of("balance"):
        add("Class balance", partial(save_label_balance, class_names=names), balances, _ABOUT_BALANCE)
    for field, heading, draw, text in _FIGURES:
        if results := all_of(field):
            add(heading, draw, results, text)
    return drawn


_ABOUT_SAMPLES = "The first of each class as the classifier sees it; of more than 20 classes the first in their order."

_ABOUT_BALANCE = (
    "Fraction of samples by likeliest class, beside that of the training set where it was counted, else its mean class "
    "distribution. p: how often two samples drawn so from one distribution differ as much."
)

_FIGURES: tuple[tuple[str, str, Callable[[Path, Mapping[str, Any]], None], str], ...] = (
    (
        "entropy",
        "Entropy",
        save_entropy_histogram,
        "How certain the classifier is of single samples: H(p(x)), on a logarithmic axis.",
    ),
    (
        "modes",
        "Mode drop",
        save_mode_drop,
        "Scores of the samples whose likeliest class is among m, over m; means of random orders of the classes with "
        "their spread (band) and standard error (bars). Dashed: log m, for m equal and certain classes.",
    ),
)


def drawn_uri(draw: Callable[[Path, Any], None], what: Any) -> str:
    """A picture that ``draw`` makes of ``what``, as a page has it in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path, what)
        return png_uri(path)


def _small(gallery: Tensor, side: int = 96) -> Tensor:
    """Large images shrunk: a page is looked at, not measured."""
    if max(gallery.shape[-2:]) <= side:
        return gallery
    factor = side / max(gallery.shape[-2:])
    size = [max(1, round(length * factor)) for length in gallery.shape[-2:]]
    small = interpolate(gallery.flatten(0, 1).float(), size, mode="bilinear", antialias=True)
    return small.round().to(gallery.dtype).unflatten(0, gallery.shape[:2])
