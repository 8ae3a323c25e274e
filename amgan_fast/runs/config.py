"""Everything that decides what a training run does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from amgan_fast.data import DATASETS, Dataset, load_dataset
from amgan_fast.data.registry import size_of_images
from amgan_fast.device import MOST_THREADS
from amgan_fast.errors import InputError, as_input_error, shortened, shown
from amgan_fast.files import file_name
from amgan_fast.nn import (
    NETWORKS,
    Discriminator,
    LatentSource,
    NetworkOptions,
    OwnDiscriminator,
    OwnGenerator,
    Sampler,
    build_discriminator,
    build_generator,
    network_options,
)
from amgan_fast.objectives import MODELS, Objective, own_objective
from amgan_fast.option_checks import LARGEST_INT, check_range, check_that, check_types
from amgan_fast.option_declarations import DeviceName, Labels, check_dataset, check_model
from amgan_fast.progress import Progress
from amgan_fast.runs.recipes import (
    DATASETS_WITH_RECIPES,
    RECIPES,
    read_additions,
    read_recipe,
    read_recipe_by_size,
)
from amgan_fast.runs.step_options import StepOptions
from amgan_fast.runs.toml import parse_setting, read_toml, write_toml
from amgan_fast.user_code import SETTINGS, check_allowed, names_user_code

LABELS = get_args(Labels)
DEVICES = get_args(DeviceName)
CUDA_GRAPH = ("auto", "on", "off")
LARGEST_IMAGE = 16_384
"""Side in pixels."""

_AROUND_OWN = {"spectral_norm", "minibatch_discrimination"}
"""Network options that need to know no layer of a discriminator."""

_FEATURE_MATCHING = (
    "feature matching compares real and generated images normalized alike, by the averages that batch norm keeps"
)
_PENALTY = "r1 and r2 penalize one function of an image, normalized by the averages that batch norm keeps"


@dataclass(frozen=True)
class Config(StepOptions):
    """The configuration of a run, written to its config.toml. The defaults are the recipe for digits.

    Raises:
        InputError: a value of the wrong type or out of its range.

    >>> from amgan_fast.runs import Config
    >>> Config(steps=400).batch_size
    100
    >>> Config.for_dataset("cifar10").network
    'paper'
    >>> Config(labels="both")
    Traceback (most recent call last):
    amgan_fast.errors.InputError: labels is 'both', wanted one of dynamic, predefined
    """

    model: str = "amgan"
    """A name of :data:`amgan_fast.objectives.MODELS`, or ``module:Class``
    (:func:`amgan_fast.objectives.own_objective`)."""
    labels: str = "dynamic"
    """``"dynamic"``: a sample's class is the likeliest; ``"predefined"``: it is drawn and given to the generator."""
    dataset: str = "digits"
    """A name of :data:`amgan_fast.data.DATASETS`, or ``module:function`` (:mod:`amgan_fast.data.own_dataset`)."""
    data_dir: str | None = None
    """Where the dataset's files are; None: their usual place."""
    image_size: int | None = None
    """Side in pixels: the images of ``image-folder`` are cropped and resized to it, those of ``mnist`` and
    ``fashion-mnist`` padded with black; None: as they are."""
    skip_unreadable: bool = False
    """Images of ``image-folder`` that cannot be read, or are of another size than most, are left out."""
    labelled_per_class: int | None = None
    """Labels of so many training images a class are used, all other images are unlabelled; None: all labels."""
    guidance_classifier: str | None = None
    """The file of the classifier for ``guidance``, as ``amgan-fast train-classifier`` writes it. A run keeps a copy."""
    network: str = "mlp"
    """A name of :data:`amgan_fast.nn.NETWORKS`."""
    generator: str | None = None
    """``module:function`` (:class:`amgan_fast.nn.OwnGenerator`); None: the network's."""
    discriminator: str | None = None
    """``module:function`` (:class:`amgan_fast.nn.OwnDiscriminator`); None: the network's."""
    latent_size: int = 32
    """The length of z."""
    init: str | None = None
    """A run, or a checkpoint of one, whose weights this one starts from (:mod:`amgan_fast.train.init`)."""
    steps: int = 4000
    """Steps of each player."""
    batch_size: int = 100
    """Of all processes together."""
    cuda_graph: str = "auto"
    """Whether a step is captured once and replayed, as one CUDA graph: ``"auto"``: on a GPU where it can be, that is
    without other processes, ``compile``, ``historical_averaging``, exact gradient penalties and code of the user;
    ``"on"``: it must be; ``"off"``."""
    seed: int = 0
    device: str = "auto"
    """``"auto"``: CUDA where there is a GPU and this build has kernels for it."""
    threads: int = 1
    """CPU threads, 0 for PyTorch's own choice. The layers for digits are too small to share out."""
    log_every: int = 20
    """Steps between two rows of losses in metrics.jsonl."""
    score_every: int = 200
    """Steps between two scores on the way, each of ``score_samples`` samples; a multiple of ``log_every``."""
    score_samples: int = 2000
    checkpoint_every: int = 200
    """Steps between two checkpoints; more on a GPU, where writing them would take more than a twentieth of the time."""
    checkpoint_minutes: float = 10.0
    """Minutes from one checkpoint to the next at most, whatever the step, the first one after one minute; 0: never."""
    keep_best: bool = True
    """A copy is kept of the step whose samples had the lowest AM Score on the way, as ``checkpoint.best.pt``."""
    final_samples: int = 50_000
    """Samples that the finished run is scored with."""
    objective: dict[str, Any] = field(default_factory=dict)
    """Options of the model, by the names of its class in :mod:`amgan_fast.objectives`."""
    network_options: dict[str, Any] = field(default_factory=dict)
    """Changes to the network's own options, by the names of :class:`amgan_fast.nn.NetworkOptions`."""
    generator_options: dict[str, Any] = field(default_factory=dict)
    """What the function of ``generator`` is called with beside what all are, by name."""
    discriminator_options: dict[str, Any] = field(default_factory=dict)
    """The same of ``discriminator``."""

    @as_input_error()
    def __post_init__(self) -> None:
        super().__post_init__()
        known: Collection[str]
        for name, known in (
            ("labels", LABELS),
            ("network", NETWORKS),
            ("device", DEVICES),
            ("cuda_graph", CUDA_GRAPH),
        ):
            self._require(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        check_model(self.model)
        check_dataset(self.dataset)
        for name in ("generator", "discriminator"):
            value, options = getattr(self, name), f"{name}_options"
            self._require(name, value is None or names_user_code(value), "module:function, or none")
            self._require(options, value is not None or not getattr(self, options), f"none without {name}")
        for name in (
            "latent_size",
            "steps",
            "log_every",
            "score_every",
            "score_samples",
            "checkpoint_every",
            "final_samples",
        ):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        check_range("threads", self.threads, 0, MOST_THREADS)
        if self.image_size is not None:
            check_range("image_size", self.image_size, 1, LARGEST_IMAGE)
        for name, what in (("data_dir", "folder"), ("guidance_classifier", "file"), ("init", "run")):
            given = getattr(self, name)
            self._require(name, given is None or bool(given and "\0" not in given), f"the name of a {what}")
        self._require("checkpoint_minutes", self.checkpoint_minutes >= 0, "at least 0")
        self._require("batch_size", self.batch_size >= 2, "at least 2, for batch normalisation")
        labelled = self.labelled_per_class is None or self.labelled_per_class >= 1
        self._require("labelled_per_class", labelled, "at least 1")
        multiple = self.score_every % self.log_every == 0
        self._require("score_every", multiple, f"a multiple of log_every = {self.log_every}")
        check_range("seed", self.seed, 0, LARGEST_INT)
        graphed = self.cuda_graph != "on" or self.uncaptured is None
        self._require("cuda_graph", graphed, f"auto or off with {self.uncaptured}")
        objective = self.build_objective()
        for name in ("r1", "r2", "lecam", "consistency"):
            penalized = not getattr(self, name) or objective.has_realness
            self._require(name, penalized, f"0: {self.model} has no real/generated logit")
        adapted = self.augment_target is None or objective.has_realness
        self._require("augment_target", adapted, f"none: {self.model} has no real/generated logit")
        if self.guidance:
            self._check_guidance(objective)
        unlabelled = self.labelled_per_class is None or objective.has_unlabelled_loss
        self._require("labelled_per_class", unlabelled, f"none: {self.model} has no loss of unlabelled images")
        self.build_network_options()

    def _check_guidance(self, objective: Objective) -> None:
        named = self.guidance_classifier is not None
        self._require("guidance_classifier", named, "the file of a classifier where there is guidance")
        labelled = self.labels == "predefined" or objective.has_class_logits
        self._require("guidance", labelled, f"0 with dynamic labels: {self.model} has no class outputs")
        weighed = self.guidance_rows == "all" or objective.has_realness
        self._require("guidance_rows", weighed, f"all: {self.model} has no real/generated logit")

    def build_objective(self) -> Objective:
        """
        Raises:
            InputError: ``objective`` has a name the model does not know, or a value out of its range.
        """
        if names_user_code(self.model):
            return own_objective(self.model, self.objective)
        return _build("objective", MODELS[self.model], self.objective)

    def build_network_options(self) -> NetworkOptions:
        """
        Raises:
            InputError: ``network_options`` has an unknown name, or a value out of its range.
        """
        changes: dict[str, Any] = {"predefined_labels": self.labels == "predefined"}
        if self._one_function is not None:
            changes["running_statistics"] = True
        changes |= self.network_options
        known = {one.name for one in dataclasses.fields(NetworkOptions)}
        if self.generator and self.discriminator:  # none of whose layers are of the network
            _check_names("network_options", self.network_options, _AROUND_OWN)
        _check_names("network_options", changes, known)
        with as_input_error("network_options."):
            if self.generator and self.discriminator:
                options = NetworkOptions(**changes)
            else:
                options = network_options(self.network, **changes)
        self._check_own(options)
        if self.labels == "dynamic" and options.conditioning != "concatenation":
            found = f"network_options.conditioning is {options.conditioning!r}"
            raise InputError(f"{found}, wanted concatenation with labels = dynamic: the generator is given no label")
        if self._one_function and options.normalization == "batch" and not options.running_statistics:
            raise InputError(f"network_options.running_statistics is false, wanted true: {self._one_function}")
        if self.penalizes_gradients and options.minibatch_discrimination:
            raise InputError("network_options.minibatch_discrimination is true, wanted false: " + _PENALTY)
        return options

    def _check_own(self, options: NetworkOptions) -> None:
        """What has to be known of the layers of both networks."""
        for name in filter(self.__getattribute__, ("generator", "discriminator")):
            for option, fits, wanted in (
                ("weight_norm", not options.weight_norm, "false"),
                ("normalization", options.normalization != "virtual", "batch or none"),
                ("conditioning", name != "generator" or options.conditioning == "concatenation", "concatenation"),
            ):
                value = getattr(options, option)
                check_that(fits, f"network_options.{option}", value, f"{wanted} with {name} = {getattr(self, name)}")

    def build_sampler(self, image_shape: tuple[int, int, int], class_frequencies: Tensor | None) -> Sampler:
        """A new generator of images [C, H, W], on the CPU, with what it is fed with.

        Args:
            class_frequencies: p(c), [K], of predefined labels; None with dynamic ones.
        """
        latent = LatentSource(self.latent_size, class_frequencies)
        options, classes = self.build_network_options(), latent.num_labels or 0
        own = None if self.generator is None else OwnGenerator(self.generator, self.generator_options)
        generator = build_generator(self.network, latent.width, image_shape, options, classes=classes, own=own)
        return Sampler(generator, latent)

    def build_discriminator(
        self, objective: Objective, num_classes: int, image_shape: tuple[int, int, int]
    ) -> Discriminator:
        """A new one of images [C, H, W], on the CPU, for what :meth:`build_objective` makes."""
        own = None if self.discriminator is None else OwnDiscriminator(self.discriminator, self.discriminator_options)
        options = self.build_network_options()
        return build_discriminator(self.network, objective, num_classes, image_shape, options, own=own)

    @property
    def has_own_networks(self) -> bool:
        return self.generator is not None or self.discriminator is not None

    @property
    def has_own_step(self) -> bool:
        """Whether steps run code of the user."""
        return self.has_own_networks or names_user_code(self.model)

    @property
    def name(self) -> str:
        """What tells it from others of a comparison, as a file's name."""
        return f"{file_name(self.model)}-{self.labels}-seed{self.seed}"

    def modules(self) -> list[str]:
        """Those that code of the user is of, by name."""
        specs = filter(names_user_code, (getattr(self, name) for name in SETTINGS))
        return sorted({str(spec).partition(":")[0] for spec in specs})

    def notes(self) -> list[str]:
        """What is not as the network's source has it though no one asked for that, each in a line with its reason."""
        if self.generator and self.discriminator:
            return []
        source = NETWORKS[self.network].options
        if self.build_network_options().running_statistics == source.running_statistics:
            return []
        if "running_statistics" in self.network_options:
            return []
        return [f"network_options.running_statistics: true, for model {self.model}: {self._one_function}"]

    @property
    def _one_function(self) -> str | None:
        """Why the discriminator has to be one function of an image in evaluation mode; None: it has not."""
        if self.feature_matching > 0 or self.build_objective().needs_features:
            return _FEATURE_MATCHING
        return _PENALTY if self.penalizes_gradients else None

    def load_dataset(self, progress: Progress | None = None) -> Dataset:
        """The images, as :func:`amgan_fast.data.load_dataset` loads them.

        Raises:
            InputError: files are missing or damaged, or have no such ``image_size``.
        """
        return load_dataset(
            self.dataset,
            self.data_dir,
            image_size=self.image_size,
            progress=progress,
            skip_unreadable=self.skip_unreadable,
        )

    @staticmethod
    def for_dataset(
        dataset: str, *, recipe: str = "paper", notify: Callable[[str], None] | None = None, **overrides: Any
    ) -> Config:
        """The recipe for a dataset, or where it has none that for the size of its images, with what ``overrides``
        gives.

        Args:
            recipe: a name of :data:`amgan_fast.runs.RECIPES`.
            notify: called with a line for the user, where there are settings that no one asked for.
        """
        with as_input_error():
            check_that(recipe in RECIPES, "recipe", recipe, f"one of {', '.join(RECIPES)}")
            check_types(Config, {"dataset": dataset, **overrides})
        values = (
            read_recipe(dataset) if dataset in DATASETS_WITH_RECIPES else _recipe_by_size(dataset, overrides, notify)
        )
        return Config(**_merged({"dataset": dataset}, values, read_additions(recipe), overrides))

    @staticmethod
    def compose(
        path: Path | None,
        options: Mapping[str, Any],
        settings: Sequence[str],
        notify: Callable[[str], None] | None = None,
        *,
        allow_code: Collection[str] = (),
    ) -> Config:
        """The recipe of the dataset, with what a file says, with what options say, with what settings say; ``recipe``,
        in any of the three, is the name of one.

        Args:
            path: a .toml with any of the settings; None: none.
            options: values by name.
            settings: ``name=value`` each, the value as in TOML; ``objective.saturating=true`` goes into a table.
            notify: as of :meth:`for_dataset`.
            allow_code: modules that the file may name code of.

        Raises:
            InputError: an unknown name, or a bad value.
        """
        values = {}
        if path is not None:
            check_allowed(path, values := read_toml(path), allow_code)
        values |= options
        values = _as_named_now(_merged(values, *map(parse_setting, settings)))
        _check_names("the configuration" if path is None else str(path), values, _names() | {"recipe"})
        return Config.for_dataset(values.pop("dataset", "digits"), notify=notify, **values)

    @staticmethod
    def load(path: Path, *, allow_code: Collection[str] = ()) -> Config:
        """Read a config.toml.

        Args:
            allow_code: modules that it may name code of, such as an own generator: nothing else of it is run.

        Raises:
            InputError: no such file, no TOML, an unknown key or a bad value.
        """
        values = _as_named_now(read_toml(path))
        _check_names(str(path), values, _names())
        check_allowed(path, values, allow_code)
        return Config(**values)

    def to_dict(self) -> dict[str, Any]:
        """As TOML has it: without what is None, with lists for tuples. What the run is of comes before how its networks
        are updated."""
        values = dataclasses.asdict(self)
        own_first = sorted(values, key=lambda name: name in StepOptions.__dataclass_fields__)
        return _as_in_toml({name: values[name] for name in own_first})

    def save(self, path: Path) -> None:
        """Bytes of ``data_dir`` that are no UTF-8 are written as they are, and read again."""
        write_toml(path, self.to_dict())

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """What of ``other`` (as of :meth:`to_dict`) is not as here, in words. A setting that it lacks, since an earlier
        version wrote it, has its default."""
        mine, other = self.to_dict(), Config().to_dict() | _as_in_toml(_as_named_now(other))
        return [
            f"{name} is {other.get(name)!r} instead of {mine.get(name)!r}"
            for name in sorted(mine.keys() | other.keys())
            if mine.get(name) != other.get(name)
        ]


def _merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of which later ones stand above earlier ones, name by name, in their tables too."""
    values: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            both = isinstance(value, dict) and isinstance(values.get(name), dict)
            values[name] = values[name] | value if both else value
    return values


def _names() -> set[str]:
    return {one.name for one in dataclasses.fields(Config)}


def _as_named_now(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as files have them, those of earlier versions too, where ``cuda_graph`` was true or false."""
    known = {True: "on", False: "off"}
    graph = values.get("cuda_graph")
    return dict(values) | ({"cuda_graph": known[graph]} if isinstance(graph, bool) else {})


def _recipe_by_size(dataset: str, given: Mapping[str, Any], notify: Callable[[str], None] | None) -> dict[str, Any]:
    """Digits' are the defaults; an unknown dataset, or one whose images cannot be looked at, has none."""
    if dataset == "digits" or not (dataset in DATASETS or names_user_code(dataset)):
        return {}
    size = size_of_images(dataset, given.get("data_dir"), image_size=given.get("image_size"))
    if size is None:
        return {}
    recipe, reason = read_recipe_by_size(size)
    if notify is not None and (new := {name: value for name, value in recipe.items() if name not in given}):
        settings = ", ".join(f"{name} = {value}" for name, value in new.items())
        notify(f"{dataset} has no recipe: settings for images of {size[0]} x {size[1]} ({reason}): {settings}")
    return recipe


def _as_in_toml(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_in_toml(one) for name, one in value.items() if one is not None}
    return [_as_in_toml(one) for one in value] if isinstance(value, list | tuple) else value


def _check_names(where: str, values: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(name if isinstance(name, str) else shown(name) for name in values.keys() - known):
        found = f"{where} has unknown keys {shortened(', '.join(unknown))}"
        raise InputError(f"{found}, wanted some of {', '.join(sorted(known)) or 'none'}")


def _build(where: str, kind: type, values: Mapping[str, Any]) -> Any:
    _check_names(where, values, {one.name for one in dataclasses.fields(kind)})
    # TOML has lists where options are tuples.
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    with as_input_error(f"{where}: "):
        check_types(kind, given)
        return kind(**given)
