"""Classifier guidance: what a step adds for it, who is left alone by it, and runs that have it."""

from __future__ import annotations

import copy
import functools
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from host_graph import use_host_graphs
from test_gradient_penalties import CLASSES, SHAPE, double_discriminator
from test_resume import StopAt
from test_train import Listener
from tiny_runs import assert_same_run, assert_same_state, digits, tiny_config, tiny_run, use_classifier_cache
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.compare import compare, plan
from amgan_fast.errors import InputError
from amgan_fast.evaluate import TrainedClassifier, read_classifier
from amgan_fast.nn import Classifier, LatentSource, Sampler, build_classifier, build_discriminator
from amgan_fast.objectives import AMGAN, MODELS, ImprovedGAN, Objective
from amgan_fast.runs import Checkpoint, Config, RunFolder, StepOptions, previous_checkpoint
from amgan_fast.tensor_files import load_tensors
from amgan_fast.train import AdversarialStep, TrainingStopped, resume, train, train_classifier

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")

PLAIN = {"normalization": "none", "dropout": 0.0, "input_noise": 0.0}
BATCH = 4


# One step


def new_guide(dtype: torch.dtype = torch.float64, seed: int = 7) -> Classifier:
    """With running averages that are not those of a start."""
    torch.manual_seed(seed)
    network = build_classifier("cnn", SHAPE, CLASSES, width=4).to(dtype)
    for _ in range(3):
        network(torch.rand(6, *SHAPE, dtype=dtype) * 2 - 1)
    return network


class Latents(LatentSource):
    def __init__(self, labels: str, dtype: torch.dtype) -> None:
        super().__init__(4, torch.full((CLASSES,), 1 / CLASSES) if labels == "predefined" else None)
        self.dtype = dtype

    def draw(self, count, generator):
        inputs, labels = super().draw(count, generator)
        return inputs.to(self.dtype), labels


def new_step(
    labels: str = "dynamic",
    objective: Objective | None = None,
    discriminator: nn.Module | None = None,
    dtype: torch.dtype = torch.float64,
    guide: Classifier | None = None,
    **options,
) -> AdversarialStep:
    latent = Latents(labels, dtype)
    if discriminator is None:
        discriminator = double_discriminator(**PLAIN)
    torch.manual_seed(3)
    generator = nn.Sequential(nn.Linear(latent.width, 64), nn.Tanh(), nn.Unflatten(1, SHAPE)).to(dtype)
    return AdversarialStep(
        Sampler(generator, latent),
        discriminator.to(dtype),
        objective or AMGAN(),
        torch.Generator().manual_seed(1),
        StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9, **options),
        noise=torch.Generator().manual_seed(2),
        guide=guide or new_guide(dtype),
    )


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    return torch.rand(BATCH, *SHAPE, generator=random, dtype=dtype) * 2 - 1, torch.arange(BATCH) % CLASSES


def generators_step(step: AdversarialStep) -> tuple[Tensor, list[Tensor]]:
    """The generator's loss, and its gradients."""
    loss = step._step_generator(*batch(step.sampler.latent.dtype))
    return loss, [parameter.grad for parameter in step.generator.parameters()]


def added_by(weight: float, **options) -> tuple[Tensor, list[Tensor]]:
    """What guidance adds to them."""
    (loss, gradients), (without, those) = (generators_step(new_step(guidance=w, **options)) for w in (weight, 0.0))
    return loss - without, [a - b for a, b in zip(gradients, those, strict=True)]


def wanted(weight: float, labels: str, rows: str) -> tuple[Tensor, list[Tensor]]:
    """The same by PyTorch's cross-entropy."""
    step = new_step(labels)
    oracle = new_guide().eval()
    inputs, given = step.sampler.latent.draw(BATCH, torch.Generator().manual_seed(1))
    images = step.generator(inputs)
    logits = step.discriminator(images).detach()
    y = logits[:, :-1].argmax(1) if given is None else given
    losses = cross_entropy(oracle(images), y, reduction="none")
    if rows == "realness":
        losses = losses * logits.softmax(1)[:, :-1].sum(1)
    loss = weight * losses.mean()
    return loss.detach(), list(torch.autograd.grad(loss, list(step.generator.parameters())))


@pytest.mark.parametrize("rows", ["all", "realness"])
@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
def test_a_step_adds_the_cross_entropy_of_the_classifier(labels, rows):
    loss, gradients = added_by(0.7, labels=labels, guidance_rows=rows)
    want, slopes = wanted(0.7, labels, rows)
    torch.testing.assert_close(loss.double(), want, rtol=1e-6, atol=1e-9)
    assert min(float(g.abs().max()) for g in slopes) > 1e-4
    torch.testing.assert_close(gradients, slopes, rtol=1e-6, atol=1e-9)


