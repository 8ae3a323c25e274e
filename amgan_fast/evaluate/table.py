"""An evaluation in words and rows, for the terminal and the report alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amgan_fast.errors import counted, printable, some_of
from amgan_fast.evaluate.evaluation import Evaluation
from amgan_fast.evaluate.feature_scores import feature_rows
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluate.other_tools import compat_notes, compat_rows
from amgan_fast.metrics import ClassRow, LabelBalance, PerClass, Sampling, Scores, score_lines

ScoreRow = tuple[str, list[str]]


def score_rows(evaluation: Evaluation) -> list[ScoreRow]:
    """(name, a cell for each set of samples): generated, and held-out real where there are any.

    >>> import torch
    >>> from amgan_fast.evaluate import ImageClassifier, Inputs, evaluate, score_rows
    >>> from amgan_fast.evaluate.sources import TensorSource
    >>> images = torch.full((60, 1, 2, 2), 255, dtype=torch.uint8)
    >>> source = TensorSource(images, torch.zeros(60, dtype=torch.int64), "60 white images")
    >>> classifier = ImageClassifier("pixels", torch.nn.Flatten(), Inputs(), torch.device("cpu"))
    >>> dict(score_rows(evaluate(source, classifier)))["Inception Score (higher is better)"]
    ['1.0000']
    """
    sets = [evaluation.generated] + ([evaluation.held_out] if evaluation.held_out else [])
    cas = evaluation.classification_accuracy
    return rows_of_sets(sets, [] if cas is None else cas.rows(len(sets)))


def rows_of_sets(sets: Sequence[Measurements], more: Sequence[ScoreRow] = ()) -> list[ScoreRow]:
    """(name, a cell for each of the sets), with ``more`` after the scores."""
    others = ((name, [cell(one) for one in sets]) for name, cell in _OTHERS)
    return [
        *score_lines([one.scores for one in sets]),
        *compat_rows([one.compat for one in sets]),
        *feature_rows([one.features for one in sets]),
        *more,
        *(row for row in others if any(text != "-" for text in row[1])),
    ]


@dataclass(frozen=True)
class ClassTable:
    """Rows of classes in words.

    >>> import torch
    >>> from amgan_fast.evaluate import ClassTable
    >>> from amgan_fast.metrics import LabelSums
    >>> sums = LabelSums(2, 2)
    >>> sums.update(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))
    >>> table = ClassTable.worst(sums.compute(["cat", "dog"]))
    >>> table.title, table.columns, table.rows[0]
    ('2 classes, the worst first', ('class', 'samples', 'mean entropy'), ('cat', '2', '0.693 (0.693 to 0.693)'))
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def worst(cls, classes: PerClass, most: int = 10, *, narrow: bool = False) -> ClassTable:
        """The worst first: :meth:`PerClass.worst`. ``narrow``: for a terminal, without intervals of shares."""
        there = sum(row.n > 0 for row in classes.rows)
        title = f"the {most} worst of {there:,} classes" if there > most else f"{there} classes, the worst first"
        columns = _CLASS_COLUMNS | {"share": lambda row: _with_interval(row.share, None, _PERCENT)}
        return cls._of(title, classes.worst(most), columns if narrow else _CLASS_COLUMNS)

    @classmethod
    def all(cls, classes: PerClass) -> ClassTable:
        """In the order of labels, those without samples too."""
        return cls._of(f"all {len(classes.rows):,} classes", classes.rows, _CLASS_COLUMNS)

    @classmethod
    def _of(cls, title: str, rows: Sequence[ClassRow], columns: Mapping[str, Callable[[ClassRow], str]]) -> ClassTable:
        """Without the columns of which nothing is known."""
        cells = {name: tuple(map(text, rows)) for name, text in columns.items()}
        known = {name: texts for name, texts in cells.items() if any(text != "-" for text in texts)}
        return cls(title, tuple(known), tuple(zip(*known.values(), strict=True)))


