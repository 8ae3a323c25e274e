"""Networks: generators, discriminators, and the classifier that scores are computed with."""

from amgan_fast.nn.build import NETWORKS, build_discriminator, build_generator
from amgan_fast.nn.classifier import Classifier
from amgan_fast.nn.latent import LatentSource

__all__ = ["NETWORKS", "Classifier", "LatentSource", "build_discriminator", "build_generator"]
