"""What a user asks to have scored and how: the options of ``amgan-fast evaluate``."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from amgan_fast.errors import InputError, as_input_error, shown
from amgan_fast.files import check_writable
from amgan_fast.option_checks import MOST_PROCESSES
from amgan_fast.option_declarations import (
    DATA_DIR,
    DATASET_NAMES,
    DEVICE,
    INCEPTION_NAMES,
    DeviceName,
    DtypeName,
    Option,
    Resize,
    UserRange,
    check_dataset,
    check_options,
    declarations,
    flag_of,
)

CompatName = Literal["all", "openai", "torch-fidelity", "torchmetrics", "ignite", "adm", "is-infinity"]

_SOURCE, _CLASSIFIER, _REAL = "What to score", "The classifier", "Real data"
_SAVED = "What is kept of each sample"
_HOW, _SPEED = "How it is scored", "Speed and memory"
_FEATURES = "Features: Fréchet distance, precision and recall"
_ANY_CLASSIFIER, _FOLDER = "--run or --classifier", "a folder of images"

AgainstJson = Annotated[
    Path | None, Option("another evaluation, the .json of --json: the difference to it, with its interval")
]


@dataclass(frozen=True)
class Settings:
    """How samples are gone through and scored.

    >>> from amgan_fast.evaluate import Settings
    >>> Settings(splits=5, contiguous=True).blocks
    50
    """

    batch_size: Annotated[
        int | None, Option("images or logits at a time; default: as memory suggests, at most 500", _SPEED, lowest=1)
    ] = None
    splits: Annotated[
        int,
        Option(
            "of the Inception Score; its intervals rest on ten times as many blocks", _HOW, lowest=1, highest=100_000
        ),
    ] = 10
    contiguous: Annotated[
        bool, Option("splits of consecutive samples, as in the original code, not filled in turn", _HOW)
    ] = False
    sampling: Annotated[
        Literal["auto", "random", "per-class"],
        Option(
            "how the classes of what is scored came about: random, per-class, or auto: as its source says, or as the "
            "counts tell",
            _HOW,
            placeholder="<how>",
        ),
    ] = "auto"
    compat: Annotated[
        CompatName | None,
        Option(
            f"the Inception Score as other tools have it too: their order and splits (--splits), and IS-infinity; one "
            f"of {', '.join(get_args(CompatName))}",
            _HOW,
            placeholder="<tool>",
        ),
    ] = None
    skip_non_finite: Annotated[bool, Option("leave out rows of logits with NaN or infinity, and count them", _HOW)] = (
        False
    )
    modes: bool = True
    """Take the sums of each class apart too, for the mode-drop curve that a report draws."""

    @property
    def blocks(self) -> int:
        """Of samples, which the intervals rest on."""
        return 10 * self.splits

    def for_real(self, count: int) -> Settings:
        """For ``count`` real images that samples are compared with: blocks of them are wanted, of which errors follow,
        and no more."""
        return replace(self, splits=min(10, count), contiguous=False, modes=False, sampling="auto", compat=None)


@dataclass(frozen=True)
class OutputFiles:
    """Where what a classifier makes of samples is written while they are scored: each a .npy with a row for each
    sample, in their order; None: nowhere.

    >>> from pathlib import Path
    >>> from amgan_fast.evaluate import OutputFiles
    >>> OutputFiles(logits=Path("logits.txt")).check()
    Traceback (most recent call last):
    amgan_fast.errors.InputError: --save-logits is logits.txt, wanted a name that ends in .npy
    """

    logits: Path | None = None
    """float32 [N, K], whatever the classifier computes in."""
    features: Path | None = None
    """float32 [N, F], what the classifier's last linear layer takes."""
    labels: Path | None = None
    """int64 [N], the classes of the classifier that the samples' labels stand for."""

    @property
    def given(self) -> dict[str, Path]:
        """By the names of the fields."""
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in paths.items() if path is not None}

    def check(self, processes: int = 1) -> None:
        """
        Args:
            processes: that share the samples.

        Raises:
            InputError: a name that does not end in .npy, that is there twice, or where no file can be written; or
                several processes, each of which would have a part of the rows.
        """
        given = self.given
        for name, path in given.items():
            if path.suffix != ".npy":
                raise InputError(f"--save-{name} is {path}, wanted a name that ends in .npy")
            check_writable(f"--save-{name}", path)
        options = " and ".join(f"--save-{name}" for name in given)
        if len({path.absolute() for path in given.values()}) < len(given):
            raise InputError(f"found {options} with one name, wanted a file for each")
        if given and processes > 1:
            raise InputError(f"found {options} in {processes} processes, wanted one, or jobs with a --shard each")


