"""Training in several processes (gloo): the same samples, averaged gradients, one run folder."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forked import torchrun_forked
from tiny_runs import assert_same_state, tiny_config, tiny_run, use_classifier_cache
from torch import distributed, multiprocessing, nn

from amgan_fast.errors import InputError
from amgan_fast.nn import (
    ClassEmbedding,
    ConditionalBatchNorm,
    Conditioned,
    Discriminator,
    LatentSource,
    Sampler,
    apply_spectral_norm,
)
from amgan_fast.objectives import AMGAN
from amgan_fast.processes import Share, join_processes
from amgan_fast.runs import RunFolder, StepOptions
from amgan_fast.tensor_files import load_tensors
from amgan_fast.train import AdversarialStep, Observer, resume

BATCH, PIXELS, LATENT, CLASSES = 12, 5, 3, 3

OPTIONS = {
    "plain": {},
    "shared latents": {"share_latents": True},
    "spectral norm": {"spectral_norm": True},
    "class embedding": {"conditioning": "embedding"},
    "conditional batch norm": {"conditioning": "batch-norm"},
    "lecam": {"lecam": 0.1},
    "exact penalties": {"r1": 1.0, "r2": 0.5, "penalty_every": 2},
    "finite differences": {"r1": 1.0, "r2": 0.5, "gradient_penalty": "finite-difference", "penalty_share": 1.0},
    "guidance": {"guidance": 1.0},
    "guidance by realness": {"guidance": 1.0, "guidance_rows": "realness"},
}

OWN = """
from torch import nn

def generator(*, inputs, image_shape, labels):
    layers = nn.Linear(inputs, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 64), nn.Tanh()
    return nn.Sequential(*layers, nn.Unflatten(1, image_shape))

def discriminator(*, image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Dropout(0.2), nn.LeakyReLU(0.2))
"""


class Guide(nn.Linear):
    num_classes = CLASSES


class FixedStatistics(nn.BatchNorm1d):
    """Those that it begins with."""

    def train(self, mode: bool = True) -> FixedStatistics:
        return super().train(False)


def make_generator(conditioning: str | None) -> nn.Module:
    first = nn.Linear(2 * LATENT if conditioning == "embedding" else LATENT, 8)
    rest = (nn.Tanh(), nn.Linear(8, PIXELS))
    if conditioning == "embedding":
        return nn.Sequential(ClassEmbedding(LATENT, CLASSES), first, *rest)
    if conditioning == "batch-norm":
        norm = ConditionalBatchNorm(FixedStatistics(8, affine=False), CLASSES)
        return Conditioned(nn.Sequential(first, norm, *rest), CLASSES)
    return nn.Sequential(first, *rest)


def make_step(
    share: Share, device: torch.device, spectral_norm: bool = False, conditioning: str | None = None, **options
) -> AdversarialStep:
    """Without chance and without statistics of a batch, so that parts of a batch add up to the whole."""
    torch.manual_seed(0)
    generator = make_generator(conditioning).to(device)
    discriminator = Discriminator(nn.Sequential(nn.Linear(PIXELS, 8), nn.Tanh()), nn.Linear(8, CLASSES + 1)).to(device)
    if spectral_norm:
        apply_spectral_norm(discriminator)
    guide = Guide(PIXELS, CLASSES).to(device)
    settings = StepOptions(generator_lr=1e-2, discriminator_lr=1e-2, ema_decay=0.9, **options)
    random, noise = (torch.Generator(device).manual_seed(seed) for seed in (1, 3))
    frequencies = None if conditioning is None else torch.full((CLASSES,), 1 / CLASSES)
    sampler = Sampler(generator, LatentSource(LATENT, frequencies))
    return AdversarialStep(sampler, discriminator, AMGAN(), random, settings, share, noise, guide)


def train_a_little(share: Share, device: torch.device, options: dict) -> dict:
    step = make_step(share, device, **options)
    torch.manual_seed(2)
    for _ in range(5):
        images, labels = torch.randn(BATCH, PIXELS), torch.randint(CLASSES, (BATCH,))
        mine = slice(share.rank * BATCH // share.ranks, (share.rank + 1) * BATCH // share.ranks)
        step(images[mine].to(device), labels[mine].to(device))
    return {name: step.state_dict()[name] for name in ("generator", "discriminator", "averaged")}


def _in_a_process(rank: int, folder: Path, device: torch.device) -> None:
    """Gloo on a GPU too: NCCL has one process a GPU."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    trained = {name: train_a_little(Share(rank, 2), device, options) for name, options in OPTIONS.items()}
    torch.save(trained, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_step_as_one_does(tmp_path, device):
    multiprocessing.set_forkserver_preload(["torch", "amgan_fast.train"])
    multiprocessing.start_processes(_in_a_process, (tmp_path, device), 2, start_method="forkserver")
    want = {name: train_a_little(Share(), device, options) for name, options in OPTIONS.items()}
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), want, rtol=1e-4, atol=1e-5)
    weights = [torch.cat([x.flatten() for x in one["discriminator"].values()]) for one in want.values()]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(weights, 2))  # the options did something


