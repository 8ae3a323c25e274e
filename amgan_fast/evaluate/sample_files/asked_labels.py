"""Which classes a generator with predefined labels is asked for."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from amgan_fast.errors import InputError, shown

_WANTED = "wanted random, balanced, classes as 0,3,7, or classes with numbers of samples as 0:100,3:50"
_ENTRY = re.compile("([0-9]{1,9})(?::([0-9]{1,9}))?")


def asked_labels(text: str, count: int | None, num_classes: int) -> Tensor | None:
    """The label of each sample, int64 [N], so that any number of them from anywhere has the classes in about the same
    proportions; None: they are drawn, as in training.

    Args:
        text: ``"random"``; ``"balanced"``: as many of each class; ``"0,3,7"``: as many of each of these;
            ``"0:100,3:50"``: so many of each of these. Where ``count`` does not divide by the number of classes, the
            first have one more.
        count: N; None: the sum of the numbers in ``text``.
        num_classes: K.

    Raises:
        InputError: ``text`` is none of these, has a class twice, or one that is not in [0, K), or numbers of another
            sum than ``count``; or nothing says how many.

    >>> from amgan_fast.evaluate.sample_files.asked_labels import asked_labels
    >>> asked_labels("balanced", 7, num_classes=3)
    tensor([0, 1, 2, 0, 1, 2, 0])
    >>> asked_labels("0:4,2:2", None, num_classes=3)
    tensor([0, 2, 0, 0, 2, 0])
    """
    if text == "random":
        return None
    numbers = _numbers(text, num_classes)
    asked = [number for number in numbers.values() if number is not None]
    if asked and count not in (None, sum(asked)):
        raise InputError(f"--count is {count} and --labels {text}, which are {sum(asked)} samples; wanted as many")
    if not asked:
        if count is None:
            raise InputError(f"--labels is {shown(text)} without --count, wanted the number of samples")
        each, more = divmod(count, len(numbers))
        asked = [each + (place < more) for place in range(len(numbers))]
    labels = torch.tensor([*numbers]).repeat_interleave(torch.tensor(asked))
    # Sample i of n of its class has its place at the fraction (i + 1/2) / n of all samples.
    places = torch.cat([(torch.arange(number, dtype=torch.float64) + 0.5) / number for number in asked])
    return labels[places.argsort(stable=True)]


def _numbers(text: str, num_classes: int) -> dict[int, int | None]:
    """How many of each class; None: as many of each."""
    if text == "balanced":
        return dict.fromkeys(range(num_classes))
    found = [_ENTRY.fullmatch(part.strip()) for part in text.split(",")]
    numbers: dict[int, int | None] = {}
    for entry in found:
        if entry is None:
            raise InputError(f"--labels is {shown(text)}, {_WANTED}")
        label, number = int(entry[1]), None if entry[2] is None else int(entry[2])
        if label >= num_classes:
            raise InputError(f"--labels has the class {label}, wanted 0 to {num_classes - 1}: those of the run")
        if label in numbers:
            raise InputError(f"--labels has the class {label} twice, wanted each once")
        if number == 0:
            raise InputError(f"--labels has no samples of the class {label}, wanted at least 1, or the class left out")
        numbers[label] = number
    if len({number is None for number in numbers.values()}) > 1:
        raise InputError(f"--labels is {shown(text)}, with numbers for some classes only; {_WANTED}")
    return numbers
