"""``amgan-fast export`` and ``load_generator``: a run's generator elsewhere, the same to the bit or to rounding."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_runs import digits_classifier, tiny_run, use_classifier_cache
from typer.testing import CliRunner

import amgan_fast
from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.evaluate.state_file import write_state
from amgan_fast.nn import NETWORKS, Sampler, build_generator, network_options, set_reference_batch, with_plain_layers
from amgan_fast.runs import Checkpoint, Config, GeneratorFile, export_generator, load_generator
from amgan_fast.tensor_files import save_safetensors

SHAPE = (3, 8, 8)
OPTIONS = {
    "mlp": {"network": "mlp"},
    "conv": {"network": "conv", "labels": "predefined"},
    "embedding": {"network": "mlp", "labels": "predefined", "network_options": {"conditioning": "embedding"}},
    "batch-norm": {"network": "conv", "labels": "predefined", "network_options": {"conditioning": "batch-norm"}},
    "virtual": {"network": "conv", "network_options": {"normalization": "virtual"}},
    "none": {"network": "mlp", "network_options": {"normalization": "none", "width": 0.5}},
    "statistics": {"network": "mlp", "network_options": {"running_statistics": False}},
    "weight-norm": {"network": "conv", "network_options": {"weight_norm": True}},
}


def untrained(name: str) -> tuple[Config, Sampler]:
    """What a run would have left, but for training: weights and statistics that no new network has."""
    config = Config(**{"latent_size": 5, **OPTIONS[name]})
    frequencies = torch.tensor([0.1, 0.7, 0.2], dtype=torch.float64) if config.labels == "predefined" else None
    sampler = config.build_sampler(SHAPE, frequencies)
    if name == "virtual":
        set_reference_batch(sampler.generator, torch.randn(20, sampler.latent.width))
    for _ in range(3):
        sampler.generator(3 * torch.randn(20, sampler.latent.width) + 1)
    return config, Sampler(sampler.generator.eval().requires_grad_(False), sampler.latent)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, tuple[Path, Sampler]]:
    """A run's folder for each of the options, without classifier, and its generator; tests read them."""
    found = {}
    for name in OPTIONS:
        folder = tmp_path_factory.mktemp(name) / "run"
        folder.mkdir()
        config, sampler = untrained(name)
        config.save(folder / "config.toml")
        step = {"averaged": sampler.generator.state_dict(), "steps": 6}
        state = (config.to_dict(), list(SHAPE), sampler.latent.class_frequencies, step, {}, [], 0.0)
        Checkpoint(*state).save(folder / "checkpoint.pt")
        found[name] = folder, sampler
    return found


def inputs_of(sampler: Sampler, count: int) -> torch.Tensor:
    inputs, _ = sampler.latent.draw(count, torch.Generator().manual_seed(count))
    return inputs


def assert_same(got: Sampler, want: Sampler) -> None:
    assert not got.generator.training
    assert not any(parameter.requires_grad for parameter in got.generator.parameters())
    draws = [sampler.batches(700, torch.Generator().manual_seed(0)) for sampler in (got, want)]
    for (images, labels), (expected, asked) in zip(*draws, strict=True):
        assert torch.equal(images, expected)
        assert labels is None if asked is None else torch.equal(labels, asked)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_generator_of_a_run_or_a_safetensors_file_is_the_same_to_the_bit(runs, name, tmp_path):
    folder, want = runs[name]
    before = torch.get_rng_state()
    assert_same(load_generator(folder), want)
    export_generator(folder, tmp_path / "g.safetensors")
    assert_same(amgan_fast.load_generator(str(tmp_path / "g.safetensors")), want)
    assert torch.equal(torch.get_rng_state(), before)
    with safe_open(tmp_path / "g.safetensors", "pt") as file:
        assert set(file.keys()) == set(want.generator.state_dict())


PROGRAM = """
import sys
sys.modules["amgan_fast"] = None
import torch
for path in sys.argv[1:]:
    generator = torch.export.load(path).module()
    batches = torch.load(path + ".inputs")
    torch.save([generator(*batch) for batch in batches], path + ".images")
"""