@pytest.fixture
def two_gpus(monkeypatch) -> list[tuple]:
    """Calls, as they come, of torchrun's second process on a machine of two GPUs."""
    calls: list[tuple] = []
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(("current", str(device))))
    monkeypatch.setattr(
        distributed, "init_process_group", lambda backend, device_id: calls.append((backend, str(device_id)))
    )
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    return calls


def test_a_process_computes_on_its_own_gpu_from_the_first_call_on(two_gpus):
    with join_processes(torch.device("cuda")) as share:
        assert share == Share(1, 2)
    assert two_gpus == [("current", "cuda:1"), ("cpu:gloo,cuda:nccl", "cuda:1")]


def test_a_process_on_the_cpu_has_no_gpu(two_gpus):
    with join_processes(torch.device("cpu")):
        assert two_gpus == [("gloo", "None")]


def test_one_process_alone_has_the_gpu_that_torchrun_gave_it(two_gpus, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    with join_processes(torch.device("cuda")) as share:
        assert share == Share()
    assert two_gpus == [("current", "cuda:1")]


def test_more_processes_than_gpus_are_refused(two_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    wanted = (
        r"^LOCAL_RANK is 2 and this process sees 2 GPUs, wanted one for each process of a machine \(torchrun --nproc"
    )
    with pytest.raises(InputError, match=wanted), join_processes(torch.device("cuda")):
        pass
    assert not two_gpus


@pytest.mark.parametrize("count", [1, 499, 500, 1001, 1500, 5000])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_shares_are_the_whole_and_none_is_larger_than_the_first(count, ranks):
    bounds = [Share(rank, ranks).bounds(count, 500) for rank in range(ranks)]
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == count
    assert all(start % 500 == 0 or start == count for start, _ in bounds)
    sizes = [stop - start for start, stop in bounds]
    assert 0 < sizes[0] == max(sizes)
    assert max(sizes) - min(sizes) < 1000  # a unit, and what the last one lacks


@pytest.mark.parametrize("count", [7, 1001, 5000])
@pytest.mark.parametrize(("shards", "ranks"), [(1, 3), (4, 1), (3, 2), (7, 3)])
def test_shares_of_jobs_and_their_processes_are_the_whole(count, shards, ranks):
    shares = [Share(rank, ranks, shard, shards) for shard in range(shards) for rank in range(ranks)]
    bounds = [share.bounds(count, 10) for share in shares]
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == count
    sizes = torch.tensor([stop - start for start, stop in bounds]).view(shards, ranks)
    assert (sizes[:, 0] == sizes.amax(1)).all()
    assert int(sizes.sum(1).max() - sizes.sum(1).min()) < 20
    with pytest.raises(ValueError, match="shard is 2 of 2 shards, wanted 0 to shards - 1"):
        Share(shard=2, shards=2)


def test_torchrun_trains_own_networks_and_goes_on(tmp_path, monkeypatch, users_module):
    guide = use_classifier_cache(tmp_path / "cache", monkeypatch)
    options = {"labels": "predefined", "checkpoint_every": 2, "guidance": 0.5, "guidance_classifier": str(guide)}
    name = users_module(OWN)
    options |= {"generator": f"{name}:generator", "discriminator": f"{name}:discriminator"}
    allowed = ["--allow-code", name]
    config = tiny_config(**options)
    config.save(tmp_path / "config.toml")
    train = ["-m", "amgan_fast", "train", *allowed]
    result = torchrun_forked([*train, "--config", "config.toml", "--out", "run"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    run = RunFolder(tmp_path / "run")
    summary = json.loads(run.summary.read_text())
    assert summary["training"]["processes"] == 2
    assert summary["generated"]["scores"]["n"] == 600
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    state = load_tensors(run.checkpoint)
    assert len(state["random"]) == 2
    alone = load_tensors(tiny_run(tmp_path / "alone", **options).folder.checkpoint)
    assert state["step"]["guidance"] == alone["step"]["guidance"] != {}
    assert state["batches"].keys() == alone["batches"].keys()  # the same images were seen
    for name, value in alone["batches"].items():
        same = (
            torch.equal(value, state["batches"][name])
            if isinstance(value, torch.Tensor)
            else value == state["batches"][name]
        )
        assert same, name
    again = torchrun_forked([*train, "--resume", "run"], tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(run.summary.read_text())["generated"] == summary["generated"]


def test_a_run_goes_on_with_another_number_of_processes(tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    whole = tiny_run(tmp_path / "whole", checkpoint_every=2).folder
    run = tiny_run(tmp_path / "run", checkpoint_every=2).folder
    run.checkpoint.unlink()  # so it goes on from step 4
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    command += ["amgan_fast", "train", "--resume", "run"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "processes: 1 until now, 2 from here on" in result.stdout
    of_two = load_tensors(run.checkpoint)
    assert_same_state(of_two["batches"], load_tensors(whole.checkpoint)["batches"])
    assert [row["step"] for row in run.read_metrics()] == [2, 4, 6]
    first, second = (random["cpu"] for random in of_two["random"])
    assert not torch.equal(first, second)  # each has noise of its own

    texts = []
    observer = Observer()
    observer.message = texts.append
    resume(run.path, observer)
    assert any("processes: 2 until now, 1 from here on" in text for text in texts)
    assert json.loads(run.summary.read_text())["training"]["processes"] == 1