def test_weights_of_rows_make_another_loss():
    assert not torch.allclose(wanted(1.0, "dynamic", "all")[0], wanted(1.0, "dynamic", "realness")[0], rtol=1e-2)


def test_a_generator_that_learns_from_features_has_labels_by_the_discriminator_too():
    discriminator = double_discriminator(**PLAIN)
    loss, gradients = added_by(0.7, objective=ImprovedGAN(), discriminator=discriminator)
    want, slopes = wanted(0.7, "dynamic", "all")
    torch.testing.assert_close(loss.double(), want, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(gradients, slopes, rtol=1e-5, atol=1e-8)


class Seen:
    """What a classifier was given."""

    def __init__(self, guide: Classifier) -> None:
        self.images: list[Tensor] = []
        guide.register_forward_pre_hook(lambda _, given: self.images.append(given[0]))


@pytest.mark.parametrize("share_latents", [False, True])
def test_it_sees_images_as_they_are_once_a_step(share_latents):
    guide = new_guide()
    seen, made = Seen(guide), []
    step = new_step(guide=guide, guidance=1.0, augment=1.0, share_latents=share_latents)
    step.generator.register_forward_hook(lambda *call: made.append(call[-1]))
    for _ in range(3):
        step(*batch())
    own = made if share_latents else made[1::2]
    assert len(seen.images) == 3
    assert all(torch.equal(a, b) for a, b in zip(seen.images, own, strict=True))


def test_the_classifier_stays_as_it_is():
    guide = new_guide()
    before = copy.deepcopy(guide.state_dict())
    step = new_step(guide=guide, guidance=1.0)
    for _ in range(3):
        step(*batch())
    assert_same_state(dict(guide.state_dict()), dict(before))
    assert not any(layer.training for layer in guide.modules())
    assert all(p.grad is None and not p.requires_grad for p in guide.parameters())
    own = {id(p) for p in guide.parameters()}
    assert not any(id(p) in own for o in step._optimizers.values() for g in o.param_groups for p in g["params"])
    assert list(step.state_dict()["guidance"]) == ["classifier"]  # which one it is, and not its weights


def test_a_state_of_another_classifier_is_refused():
    state = new_step(guidance=1.0).state_dict()
    new_step(guidance=1.0).load_state_dict(state)
    with pytest.raises(ValueError, match="guidance_classifier has other weights than when the run began"):
        new_step(guide=new_guide(seed=8), guidance=1.0).load_state_dict(state)


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_guided_or_says_why_it_is_not(model, labels):
    objective = MODELS[model]()
    options = {"model": model, "labels": labels, "guidance_classifier": "c.pt", "guidance": 0.5}
    guided = labels == "predefined" or model != "gan"
    if not guided:
        with pytest.raises(
            InputError, match=r"guidance is 0.5, wanted 0 with dynamic labels: gan has no class outputs"
        ):
            Config(**options)
    else:
        Config(**options)
    torch.manual_seed(0)
    discriminator = build_discriminator("mlp", objective, CLASSES, SHAPE)
    step = new_step(labels, objective, discriminator, torch.float32, guidance=0.5)
    if not guided:
        with pytest.raises(ValueError, match=r"guidance has dynamic labels, wanted given ones: gan has no classes"):
            step(*batch(torch.float32))
        return
    step(*batch(torch.float32))
    assert step.is_finite()
    if objective.has_realness:
        return
    with pytest.raises(InputError, match=f"guidance_rows is 'realness', wanted all: {model} has no real/generated"):
        Config(**options, guidance_rows="realness")
    with pytest.raises(ValueError, match=f"guidance_rows is 'realness', wanted 'all': {model} has no real/generated"):
        new_step(labels, objective, discriminator, torch.float32, guidance=0.5, guidance_rows="realness")


def test_in_bfloat16_the_classifier_computes_as_the_other_networks():
    gradients = []
    for precision in ("float32", "bfloat16"):
        guide = new_guide(torch.float32)
        given = []
        guide.register_forward_hook(lambda *call, given=given: given.append(call[-1].dtype))
        step = new_step("predefined", dtype=torch.float32, guide=guide, guidance=100.0, precision=precision)
        loss, slopes = generators_step(step)
        assert loss.dtype == torch.float32
        assert given == [getattr(torch, precision)]
        gradients.append(torch.cat([g.flatten() for g in slopes]))
    assert cosine_similarity(*gradients, dim=0) > 0.98


def test_a_compiled_step_is_the_same_step(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    steps = [new_step(guidance=1.0, guidance_rows="realness", compile=compiled) for compiled in (False, True)]
    for step in steps:
        for _ in range(2):
            step(*batch())
    torch.compiler.reset()
    torch.testing.assert_close(steps[1].generator.state_dict(), steps[0].generator.state_dict())


def test_a_discriminator_that_gives_no_numbers_ends_in_a_loss_that_is_none():
    """And not in an error of weights: a run says then where its last good checkpoint is."""
    step = new_step(guidance=1.0, guidance_rows="realness")
    with torch.no_grad():
        step.discriminator.head.bias.fill_(torch.nan)
    loss, _ = generators_step(step)
    assert loss.isnan()


# Runs


@functools.cache
def digits_guide() -> TrainedClassifier:
    """Trained for a moment only, and from another seed than the one that scores are taken with."""
    return train_classifier(digits(), steps=20, seed=1)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def guide_file(tmp_path) -> Path:
    digits_guide().save(tmp_path / "guide.pt")
    return tmp_path / "guide.pt"


RUNS = {
    "dynamic": {"guidance_rows": "realness"},
    "predefined": {"labels": "predefined", "share_latents": True, "precision": "bfloat16"},
    "unlabelled": {"model": "improved-gan", "labelled_per_class": 5},
    "augmented": {"augment": 0.3, "augment_target": 0.6},
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_stopped_run_goes_on_to_the_same_end_without_the_file(tmp_path, cache, guide_file, options):
    options = {"steps": 10, "checkpoint_every": 3, "guidance": 1.0, "guidance_classifier": str(guide_file), **options}
    whole = tiny_run(tmp_path / "whole", **options)
    with pytest.raises(TrainingStopped):
        train(tiny_config(**options), tmp_path / "stopped", StopAt(4, signal.SIGINT))
    guide_file.unlink()
    assert resume(tmp_path / "stopped").evaluation.generated.scores == whole.evaluation.generated.scores
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
    assert read_classifier(RunFolder(tmp_path / "stopped").guidance_classifier).sha256() == digits_guide().sha256()


def test_the_command_goes_on_too(tmp_path, cache, guide_file):
    few = {"steps": 6, "log_every": 2, "score_every": 4, "score_samples": 200, "final_samples": 600}
    settings = {**few, "checkpoint_every": 3, "guidance": 0.5, "guidance_classifier": guide_file}
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = ["train", "--device", "cpu", *given]
    for out in ("whole", "stopped"):
        result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / out)])
        assert result.exit_code == 0, result.output
    guide_file.unlink()
    run = RunFolder(tmp_path / "stopped")
    run.checkpoint.unlink()  # goes on from the one before
    result = CliRunner().invoke(app, ["train", "--resume", str(run.path)])
    assert result.exit_code == 0, result.output
    assert_same_run(run.path, tmp_path / "whole")


