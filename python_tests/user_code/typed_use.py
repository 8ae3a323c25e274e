"""What users write, for ``mypy --strict`` (``make lint``) and pyright (CONTRIBUTING.md): what they get has a type, and
none is Any.

It is checked, not run.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import amgan_fast
from amgan_fast import metrics, objectives, ops
from amgan_fast.compare import Comparison, compare, plan
from amgan_fast.evaluate import Evaluation, Request, evaluate_request, open_run, read_evaluation, save_report
from amgan_fast.metrics import FrechetDistance, ScoreAccumulator, Scores, difference, frechet_distance
from amgan_fast.nn import Sampler, build_discriminator
from amgan_fast.runs import Config, ListedRun, RunFolder, Summary, list_runs
from amgan_fast.train import Observer, Result, dry_run, train


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    loss = ops.am_generator_loss(logits)
    assert_type(loss, Tensor)
    value, gradient = ops.am_generator_loss_and_grad(logits)
    assert_type(gradient, Tensor)
    entropy = ops.class_entropy(logits)
    assert_type(entropy, Tensor)
    smooth = ops.kplus1_cross_entropy(logits, labels, label_smoothing=0.1)
    assert_type(smooth, Tensor)
    return loss + value + entropy + smooth


def step(discriminator: nn.Module, real: Tensor, labels: Tensor, generated: Tensor) -> Tensor:
    objective = objectives.AMGAN(real_smoothing=0.1)
    loss = objective.discriminator_loss(discriminator(real), labels, discriminator(generated))
    assert_type(loss, Tensor)
    assert_type(objective.generator_loss(discriminator(generated)), Tensor)
    built = build_discriminator("mlp", objective, 10, (1, 8, 8))
    assert_type(objectives.MODELS["amgan"], type[objectives.Objective])
    return loss + torch.as_tensor(sum(p.numel() for p in built.parameters()))


def scores_of(batches: list[Tensor]) -> float:
    accumulator = ScoreAccumulator(num_classes=10)
    for logits in batches:
        accumulator.update(logits)
    scores = accumulator.compute()
    assert_type(scores, Scores)
    assert_type(scores.am_score, float | None)
    assert_type(scores.inception_score, float)
    again = Scores.from_dict(scores.to_dict())
    assert_type(again, Scores)
    between = difference(scores, again)
    assert_type(between.n, tuple[int, int])
    assert_type(metrics.SCORE["am_score"].title, str)
    return scores.inception_score


def distance(mine: metrics.FeatureMoments, others: metrics.FeatureMoments) -> float:
    found = frechet_distance(mine, others)
    assert_type(found, FrechetDistance)
    assert_type(found.value, float)
    return found.value


def runs(folder: Path) -> Evaluation:
    config = Config.for_dataset("digits", steps=10)
    result = train(config, folder / "run", Observer())
    assert_type(result, Result)
    assert_type(result.folder, RunFolder)
    assert_type(dry_run(config).seconds, float)
    assert_type(Summary.load(result.folder.summary).training.seconds, float)
    assert_type(list_runs(folder), list[ListedRun])
    images, labels = open_run(folder / "run").samples(100)
    assert_type(images, Tensor)
    assert_type(labels, Tensor)
    evaluation = evaluate_request(Request(run=folder / "run", samples=500))
    assert_type(evaluation, Evaluation)
    save_report(folder / "page.html", evaluation)
    assert_type(read_evaluation(folder / "scores.json").scores, Scores)
    return evaluation


def comparison(root: Path) -> Comparison:
    return compare(root, plan(Config(steps=10), models=["amgan"], labels=["dynamic"], seeds=1))


def package(path: Path) -> str:
    generator = amgan_fast.load_generator(path)
    assert_type(generator, Sampler)
    return amgan_fast.__version__
