"""The networks that the AM-GAN paper used for CIFAR-10 and Tiny-ImageNet, 32 x 32 (arXiv 1703.02000)."""

from __future__ import annotations

from torch import nn

from amgan_fast.nn.layers import UnflattenChannelsLast, input_noise, norm_and_activation
from amgan_fast.nn.options import ImageShape, NetworkOptions, check_image_size

# "Batch norm always uses batch statistics" in the authors' code: see NetworkOptions.running_statistics for what that
# means for sampling. The averaged generator has no statistics to average either.
OPTIONS = NetworkOptions(weight_norm=True, running_statistics=False)


def paper_generator(inputs: int, image_shape: ImageShape, options: NetworkOptions, classes: int) -> nn.Sequential:
    """[N, inputs] -> [N, C, 32, 32] in (-1, 1): 4 x 4 x 768, doubled to 384, 192 and 96 channels by deconvolutions.

    For 100 inputs and 3 channels 4,717,923 parameters, and 12,963 more with weight norm.
    """
    check_image_size("paper", image_shape, 32)
    seed, *widths = (options.channels(count) for count in (768, 384, 192, 96))
    layers: list[nn.Module] = [
        nn.Linear(inputs, seed * 4 * 4, bias=options.biases),
        UnflattenChannelsLast(seed, 4, 4),
        *norm_and_activation(seed, options, classes=classes),
    ]
    before = seed
    for width in widths:
        layers += [
            nn.ConvTranspose2d(before, width, 3, stride=2, padding=1, output_padding=1, bias=options.biases),
            *norm_and_activation(width, options, classes=classes),
        ]
        before = width
    return nn.Sequential(*layers, nn.Conv2d(before, image_shape[0], 3, padding=1), nn.Tanh())


def paper_discriminator(image_shape: ImageShape, options: NetworkOptions) -> tuple[nn.Sequential, int]:
    """[N, C, 32, 32] -> features [N, 512]: convolutions to 4 x 4, the mean over positions, dropout.

    For 3 channels, with the last layer for 11 outputs, 1,557,579 parameters, and 971 more with weight norm; the
    convolution that predefined labels add has 2,360,320, and 512 more with weight norm.
    """
    check_image_size("paper", image_shape, 32)
    layers: list[nn.Module] = input_noise(options)
    before = image_shape[0]
    widths_and_strides = [(64, 1), (128, 2), (256, 2), (512, 2)]
    if options.predefined_labels:
        widths_and_strides.append((512, 1))
    for count, stride in widths_and_strides:
        width = options.channels(count)
        layers += [
            nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=options.biases),
            *norm_and_activation(width, options, options.dropout),
        ]
        before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if options.dropout:
        layers.append(nn.Dropout(options.dropout))
    return nn.Sequential(*layers), before