@dataclass(frozen=True)
class Request(Settings):
    """What to score, with which classifier, beside which real samples; exactly one of ``run``, ``images``, ``npz``,
    ``logits`` and ``probabilities`` is given. The options of ``amgan-fast evaluate`` have these names and meanings.

    >>> from pathlib import Path
    >>> from amgan_fast.evaluate import Request
    >>> Request(npz=Path("samples.npz"), classifier="cifar10.pt", splits=1).scored
    ('npz', PosixPath('samples.npz'))
    """

    run: Annotated[
        Path | None, Option("the folder of a training run, or a checkpoint in it: its generator", _SOURCE)
    ] = None
    allow_code: Annotated[
        str | None,
        Option(
            "modules, with commas between, that the run may name code of: an own network or dataset",
            _SOURCE,
            needs="--run",
            placeholder="<modules>",
        ),
    ] = None
    images: Annotated[Path | None, Option("a folder of images, flat or one subfolder a class", _SOURCE)] = None
    npz: Annotated[
        Path | None, Option("uint8 [N, H, W, C] as arr_0, images or x, labels as arr_1, labels or y", _SOURCE)
    ] = None
    logits: Annotated[Path | None, Option("a .npy [N, K], read as it is needed", _SOURCE)] = None
    probabilities: Annotated[
        Path | None,
        Option(
            "a .npy [N, K] of rows that sum to 1 (to 0.01), instead of logits; in --reference and --held-out too",
            _SOURCE,
        ),
    ] = None
    labels: Annotated[
        Path | None,
        Option(
            "classes: a .npy [N] in the order of --logits, --probabilities, --npz or the sorted names of a flat "
            "--images, or for these a .csv of lines file,label",
            _SOURCE,
        ),
    ] = None
    samples: Annotated[
        int | None, Option("how many to generate, with --run; default: 50,000", _SOURCE, lowest=1, needs="--run")
    ] = None
    shard: Annotated[
        str | None,
        Option("the i-th of n parts of all samples, as 2/7, for --state", _SOURCE, placeholder="I/N"),
    ] = None
    skip_unreadable: Annotated[
        bool, Option("leave out images that cannot be read, or are of another size", _SOURCE, needs=_FOLDER)
    ] = False
    allow_empty: Annotated[
        bool, Option("take a class folder without images for a class of none", _SOURCE, needs=_FOLDER)
    ] = False
    classifier: Annotated[
        str | None,
        Option(
            "a file of train-classifier, module:function, inception-2015 (of published scores) or inception-v3; "
            "default: the run's own",
            _CLASSIFIER,
            placeholder="<classifier>",
            values=INCEPTION_NAMES,
        ),
    ] = None
    weights: Annotated[
        Path | None,
        Option(
            "of inception-2015, torch-fidelity's, or inception-v3, torchvision's: .pth or .safetensors",
            _CLASSIFIER,
            needs="--classifier",
        ),
    ] = None
    last_bias: Annotated[
        bool,
        Option(
            "the bias of an Inception network's last layer; published Inception Scores leave it out",
            _CLASSIFIER,
            needs="--classifier",
        ),
    ] = True
    resize: Annotated[
        Resize | None,
        Option(
            f"how images of another size are brought to the classifier's: {', '.join(get_args(Resize))}",
            _CLASSIFIER,
            needs=_ANY_CLASSIFIER,
            placeholder="<how>",
        ),
    ] = None
    input_range: Annotated[
        UserRange | None,
        Option(
            "what module:function takes: signed [-1, 1], unit [0, 1], byte [0, 255], or imagenet",
            _CLASSIFIER,
            needs="--classifier",
            placeholder="<range>",
        ),
    ] = None
    input_size: Annotated[
        int | None,
        Option(
            "height and width that module:function takes", _CLASSIFIER, lowest=1, highest=16_384, needs="--classifier"
        ),
    ] = None
    dtype: Annotated[
        DtypeName,
        Option(
            f"what the classifier computes in: {', '.join(get_args(DtypeName))}",
            _CLASSIFIER,
            needs=_ANY_CLASSIFIER,
            placeholder="<type>",
        ),
    ] = "float32"
    dataset: Annotated[
        str | None,
        Option(
            "reference and held-out images, by name or module:function; default: the run's or classifier's",
            _REAL,
            needs=_ANY_CLASSIFIER,
            placeholder="<name>",
            values=DATASET_NAMES,
        ),
    ] = None
    data_dir: Annotated[Path | None, replace(DATA_DIR, panel=_REAL)] = None
    reference: Annotated[
        Path | None,
        Option(
            "training set: images (folder, .npz), logits or class distribution (.npy), the .json of its scores, or the "
            "file of a classifier, which has its own; with --features also as --feature-reference",
            _REAL,
        ),
    ] = None
    held_out: Annotated[Path | None, Option("real samples to show beside: a folder, .npz or .npy of logits", _REAL)] = (
        None
    )
    against: AgainstJson = None
    features: Annotated[
        str | None,
        Option(
            "compare features with real images': classifier (its own), module:function, inception-2015, inception-v3",
            _FEATURES,
            needs=_ANY_CLASSIFIER,
            placeholder="<extractor>",
            values=("classifier", *INCEPTION_NAMES),
        ),
    ] = None
    feature_weights: Annotated[
        Path | None,
        Option("the weights of the inception named there, .pth or .safetensors", _FEATURES, needs="--features"),
    ] = None
    feature_reference: Annotated[
        Path | None,
        Option(
            "the real images: a folder, .npz (of images, or mu and sigma), or a --state of them; default: --reference, "
            "or the training set",
            _FEATURES,
            needs="--features",
        ),
    ] = None
    feature_samples: Annotated[
        int,
        Option(
            "of each set that are compared one by one: all but the Fréchet distance",
            _FEATURES,
            lowest=100,
            needs="--features",
        ),
    ] = 10_000
    cas: Annotated[
        bool,
        Option("train a classifier on the samples and test it on real images (CAS)", _FEATURES, needs=_ANY_CLASSIFIER),
    ] = False
    save_logits: Annotated[
        Path | None,
        Option("write the samples' logits, float32 [N, K], .npy, for --logits", _SAVED, needs=_ANY_CLASSIFIER),
    ] = None
    save_features: Annotated[
        Path | None,
        Option(
            "write their features, what the classifier's last linear layer takes, .npy", _SAVED, needs=_ANY_CLASSIFIER
        ),
    ] = None
    save_labels: Annotated[
        Path | None,
        Option("write the samples' classes, int64 [N], .npy, for --labels", _SAVED, needs=_ANY_CLASSIFIER),
    ] = None
    workers: Annotated[
        int,
        Option(
            "processes that read images; 0: threads of this one",
            _SPEED,
            lowest=0,
            highest=MOST_PROCESSES,
            needs=_FOLDER,
        ),
    ] = 0
    device: Annotated[DeviceName, replace(DEVICE, panel=_SPEED)] = "auto"

    @property
    def settings(self) -> Settings:
        return Settings(**{field.name: getattr(self, field.name) for field in fields(Settings)})

    @property
    def saved_outputs(self) -> OutputFiles:
        return OutputFiles(self.save_logits, self.save_features, self.save_labels)

    @property
    def scored(self) -> tuple[str, Path]:
        """The name of the field that says what to score, and what it is.

        Raises:
            InputError: there are several, or none.
        """
        paths = [(name, getattr(self, name)) for name in ("run", "images", "npz", "logits", "probabilities")]
        given = [(name, path) for name, path in paths if path is not None]
        if len(given) != 1:
            found = " and ".join(f"--{name}" for name, _ in given) or "nothing to score"
            raise InputError(f"found {found}, wanted one of --run, --images, --npz, --logits and --probabilities")
        return given[0]

    @property
    def parsed_shard(self) -> tuple[int, int]:
        """Which part of how many, counted from 0.

        Raises:
            InputError: ``shard`` is not written so.

        >>> from pathlib import Path
        >>> from amgan_fast.evaluate import Request
        >>> Request(logits=Path("logits.npy"), shard="2/7").parsed_shard
        (1, 7)
        """
        if self.shard is None:
            return 0, 1
        found = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", self.shard)
        place, number = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= place <= number:
            raise InputError(f"--shard is {shown(self.shard)}, wanted I/N, 1/N to N/N: 2/7, say")
        return place - 1, number

    def check(self) -> None:
        """
        Raises:
            InputError: a value that its option does not take, or options that do not go together.
        """
        with as_input_error():
            check_options(self)
        check_dataset(self.dataset)
        name, _ = self.scored
        _ = self.parsed_shard
        outputs = name in ("logits", "probabilities")
        if self.labels is not None and self.run is not None:
            raise InputError("found --labels with --run, wanted one of them: a generator knows what it was asked for")
        if outputs and self.classifier is not None:
            raise InputError(f"found --classifier with --{name}, wanted one of them: {name} are a classifier's output")
        if not outputs and self.run is None and self.classifier is None:
            raise InputError(f"found --{name} without --classifier, wanted a classifier to score images with")
        if self.data_dir is not None and self.dataset is None:
            raise InputError("found --data-dir without --dataset, wanted the name of the dataset that is there")
        self._refuse_what_does_nothing()
        self.saved_outputs.check()

    def _refuse_what_does_nothing(self) -> None:
        folders = [
            path
            for path in (self.reference, self.held_out, self.feature_reference)
            if path is not None and path.is_dir()
        ]
        there = {
            "--run": self.run is not None,
            "--classifier": self.classifier is not None,
            _ANY_CLASSIFIER: self.run is not None or self.classifier is not None,
            _FOLDER: self.images is not None or bool(folders),
            "--features": self.features is not None,
        }
        for name, declared in declarations(Request).items():
            value, needs = getattr(self, name), declared.option.needs
            if value == declared.default or needs is None or there[needs]:
                continue
            if name == "skip_unreadable" and self.dataset == "image-folder":
                continue
            flag = flag_of(name, declared.option, value)
            raise InputError(f"found {flag} without {needs}, wanted it with {needs} alone: it would do nothing")


def check_report(path: Path) -> None:
    """Before the work begins: whether :func:`amgan_fast.evaluate.save_report` can write there.

    Raises:
        InputError: it cannot, or the name says it is something else than HTML.

    >>> from pathlib import Path
    >>> from amgan_fast.evaluate import check_report
    >>> check_report(Path("page.pdf"))
    Traceback (most recent call last):
    amgan_fast.errors.InputError: report is page.pdf, wanted a name that ends in .html
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"report is {path}, wanted a name that ends in .html")
    check_writable("report", path)