def provenance(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(name, value): what the scores rest on, and what makes them doubtful; names of files as they can be printed.

    >>> import torch
    >>> from amgan_fast.evaluate import ImageClassifier, Inputs, evaluate, provenance
    >>> from amgan_fast.evaluate.sources import TensorSource
    >>> images = torch.full((60, 1, 2, 2), 255, dtype=torch.uint8)
    >>> source = TensorSource(images, torch.zeros(60, dtype=torch.int64), "60 white images")
    >>> classifier = ImageClassifier("pixels", torch.nn.Flatten(), Inputs(), torch.device("cpu"))
    >>> dict(provenance(evaluate(source, classifier)))["input"]
    'as they come; range amgan: (u - 127.5) / 128; float32'
    """
    settings, classifier = evaluation.settings, evaluation.classifier
    lines = [("source", evaluation.source)]
    if evaluation.held_out_source:
        lines.append(("held-out", evaluation.held_out_source))
    if classifier is not None:
        lines.append(("classifier", classifier.name))
        if classifier.note:
            lines.append(("", classifier.note))
        if classifier.class_names:
            lines.append(("classes", f"{len(classifier.class_names):,}: {some_of(classifier.class_names)}"))
        digest = f"{classifier.sha256} of {classifier.sha256_of}" if classifier.sha256 else "none: no weights to hash"
        lines.append(("SHA-256", digest))
        lines.append(("accuracy", _accuracy(evaluation)))
        lines.append(("input", str(classifier.inputs)))
    lines.append(("splits", f"{settings.splits}, {_splits(evaluation)}, no shuffle, std with ddof 0"))
    lines += _sampling(evaluation)
    held_out = None if evaluation.held_out is None else evaluation.held_out.compat
    notes = compat_notes({"generated": evaluation.generated.compat, "held-out": held_out})
    lines += [("other rules", text) for text in notes]
    if evaluation.features is not None:
        lines += evaluation.features.provenance()
        lines += [("", text) for text in _feature_notes(evaluation)]
    if evaluation.classification_accuracy is not None:
        lines.append(("GAN-train", evaluation.classification_accuracy.note))
    if evaluation.against is not None:
        lines += evaluation.against.provenance()
    lines.append(("units", "AM Scores, KL and entropies in nats; 95% intervals of classes in brackets"))
    lines += [("infinite", text) for text in _infinite_notes(evaluation)]
    lines += [("no agreement", text) for text in _label_notes(evaluation)]
    lines += [("no p", text) for text in _balance_notes(evaluation)]
    chosen = ", as memory suggests (--batch-size)" if evaluation.chosen_batch_size else ""
    lines.append(("batches", f"{settings.batch_size:,} samples at a time{chosen}"))
    lines += [("left out", text) for text in _left_out(evaluation)]
    lines += [("warning", text) for text in evaluation.warnings]
    if evaluation.partial:
        lines.insert(0, ("PARTIAL", evaluation.partial))
    return [(name, printable(text)) for name, text in lines]


def _splits(evaluation: Evaluation) -> str:
    """How they are filled."""
    rules = [_SPLITS[one.scores.splits_rule] for one in (evaluation.generated, evaluation.held_out) if one is not None]
    return "; held-out: ".join(dict.fromkeys(rules))


def _sampling(evaluation: Evaluation) -> list[tuple[str, str]]:
    """How each set was drawn, and what intervals rest on."""
    generated, held_out = evaluation.generated, evaluation.held_out
    lines = [("sampling", f"{_in_words(generated.scores.sampling)}: {generated.sampling_reason}")]
    intervals = f"95%, jackknife over {_groups(generated.scores)}, of the corrected score"
    if held_out is not None:
        lines.append(("", f"held-out {_in_words(held_out.scores.sampling)}: {held_out.sampling_reason}"))
        if _groups(held_out.scores) != _groups(generated.scores):
            intervals += f"; held-out: over {_groups(held_out.scores)}"
    if evaluation.reference_sampling is not None:
        drawn = _in_words(evaluation.reference_sampling)
        lines.append(("", f"reference {drawn}: {evaluation.reference_sampling_reason}"))
    lines.append(("interval", intervals))
    if generated.scores.am_score is not None:
        error = generated.scores.reference_error
        known = (
            "taken as exact"
            if error is None
            else f"a sample too: its error, {error:.4f}, is in the AM Score's interval"
        )
        lines.append(("reference", f"{evaluation.reference_origin}, {known}"))
        lines.append(("", f"SHA-256 {generated.scores.reference_sha256}"))
    return lines


def _in_words(sampling: Sampling) -> str:
    return sampling.replace("-", " ")


def _groups(scores: Scores) -> str:
    within = "" if scores.strata is None else f" within {scores.strata:,} classes"
    return f"{scores.blocks:,} {'blocks' if scores.strata is None else 'groups'} of samples{within}"


def _accuracy(evaluation: Evaluation) -> str:
    classifier, held_out = evaluation.classifier, evaluation.held_out
    known = []
    if classifier is not None and classifier.test_accuracy is not None:
        known.append(f"{classifier.test_accuracy:.2%} on {classifier.tested_on or 'held-out images'}")
    elif held_out is not None and held_out.label_accuracy is not None:
        known.append(f"{held_out.label_accuracy:.2%} on the held-out samples here")
    return ", ".join(known) or "unknown: no labelled held-out samples"


def _infinite_notes(evaluation: Evaluation) -> list[str]:
    """Which classes of the reference make the AM Score infinite."""
    lines = []
    for name, one in (("generated", evaluation.generated), ("held-out", evaluation.held_out)):
        if one is None or one.scores.reference is None or one.scores.kl_reference != math.inf:
            continue
        pairs = enumerate(zip(one.scores.reference, one.scores.class_distribution, strict=True))
        absent = [k for k, (wanted, found) in pairs if wanted > 0 and found == 0]
        names = None if evaluation.classifier is None else evaluation.classifier.class_names
        texts = [str(k) if names is None else names[k] for k in absent]
        lines.append(
            f"AM Score of {name}: every sample gives probability 0 to {some_of(texts)}, which the reference has; so "
            "there is no interval, and no AM Score of 2017"
        )
    return lines


def _label_notes(evaluation: Evaluation) -> list[str]:
    """Why it is not known how often the classifier agrees with the labels."""
    sets = (("generated", evaluation.generated), ("held-out", evaluation.held_out))
    return [f"{name} labels: {one.label_note}" for name, one in sets if one is not None and one.label_note]


def _balance_notes(evaluation: Evaluation) -> list[str]:
    """Why class balance could not be tested although there are counts of the reference."""
    lines = []
    for name, one in (("generated", evaluation.generated), ("held-out", evaluation.held_out)):
        balance = None if one is None else one.balance
        if balance is not None and balance.reference_counts is not None and balance.reason:
            lines.append(f"class balance of {name}: {balance.reason}")
    return lines


def _feature_notes(evaluation: Evaluation) -> list[str]:
    """What is missing, and of sets that scores of features do not know the design of."""
    sets = (("generated samples", evaluation.generated), ("held-out images", evaluation.held_out))
    missing = [
        f"not of {name}: {note}"
        for name, one in sets
        if one is not None and one.features is not None
        for note in one.features.notes
    ]
    fixed = [name for name, one in sets if one is not None and one.scores.sampling == "per-class"]
    if not fixed:
        return missing
    return [
        *missing,
        f"they take samples as drawn at random, and {' and '.join(fixed)} were drawn per class: there the corrected "
        "Fréchet and the kernel distance are somewhat too low, and their intervals do not hold",
    ]


def _left_out(evaluation: Evaluation) -> list[str]:
    lines = []
    for name, skipped in (("generated", evaluation.skipped), ("held-out", evaluation.held_out_skipped)):
        if skipped:
            lines.append(f"{counted(len(skipped), f'{name} image')} that cannot be used, the first: {skipped[0]}")
    for name, one in (("generated", evaluation.generated), ("held-out", evaluation.held_out)):
        if one is not None and one.scores.non_finite_rows:
            lines.append(f"{one.scores.non_finite_rows:,} {name} rows that give no distribution")
    return lines


def _with_interval(value: float | None, interval: tuple[float, float] | None, number: str) -> str:
    """``number``: a format; percent signs are left out of the interval."""
    if value is None:
        return "-"
    ends = [f"{end:{number}}".rstrip("%") for end in interval or ()]
    return f"{value:{number}}" + (f" ({' to '.join(ends)})" if ends else "")


_SPLITS = {
    "round robin": "filled in turn (sample i in split i mod splits)",
    "round robin in strata": "filled in turn within each class",
    "contiguous": "consecutive samples",
}

_PERCENT = ".2%"  # a class of 1,000 has a share of 0.10%

_CLASS_COLUMNS: dict[str, Callable[[ClassRow], str]] = {
    "class": lambda row: printable(row.name),
    "samples": lambda row: f"{row.n:,}",
    "agreement": lambda row: _with_interval(row.agreement, row.agreement_ci95, ".1%"),
    "mean entropy": lambda row: _with_interval(row.mean_entropy, row.mean_entropy_ci95, ".3f"),
    "share": lambda row: _with_interval(row.share, row.share_ci95, _PERCENT),
}

_OTHERS = (
    ("agreement with the labels (GAN-test)", lambda one: _percent(one.label_accuracy)),
    ("  95% interval", lambda one: _percents(None if one.classes is None else one.classes.agreement_ci95)),
    ("entropy below 0.05 nats", lambda one: _percent(one.entropy.below)),
    ("class balance as in the reference, p", lambda one: _p_of_balance(one.balance)),
    ("samples", lambda one: f"{one.scores.n:,}"),
)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _percents(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else " to ".join(map(_percent, interval))


def _p_of_balance(balance: LabelBalance | None) -> str:
    return "-" if balance is None or balance.p_value is None else f"{balance.p_value:.2g}"
