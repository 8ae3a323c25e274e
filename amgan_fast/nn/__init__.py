"""Networks: generators, discriminators, and the classifiers that scores are computed with."""

from amgan_fast.nn.batch_norm import BatchNormLeakyReLUDropout
from amgan_fast.nn.build import (
    CLASSIFIERS,
    NETWORKS,
    build_classifier,
    build_discriminator,
    build_generator,
    network_options,
)
from amgan_fast.nn.classifier import Classifier
from amgan_fast.nn.conditioning import ClassEmbedding, ConditionalBatchNorm, Conditioned, TakesLabel
from amgan_fast.nn.discriminator import Discriminator
from amgan_fast.nn.latent import LatentSource
from amgan_fast.nn.leaky_dropout import LeakyReLUDropout
from amgan_fast.nn.minibatch_discrimination import MinibatchDiscrimination
from amgan_fast.nn.options import NetworkOptions
from amgan_fast.nn.own_networks import OwnDiscriminator, OwnGenerator
from amgan_fast.nn.plain_layers import with_plain_layers
from amgan_fast.nn.proxy_head import ProxyHead
from amgan_fast.nn.sampler import Sampler
from amgan_fast.nn.spectral_norm import apply_spectral_norm
from amgan_fast.nn.virtual_batch_norm import (
    ReferenceBatch,
    VirtualBatchNorm,
    has_virtual_batch_norm,
    set_reference_batch,
)
from amgan_fast.nn.weight_norm import apply_weight_norm, init_from_data

__all__ = [
    "CLASSIFIERS",
    "NETWORKS",
    "BatchNormLeakyReLUDropout",
    "ClassEmbedding",
    "Classifier",
    "ConditionalBatchNorm",
    "Conditioned",
    "Discriminator",
    "LatentSource",
    "LeakyReLUDropout",
    "MinibatchDiscrimination",
    "NetworkOptions",
    "OwnDiscriminator",
    "OwnGenerator",
    "ProxyHead",
    "ReferenceBatch",
    "Sampler",
    "TakesLabel",
    "VirtualBatchNorm",
    "apply_spectral_norm",
    "apply_weight_norm",
    "build_classifier",
    "build_discriminator",
    "build_generator",
    "has_virtual_batch_norm",
    "init_from_data",
    "network_options",
    "set_reference_batch",
    "with_plain_layers",
]
