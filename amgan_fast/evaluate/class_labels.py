"""Which class of a classifier a sample's label stands for: the one rule, whatever samples are from.

1. Labels that are plain numbers, in an array, are the classifier's classes as they are. One out of range is an error.
2. Labels that have names (class folders, datasets, runs) are matched by name with the classes that the classifier
   carries the names of. Integers match by value: ``07`` is ``7``.
3. Where the classifier carries other names, or none, names that are all integers are the numbers of its classes.
4. Otherwise nobody knows, and there is no agreement to be measured, for a reason that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from amgan_fast.errors import InputError, some_of
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.sources import Source
from amgan_fast.images import is_number
from amgan_fast.metrics import Sampling

_UNNAMED_BEFORE = "image-folder"  # its classifiers have carried names since they count numbers by value


@dataclass(frozen=True, eq=False)
class Labelling:
    """What is known of the labels of a source, which are groups of samples even where no one knows their class."""

    number: int
    """S: how many different ones there may be."""
    classes: Tensor | None
    """int64 [S]: the class of the classifier that each stands for; None: not known."""
    names: tuple[str, ...] = ()
    """What each is called; empty: by its number."""
    note: str | None = None
    """Why the classes are not known."""
    sampling: Sampling | None = None
    """As of :attr:`Source.sampling`."""
    shares: Tensor | None = None
    """float64 [S]: as of :attr:`Source.label_shares`, or those of the classes in the training set."""
    too_many: str | None = None
    """Why samples are not summed by label, although they may be drawn so."""

    @classmethod
    def of(
        cls,
        source: Source,
        classifier: ImageClassifier | None,
        num_classes: int,
    ) -> Labelling | None:
        """Of a source, arguments and errors as of :func:`classes_of_labels`; None: it has no labels."""
        if source.num_labels is None:
            return None
        classes, note = classes_of_labels(source, classifier, num_classes)
        names = source.class_names
        if not names and classes is not None and classifier is not None and classifier.class_names is not None:
            names = tuple(classifier.class_names[k] for k in classes.tolist())
        return cls(source.num_labels, classes, names, note, source.sampling, source.label_shares)

    def with_shares(self, class_shares: Tensor | None) -> Labelling:
        """With shares of the labels, where none are known otherwise.

        Args:
            class_shares: [K], the parts of the training set that have the label of each class; None: not known.
        """
        if self.shares is not None or class_shares is None or self.classes is None:
            return self
        return replace(self, shares=class_shares[self.classes])


def classes_of_labels(
    source: Source, classifier: ImageClassifier | None, num_classes: int
) -> tuple[Tensor | None, str | None]:
    """
    Args:
        source: the samples and their labels.
        classifier: None: the source is one of logits.
        num_classes: the number of classes K of the classifier or the logits.

    Returns:
        The class of each label, int64 [``source.num_labels``]; None: not known. And why it is not, if there are labels.

    Raises:
        InputError: a label or a folder that is none of the classes.
    """
    if source.num_labels is None:
        return None, None
    if classifier is None or not source.class_names:  # logits have no names beside them
        if source.num_labels > num_classes:
            raise InputError(
                f"{source.label_origin} has a label of {source.num_labels - 1}, wanted 0 to {num_classes - 1}: the "
                f"classes of the {'classifier' if classifier else source.kind}, counted from 0"
            )
        return torch.arange(source.num_labels), None
    if source.has_all_classes:
        return _of_a_whole_set(source.class_names, classifier, num_classes)
    return _of_folders(source, classifier, num_classes)


def _of_a_whole_set(
    names: Sequence[str], classifier: ImageClassifier, num_classes: int
) -> tuple[Tensor | None, str | None]:
    """Of a dataset or a run, which may be another than the classifier's."""
    known = _names(classifier, num_classes)
    if known is not None:
        matched = matched_names(names, known)
        if None not in matched:
            return torch.tensor(matched), None
        return None, f"the classes are {some_of(names)}, those of {classifier.name} are {some_of(known)}"
    if classifier.dataset is not None or len(names) != num_classes:
        return None, f"{classifier.name} has {num_classes:,} classes without names; those here are {some_of(names)}"
    return torch.arange(num_classes), None


def _of_folders(source: Source, classifier: ImageClassifier, num_classes: int) -> tuple[Tensor | None, str | None]:
    names, known = source.class_names, classifier.class_names
    if known is None and classifier.dataset == _UNNAMED_BEFORE:
        return None, f"{classifier.name} is of an earlier version, which kept no class names: train it again for them"
    numbers = all(map(is_number, names))
    if known is not None and not (numbers and not all(map(is_number, known))):
        matched = matched_names(names, known)
        missing = [name for name, place in zip(names, matched, strict=True) if place is None]
        if not missing:
            return torch.tensor(matched), None
        if numbers or len(missing) < len(names):
            raise InputError(
                f"{source.label_origin} has the classes {some_of(missing)}, wanted some of the {len(known):,} of "
                f"{classifier.name}: {some_of(known)}"
            )
        return None, f"the classes are {some_of(names)}, those of {classifier.name} are {some_of(known)}"
    if not numbers:
        return None, f"the classes are {some_of(names)}, and {classifier.name} carries no class names"
    if missing := [name for name in names if not 0 <= int(name) < num_classes]:
        raise InputError(
            f"{source.label_origin} has the classes {some_of(missing)}, wanted 0 to {num_classes - 1}: the classes of "
            "the classifier, counted from 0"
        )
    return torch.tensor([int(name) for name in names]), None


def _names(classifier: ImageClassifier, num_classes: int) -> tuple[str, ...] | None:
    """Those it carries, or the numbers that a dataset calls its classes by."""
    if classifier.class_names is not None or classifier.dataset in (None, _UNNAMED_BEFORE):
        return classifier.class_names
    return tuple(map(str, range(num_classes)))


def matched_names(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """The place among the known of each; None: it is none of them.

    >>> from amgan_fast.evaluate.class_labels import matched_names
    >>> matched_names(["cat", "07", "bird"], ["7", "cat", "dog"])
    [1, 0, None]
    """
    places = {_key(name): place for place, name in enumerate(known)}
    return [places.get(_key(name)) for name in names]


def _key(name: str) -> int | str:
    return int(name) if is_number(name) else name
