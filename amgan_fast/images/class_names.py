"""Names of classes, and the order their labels count them in."""

from __future__ import annotations

from collections.abc import Sequence


def is_number(class_name: str) -> bool:
    """Whether a class is called by an integer: ``7``, ``007``, ``-1``."""
    digits = class_name.removeprefix("-")
    return digits.isascii() and digits.isdigit()


def in_class_order(class_names: Sequence[str]) -> list[str]:
    """Class names as their labels count them: by value where all are integers (2 before 10), else sorted as text."""
    if all(map(is_number, class_names)):
        return sorted(class_names, key=lambda name: (int(name), name))
    return sorted(class_names)
