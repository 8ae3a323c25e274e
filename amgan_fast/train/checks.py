"""What can be known of a run before anything is written or trained."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor, nn

from amgan_fast.data import Dataset
from amgan_fast.errors import InputError, as_input_error, in_one_line, shown
from amgan_fast.memory import memory_of
from amgan_fast.nn import Sampler, build_classifier, has_virtual_batch_norm, set_reference_batch
from amgan_fast.objectives import Objective
from amgan_fast.option_checks import LARGEST_INT, check_range
from amgan_fast.runs import Config
from amgan_fast.train.step import check_averages
from amgan_fast.user_code import names_user_code, users_errors

_META = torch.device("meta")  # tensors have shapes there and no values: nothing is computed
_MOST_STEPS = 10**9
_NUMBER_BYTES = 4  # of float32


def check_run(config: Config, dataset: Dataset, device: torch.device, processes: int = 1) -> int:
    """Whether dataset, networks, batches and losses of a run go together, and fit in the memory of its device: a step
    with shapes alone. What is counted, the bytes that are returned, is less than what a run takes.

    Args:
        processes: that share a batch.

    Raises:
        InputError: they do not; names the setting.
    """
    _check_classes(dataset)
    options = config.build_network_options()
    rows = config.batch_size // processes
    if rows < 2 and (options.normalization == "batch" or options.minibatch_discrimination):
        raise InputError(
            f"batch_size is {config.batch_size} for {processes} processes, wanted at least {2 * processes}: batch norm "
            "and minibatch discrimination compare the images of a process"
        )
    if config.labelled_per_class is not None:
        dataset.check_labelled(config.labelled_per_class)
    with _META, as_input_error():
        build_classifier("cnn", dataset.image_shape, dataset.num_classes)
    objective = config.build_objective()
    sampler, discriminator = build_on_meta(config, dataset, objective)
    with as_input_error():
        check_averages(discriminator, config, objective)
    generator, inputs = sampler.generator, sampler.latent.width
    weights = _training_bytes(config, generator, discriminator)
    _require_memory(weights, device, f"{_sizes(config)}: weights, gradients and averages take")
    try:
        with _META:
            if options.normalization == "virtual":
                set_reference_batch(generator, torch.empty(config.batch_size, inputs))
                if has_virtual_batch_norm(discriminator):
                    set_reference_batch(discriminator, torch.empty(config.batch_size, *dataset.image_shape))
            logits, kept = _pass(discriminator, generator(torch.empty(rows, inputs)))
    except Exception as error:  # sizes that no integer counts
        if not config.has_own_networks:
            reason = in_one_line(error)
            raise InputError(f"batch_size is {config.batch_size}, wanted a smaller one ({reason})") from None
        # Or code that wants values, or tensors that are no part of its module: what a step takes is then not known.
        logits, kept = torch.empty(rows, objective.outputs(dataset.num_classes), device=_META), 0
    kept //= 2 if config.precision == "bfloat16" else 1
    _require_memory(weights + kept, device, f"batch_size is {config.batch_size}: a step takes")
    check_losses(config, objective, logits, dataset.num_classes)
    return weights + kept


def check_classifier(
    dataset: Dataset, network: str, steps: int | None, epochs: int | None, seed: int, sizes: dict[str, int]
) -> None:
    """Whether :func:`amgan_fast.train.train_classifier` can train this.

    Raises:
        InputError: it cannot, or the memory of the dataset's device does not hold the network.
    """
    _check_classes(dataset)
    with _META, as_input_error():
        for name, count in (("steps", steps), ("epochs", epochs)):
            if count is not None:
                check_range(name, count, 1, _MOST_STEPS)
        check_range("seed", seed, 0, LARGEST_INT)
        classifier = build_classifier(network, dataset.image_shape, dataset.num_classes, **sizes)
    given = ", ".join(f"{name} {size}" for name, size in classifier.sizes.items())
    size = 3 * _NUMBER_BYTES * _weights(classifier)  # weights, gradients, an average of these at least
    _require_memory(size, dataset.test_images.device, f"{network} of {given}: weights, gradients and averages take")


def _check_classes(dataset: Dataset) -> None:
    if dataset.num_classes < 2:
        raise InputError(f"{dataset.name} has 1 class, wanted at least 2: scores are those of a classifier")


def build_on_meta(config: Config, dataset: Dataset, objective: Objective) -> tuple[Sampler, nn.Module]:
    """The generator with what it is fed with, and the discriminator of a run, of shapes alone.

    Raises:
        InputError: there are none such for the dataset.
    """
    _check_outputs(config, objective, dataset.num_classes)
    # Code of the user may need values to build a network.
    device = torch.device("cpu") if config.has_own_networks else _META
    try:
        with torch.random.fork_rng([]), device, as_input_error():
            frequencies = torch.empty(dataset.num_classes) if config.labels == "predefined" else None
            sampler = config.build_sampler(dataset.image_shape, frequencies)
            discriminator = config.build_discriminator(objective, dataset.num_classes, dataset.image_shape)
        sampler.generator.to(_META)
        return sampler, discriminator.to(_META)
    except InputError:
        raise
    except Exception as error:  # sizes that no integer counts
        raise InputError(f"{_sizes(config)}, wanted smaller ones ({in_one_line(error)})") from None


def _training_bytes(config: Config, generator: nn.Module, discriminator: nn.Module) -> int:
    copies = 4 + bool(config.historical_averaging)  # weights, gradients, Adam's two averages
    numbers = _weights(generator) * (copies + 1) + _weights(discriminator) * copies  # the generator's own average
    return _NUMBER_BYTES * numbers


def _weights(network: nn.Module) -> int:
    return sum(x.numel() for x in network.parameters())


def _pass(discriminator: nn.Module, images: Tensor) -> tuple[Tensor, int]:
    """Logits, and the bytes of what is kept for the backward of one batch."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = discriminator(images.detach())
    for weight in discriminator.parameters():
        kept.pop(weight.untyped_storage()._cdata, None)
    return logits.detach(), sum(storage.nbytes() for storage in kept.values())