def test_a_run_without_checkpoint_begins_anew_with_the_classifier_that_it_kept(tmp_path, cache, guide_file):
    options = {"guidance": 1.0, "guidance_classifier": str(guide_file)}
    tiny_run(tmp_path / "whole", **options)
    run = tiny_run(tmp_path / "run", **options).folder
    for path in (run.checkpoint, previous_checkpoint(run.checkpoint), run.summary):
        path.unlink(missing_ok=True)
    guide_file.unlink()
    resume(run.path)
    assert_same_run(run.path, tmp_path / "whole")


def test_a_run_that_lost_its_classifier_takes_no_other(tmp_path, cache, guide_file):
    options = {"steps": 10, "checkpoint_every": 3, "guidance": 1.0, "guidance_classifier": str(guide_file)}
    with pytest.raises(TrainingStopped):
        train(tiny_config(**options), tmp_path / "run", StopAt(4))
    kept = RunFolder(tmp_path / "run").guidance_classifier
    train_classifier(digits(), steps=20, seed=2).save(kept)
    with pytest.raises(InputError, match="guidance_classifier has other weights than when the run began"):
        resume(tmp_path / "run")
    kept.unlink()
    resume(tmp_path / "run")  # the file is the same still
    assert Checkpoint.load(RunFolder(tmp_path / "run").checkpoint).steps == 10


