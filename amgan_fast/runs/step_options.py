"""The settings of a training step."""

from __future__ import annotations

from dataclasses import dataclass

from amgan_fast.option_checks import check_that, check_types

PRECISIONS = ("float32", "bfloat16")
GRADIENT_PENALTIES = ("exact", "finite-difference")
GUIDANCE_ROWS = ("all", "realness")


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
    guidance: float = 0.0
    """Weight of the cross-entropy of generated images under a frozen classifier, which is no part of the game, in the
    generator's loss (StyleGAN-XL, arXiv 2202.00273, where it is 8)."""
    guidance_rows: str = "all"
    """How much each generated image counts in it: ``"all"``: 1; ``"realness"``: the probability of being real that the
    discriminator gives it, so that noise is not drawn towards a class."""
    share_latents: bool = False
    """Both players' steps take the same generated images, of one pass through the generator. This is another algorithm
    than the authors': the generator answers to a discriminator that was just updated on these very images, and not on
    others. Latents, labels and running statistics of the generator are drawn and averaged once a step, not twice."""
    r1: float = 0.0
    """gamma of gamma / 2 E ||grad d(x)||^2 in the discriminator's loss, x real images and d its real/generated logit
    (Mescheder et al., arXiv 1801.04406), of the discriminator in evaluation mode and in float32."""
    r2: float = 0.0
    """The same of generated images."""
    gradient_penalty: str = "exact"
    """How ``r1`` and ``r2`` are computed: ``"exact"``: with second derivatives, every ``penalty_every`` steps;
    ``"finite-difference"``: at every step along random noise, of ``penalty_share`` of the images."""
    penalty_every: int = 16
    """Steps from one exact penalty to the next, each with so many times its weight (StyleGAN2, arXiv 1912.04958)."""
    penalty_share: float = 0.25
    """Share of the images that finite differences are taken of (arXiv 2511.22475)."""
    lecam: float = 0.0
    """Weight of E (d(x) - a_g)^2 + E (d(g) - a_r)^2 in the discriminator's loss, a_r and a_g moving averages of the
    mean of d over real and over generated images (Tseng et al., arXiv 2104.03310)."""
    lecam_decay: float = 0.99
    """Decay a step of these averages."""
    augment: float = 0.0
    """Probability of each random change of the images that the discriminator sees, real and generated, in both players'
    steps: brightness, saturation, contrast, place, a square cut out (Zhao et al., arXiv 2006.10738); an adaptive one
    begins with it."""
    augment_target: float | None = None
    """The mean sign of d over real images at which the probability stays, 0.6 in the source (ADA: Karras et al., arXiv
    2006.06676); None: the probability is fixed."""
    augment_images: int = 500_000
    """Images in which an adaptive probability goes from 0 to 1 at most."""
    consistency: float = 0.0
    """Weight of E (d(x) - d(T x))^2, over real and over generated images, in the discriminator's loss, T a shift by up
    to an eighth of each side (bCR: Zhao et al., arXiv 2002.04724, where it is 10)."""
    precision: str = "float32"
    """``"bfloat16"``: networks compute in it where autocast has them; weights and losses stay float32."""
    compile: bool = False
    """Networks go through torch.compile."""

    def __post_init__(self) -> None:
        check_types(type(self), vars(self))
        self._require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        self._require(
            "gradient_penalty", self.gradient_penalty in GRADIENT_PENALTIES, f"one of {', '.join(GRADIENT_PENALTIES)}"
        )
        self._require("guidance_rows", self.guidance_rows in GUIDANCE_ROWS, f"one of {', '.join(GUIDANCE_ROWS)}")
        self._require("penalty_every", self.penalty_every >= 1, "at least 1")
        self._require("penalty_share", 0 < self.penalty_share <= 1, "a number in (0, 1]")
        self._require("augment", 0 <= self.augment <= 1, "a number in [0, 1]")
        target = self.augment_target is None or -1 < self.augment_target < 1
        self._require("augment_target", target, "a number in (-1, 1), or none")
        self._require("augment_images", self.augment_images >= 1, "at least 1")
        for name in (
            "halve_every",
            "feature_matching",
            "historical_averaging",
            "guidance",
            "r1",
            "r2",
            "lecam",
            "consistency",
        ):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("generator_lr", "discriminator_lr"):
            self._require(name, getattr(self, name) > 0, "a positive number")
        for name in ("ema_decay", "lecam_decay"):
            self._require(name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")

    @property
    def augments(self) -> bool:
        """Whether the discriminator's images are changed at random."""
        return self.augment > 0 or self.augment_target is not None

    @property
    def penalizes_gradients(self) -> bool:
        """Whether the discriminator's loss has R1 or R2."""
        return self.r1 > 0 or self.r2 > 0

    @property
    def uncaptured(self) -> str | None:
        """What of a step no CUDA graph holds, in words."""
        exact = self.penalizes_gradients and self.gradient_penalty == "exact"
        found = {
            "compile": self.compile,
            "historical_averaging": self.historical_averaging > 0,
            "an exact gradient_penalty": exact,
        }
        return " and ".join(name for name, holds in found.items() if holds) or None

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        check_that(holds, name, getattr(self, name), wanted)
