"""The sums of an evaluation in a file, and those of all its shards, one file each, added up again.

A file has the sums over one shard of the samples, of the held-out ones and, where the reference is measured, of the
training set. Shards belong together if they agree in everything that sums depend on (:func:`_identity`). Where files
are, the device, and how many samples are gone through at a time may differ: that changes last digits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amgan_fast import __version__
from amgan_fast.errors import InputError, counted, shown
from amgan_fast.evaluate.class_labels import Labelling
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.feature_collector import FeatureCollector
from amgan_fast.evaluate.feature_comparison import FeatureComparison
from amgan_fast.evaluate.feature_extraction import FeatureExtraction
from amgan_fast.evaluate.feature_reference import FeatureReference
from amgan_fast.evaluate.measurements import Collector
from amgan_fast.evaluate.passes import Passed
from amgan_fast.evaluate.sources.record import SourceRecord
from amgan_fast.evaluate.state_file import read_state, write_state
from amgan_fast.evaluate.training_distribution import TrainingDistribution, distribution_of
from amgan_fast.evaluation_request import Settings
from amgan_fast.files import contents_of
from amgan_fast.processes import Share
from amgan_fast.tensor_files import tensor_bytes

_NAMES = ("generated", "held-out")
_REAL = "features' reference"  # where it is not the reference of the scores
_GIVEN = ("probabilities", "warnings", "class_shares", "class_counts", "origin")  # of a reference that was not measured


def save_state(
    path: Path,
    passes: Sequence[Passed],
    reference: TrainingDistribution | None,
    share: Share,
    features: FeatureComparison | None = None,
) -> None:
    """Write the sums of passes over a share of their sources.

    Raises:
        InputError: the file cannot be written, or a row that gives no distribution was found late, on a GPU.
    """
    named = dict(zip(_NAMES, passes, strict=False))
    given = None
    if reference is not None and reference.passed is not None:
        named["reference"] = reference.passed
    elif reference is not None:
        given = {name: getattr(reference, name) for name in _GIVEN}
    if features is not None and features.passed is not None and features.passed is not named.get("reference"):
        named[_REAL] = features.passed
    classifier = passes[0].classifier
    state = {
        "version": __version__,
        "shard": share.shard + 1,
        "shards": share.shards,
        "classifier": classifier and classifier.to_dict(),
        "reference": given,
        "features": None if features is None else _comparison_state(features, named.get("reference")),
        "passes": {name: _state_of(one) for name, one in named.items()},
    }
    write_state(path, state)


@dataclass(frozen=True, eq=False)
class Loaded:
    """The sums of all shards of an evaluation."""

    passes: list[Passed]
    """Over the samples, and over held-out ones if there are any."""
    reference: TrainingDistribution | None
    features: FeatureComparison | None


def load_states(paths: Sequence[Path], *, modes: bool) -> Loaded:
    """The sums of all shards of an evaluation, added up in their order.

    Args:
        paths: a file of each, in any order.
        modes: with those that the mode-drop curve is drawn from.

    Raises:
        InputError: a file that is damaged or of something else, shards that do not belong together, or one that is
            missing or there twice, by name.
        ValueError: contiguous splits, or a reference of no samples.
    """
    if not paths:
        raise InputError("found no files, wanted those of amgan-fast evaluate --state")
    shards = [_Shard.at(path) for path in paths]
    _check_together(shards)
    ordered = sorted(shards, key=lambda one: one.place)
    reference = _reference(ordered)
    there = [name for name in _NAMES if name in ordered[0].passes]
    passes = [_merged(ordered, name, modes, reference) for name in there]
    return Loaded(passes, reference, _comparison(ordered, reference))


@dataclass(frozen=True)
class _Shard:
    """Of the file of one: all but its sums, which are read again when it is their turn, as there may be many files."""

    path: Path
    place: int
    """From 1 on."""
    shards: int
    identity: Mapping[str, Any]
    passes: tuple[str, ...]

    @classmethod
    def at(cls, path: Path) -> _Shard:
        state = read_state(path)
        with contents_of(path):
            if state["version"] != __version__:
                raise InputError(f"it is of amgan_fast {state['version']}, this is {__version__}")
            return cls(path, int(state["shard"]), int(state["shards"]), _identity(state), tuple(state["passes"]))


def _state_of(one: Passed) -> dict[str, Any]:
    labels = None
    if one.labels is not None:
        labels = {name: getattr(one.labels, name) for name in Labelling.__dataclass_fields__}
    return {
        "source": one.source.record().to_dict(),
        "settings": asdict(one.settings),
        "batch_size": one.batch_size,
        "doubt": one.doubt,
        "dark": one.dark,
        "num_classes": one.num_classes,
        "labels": labels,
        "sums": one.collector.state_dict(),
    }


def _reference(ordered: Sequence[_Shard]) -> TrainingDistribution | None:
    first = ordered[0]
    if "reference" in first.passes:
        measured = _merged(ordered, "reference", modes=False, reference=None)
        return distribution_of(measured, measured.collector.compute(None))
    with contents_of(first.path):
        given = read_state(first.path)["reference"]
        return None if given is None else TrainingDistribution(**given)


def _comparison_state(features: FeatureComparison, measured: Passed | None) -> dict[str, Any]:
    """
    Args:
        measured: the pass over the reference of the scores, which may be that of the features, too.
    """
    reference = features.reference
    state = features.extraction.to_dict()
    if features.passed is not None:
        return state | {"of_pass": "reference" if features.passed is measured else _REAL}
    known = {"origin": reference.origin, "reference_sha256": reference.sha256}
    return state | known | {"of_pass": None, "kept": reference.state_dict()}


def _comparison(ordered: Sequence[_Shard], reference: TrainingDistribution | None) -> FeatureComparison | None:
    first = ordered[0]
    with contents_of(first.path):
        state = read_state(first.path)["features"]
        if state is None:
            return None
        extraction = FeatureExtraction.from_dict(state)
        if state["of_pass"] is None:
            named = state["origin"], state["reference_sha256"]
            return FeatureComparison(extraction, FeatureReference.from_state_dict(state["kept"], *named))
    measured = None if reference is None else reference.passed
    if state["of_pass"] == _REAL or measured is None:
        measured = _merged(ordered, _REAL, modes=False, reference=None)
    return FeatureComparison.of_passed(extraction, measured)


def _merged(ordered: Sequence[_Shard], name: str, modes: bool, reference: TrainingDistribution | None) -> Passed:
    """The passes of this name, of all shards."""
    first, *others = ordered
    whole, record = _part(first, name, modes, reference)
    records = [record]
    for shard in others:
        part, record = _part(shard, name, modes, reference)
        whole.collector.merge(part.collector)
        records.append(record)
    return replace(whole, source=SourceRecord.of_parts(records))


def _part(shard: _Shard, name: str, modes: bool, reference: TrainingDistribution | None) -> tuple[Passed, SourceRecord]:
    state = read_state(shard.path)
    with contents_of(shard.path):
        classifier = state["classifier"] and ImageClassifier.from_dict(state["classifier"])
        record = SourceRecord.from_dict(state["passes"][name]["source"])
        return _passed(state["passes"][name], classifier, modes, reference), record


def _passed(
    state: Mapping[str, Any], classifier: ImageClassifier | None, modes: bool, reference: TrainingDistribution | None
) -> Passed:
    record, settings = SourceRecord.from_dict(state["source"]), Settings(**state["settings"])
    settings = replace(settings, modes=modes and settings.modes)
    labels = state["labels"] and Labelling(**state["labels"])
    features = state["sums"].get("features")
    from_logits = record.kind != "probabilities"
    collector = Collector(
        state["num_classes"],
        record.count,
        settings,
        torch.device("cpu"),
        from_logits=from_logits,
        labels=labels and labels.with_shares(None if reference is None else reference.shares_for(record)),
        features=None if features is None else FeatureCollector.keeping_of(features),
    )
    collector.load_state_dict(state["sums"])
    return Passed(
        record,
        classifier,
        settings,
        batch_size=state["batch_size"],
        doubt=state["doubt"],
        dark=state["dark"],
        num_classes=state["num_classes"],
        labels=labels,
        collector=collector,
    )


def _check_together(all_of_them: Sequence[_Shard]) -> None:
    first, *others = all_of_them
    for other in others:
        for what in {**first.identity, **other.identity}:
            found, wanted = other.identity.get(what), first.identity.get(what)
            if found != wanted:
                both = f"{other.path} has {what} {_in_words(found)} and {first.path} {_in_words(wanted)}"
                raise InputError(f"{both}, wanted shards of one evaluation")
    there: dict[int, _Shard] = {}
    for one in all_of_them:
        if (before := there.setdefault(one.place, one)) is not one:
            found = f"{before.path} and {one.path} are both shard {one.place}"
            raise InputError(f"{found} of {one.shards}, wanted each once")
    if missing := first.shards - len(there):
        named = islice((str(place) for place in range(1, first.shards + 1) if place not in there), 3)
        more = f" and {missing - 3:,} more" if missing > 3 else ""
        noun, verb = ("shard", "is") if missing == 1 else ("shards", "are")
        which = f"{noun} {', '.join(named)}{more} {verb} missing"
        raise InputError(f"found {len(there)} of {counted(first.shards, 'shard')}, {which}, wanted a file of each")


def _identity(state: Mapping[str, Any]) -> dict[str, Any]:
    """What shards of one evaluation agree in, by what messages call it."""
    classifier, given, passes = state["classifier"], state["reference"], state["passes"]
    features = state["features"]
    found: dict[str, Any] = {"shards in all:": state["shards"]}
    if classifier is not None:
        known = {name: value for name, value in classifier.items() if name != "device"}
        if classifier["sha256"] is not None:
            known.pop("name")  # of a file, which may lie elsewhere
            found["the classifier with SHA-256"] = known.pop("sha256")
        found |= {f"the classifier's {name.replace('_', ' ')}": value for name, value in known.items()}
    for name, one in passes.items():
        source, settings = one["source"], one["settings"]
        found[f"{name} samples of the kind"] = source["kind"]
        found[f"{name} samples, in number"] = source["count"]
        found[f"classes K of {name} samples:"] = one["num_classes"]
        found[f"{name} samples with the fingerprint"] = source["fingerprint"]
        found[f"{name} sums by label:"] = one["labels"] and one["labels"]["too_many"] is None
        unlike = ("batch_size", "modes")
        found |= {f"{name} {key} =": value for key, value in settings.items() if key not in unlike}
    found["scores of features:"] = features is not None
    if features is not None:
        extractor = dict(features["extractor"] or {})
        if extractor.get("sha256") is not None:
            extractor.pop("name")
        found |= {f"the extractor's {name}": value for name, value in extractor.items() if name != "device"}
        found["features kept of samples, in number"] = features["samples_kept"]
        found["the features' reference of the pass"] = features["of_pass"]
        if features["of_pass"] is None:
            found["the features' reference with SHA-256"] = features["reference_sha256"]
        kept = {name: one["sums"].get("features") for name, one in passes.items()}
        found |= {f"features kept of {name}:": str(one["keeping"]) for name, one in kept.items() if one is not None}
    if given is not None:
        found["the reference with SHA-256"] = _digest(given)
    return found


def _digest(state: Mapping[str, Any]) -> str:
    """Of the tensors in it."""
    digest = hashlib.sha256()
    for value in state.values():
        if isinstance(value, Tensor):
            digest.update(tensor_bytes(value))
        elif isinstance(value, Mapping):
            digest.update(_digest(value).encode())
    return digest.hexdigest()


def _in_words(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else shown(value)