def test_a_captured_run_is_the_run_to_the_bit(tmp_path, cache, guide_file, monkeypatch):
    graphs = use_host_graphs(monkeypatch)
    options = {"steps": 10, "guidance": 1.0, "guidance_rows": "realness", "guidance_classifier": str(guide_file)}
    runs = [tiny_run(tmp_path / graph, cuda_graph=graph, **options).folder for graph in ("off", "auto")]
    states = [load_tensors(run.checkpoint) for run in runs]
    assert [state.pop("config")["cuda_graph"] for state in states] == ["off", "auto"]
    assert_same_state(*states)
    assert [graph.replays for graph in graphs] == [7]


def test_a_run_says_that_its_judge_guides_it(tmp_path, cache, guide_file):
    said = []
    for name, file in (("own", cache), ("another", guide_file)):
        listener = Listener()
        train(tiny_config(guidance=1.0, guidance_classifier=str(file)), tmp_path / name, listener)
        said.append([text for text in listener.said if "THE JUDGE" in text])
    assert [len(texts) for texts in said] == [1, 0]


def test_a_run_says_that_its_guide_knows_other_data(tmp_path, cache, guide_file):
    state = load_tensors(guide_file)
    torch.save(state | {"fingerprint": "0", "dataset": "letters"}, guide_file)
    listener = Listener()
    train(tiny_config(guidance=1.0, guidance_classifier=str(guide_file)), tmp_path / "run", listener)
    assert "guidance_classifier was trained on other data (letters)" in listener.said


def broken(what: str, path: Path) -> None:
    """A file that is no classifier for digits."""
    whole = path.read_bytes()
    state = load_tensors(path)
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif what == "text":
        path.write_text("classifier")
    elif what == "other tensors":
        torch.save({"weights": torch.zeros(2)}, path)
    elif what == "classes":
        few = {"num_classes": 5, "network": build_classifier("cnn", (1, 8, 8), 5).state_dict()}
        torch.save(
            state | few | {"reference": torch.full((5,), 0.2, dtype=torch.float64), "reference_counts": None}, path
        )
    elif what in ("size", "channels"):
        shape = (1, 28, 28) if what == "size" else (3, 8, 8)
        torch.save(
            state | {"image_shape": list(shape), "network": build_classifier("cnn", shape, 10).state_dict()}, path
        )


REFUSED = {
    "missing": r"guidance_classifier is .*guide\.pt, wanted a file that amgan-fast train-classifier wrote",
    "folder": r"guidance_classifier is .*guide\.pt, wanted a file that amgan-fast train-classifier wrote",
    "half": r"guidance_classifier: .*guide\.pt is damaged",
    "text": r"guidance_classifier: .*guide\.pt is damaged or no checkpoint",
    "other tensors": r"guidance_classifier: .*guide\.pt holds no classifier that fits",
    "classes": r"guidance_classifier is .*guide\.pt, whose classes are 5, wanted 10 as of digits",
    "size": r"guidance_classifier is .*guide\.pt, whose images are 1 x 28 x 28, wanted 1 x 8 x 8 as of digits",
    "channels": r"guidance_classifier is .*guide\.pt, whose images are 3 x 8 x 8, wanted 1 x 8 x 8 as of digits",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_guide_is_refused_before_the_first_file(what, tmp_path, guide_file, monkeypatch):
    monkeypatch.setattr("amgan_fast.train.start.cached_classifier", None)  # would be called too late
    broken(what, guide_file)
    config = tiny_config(guidance=1.0, guidance_classifier=str(guide_file))
    for out, begin in (
        ("run", lambda folder: train(config, folder)),
        ("compared", lambda folder: compare(folder, plan(config, models=["amgan"], seeds=1))),
    ):
        with pytest.raises(InputError, match=f"^{REFUSED[what]}") as error:
            begin(tmp_path / out)
        assert len(str(error.value).splitlines()) == 1
        assert not (tmp_path / out).exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"guidance": -1.0}, "guidance is -1.0, wanted at least 0"),
        ({"guidance": 8.0}, "guidance_classifier is None, wanted the file of a classifier where there is guidance"),
        ({"guidance_classifier": ""}, "guidance_classifier is '', wanted the name of a file"),
        ({"guidance_classifier": "a\0"}, r"guidance_classifier is 'a\\x00', wanted the name of a file"),
        ({"guidance_rows": "some"}, "guidance_rows is 'some', wanted one of all, realness"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        Config(**options)


def test_a_step_without_the_classifier_is_refused():
    with pytest.raises(ValueError, match=r"guidance is 1.0 and guide is None, wanted the classifier that it is by"):
        AdversarialStep(
            Sampler(nn.Linear(4, 64), LatentSource(4)),
            nn.Linear(64, 4),
            AMGAN(),
            torch.Generator(),
            StepOptions(guidance=1.0),
        )
