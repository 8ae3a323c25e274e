"""Networks: generators, discriminators, and the classifiers that scores are computed with."""

from amgan_fast.nn.build import CLASSIFIERS, NETWORKS, build_classifier, build_discriminator, build_generator
from amgan_fast.nn.classifier import Classifier
from amgan_fast.nn.latent import LatentSource

__all__ = [
    "CLASSIFIERS",
    "NETWORKS",
    "Classifier",
    "LatentSource",
    "build_classifier",
    "build_discriminator",
    "build_generator",
]
