"""One step of each player."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from amgan_fast.nn import Classifier, Discriminator, ReferenceBatch, Sampler
from amgan_fast.objectives import HistoricalAveraging, Objective, feature_matching_and_grad
from amgan_fast.processes import Share, data_parallel
from amgan_fast.runs import StepOptions
from amgan_fast.train.evaluation_mode import evaluation_mode
from amgan_fast.train.frozen import frozen
from amgan_fast.train.guidance import ClassifierGuidance
from amgan_fast.train.regularization import Regularization

ADAM_BETAS = (0.5, 0.999)

_Generated = tuple[Tensor, Tensor | None]


class AdversarialStep:
    """The networks, their optimisers, and what a training step does to them.

    No gradient goes into the generator in the discriminator's step, the discriminator's parameters are frozen in the
    generator's, the objective's gradients go straight into the logits' backward, and nothing waits for the device.
    Convolutions get images with their channels innermost in memory. Each player has latents of its own, so that the
    generator is run twice, or with ``share_latents`` both have those of one pass.

    Attributes:
        generator: that of the sampler that was given; its latents are what is drawn.
        discriminator, objective: as given.
        averaged: the generator with exponentially averaged weights and batch statistics, in evaluation mode; other
            buffers are as the generator has them.
        sampler: that generator with what it is fed with.
        random: what latents are drawn from, as given.
        noise: what regularization of the discriminator draws from; where none was given, ``random``.
        steps: how many there were.

    Raises:
        ValueError: features are to be matched or gradients penalized, and the discriminator has batch norm without
            running averages, or the objective no real/generated logit; or there is to be guidance, and no ``guide``,
            the classifier [N, C, H, W] -> [N, K] that it is by.

    >>> import torch
    >>> from amgan_fast.nn import LatentSource, Sampler, build_discriminator, build_generator
    >>> from amgan_fast.objectives import AMGAN
    >>> from amgan_fast.runs import StepOptions
    >>> from amgan_fast.train import AdversarialStep
    >>> sampler = Sampler(build_generator("mlp", 4, (1, 8, 8)), LatentSource(4))
    >>> discriminator = build_discriminator("mlp", AMGAN(), 10, (1, 8, 8))
    >>> random = torch.Generator().manual_seed(0)
    >>> step = AdversarialStep(sampler, discriminator, AMGAN(), random, StepOptions())
    >>> step(torch.rand(16, 1, 8, 8), torch.arange(16) % 10)
    >>> step.steps
    1
    """

    def __init__(
        self,
        sampler: Sampler,
        discriminator: Discriminator,
        objective: Objective,
        random: torch.Generator,
        options: StepOptions,
        share: Share | None = None,
        noise: torch.Generator | None = None,
        guide: Classifier | None = None,
    ) -> None:
        generator = sampler.generator
        self.generator = generator.train()
        self.discriminator = discriminator
        self.discriminator.train()
        self.averaged = copy.deepcopy(generator).eval().requires_grad_(False)
        self.objective = objective
        self.random = random
        self.noise = noise or random
        self.sampler = Sampler(self.averaged, sampler.latent)
        self._options = options
        self._share = share or Share()
        self._matching = options.feature_matching or float(objective.needs_features)
        check_averages(discriminator, options, objective)
        device = random.device
        self._channels_last = any(isinstance(layer, nn.Conv2d) for layer in discriminator.modules())
        if self._channels_last:
            for network in (self.generator, self.discriminator, self.averaged):
                network.to(memory_format=torch.channels_last)
        self._generate, self._discriminate = (data_parallel(x, self._share) for x in (generator, discriminator))
        # In the generator's step the discriminator is frozen: nothing of it is averaged over processes.
        self._judge: Callable[[Tensor], Tensor] = discriminator
        if options.compile:
            self._generate, self._discriminate, self._judge = (
                torch.compile(x) for x in (self._generate, self._discriminate, self._judge)
            )
        self._regularization = Regularization(options, objective, discriminator, self._judge, self.noise, self._share)
        self._guidance = ClassifierGuidance.of(options, objective, guide)
        self._optimizers = {
            name: torch.optim.Adam(network.parameters(), rate, ADAM_BETAS, fused=True, capturable=device.type == "cuda")
            for name, network, rate in (
                ("generator", generator, options.generator_lr),
                ("discriminator", discriminator, options.discriminator_lr),
            )
        }
        self._schedules = {
            name: torch.optim.lr_scheduler.StepLR(optimizer, options.halve_every, 0.5)
            for name, optimizer in self._optimizers.items()
            if options.halve_every
        }
        self._histories = {
            name: HistoricalAveraging(network.parameters(), options.historical_averaging)
            for name, network in (("generator", generator), ("discriminator", discriminator))
            if options.historical_averaging
        }
        self._averages, self._values = _averaged_tensors(self.averaged), _averaged_tensors(self.generator)
        self._buffers = list(zip(_other_buffers(self.averaged), _other_buffers(self.generator), strict=True))
        for averaged, _ in self._buffers:  # what was expanded cannot be written to
            averaged |= {name: None if value is None else value.clone() for name, value in averaged.items()}
        self._loss_sums = torch.zeros(2, device=device)
        self._taken = torch.zeros((), device=device)  # steps, on the device: the first weights are soon forgotten
        self.steps = 0
        self._steps_in_sums = 0

    def __call__(self, images: Tensor, labels: Tensor, unlabelled: Tensor | None = None) -> None:
        """A step on real images, float [N, C, H, W], their labels, [N], and real images without labels, if there are
        any."""
        self.compute(images, labels, unlabelled)
        self.count()

    def compute(self, images: Tensor, labels: Tensor, unlabelled: Tensor | None = None) -> None:
        """All that happens on the device."""
        if self._channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        shared = self._generated(len(images)) if self._options.share_latents else None
        discriminator_loss = self._step_discriminator(images, labels, unlabelled, shared)
        generator_loss = self._step_generator(images, labels, shared)
        self._loss_sums += torch.stack([discriminator_loss, generator_loss])
        self._average()

    def count(self) -> None:
        """All that happens beside it."""
        self.steps += 1
        self._steps_in_sums += 1
        for schedule in self._schedules.values():
            schedule.step()

    def pop_losses(self) -> tuple[float, float]:
        """Mean losses (discriminator, generator) since the last call; waits for the device."""
        discriminator_loss, generator_loss = self.pop_losses_there().tolist()
        return discriminator_loss, generator_loss

    def pop_losses_there(self) -> Tensor:
        """The same on the device, [2], where nothing waits for it."""
        losses = self._loss_sums / self._steps_in_sums
        self._loss_sums.zero_()
        self._steps_in_sums = 0
        return losses

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """All that a step draws from, beside PyTorch's default ones, by name."""
        return {"latent": self.random} | ({} if self.noise is self.random else {"noise": self.noise})

    def augmentation_probability(self) -> float | None:
        """Of each random change of the discriminator's images, None where there are none; waits for the device."""
        probability = self._regularization.augmentation_probability
        return None if probability is None else probability.item()

    def learning_rates(self) -> list[float]:
        return [group["lr"] for optimizer in self._optimizers.values() for group in optimizer.param_groups]

    def is_finite(self) -> bool:
        """Whether the weights of all networks are finite; waits for the device."""
        weights = [*self.generator.parameters(), *self.discriminator.parameters(), *self._averages]
        return bool(torch.stack(torch._foreach_norm([x.detach() for x in weights])).isfinite().all())

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "averaged": self.averaged.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizers": _states(self._optimizers),
            "schedules": _states(self._schedules),
            "histories": _states(self._histories),
            "regularization": self._regularization.state_dict(),
            "guidance": {} if self._guidance is None else self._guidance.state_dict(),
            "steps": self.steps,
            "loss_sums": self._loss_sums,
            "steps_in_sums": self._steps_in_sums,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("generator", "averaged", "discriminator"):
            getattr(self, name).load_state_dict(state[name])
        for part, states in (
            (self._optimizers, state["optimizers"]),
            (self._schedules, state["schedules"]),
            (self._histories, state["histories"]),
        ):
            for name, one in part.items():
                one.load_state_dict(states[name])
        self._regularization.load_state_dict(state.get("regularization", {}))  # an earlier version has none
        if self._guidance is not None:
            self._guidance.load_state_dict(state["guidance"])
        self.steps = state["steps"]
        self._taken.fill_(self.steps)
        self._loss_sums.copy_(state["loss_sums"])
        self._steps_in_sums = state["steps_in_sums"]

    def _step_discriminator(
        self, images: Tensor, labels: Tensor, unlabelled: Tensor | None = None, shared: _Generated | None = None
    ) -> Tensor:
        generated, given = shared or self._generated_without_graph(len(images))
        self._optimizers["discriminator"].zero_grad(set_to_none=True)
        batches = [images, generated.detach()] + ([] if unlabelled is None else [unlabelled])
        real = 0 if unlabelled is None else 2  # the batch of whatever is real
        regularization = self._regularization
        batches = [regularization.augmented(batch) for batch in batches]
        seen = (batches[real], batches[1])
        batches += regularization.more_batches(*seen)
        with self._weights_once():
            with self._precision():
                logits = self._discriminate(*batches)
            penalty = regularization.penalties(self.steps, *seen)
        loss, *gradients = self.objective.discriminator_loss_and_grad(logits[0], labels, logits[1], given)
        if unlabelled is not None:
            added, gradient = self.objective.unlabelled_loss_and_grad(logits[2])
            loss, gradients = loss + added, [*gradients, gradient]
        elif self.objective.needs_unlabelled:
            added, gradient = self.objective.unlabelled_loss_and_grad(logits[0])
            loss, gradients[0] = loss + added, gradients[0] + gradient
        loss, gradients = regularization.added_to(loss, gradients, logits, real)
        if penalty is not None:
            loss = loss + penalty.detach()
            logits, gradients = [*logits, penalty], [*gradients, torch.ones_like(penalty)]
        torch.autograd.backward(logits, gradients)
        self._update("discriminator")
        return loss

    def _step_generator(self, images: Tensor, labels: Tensor, shared: _Generated | None = None) -> Tensor:
        with frozen(self.discriminator):
            loss = self._learn_generator(images, labels, shared)
        self._update("generator")
        return loss

    def _learn_generator(self, images: Tensor, labels: Tensor, shared: _Generated | None) -> Tensor:
        """The loss, whose gradients are the generator's now."""
        as_generated, given = shared or self._generated(len(images))
        matching, guidance = self._matching, self._guidance
        generated = self._regularization.augmented(as_generated)
        if matching or self.objective.needs_pairs:
            images = self._regularization.augmented(images)
        self._optimizers["generator"].zero_grad(set_to_none=True)
        loss, roots, gradients = torch.zeros((), device=generated.device), [], []
        judged: Tensor | None = None
        with self._weights_once():
            with self._precision():
                if not self.objective.needs_features:
                    judged = logits = self._judge(generated)
                    real_logits = self._judge_without_graph(images) if self.objective.needs_pairs else None
                elif guidance is not None and guidance.needs_logits(given):
                    judged = self._judge_without_graph(generated)
            if matching:
                real_features, features = self._features(images, generated)
        if not self.objective.needs_features:
            if real_logits is None:
                loss, gradient = self.objective.generator_loss_and_grad(logits, given)
            else:
                loss, gradient = self.objective.paired_generator_loss_and_grad(real_logits, labels, logits, given)
            roots, gradients = [logits], [gradient]
        if matching:
            added, gradient = feature_matching_and_grad(real_features, features)
            loss, gradient = loss + matching * added, matching * gradient
            roots, gradients = [*roots, features], [*gradients, gradient]
        if guidance is not None:
            with self._precision():
                added, class_logits, gradient = guidance(as_generated, judged, given)
            loss, roots, gradients = loss + added, [*roots, class_logits], [*gradients, gradient]
        torch.autograd.backward(roots, gradients)
        return loss

    @torch.no_grad()
    def _judge_without_graph(self, images: Tensor) -> Tensor:
        """Logits that generated images are compared with, or labelled by: nothing goes back through them."""
        return self._judge(images)

    def _features(self, images: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        """Of real and of generated images, as one function of an image: in evaluation mode.

        In training mode batch norm takes the mean of each batch from it, so that there is nothing left to match: the
        means behind it are equal whatever the generator does, and no gradient that is the same for all rows passes it.
        """
        with evaluation_mode(self.discriminator), self._precision():
            with torch.no_grad():
                real_features = self.discriminator.features(images)
            return real_features, self.discriminator.features(generated)

    def _generated(self, count: int) -> _Generated:
        """Images to be differentiated, and the labels that they were asked for."""
        inputs, labels = self._draw(count)
        with self._precision():
            (images,) = self._generate(inputs)
        return images, labels

    def _generated_without_graph(self, count: int) -> _Generated:
        inputs, labels = self._draw(count)
        with torch.no_grad(), self._precision():
            return self.generator(inputs), labels

    def _draw(self, count: int) -> tuple[Tensor, Tensor | None]:
        """This process's part of what one process would draw."""
        inputs, labels = self.sampler.latent.draw(count * self._share.ranks, self.random)
        mine = self._share.rows(count)
        return inputs[mine], None if labels is None else labels[mine]

    def _update(self, name: str) -> None:
        if history := self._histories.get(name):
            history.add_gradients()
        self._optimizers[name].step()

    def _precision(self) -> AbstractContextManager:
        return torch.autocast(self.random.device.type, torch.bfloat16, enabled=self._options.precision == "bfloat16")

    def _weights_once(self) -> AbstractContextManager:
        """Passes within it share the weights of weight norm: to be used while the discriminator stays as it is, and
        either has gradients or not. torch.compile finds what they share by itself, and not its way through a cache."""
        return nullcontext() if self._options.compile else parametrize.cached()

    @torch.no_grad()
    def _average(self) -> None:
        self._taken += 1
        decay = torch.clamp(self._taken / (self._taken + 10), max=self._options.ema_decay)
        torch._foreach_mul_(self._averages, decay)
        torch._foreach_add_(self._averages, torch._foreach_mul(self._values, 1 - decay))
        for averaged, current in self._buffers:
            _copy_buffers(averaged, current)


def _states(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: part.state_dict() for name, part in parts.items()}


def check_averages(discriminator: nn.Module, options: StepOptions, objective: Objective) -> None:
    """Without them features are no function of an image alone, in no mode.

    Raises:
        ValueError: the discriminator is to be one, and has batch norm that keeps no averages.
    """
    if not (options.feature_matching or objective.needs_features or options.penalizes_gradients):
        return
    norms = [layer for layer in discriminator.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if any(layer.running_mean is None for layer in norms):
        raise ValueError(
            "discriminator has batch norm that keeps no averages, wanted track_running_stats=True (network option "
            "running_statistics) for feature matching and gradient penalties"
        )


def _averaged_tensors(network: nn.Module) -> list[Tensor]:
    """Parameters, and the running statistics of batch normalisation."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._NormBase)]
    statistics = [x for layer in norms for x in (layer.running_mean, layer.running_var) if x is not None]
    return [x.detach() for x in (*network.parameters(), *statistics)]


def _other_buffers(network: nn.Module) -> list[dict[str, Tensor | None]]:
    """Those that a network of the user keeps, layer by layer: spectral norms' vectors, say, or statistics."""
    known = (nn.modules.batchnorm._NormBase, ReferenceBatch)  # averaged, or as they were at the start
    return [layer._buffers for layer in network.modules() if layer._buffers and not isinstance(layer, known)]


def _copy_buffers(target: dict[str, Tensor | None], source: dict[str, Tensor | None]) -> None:
    """An average of them could mean nothing. A step may put new tensors in their place."""
    for name, value in source.items():
        old = target.get(name)
        if value is not None and old is not None and value.shape == old.shape:
            old.copy_(value)
        else:
            target[name] = None if value is None else value.detach().clone()
