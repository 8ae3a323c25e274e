"""How each score behaves in an experiment whose answer is known: the pictures of docs/scores.

    python -m benchmarks.score_pictures [--out docs/images/scores] [--only cas ...]

Leaves a picture for each score, in a minute on one core, half of which trains small classifiers of digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.special import rel_entr
from torch import Tensor

from amgan_fast.data import Dataset, load_dataset, to_float
from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics import (
    DiversitySums,
    Scores,
    class_ms_ssim,
    frechet_distance,
    kernel_distance,
    label_balance,
    memorisation,
    precision_recall,
    scores,
    share_interval,
    without_score_warnings,
)
from amgan_fast.train import train_classifier
from benchmarks.simulated_classifiers import Soft

FOLDER = Path("docs/images/scores")
CLASSES = 10
MODES = 10
SURE = 6.0  # the logit of a sample's class above the others

Axes: TypeAlias = Any
Interval = tuple[float, float]


def with_interval(axes: Axes, x: Sequence[float], values: Sequence[float], ends: Sequence[Interval], name: str) -> None:
    """A curve with a bar to each end of its 95% intervals."""
    lengths = [[value - low for value, (low, _) in zip(values, ends, strict=True)]]
    lengths += [[high - value for value, (_, high) in zip(values, ends, strict=True)]]
    axes.errorbar(x, values, np.maximum(lengths, 0), marker="o", markersize=4, capsize=3, label=name)


def inception_score(axes: Axes) -> None:
    """Of a classifier of 100 classes, by the number of samples."""
    classes, random = 100, np.random.default_rng(0)
    classifier = Soft(np.tile([4.0, 0.5, 0.5], (classes, 1)))
    counts, found = (500, 1000, 2000, 5000, 10000, 20000), []
    for count in counts:
        logits = torch.empty(count, classes)
        classifier.fill(logits, random.integers(classes, size=count), random)
        found.append(scores(logits))
    axes.axhline(
        classifier.truth(np.full(classes, 1 / classes)).inception_score, color="black", lw=1, label="the truth"
    )
    axes.plot(counts, [one.split_mean for one in found], marker="o", markersize=4, label="mean of ten splits")
    axes.plot(counts, [one.inception_score for one in found], marker="o", markersize=4, label="the whole set")
    ends = [one.inception_score_ci95 or (one.inception_score,) * 2 for one in found]
    with_interval(axes, counts, [one.inception_score_corrected for one in found], ends, "corrected, 95% interval")
    axes.set(xscale="log", xlabel="samples", ylabel="Inception Score, 100 classes")


def drifting(drift: float) -> Scores:
    """Classes as frequent as in the data where ``drift`` is 0, equally frequent where it is 1."""
    data = torch.arange(1, CLASSES + 1, dtype=torch.float64)
    frequencies = data.pow(1 - drift)
    logits = SURE * torch.eye(CLASSES, dtype=torch.float64)
    counts = (20000 * frequencies / frequencies.sum()).round().long()
    with without_score_warnings():  # that the numbers of each class are no chance
        return scores(logits.repeat_interleave(counts, 0), reference=logits.softmax(1).T @ (data / data.sum()))


DRIFTS = [step / 10 for step in range(-10, 21, 2)]
DRIFT = "class frequencies: 0 as in the data, 1 all equal"


def am_score(axes: Axes) -> None:
    found = [drifting(drift) for drift in DRIFTS]
    for name, values in (
        ("AM Score (lower is better)", [one.am_score for one in found]),
        ("log K - log Inception Score", [np.log(CLASSES / one.inception_score) for one in found]),
    ):
        axes.plot(DRIFTS, values, marker="o", markersize=4, label=name)
    axes.set(xlabel=DRIFT, ylabel="nats")


def mode_score(axes: Axes) -> None:
    found = [drifting(drift) for drift in DRIFTS]
    kl_to_data = [rel_entr(one.class_distribution, one.reference).sum() for one in found]
    for name, style, values in (
        ("Inception Score", "o", [one.inception_score for one in found]),
        ("Mode Score", "-", [one.mode_score for one in found]),
        (
            "times exp(-KL(m, data)), another score",
            "--",
            [one.inception_score * np.exp(-kl) for one, kl in zip(found, kl_to_data, strict=True)],
        ),
    ):
        axes.plot(DRIFTS, values, style, label=name)
    axes.set(xlabel=DRIFT, ylabel=f"{CLASSES} classes")


def frechet(axes: Axes) -> None:
    """Of normal features, samples narrower and moved, with as many real ones."""
    dim, random = 32, torch.Generator().manual_seed(0)
    shift, scale = 0.1, 0.9
    counts, found = (100, 200, 500, 1000, 2000, 5000, 10000), []
    for count in counts:
        samples, real = torch.randn(2, count, dim, generator=random, dtype=torch.float64)
        found.append(frechet_distance(scale * samples + shift, real))
    axes.axhline(dim * (shift**2 + (1 - scale) ** 2), color="black", lw=1, label="the truth")
    axes.plot(counts, [one.value for one in found], marker="o", markersize=4, label="as published")
    values = [one.value if one.corrected is None else one.corrected for one in found]
    with_interval(axes, counts, values, [one.ci95 or (0.0, 0.0) for one in found], "corrected, 95% interval")
    axes.set(xscale="log", yscale="log", xlabel="samples, and real ones", ylabel="Fréchet distance, 32 features")


def kernel(axes: Axes) -> None:
    """Of the same features, and of samples that are as real ones."""
    dim, random = 32, torch.Generator().manual_seed(1)
    counts = (50, 100, 200, 500, 1000, 2000)
    for name, shift, scale in (("narrower and moved", 0.1, 0.9), ("as real ones", 0.0, 1.0)):
        found = []
        for count in counts:
            samples, real = torch.randn(2, count, dim, generator=random)
            found.append(kernel_distance(scale * samples + shift, real))
        with_interval(axes, counts, [one.value for one in found], [one.ci95 for one in found], name)
    axes.axhline(0, color="black", lw=1)
    axes.set(xscale="log", xlabel="samples, and real ones", ylabel="kernel distance, 95% interval")


def of_modes(modes: int, count: int, random: torch.Generator, dim: int = 16) -> Tensor:
    """[``count``, ``dim``], normal features around places that are far from one another."""
    places = 6 * torch.randn(MODES, dim, generator=torch.Generator().manual_seed(2))
    return places[torch.randint(modes, (count,), generator=random)] + torch.randn(count, dim, generator=random)


def recall(axes: Axes) -> None:
    """Of samples that keep to some of ten modes."""
    random = torch.Generator().manual_seed(3)
    real = of_modes(MODES, 1000, random)
    kept = range(1, MODES + 1)
    found = [precision_recall(samples=of_modes(modes, 1000, random), reference=real) for modes in kept]
    for name in ("precision", "recall", "density", "coverage"):
        values, ends = ([getattr(one, name + end) for one in found] for end in ("", "_ci95"))
        with_interval(axes, kept, values, ends, name)
    axes.set(xlabel="modes kept of 10", ylabel="1,000 samples, 95% interval", ylim=(0, 1.4))


def diversity(axes: Axes) -> None:
    """Of samples of so many modes, which the bandwidth takes for one sample each."""
    random = torch.Generator().manual_seed(4)
    kept, found = range(1, MODES + 1), []
    for modes in kept:
        sums = DiversitySums(16, bandwidth=15.0, components=256)
        sums.update(of_modes(modes, 2000, random))
        found.append(sums.compute())
    axes.plot(kept, kept, color="black", lw=1, label="modes")
    with_interval(axes, kept, [one.vendi for one in found], [one.vendi_ci95 or (0, 0) for one in found], "Vendi score")
    with_interval(axes, kept, [one.rke for one in found], [one.rke_ci95 or (0, 0) for one in found], "RKE")
    axes.set(xlabel="modes kept of 10", ylabel="2,000 samples, 95% interval")


def copying(axes: Axes) -> None:
    """Of samples some of which are training images with little noise."""
    random = torch.Generator().manual_seed(5)
    training, held_out, samples = torch.randn(3, 2000, 16, generator=random)
    shares = [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
    found = []
    for share in shares:
        copies = round(share * len(samples))
        noisy = training[:copies] + 0.1 * torch.randn(copies, 16, generator=random)
        found.append(memorisation(torch.cat([noisy, samples[copies:]]), held_out, training))
    values, ends = [one.nearer for one in found], [one.nearer_ci95 for one in found]
    with_interval(axes, shares, values, ends, "nearer to training than held-out")
    axes.plot(
        shares, [one.among_nearest for one in found], marker="o", markersize=4, label="nearer than 99% of held-out"
    )
    axes.axhline(0.5, color="black", lw=1)
    axes.set(xlabel="share of samples that are near copies", ylabel="2,000 samples, 95% interval", ylim=(0, 1.05))


def balance(axes: Axes) -> None:
    """Of a class that comes less and less."""
    random, count = torch.Generator().manual_seed(6), 2000
    keep = [step / 10 for step in range(11)]
    logits = SURE * torch.eye(CLASSES)
    data = logits[torch.randint(CLASSES, (count,), generator=random)]
    found = []
    for share in keep:
        frequencies = torch.ones(CLASSES).index_fill(0, torch.tensor(0), share)
        samples = logits[torch.multinomial(frequencies, count, replacement=True, generator=random)]
        found.append(
            (
                scores(samples, reference=scores(data)),
                label_balance(samples, reference=data.argmax(1).bincount().tolist()),
            )
        )
    axes.plot(keep, [one.kl_reference for one, _ in found], marker="o", markersize=4, label="KL(reference, mean)")
    axes.plot(keep, [one.p_value for _, one in found], marker="o", markersize=4, label="p of the class balance")
    axes.axhline(0.05, color="black", lw=1, label="p = 0.05")
    axes.set(xlabel="frequency of one class of ten: 0 never, 1 as in the data", ylabel="KL (nats) and p", yscale="log")
    axes.set(ylim=(1e-4, 2))


def ms_ssim(axes: Axes) -> None:
    """Of digits, where one class comes to be one image."""
    digits = load_dataset("digits")
    images, labels = digits.train_images, digits.train_labels
    assert isinstance(images, Tensor)
    zeros = (labels == 0).nonzero()[:, 0]
    shares, found = [step / 10 for step in range(11)], []
    for share in shares:
        alike = images.clone()
        alike[zeros[: round(share * len(zeros))]] = images[zeros[0]]
        found.append(class_ms_ssim(alike, labels, data_range=255))
    axes.plot(shares, [one.maximum for one in found], marker="o", markersize=4, label="maximum, as published")
    ends = [one.maximum_ci95 or (0.0, 1.0) for one in found]
    with_interval(axes, shares, [one.maximum_corrected for one in found], ends, "corrected, 95% interval")
    axes.set(xlabel="share of the zeros that are one image", ylabel="MS-SSIM within classes")


def cas(axes: Axes) -> None:
    """Of a generator that draws some digits of each class again and again."""
    digits = load_dataset("digits")
    kept = (1, 2, 5, 10, 20, 50, 100)
    judge = train_classifier(digits, steps=300).network
    accuracy, right = [], []
    for count in kept:
        samples = collapsed(digits, count)
        accuracy.append(train_classifier(samples, steps=300).test_accuracy)
        assert isinstance(samples.train_images, Tensor)
        seen = judge(to_float(samples.train_images)).argmax(1)
        right.append(float((seen == samples.train_labels).double().mean()))
    ends = [share_interval(one, len(digits.test_labels)) for one in accuracy]
    with_interval(axes, kept, accuracy, ends, "trained on samples: CAS, 95% interval")
    axes.plot(kept, right, marker="o", markersize=4, label="trained on real images (GAN-test)")
    axes.set(xscale="log", xlabel="different images of each class", ylabel="accuracy", ylim=(0, 1.05))


def collapsed(digits: Dataset, count: int) -> Dataset:
    """As many training images as before, only ``count`` different ones of each class."""
    order = []
    for label in range(digits.num_classes):
        places = (digits.train_labels == label).nonzero()[:, 0]
        order.append(places[torch.arange(len(places)) % count])
    chosen = torch.cat(order)
    return replace(digits, train_images=digits.train_images[chosen], train_labels=digits.train_labels[chosen])


PICTURES: dict[str, Callable[[Axes], None]] = {
    "inception_score": inception_score,
    "am_score": am_score,
    "mode_score": mode_score,
    "frechet_distance": frechet,
    "kernel_distance": kernel,
    "precision_recall": recall,
    "diversity": diversity,
    "memorisation": copying,
    "class_balance": balance,
    "ms_ssim": ms_ssim,
    "cas": cas,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=PICTURES)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the layers for digits are too small to share out
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        figure = new_figure()
        (axes,) = figure.axes
        PICTURES[name](axes)
        axes.legend(fontsize="small")
        save_figure(options.out / f"{name}.png", figure)


if __name__ == "__main__":
    main()
