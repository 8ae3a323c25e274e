"""The settings of a training step."""

from __future__ import annotations

from dataclasses import dataclass

from amgan_fast.option_checks import check_that, check_types

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class StepOptions:
    """How the networks are updated, whatever the model: the part of a run's :class:`Config` that its steps need.

    Raises:
        ValueError: a value of the wrong type or out of its range.

    >>> from amgan_fast.runs import StepOptions
    >>> StepOptions(generator_lr=1e-3).discriminator_lr
    0.002
    """

    generator_lr: float = 2e-3
    """Adam's learning rate, with the authors' betas (0.5, 0.999)."""
    discriminator_lr: float = 2e-3
    halve_every: int = 0
    """Steps after which both learning rates are halved, again and again; 0: never."""
    ema_decay: float = 0.998
    """Decay a step of the averaged generator weights, which samples and scores are made with."""
    feature_matching: float = 0.0
    """Weight of ||E f(x) - E f(g)||^2 in the generator's loss (Salimans et al., arXiv 1606.03498, section 3.1), f the
    discriminator's features in evaluation mode."""
    historical_averaging: float = 0.0
    """Weight of ||theta - mean of past theta||^2 in both players' losses (the same, section 3.3)."""
    share_latents: bool = False
    """Both players' steps take the same generated images, of one pass through the generator. This is another algorithm
    than the authors': the generator answers to a discriminator that was just updated on these very images, and not on
    others. Latents, labels and running statistics of the generator are drawn and averaged once a step, not twice."""
    precision: str = "float32"
    """``"bfloat16"``: networks compute in it where autocast has them; weights and losses stay float32."""
    compile: bool = False
    """Networks go through torch.compile."""

    def __post_init__(self) -> None:
        check_types(type(self), vars(self))
        self._require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        for name in ("halve_every", "feature_matching", "historical_averaging"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("generator_lr", "discriminator_lr"):
            self._require(name, getattr(self, name) > 0, "a positive number")
        self._require("ema_decay", 0 <= self.ema_decay < 1, "a number in [0, 1)")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        check_that(holds, name, getattr(self, name), wanted)
