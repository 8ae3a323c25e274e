"""The training step that people write: layers of torch.nn, an eager loop, no attention to speed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy

from amgan_fast.nn import BatchNormLeakyReLUDropout, LeakyReLUDropout
from amgan_fast.nn.layers import FlattenChannelsLast, InputNoise, UnflattenChannelsLast
from amgan_fast.nn.resampling import DoublingConv2d, HalvingConv2d


def cross_entropies(real_logits: Tensor, labels: Tensor, fake_logits: Tensor) -> Tensor:
    """AM-GAN's discriminator loss: all that is generated has the last label."""
    fake = torch.full_like(labels, fake_logits.size(1) - 1)
    return cross_entropy(real_logits, labels) + cross_entropy(fake_logits, fake)


def cross_entropy_of_the_likeliest(logits: Tensor) -> Tensor:
    """AM-GAN's generator loss with dynamic labels."""
    return cross_entropy(logits, logits[:, :-1].argmax(1))


class PlainLoop:
    """Written for no speed at all.

    Args:
        discriminator_loss, generator_loss: of logits, the first of those of real images, labels, and generated ones.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        latent_size: int,
        discriminator_loss: Callable[[Tensor, Tensor, Tensor], Tensor] = cross_entropies,
        generator_loss: Callable[[Tensor], Tensor] = cross_entropy_of_the_likeliest,
    ) -> None:
        self.latent_size = latent_size
        self.discriminator_loss, self.generator_loss = discriminator_loss, generator_loss
        self.generator, self.discriminator = generator.train(), discriminator.train()
        self.averaged = copy.deepcopy(generator)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), 4e-4, (0.5, 0.999)) for network in (generator, discriminator)
        ]

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        for_generator, for_discriminator = self.optimizers
        for_discriminator.zero_grad()
        generated = self.generator(torch.randn(len(images), self.latent_size, device=images.device))
        self.discriminator_loss(self.discriminator(images), labels, self.discriminator(generated)).backward()
        for_discriminator.step()
        for_generator.zero_grad()
        latents = torch.randn(len(images), self.latent_size, device=images.device)
        self.generator_loss(self.discriminator(self.generator(latents))).backward()
        for_generator.step()
        with torch.no_grad():
            for average, value in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
                average.mul_(0.999).add_(value, alpha=0.001)


def of_torch(module: nn.Module) -> nn.Module:
    """The same layers as torch.nn has them; images are flattened in its order."""
    for name, child in module.named_children():
        setattr(module, name, of_torch(child))
    match module:
        case BatchNormLeakyReLUDropout(norm=norm, p=p, slope=slope):
            return nn.Sequential(norm, nn.LeakyReLU(slope, inplace=True), nn.Dropout(p))
        case LeakyReLUDropout(p=p, slope=slope):
            return nn.Sequential(nn.LeakyReLU(slope, inplace=True), nn.Dropout(p))
        case DoublingConv2d():
            return nn.Sequential(nn.Upsample(scale_factor=2), _OfItsSize(module))
        case HalvingConv2d():
            return nn.Sequential(_OfItsSize(module), nn.AvgPool2d(2))
        case FlattenChannelsLast():
            return nn.Flatten()
        case UnflattenChannelsLast(shape=(height, width, channels)):
            return nn.Unflatten(1, (channels, height, width))
        case InputNoise(sigma=sigma):
            return PlainNoise(sigma)
    return module


class PlainNoise(nn.Module):
    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, images: Tensor) -> Tensor:
        return images + self.sigma * torch.randn_like(images)


class _OfItsSize(nn.Module):
    """The convolution of a layer that changes the size as well."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        return conv2d(images, self.layer.weight, self.layer.bias, padding=1)
