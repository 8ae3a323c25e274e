"""The networks of a run and the step that trains them, before the first one.

What draws random numbers here decides what the run becomes, in the order in which it draws them: a line that moves up
or down may make another run of the same seed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.data import Dataset, to_float
from amgan_fast.nn import Classifier, has_virtual_batch_norm, init_from_data, set_reference_batch
from amgan_fast.seeds import Purpose, derive_seed
from amgan_fast.train.job import Job
from amgan_fast.train.step import AdversarialStep


def build_step(job: Job, dataset: Dataset, guide: Classifier | None = None) -> AdversarialStep:
    """PyTorch's own generators are seeded here; layers go on to draw their noise from them."""
    config = job.config
    objective = config.build_objective()
    options = config.build_network_options()
    frequencies = dataset.class_frequencies() if config.labels == "predefined" else None
    torch.manual_seed(derive_seed(config.seed, Purpose.NETWORKS))
    sampler = config.build_sampler(dataset.image_shape, frequencies)  # the generator's weights are drawn first
    generator = sampler.generator.to(job.device)
    discriminator = config.build_discriminator(objective, dataset.num_classes, dataset.image_shape).to(job.device)
    if options.normalization == "virtual" or options.weight_norm:
        # Latents have a stream of their own, but noise in layers is drawn: for the reference batch, then for the norms.
        noise, _ = sampler.latent.draw(config.batch_size, job.random(Purpose.FIRST_BATCH))
        real = to_float(_first_images(dataset, config.batch_size).to(job.device))
        if options.normalization == "virtual":
            set_reference_batch(generator, noise)
            if has_virtual_batch_norm(discriminator):
                set_reference_batch(discriminator, real)
        if options.weight_norm:
            init_from_data(generator, noise)
            if not options.spectral_norm:
                init_from_data(discriminator, real)
    random, regularization = job.random(Purpose.LATENT), job.random(Purpose.REGULARIZATION)
    step = AdversarialStep(sampler, discriminator, objective, random, config, job.share, regularization, guide)
    if job.share.rank:  # noise and dropout of its own; process 0 goes on as one alone would
        torch.manual_seed(derive_seed(config.seed, Purpose.LAYERS_OF_PROCESS, rank=job.share.rank))
    return step


def _first_images(dataset: Dataset, count: int) -> Tensor:
    """From the first on, again and again where there are fewer."""
    return dataset.train_images[torch.arange(count) % len(dataset.train_images)]