def test_a_program_makes_the_same_images_without_this_package(runs, tmp_path):
    expected, files = {}, []
    for name, (folder, sampler) in runs.items():
        files.append(str(tmp_path / f"{name}.pt2"))
        export_generator(folder, Path(files[-1]))
        batches, size = [], sampler.latent.size
        for count in (2, 50) if name == "statistics" else (1, 2, 50):
            inputs = inputs_of(sampler, count)
            labels = () if sampler.latent.num_labels is None else (inputs[:, size:].argmax(1),)
            batches.append((inputs[:, :size].contiguous(), *labels))
            expected.setdefault(files[-1], []).append(sampler.generator(inputs))
        torch.save(batches, f"{files[-1]}.inputs")
    done = subprocess.run([sys.executable, "-c", PROGRAM, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for file, want in expected.items():
        for images, wanted in zip(torch.load(f"{file}.images"), want, strict=True):
            assert images.dtype == torch.float32
            torch.testing.assert_close(images, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("changes", [{}, {"running_statistics": False}], ids=str)
def test_a_program_of_every_network_has_operations_of_pytorch_alone(network, changes):
    side = 128 if network == "acgan128" else 32
    options = network_options(network, width=0.05, **changes)
    generator = build_generator(network, 12, (3, side, side), options).eval()
    inputs = torch.randn(4, 12)
    program = torch.export.export(with_plain_layers(generator), (inputs,))
    assert {node.target.namespace for node in program.graph.nodes if node.op == "call_function"} == {"aten"}
    torch.testing.assert_close(program.module()(inputs), generator(inputs), rtol=0, atol=5e-5)


def test_a_program_says_what_it_is_and_nothing_of_the_machine(runs, tmp_path):
    folder, sampler = runs["conv"]
    export_generator(folder, tmp_path / "g.pt2")
    extra = {"generator.json": ""}
    program = torch.export.load(tmp_path / "g.pt2", extra_files=extra)
    said = json.loads(extra["generator.json"])
    assert said["latent_size"] == sampler.latent.size
    assert said["class_frequencies"] == sampler.latent.class_frequencies.tolist()
    assert not [node for node in program.graph.nodes if "amgan" in str(node.target)]
    with zipfile.ZipFile(tmp_path / "g.pt2") as archive:
        content = b"".join(map(archive.read, archive.namelist()))
    assert str(Path(amgan_fast.__file__).parent).encode() not in content
    with pytest.raises(IndexError):
        program.module()(torch.zeros(1, sampler.latent.size), torch.tensor([3]))


def test_a_trained_run_from_the_command_line(tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    tiny_run(tmp_path / "run", labels="predefined")
    for out in (tmp_path / "g.safetensors", tmp_path / "g.pt2"):
        result = CliRunner().invoke(app, ["export", "--run", str(tmp_path / "run"), "--out", str(out)])
        assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    ours, run = load_generator(tmp_path / "g.safetensors"), load_generator(tmp_path / "run")
    assert_same(ours, run)
    program = torch.export.load(tmp_path / "g.pt2").module()
    z, labels = torch.randn(12, 32), torch.arange(12) % 10
    wanted = run.generator(torch.cat([z, torch.eye(10)[labels]], 1))
    torch.testing.assert_close(program(z, labels), wanted, rtol=0, atol=2e-6)


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert re.fullmatch(r"amgan-fast: .*\n", result.stderr)
    return result.stderr


def test_what_cannot_be_exported_is_one_line_and_nothing_written(runs, tmp_path):
    folder, _ = runs["mlp"]
    (tmp_path / "old.pt2").write_text("precious")
    before = sorted(tmp_path.iterdir())
    assert "wanted a new name that ends in .safetensors or .pt2" in refused("--run", folder, "--out", tmp_path / "g.pt")
    assert "old.pt2, which exists" in refused("--run", folder, "--out", tmp_path / "old.pt2")
    assert "folder that exists" in refused("--run", folder, "--out", tmp_path / "nowhere" / "g.pt2")
    assert "wanted the folder of a training run" in refused("--run", tmp_path, "--out", tmp_path / "g.pt2")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.toml").write_bytes((folder / "config.toml").read_bytes())
    assert "checkpoint.pt does not exist" in refused("--run", tmp_path / "empty", "--out", tmp_path / "g.pt2")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "empty", *before]
    assert (tmp_path / "old.pt2").read_text() == "precious"


def test_a_program_that_would_need_this_package_is_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("amgan_fast.runs.export.with_plain_layers", lambda network: network)
    with pytest.raises(InputError, match=r"the generator has amgan_fast\.leaky_dropout.*wanted \.safetensors"):
        export_generator(runs["mlp"][0], tmp_path / "g.pt2")
    monkeypatch.setattr("amgan_fast.runs.export.with_plain_layers", lambda network: OfValues())
    with pytest.raises(InputError, match=r"the generator cannot be exported \(.*wanted \.safetensors"):
        export_generator(runs["mlp"][0], tmp_path / "g.pt2")
    assert list(tmp_path.iterdir()) == []


class OfValues(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 0 else -x


def test_files_that_are_damaged_or_foreign_are_errors_that_name_them(runs, tmp_path):
    folder, _ = runs["conv"]
    export_generator(folder, tmp_path / "g.safetensors")
    whole = (tmp_path / "g.safetensors").read_bytes()
    file = tmp_path / "damaged.safetensors"
    for place in (*range(0, 400, 23), *range(400, len(whole), len(whole) // 40)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"damaged\.safetensors"):
            load_generator(file)
    for length in (0, 7, 100, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"damaged\.safetensors is damaged"):
            load_generator(file)
    save_file(load_file(tmp_path / "g.safetensors"), tmp_path / "weights.safetensors")
    write_state(tmp_path / "state.safetensors", {"samples": 7})
    for name in ("weights.safetensors", "state.safetensors"):
        with pytest.raises(InputError, match=rf"{name} is a safetensors file of something else, wanted a generator"):
            load_generator(tmp_path / name)
    digits_classifier().save(tmp_path / "classifier.pt")
    export_generator(folder, tmp_path / "g.pt2")
    for name in ("classifier.pt", "g.pt2"):
        with pytest.raises(InputError, match=rf"{name} is damaged or no safetensors file"):
            load_generator(tmp_path / name)
    with pytest.raises(InputError, match=r"nothing does not exist, wanted a generator"):
        load_generator(tmp_path / "nothing")
    with pytest.raises(InputError, match="wanted the folder of a training run"):
        load_generator(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"network": "os:system"},
        {"network": "paper"},
        {"network": ["mlp"]},
        {"options": {"width": -1}},
        {"options": {"depth": 3}},
        {"options": {"width": 1e9}},
        {"options": None},
        {"image_shape": [3, 10**9, 10**9]},
        {"image_shape": [3, 8]},
        {"image_shape": "3x8x8"},
        {"latent_size": 10**15},
        {"latent_size": -5},
        {"latent_size": "5"},
        {"class_frequencies": None},
        {"class_frequencies": [0.5, -0.5, 1.0]},
        {"class_frequencies": [0.0, 0.0, 0.0]},
        {"class_frequencies": [[1.0]]},
        {"class_frequencies": ["a"]},
        {"code": "print(7)"},
    ],
    ids=str,
)
def test_a_file_that_says_what_does_not_fit_is_an_error(runs, changes, tmp_path):
    """Whole, as somebody may have written it."""
    folder, _ = runs["conv"]
    exported = GeneratorFile.of(Config.load(folder / "config.toml"), Checkpoint.load(folder / "checkpoint.pt"))
    values = json.dumps(exported.description() | changes)
    save_safetensors(tmp_path / "g.safetensors", "amgan_fast generator", values, exported.weights)
    with pytest.raises(InputError, match=r"g\.safetensors is damaged or of another version"):
        load_generator(tmp_path / "g.safetensors")


@pytest.mark.parametrize("text", ["[]", "7", "{", "[" * 100_000, "{}"], ids=lambda text: text[:3])
def test_a_file_whose_description_is_none_is_an_error(text, tmp_path):
    save_safetensors(tmp_path / "g.safetensors", "amgan_fast generator", text, {"a": torch.zeros(1)})
    with pytest.raises(InputError, match=r"g\.safetensors is damaged or of another version"):
        load_generator(tmp_path / "g.safetensors")


@pytest.mark.parametrize("change", ["missing", "more", "shape", "dtype"])
def test_weights_of_another_network_are_an_error(runs, change, tmp_path):
    folder, _ = runs["mlp"]
    exported = GeneratorFile.of(Config.load(folder / "config.toml"), Checkpoint.load(folder / "checkpoint.pt"))
    name = next(iter(exported.weights))
    changed = {
        "missing": lambda x: {key: value for key, value in x.items() if key != name},
        "more": lambda x: x | {"another": torch.zeros(1)},
        "shape": lambda x: x | {name: x[name][:1]},
        "dtype": lambda x: x | {name: x[name].double()},
    }[change](exported.weights)
    values = json.dumps(exported.description())
    save_safetensors(tmp_path / "g.safetensors", "amgan_fast generator", values, changed)
    with pytest.raises(InputError, match=r"g\.safetensors is damaged or of another version"):
        load_generator(tmp_path / "g.safetensors")
