"""What can be varied in a network."""

from __future__ import annotations

from dataclasses import dataclass

from amgan_fast.option_checks import check_that, check_types

ImageShape = tuple[int, int, int]
"""(channels, height, width) of an image."""


def check_image_size(network: str, image_shape: ImageShape, side: int) -> None:
    """For a network of images of ``side`` x ``side`` alone."""
    _, height, breadth = image_shape
    if (height, breadth) != (side, side):
        raise ValueError(f"images for network {network!r} are {height} x {breadth}, wanted {side} x {side}")


NORMALIZATIONS = ("batch", "virtual", "none")
CONDITIONINGS = ("concatenation", "embedding", "batch-norm")


@dataclass(frozen=True)
class NetworkOptions:
    """What every network can be built with; those of a network's source: :func:`amgan_fast.nn.network_options`.

    Raises:
        ValueError: a value of another type or out of its range.

    >>> from amgan_fast.nn import NetworkOptions, build_generator
    >>> narrow = NetworkOptions(width=0.25, normalization="none")
    >>> build_generator("mlp", inputs=32, image_shape=(1, 8, 8), options=narrow)[0]
    Linear(in_features=32, out_features=64, bias=True)
    """

    width: float = 1.0
    """Multiplies the channels of every hidden layer."""
    normalization: str = "batch"
    """``"batch"``; ``"virtual"``: :class:`~amgan_fast.nn.VirtualBatchNorm`, which wants a reference batch; ``"none"``:
    the layers have biases instead."""
    running_statistics: bool = True
    """In evaluation mode, batch norm uses averages that it kept while training. False: always the statistics of the
    batch at hand. A sample then depends on those drawn with it: sample in batches as large as in training and with the
    same mixture of labels."""
    weight_norm: bool = False
    """Weight normalization of every layer, output and minibatch discrimination included."""
    spectral_norm: bool = False
    """Spectral normalization of every layer of the discriminator, which then has no weight normalization; the generator
    has what ``weight_norm`` says."""
    minibatch_discrimination: bool = False
    """:class:`~amgan_fast.nn.MinibatchDiscrimination` before the discriminator's last layer."""
    input_noise: float = 0.1
    """Standard deviation of the noise on the discriminator's images, in training."""
    dropout: float = 0.3
    """Probability of dropping an activation of the discriminator, in training."""
    conditioning: str = "concatenation"
    """How predefined labels reach the generator: ``"concatenation"``: one-hot, beside z; ``"embedding"``: as a learned
    vector beside z (:class:`~amgan_fast.nn.ClassEmbedding`); ``"batch-norm"``: by the gains and biases of every batch
    norm (:class:`~amgan_fast.nn.ConditionalBatchNorm`), and z alone enters the first layer."""
    predefined_labels: bool = False
    """Labels are predefined: the discriminator of "paper" has one more convolution."""

    def __post_init__(self) -> None:
        check_types(NetworkOptions, vars(self))
        known = self.normalization in NORMALIZATIONS
        check_that(known, "normalization", self.normalization, f"one of {', '.join(NORMALIZATIONS)}")
        told = self.conditioning in CONDITIONINGS
        check_that(told, "conditioning", self.conditioning, f"one of {', '.join(CONDITIONINGS)}")
        conditional = self.conditioning != "batch-norm" or self.normalization == "batch"
        wanted = f"concatenation or embedding with normalization {self.normalization}"
        check_that(conditional, "conditioning", self.conditioning, wanted)
        check_that(self.width > 0, "width", self.width, "a positive number")
        check_that(self.input_noise >= 0, "input_noise", self.input_noise, "at least 0")
        check_that(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1)")

    @property
    def biases(self) -> bool:
        """Whether layers have a bias of their own, where normalization would bring one."""
        return self.normalization == "none"

    def channels(self, count: int) -> int:
        """``count`` of a network's source, with the width applied."""
        return max(1, round(count * self.width))