def check_losses(config: Config, objective: Objective, logits: Tensor, classes: int = 1) -> None:
    """Whether the losses of a run take a batch of logits, [N, outputs] on the meta device. A model of the user's may
    want values, and gets some.

    Args:
        classes: that labels are of.

    Raises:
        InputError: they do not, with the options they have.
    """
    if not names_user_code(config.model):
        with as_input_error("objective: "):
            _compute_losses(config, objective, logits, torch.empty(len(logits), dtype=torch.int64, device=_META))
        return
    values = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    fails = f"model {config.model}: its losses fail on logits {list(logits.shape)}"
    with torch.random.fork_rng([]), users_errors(fails, "losses as those of amgan_fast.objectives.Objective"):
        _compute_losses(config, objective, values, torch.arange(len(logits)) % classes)


def _compute_losses(config: Config, objective: Objective, logits: Tensor, labels: Tensor) -> None:
    given = labels if config.labels == "predefined" else None
    objective.discriminator_loss_and_grad(logits, labels, logits, given)
    if objective.needs_unlabelled or config.labelled_per_class is not None:
        objective.unlabelled_loss_and_grad(logits)
    if objective.needs_pairs:
        objective.paired_generator_loss_and_grad(logits, labels, logits, given)
    elif not objective.needs_features:
        objective.generator_loss_and_grad(logits, given)


def _check_outputs(config: Config, objective: Objective, classes: int) -> None:
    """Of a model of the user's."""
    if not names_user_code(config.model):
        return
    with users_errors(f"model {config.model}: outputs({classes}) fails", "an integer of at least 1"):
        outputs = objective.outputs(classes)
    if not isinstance(outputs, Integral) or outputs < 1:
        raise InputError(
            f"model {config.model}: outputs({classes}) is {shown(outputs)}, wanted an integer of at least 1"
        )


def _sizes(config: Config) -> str:
    width = config.network_options.get("width", 1.0)
    return f"network {config.network} with latent_size {config.latent_size} and network_options.width {width}"


def _require_memory(size: int, device: torch.device, what: str) -> None:
    available = memory_of(device)
    if size > available:
        found = f"{what} at least {size / 2**30:,.1f} GiB"
        raise InputError(f"{found}, wanted at most the {available / 2**30:,.1f} GiB of {device}")
