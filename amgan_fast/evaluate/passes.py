"""Once over a source: each sample through the classifier to everything that is measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from amgan_fast.errors import InputError, counted
from amgan_fast.evaluate.batch_size import batch_size_of, fitting_batch_size
from amgan_fast.evaluate.class_labels import Labelling
from amgan_fast.evaluate.classified import classified
from amgan_fast.evaluate.classifiers.features import no_features
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier, Outputs
from amgan_fast.evaluate.feature_collector import FeatureKeeping
from amgan_fast.evaluate.feature_extraction import FeatureExtraction
from amgan_fast.evaluate.gallery import Shown
from amgan_fast.evaluate.measurements import Collector, Measurements
from amgan_fast.evaluate.sampling_choice import may_be_per_class
from amgan_fast.evaluate.saved_outputs import written_outputs
from amgan_fast.evaluate.sources import Batch, Source
from amgan_fast.evaluate.sources.record import SourceRecord
from amgan_fast.evaluation_request import OutputFiles, Settings
from amgan_fast.memory import all_to_device, fits_in_half_of, to_device
from amgan_fast.metrics import as_distribution
from amgan_fast.metrics.distribution import DistributionLike
from amgan_fast.metrics.stratum_sums import groups_of
from amgan_fast.processes import Share, gather
from amgan_fast.progress import Progress, to_no_one

_COPIES = 3  # of the sums: those so far, those of a batch, and what scores are computed from
_LARGE = 224  # pixels, the least that networks of ImageNet are made for
_FIRST = 16  # images whose brightest pixel is looked for
_DARK = 16  # of 255: as bright as images are that were scaled to [0, 1], or to the 0 to 16 of scikit-learn's digits


@dataclass(frozen=True, eq=False)
class Passed:
    """What a pass over a source has left: its sums, and what there is to say of them."""

    source: Source | SourceRecord
    classifier: ImageClassifier | None
    """None for logits and probabilities."""
    settings: Settings
    """As they were given."""
    batch_size: int
    doubt: str | None
    """What makes every score of the classifier doubtful; None: nothing."""
    dark: str | None
    """What the first images show that are scaled otherwise than pixels are; None: nothing."""
    num_classes: int
    labels: Labelling | None
    """What is known of the labels themselves; None: there are none."""
    collector: Collector


class Pass:
    """Over the samples of a source that are this process's; arguments as of :func:`amgan_fast.evaluate.evaluate`.

    Args:
        class_shares: [K], the parts of the training set that have the label of each class; None: not known.
        reference_counts: as of :meth:`Collector.compute`.
        save: where logits and what else there is go; None: nowhere.
        features: what makes features of the images, for scores of these; None: nothing.

    Raises:
        InputError: a source that does not fit the classifier, or settings that do not fit the source.
    """

    def __init__(
        self,
        source: Source,
        classifier: ImageClassifier | None,
        reference: DistributionLike | None,
        settings: Settings,
        share: Share,
        progress: Progress | None = None,
        *,
        class_shares: Tensor | None = None,
        reference_counts: Tensor | None = None,
        save: OutputFiles | None = None,
        features: FeatureExtraction | None = None,
    ) -> None:
        _check(source, classifier, settings, share)
        self._source = source
        self._classifier = classifier
        self._reference = reference, reference_counts
        self._settings = settings
        self._share = share
        self._progress = progress or to_no_one
        self._device = torch.device("cpu") if classifier is None else classifier.device
        first = _first_images(source)
        probe = next(iter(source.batches(1)), None) if first is None else _first_of(first)
        if probe is None:
            raise InputError(f"{source.description}: not one sample can be read, wanted samples")
        self._probe = probe
        # From the first sample: what does not fit shows before the work begins.
        self._save = save or OutputFiles()
        self._extractor = None if features is None else features.extractor
        self._wants_own = self._save.features is not None or (features is not None and features.extractor is None)
        outputs = self._first_outputs(probe)
        self._num_classes = outputs.logits.size(1)
        self._check_memory()
        if reference is not None and (found := len(as_distribution(reference))) != self._num_classes:
            raise InputError(
                f"reference has {found} classes, wanted the {self._num_classes} of the "
                f"{source.kind if classifier is None else 'classifier'}"
            )
        labels = self._that_fit(Labelling.of(source, classifier, self._num_classes))
        _check_saved(self._save, source, labels)
        start, stop = share.bounds(source.count, source.unit)
        self._range = (start, stop)
        self._wanted = stop - start
        self._collector = Collector(
            self._num_classes,
            source.count,
            settings,
            self._device,
            from_logits=source.kind != "probabilities",
            labels=labels and labels.with_shares(class_shares),
            start=start,
            turns=source.labels_before(start) if start else None,
            features=None if features is None else self._kept(features, outputs, labels),
        )
        self.passed = Passed(
            source,
            classifier,
            settings,
            batch_size=settings.batch_size or self._fitting_batch_size(probe),
            doubt=None if classifier is None else _doubt_of_size(classifier, probe.values),
            dark=None if first is None else _darkness(source, first.values),
            num_classes=self._num_classes,
            labels=labels,
            collector=self._collector,
        )
        """What there is of it so far."""

    def __str__(self) -> str:
        return f"{self._collector.samples:,} of {self._wanted:,} samples of {self._source.description}"

    def run(self) -> Measurements:
        """
        Raises:
            InputError: a sample that cannot be read or scored.
        """
        description, done = self._source.description, 0
        self._progress(description, 0, self._wanted)
        try:
            classes = None if self.passed.labels is None else self.passed.labels.classes
            with written_outputs(self._save, classes) as saved, self._classified() as batches:
                for as_read, batch, outputs in batches:
                    logits = outputs.logits
                    saved.add(outputs, batch.labels)
                    shown = self._shown(batch) if self._collector.wants_images else None
                    alike = isinstance(batch.values, Tensor)
                    # A GPU would be started anew for each image of another size to hash.
                    features = outputs.features if self._extractor is None else self._extractor.features(batch.values)
                    samples = batch.values if alike else as_read.values
                    self._collector.update(logits, batch.labels, shown, samples, features)
                    done += len(logits)
                    self._progress(description, done, self._wanted)
            if self._share.ranks > 1:
                self._collector.all_reduce()
                for sample in itertools.chain(*gather(self._source.skipped, self._share)):
                    self._source.leave_out(sample)
            return self._collector.compute(*self._reference, partial=self._share.shards > 1)
        except ValueError as error:
            raise error if isinstance(error, InputError) else InputError(f"{description}: {error}") from error

    def so_far(self) -> list[Measurements]:
        """Of the samples so far, of this process alone; empty where there are none."""
        try:
            return [self._collector.compute(*self._reference, partial=True)]
        except ValueError:
            return []

    @contextmanager
    def _classified(self) -> Iterator[Iterator[tuple[Batch, Batch, Outputs]]]:
        """Batches as they are read, and where they are classified, and what the classifier makes of them."""
        size = self.passed.batch_size
        read = self._source.batches(size, *self._range)
        if self._classifier is None or self._device.type != "cpu":
            moved = ((batch, self._moved(batch)) for batch in read)
            yield ((as_read, there, self._outputs(there)) for as_read, there in moved)
            return
        count = math.ceil(self._wanted / size)
        here = map(self._moved, read)
        alone = self._source.is_computed or self._extractor is not None  # which has all threads to itself
        how = {"by_threads": not alone, "features": self._wants_own}
        with classified(here, count, self._classifier, self._probe, **how) as batches:
            yield ((batch, batch, outputs) for batch, outputs in batches)

    def _outputs(self, batch: Batch) -> Outputs:
        if self._classifier is None:
            return Outputs(torch.as_tensor(batch.values))  # they are logits
        return self._classifier.outputs(batch.values, features=self._wants_own)

    def _first_outputs(self, probe: Batch) -> Outputs:
        try:
            outputs = self._outputs(probe)
        except InputError as error:  # of samples, held-out ones or a reference: which is to be said
            raise InputError(f"{self._source.description}: {error}") from error
        if self._classifier is not None:
            self._classifier.refuse_probabilities(outputs.logits)
            if outputs.features is None and self._wants_own:
                raise no_features(self._classifier.network)
        return outputs

    def _kept(self, features: FeatureExtraction, outputs: Outputs, labels: Labelling | None) -> FeatureKeeping:
        """
        Args:
            outputs: of the first sample.
        """
        first = outputs.features if self._extractor is None else self._extractor.features(self._probe.values)
        if first is None:
            raise InputError(f"{self._source.description}: {self._source.kind}, wanted images to make features of")
        dim = first.size(1)
        with_classes = labels is not None and labels.classes is not None
        keeping = FeatureKeeping.of(dim, features.number_kept(dim), self._num_classes if with_classes else None)
        if not all(gather(fits_in_half_of(self._device, keeping.memory), self._share)):
            raise InputError(
                f"{self._source.description}: {dim:,} features take {keeping.memory / 2**30:,.1f} GiB, "
                "wanted at most half of the memory: fewer features or --feature-samples"
            )
        return keeping

    def _moved(self, batch: Batch) -> Batch:
        """To where it is classified, once for all that is made of it there."""
        values, labels = batch.values, batch.labels
        there = to_device(values, self._device) if isinstance(values, Tensor) else all_to_device(values, self._device)
        return Batch(there, None if labels is None else to_device(labels, self._device))

    def _check_memory(self) -> None:
        blocks = self._settings.blocks
        size = _COPIES * 3 * blocks * self._num_classes * torch.float64.itemsize
        if not fits_in_half_of(self._device, size):
            of = self._source.description if self._classifier is None else self._classifier.name
            raise InputError(
                f"{of} has {self._num_classes:,} classes, whose sums in {blocks:,} blocks take "
                f"{size / 2**30:,.0f} GiB, wanted at most half of the memory: fewer classes or --splits"
            )

    def _that_fit(self, labels: Labelling | None) -> Labelling | None:
        """Labels by which samples are summed where there is memory for it, in every process."""
        if labels is None or not may_be_per_class(self._settings, labels):
            return labels
        sums = (2 * groups_of(labels.number) + 1) * labels.number * self._num_classes
        size = _COPIES * sums * torch.float64.itemsize
        if all(gather(fits_in_half_of(self._device, size), self._share)):
            return labels
        found = f"sums of {labels.number:,} labels and {self._num_classes:,} classes take {size / 2**30:,.0f} GiB"
        if self._settings.sampling == "per-class":
            raise InputError(f"--sampling is per-class, and {found}, wanted at most half of the memory: fewer labels")
        return replace(labels, too_many=f"{found}, more than half of the memory")

    def _fitting_batch_size(self, probe: Batch) -> int:
        if self._classifier is None:
            return batch_size_of(self._num_classes * torch.float64.itemsize, self._device)
        return fitting_batch_size(self._classifier.logits, probe.values, self._device)

    def _shown(self, batch: Batch) -> Tensor | Shown | None:
        """The images of a batch as they come, or as the classifier sees them where it has them resized; those of
        several sizes at that of the first."""
        if self._classifier is None:
            return None
        size = self._probe.values[0].shape[1:]
        images, resized = batch.values, self._classifier.inputs.resize != "none"
        if isinstance(images, Tensor) and images.shape[2:] == size and not resized:
            return images
        return _AsClassified(images, self._classifier, (size[0], size[1]))


class _AsClassified:
    """Images at the size that a classifier has them resized to, those that are asked for: it takes as long as a small
    network to do it to all of them again.

    Args:
        size: where the classifier has none.
    """

    def __init__(self, images: Tensor | list[Tensor], classifier: ImageClassifier, size: tuple[int, int]) -> None:
        self._images = images
        self._device = classifier.device
        inputs = (
            classifier.inputs if classifier.inputs.size else replace(classifier.inputs, size=size, resize="bilinear")
        )
        self._pixels = replace(inputs, value_range="byte", dtype=torch.float32)

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        images = self._images
        if isinstance(images, Tensor) or isinstance(which, slice):
            chosen = images[which]
        else:
            places = which.nonzero().squeeze(1) if which.dtype == torch.bool else which
            chosen = [images[i] for i in places.tolist()]
        return self._pixels(chosen, self._device).round().to(torch.uint8)


def _first_images(source: Source) -> Batch | None:
    """The first 16 that are images of a file or an array; None: there are none, or one of them cannot be read, which
    whoever comes to it says."""
    if source.kind != "images" or source.is_computed:
        return None
    try:
        return next(iter(source.batches(_FIRST, 0, min(_FIRST, source.count))), None)
    except InputError:
        return None


def _first_of(batch: Batch) -> Batch:
    return Batch(batch.values[:1], None if batch.labels is None else batch.labels[:1])


def _darkness(source: Source, images: Tensor | Sequence[Tensor]) -> str | None:
    if images[0].dtype != torch.uint8:
        return None
    largest = int(images.max() if isinstance(images, Tensor) else max(image.max() for image in images))
    if largest > _DARK:
        return None
    return (
        f"{source.description}: no pixel of the first {counted(len(images), 'image')} is above {largest} of 255; "
        "images of another scale, [0, 1] say, are black in whole numbers"
    )


def _check(source: Source, classifier: ImageClassifier | None, settings: Settings, share: Share) -> None:
    """Before anything is read."""
    if settings.contiguous and not share.is_whole:
        raise InputError("splits are contiguous and samples shared out, wanted splits filled in turn, or one process")
    parts = math.ceil(source.count / source.unit)
    if share.shards > parts:
        raise InputError(
            f"shard is {share.shard + 1}/{share.shards}, and {source.description} can be cut into "
            f"{counted(parts, 'part')}, wanted no more shards"
        )
    if source.count < settings.splits:
        raise InputError(
            f"{source.description}: {source.count} samples, wanted at least one for each of {settings.splits} splits "
            "(--splits)"
        )
    if settings.sampling == "per-class" and source.num_labels is None:
        raise InputError(
            f"--sampling is per-class, and {source.description} has no labels, wanted labels or --sampling auto"
        )
    if (classifier is None) != (source.kind != "images"):
        wanted = f"no classifier for {source.kind}" if classifier else "a classifier for images (--classifier)"
        raise InputError(f"{source.description}: {source.kind}, wanted {wanted}")


def _check_saved(save: OutputFiles, source: Source, labels: Labelling | None) -> None:
    """Before anything is scored."""
    if save.given and source.kind != "images":
        raise InputError(f"{source.description}: {source.kind}, wanted images to save what a classifier makes of them")
    if save.labels is not None and (labels is None or labels.classes is None):
        why = "has no labels" if labels is None else f"has labels of unknown classes ({labels.note})"
        raise InputError(f"found --save-labels, and {source.description} {why}, wanted classes of the classifier")


def _doubt_of_size(classifier: ImageClassifier, images: Tensor | Sequence[Tensor]) -> str | None:
    height, width = images[0].shape[1:]
    if not classifier.is_users or classifier.inputs.size or classifier.takes_any_size or min(height, width) >= _LARGE:
        return None
    return (
        f"{classifier.name} does not say which size of images it was made for, and gets them as they come, {height} x "
        f"{width}: a network made for larger ones gives scores that mean nothing (--input-size and --resize, or "
        "input_size of the function)"
    )
