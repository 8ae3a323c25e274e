"""The examples do what they say, at a small size."""

from __future__ import annotations

import csv
import functools
import importlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import ROOT
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import digits

from amgan_fast.device import cpu_threads
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.metrics import scores
from amgan_fast.nn import build_generator
from amgan_fast.train import train_classifier
from amgan_fast.train.classifier_training import cached_classifier_path

EXAMPLES = ROOT / "examples"
UNTRAINED = 2.0  # nats: the AM Score of what an untrained generator draws is above it, up to log 10


@functools.cache
def judge() -> TrainedClassifier:
    """Trained for a second: sure enough to tell a good generator from a bad one."""
    with cpu_threads(1):
        return train_classifier(digits(), steps=200)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """An example by its name, as a module; the classifier that it wants is in the cache, the current folder empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DIGITS_WEIGHTS", "")  # which examples/folder_scores.py sets
    path = cached_classifier_path(digits())
    path.parent.mkdir(parents=True)
    judge().save(path)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"examples.{name}")

    return load


def test_a_loop_of_ones_own_trains_a_generator_and_draws_it(example, capsys):
    found = example("plain_pytorch").main(["--steps", "400", "--samples", "2000", "--out", "out"])
    assert found["untrained"].am_score > UNTRAINED
    assert found["held-out real"].am_score < found["trained"].am_score < UNTRAINED / 2
    assert found["trained"].inception_score > 3 * found["untrained"].inception_score
    assert Image.open("out/samples.png").size == (10 * 34 + 2, 10 * 34 + 2)
    assert "step   250: loss of D" in capsys.readouterr().out


def test_lightning_logs_the_scores_of_each_validation_pass(example, capsys):
    pytest.importorskip("lightning")
    found = example("lightning_module").main(["--steps", "200", "--samples", "1000", "--out", "out"])
    with Path("out/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    scored = [float(row["am_score"]) for row in rows if row["am_score"]]
    assert len(scored) == 4
    assert scored[-1] < scored[0]
    assert scored[-1] == pytest.approx(found["am_score"])
    assert found["corrected_am_score_low"] < found["am_score"] < found["corrected_am_score_high"] < UNTRAINED
    assert any(row["loss_d"] and row["loss_g"] for row in rows)
    steps = re.findall(r"^step +(\d+): am_score", capsys.readouterr().out, re.MULTILINE)
    assert steps == ["50", "100", "150", "200"]


def test_two_processes_print_the_score_that_one_gives_of_all_samples(example):
    pytest.importorskip("accelerate")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    command = [*torchrun, EXAMPLES / "accelerate_loop.py", "--steps", "60", "--samples", "2001", "--out", "out"]
    result = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("scored by 2 processes") == 1

    generator = build_generator("mlp", 32, (1, 8, 8))
    generator.load_state_dict(load_file("out/generator.safetensors"))
    latents = example("accelerate_loop").latents_to_score(2001)
    with torch.no_grad():
        alone = scores(judge().network(generator.eval()(latents)), reference=judge().reference)
    together = json.loads(Path("out/scores.json").read_text())
    assert together["n"] == 2001
    for name in ("am_score", "inception_score", "split_mean"):
        assert together[name] == pytest.approx(getattr(alone, name), rel=1e-6)
    assert together["am_score_ci95"] == pytest.approx(alone.am_score_ci95, rel=1e-5)
    assert alone.am_score < UNTRAINED


def test_what_replaces_torchmetrics_is_nearer_to_the_score_of_many_images(example):
    """The script itself asserts where both agree."""
    pytest.importorskip("torchmetrics")
    few, many = example("torchmetrics_replacement").main(["--many", "10000"]).values()
    truth = many["inception_score"]
    assert few["torchmetrics"] < few["whole set"] < few["inception_score"]
    assert abs(few["inception_score"] - truth) < abs(few["torchmetrics"] - truth)
    assert few["inception_score_low"] < truth < few["inception_score_high"]
    assert math.isclose(few["whole set"], many["whole set"], rel_tol=0.1)


def test_unlabelled_images_help_where_labels_are_few(example):
    few = ["--per-class", "3", "--steps", "250"]
    alone, helped = example("semi_supervised").main(few).values()
    assert 0.5 < alone.share < helped.share
    low, high = helped.ci95
    assert 0 < low < helped.share < high < 1
    assert helped.n == len(digits().test_labels)


def test_a_folder_of_blurred_images_scores_worse_than_one_of_sharp_ones(example):
    found = example("folder_scores").main(["--epochs", "6", "--out", "out"])
    sharp, blurred = found["sharp"].generated, found["blurred"].generated
    assert sharp.label_accuracy > 0.9
    assert sharp.scores.am_score_ci95[1] < blurred.scores.am_score_ci95[0]
    for name, evaluation in found.items():
        told = json.loads(Path(f"out/{name}.json").read_text())
        assert told["generated"]["scores"]["am_score"] == evaluation.generated.scores.am_score
        assert "<html" in Path(f"out/{name}.html").read_text()


def test_the_command_of_the_example_scores_the_folder_as_python_does(example, monkeypatch):
    from typer.testing import CliRunner

    from amgan_fast.cli import app

    module = example("folder_scores")
    module.main(["--epochs", "1", "--out", "runs/folder_scores"])
    command = re.search(r"amgan-fast (evaluate .*?)--report", module.__doc__, re.DOTALL)[1]
    ran = CliRunner().invoke(app, [*command.replace("\\", "").split(), "--device", "cpu", "--json", "again.json"])
    assert ran.exit_code == 0, ran.output
    by_command, by_python = (
        json.loads(Path(name).read_text()) for name in ("again.json", "runs/folder_scores/sharp.json")
    )
    assert by_command["generated"]["scores"] == by_python["generated"]["scores"]


def test_merged_shards_are_a_single_evaluation(example):
    """The script itself asserts that all scores are the same."""
    merged, whole = example("job_array").main(["--shards", "2", "--samples", "600", "--out", "out"])
    assert merged["generated"]["scores"]["n"] == whole["generated"]["scores"]["n"] == 600
    assert merged["partial"] is None
    assert "<html" in Path("out/page.html").read_text()


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("lightning_module", "lightning"),
        ("accelerate_loop", "accelerate"),
        ("torchmetrics_replacement", "torchmetrics"),
    ],
)
def test_a_missing_package_is_named_in_one_line(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for module in [found for found in sys.modules if found.startswith((f"{package}.", "amgan_fast.metrics.modules"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"examples.{name}", raising=False)
    with pytest.raises(SystemExit, match=f"^.*this example needs: pip install .*{package}.*$"):
        importlib.import_module(f"examples.{name}")


def test_every_example_is_in_the_table_and_every_file_of_the_table_is_there():
    table = (ROOT / "docs" / "examples.md").read_text()
    named = set(re.findall(r"`[^`|]* examples[/.](\w+)(?:\.py)?`", table))
    assert named == {path.stem for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_was_saved_whole_small_and_without_anything_of_a_machine(path):
    """``make notebooks`` executes them."""
    text = path.read_text()
    assert len(text) < 300_000
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", text)
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        assert cell["metadata"] == {}
        outputs = cell.get("outputs", [])
        assert all(output["output_type"] != "error" for output in outputs)
        assert any("image/png" in output.get("data", {}) for output in outputs) == ("plt.show()" in source)
        assert any(output["output_type"] == "stream" for output in outputs) == ("print(" in source)
        for link in re.findall(r"\]\((\.\.[^)#]*)", source):
            assert (path.parent / link).exists(), link
