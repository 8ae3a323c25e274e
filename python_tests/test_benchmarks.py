"""The benchmarks run, and what changed between two runs is seen; no time is asserted."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest
import torch
from fake_gpu import FakeGpu
from torch._subclasses.fake_tensor import FakeTensorMode

import benchmarks
from amgan_fast.nn.options import CONDITIONINGS
from benchmarks.bench_ops import compiler, shares
from benchmarks.bench_regularizers import REGULARIZERS
from benchmarks.machine import add_device
from benchmarks.markdown_tables import plain_form, ratio
from benchmarks.op_cases import dropout_cases, loss_cases, norm_cases, score_cases
from benchmarks.plain_forms import FORMS
from benchmarks.step_parts import PARTS, REST
from benchmarks.timing import interleaved

ROOT = Path(__file__).parent.parent


def run(module: str, *arguments: object, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def report(**ratios: float) -> dict:
    defaults = {"eager/ours": 4.0, "compile/ours": 2.0, "ours/limit": 3.0, "share of peak": 0.8}
    return {"results": [{"key": "op 1x1 float32", "ratios": defaults | ratios}]}


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ({}, "0 notable"),
        ({"eager/ours": 8.0}, "better"),
        ({"ours/limit": 6.0}, "worse"),
        ({"ours/limit": 3.3}, "0 notable"),
        ({"ours/limit from memory": 3.3}, "0 notable"),  # not in the earlier run
        ({"share of peak": 0.4}, "worse"),
    ],
)
def test_comparison_reports_changed_ratios(ratios, verdict, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(report()))
    (tmp_path / "b.json").write_text(json.dumps(report(**ratios)))
    assert verdict in run("ratio_changes", "a.json", "b.json", folder=tmp_path)


def test_comparison_without_an_earlier_run(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(report()))
    assert "nothing to compare with" in run("ratio_changes", "a.json", "b.json", folder=tmp_path)


def test_shares_are_of_the_logits_read_and_the_gradients_written():
    (scores,) = score_cases(100, 10, torch.bfloat16, "meta")
    assert scores.least_bytes == 100 * 10 * 2
    least = {case.name: case.least_bytes for case in loss_cases(100, 11, "meta")}
    read = 100 * 11 * 4
    assert least["am_generator_loss fwd"] == read
    assert least["am_generator_loss fwd+bwd"] == least["am_generator_loss_and_grad"] == 2 * read
    assert least["am_discriminator_loss_and_grad"] == 4 * read
    least = {case.name: case.least_bytes for case in dropout_cases(100, 11, torch.float32, "meta")}
    assert least == {"leaky_dropout fwd": 2 * read, "leaky_dropout fwd+bwd": 5 * read}
    cases = norm_cases((100, 11, 1, 1), 0.3, torch.float32, "meta")
    assert [case.least_bytes for case in cases] == [2 * read, 5 * read]
    # 2,000 bytes in 4 us are 0.5 GB/s.
    assert shares(scores, 4.0, {"copy": 1e9, "peak": 2e9}) == {"share of copy": 0.5, "share of peak": 0.25}
    assert shares(scores, 4.0, {}) == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.541, "0.54"), (0.994, "0.99"), (0.996, "1.0"), (1.04, "1.0"), (9.96, "10"), (1234.5, "1,234")],
)
def test_ratios_have_two_digits_so_that_a_narrow_loss_shows(value, shown):
    assert ratio(value) == shown


@pytest.mark.parametrize(
    ("fastest", "shown"),
    [({"eager": "a", "compile": "a"}, "a"), ({"eager": "a"}, "a"), ({"eager": "a", "compile": "b"}, "a; compiled: b")],
)
def test_the_fastest_forms_are_named_once_where_they_are_the_same(fastest, shown):
    assert plain_form(fastest) == shown


def test_a_function_compiled_for_any_shape_is_compiled_again_for_its_own():
    shapes = []

    def backend(graph, inputs):
        shapes.append(any(isinstance(x, torch.SymInt) for x in inputs))
        return graph.forward

    def double(x):
        return 2 * x

    for dynamic in (True, False):
        compiler(dynamic)(double, backend=backend)(torch.ones(3, 5))
    assert shapes == [True, False]


def test_on_a_gpu_caches_are_empty_and_the_host_is_ahead_before_the_first_event(monkeypatch):
    fake = FakeGpu(monkeypatch)
    work = {name: lambda name=name: fake.given.append(name) for name in ("ours", "copy")}
    times = interleaved(work, 2, 1, "cuda")
    assert times["copy"] == {"median": 2000.0, "quartiles": [2000.0, 2000.0]}
    turns = [["flush", "sleep", "event", name, "event", "wait"] for name in ("ours", "copy", "ours", "copy")]
    assert fake.given[-24:] == list(chain.from_iterable(turns))
    before = fake.given[:-24]
    assert before[:4] == ["ours", "ours", "copy", "copy"]  # what a first call sets up, and the host's part of a second
    assert set(before[4:]) == {"flush"}  # clocks rise


def test_a_gpu_waits_longer_for_a_host_that_takes_longer(monkeypatch):
    fake = FakeGpu(monkeypatch)
    interleaved({"slow": lambda: time.sleep(0.01)}, 1, 1, "cuda")
    (cycles,) = fake.cycles
    assert cycles >= 2 * 0.01 * 2e9


def test_the_smallest_losses_are_compared_with_an_empty_kernel_on_a_gpu():
    with FakeTensorMode():
        cases = {case.name: case for case in loss_cases(100, 11, "cuda") if case.name.endswith("loss_and_grad")}
    assert [case.limit_is for case in cases.values()] == ["empty kernel"] * 3
    assert {case.name: case.limit_is for case in loss_cases(100, 11, "cpu") if case.fused} == {
        "am_discriminator_loss_and_grad": "empty op",
        "am_generator_loss_and_grad": "copy",
        "kplus1_hinge_loss_and_grad": "copy",
    }


@pytest.mark.parametrize(
    ("device", "said"), [("cuda", "--device: torch sees no GPU"), ("gpu", "invalid choice: 'gpu'")]
)
def test_a_device_that_is_not_there_is_a_line(device, said, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    parser = argparse.ArgumentParser()
    add_device(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--device", device])
    assert said in capsys.readouterr().err
    assert parser.parse_args([]).device == "cpu"


def test_one_round_alone_has_its_own_time_for_quartiles():
    (one,) = interleaved({"nothing": lambda: None}, 1, 1, "cpu").values()
    assert one["quartiles"] == [one["median"]] * 2
    (five,) = interleaved({"nothing": lambda: None}, 5, 1, "cpu").values()
    assert five["quartiles"][0] <= five["median"] <= five["quartiles"][1]


@pytest.mark.slow  # it compiles every plain form
def test_operations_and_peers_are_measured(tmp_path):
    arguments = ("--rounds", 2, "--threads", 1)
    printed = run("bench_ops", *arguments, "--only", "kplus1_terms 128x201", "--json", "ops.json", folder=tmp_path)
    assert "| kplus1_terms | 128 x 201 |" in printed
    page = (tmp_path / "ops.md").read_text()
    assert page in printed
    assert f"compile {torch.__version__.partition('+')[0]} / ours" in page
    (measured,) = json.loads((tmp_path / "ops.json").read_text())["results"]
    for kind, fastest in measured["fastest plain form"].items():
        times = measured["plain forms"][kind]
        assert times.keys() == {form.name for form in FORMS["kplus1_terms"]}
        assert times[fastest] == min(times.values())
        assert fastest in page
    assert measured["GB/s"] == pytest.approx(128 * 201 * 4 / measured["microseconds"]["ours"]["median"] / 1000)
    assert set(measured["ratios"]) == {"eager/ours", "compile/ours", "exp/ours", "ours/limit"}
    size = ("--rows", 500, "--classes", 10)
    printed = run("bench_peers", *arguments, *size, "--json", "peers.json", folder=tmp_path)
    assert "| torchmetrics" in printed
    assert "| 500 x 10, batches of 1,000 |" in printed
    assert "| 2,000 x 10, at once |" in printed
    peers = {result["tool"]: result for result in json.loads((tmp_path / "peers.json").read_text())["results"]}
    assert peers["ours"]["same"]
    assert peers["torchmetrics"]["same"]


@pytest.mark.slow
def test_evaluations_of_image_files_have_the_same_score_in_every_tool(tmp_path):
    sizes = ("--pngs", 20, "--only", "png", "--tools", "ours", "torchmetrics", "--rounds", 1, "--threads", 1)
    printed = run("bench_evaluate", *sizes, "--json", "evaluate.json", folder=tmp_path)
    assert "| 20 png, 32 x 32 | torchmetrics |" in printed
    ours, other = json.loads((tmp_path / "evaluate.json").read_text())["results"]
    assert ours["score"] == pytest.approx(other["score"], rel=1e-6)
    assert ours["score"] > 1.0001
    assert 0 < ours["after_imports"] < ours["wall"]


@pytest.mark.slow
def test_an_evaluation_of_image_files_is_measured_in_parts(tmp_path):
    printed = run("bench_evaluate", "--profile", "--jpegs", 8, "--only", "jpeg", "--threads", 1, folder=tmp_path)
    seconds = dict(re.findall(r"^\| ([\w .]+?) \| ([0-9.]+) \|", printed, re.MULTILINE))
    assert {"import torch", "decoding", "resizing", "network", "scores"} < seconds.keys()
    assert float(seconds["import torch"]) > 0


def test_the_picture_of_a_score_is_drawn(tmp_path):
    run("score_pictures", "--only", "am_score", "--out", "pictures", folder=tmp_path)
    assert (tmp_path / "pictures" / "am_score.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_training_step_is_measured_in_parts(tmp_path, device):
    small = ("--device", device, "--network", "mlp", "--batch-size", 4, "--rounds", 1, "--threads", 1)
    printed = run("bench_train_step", *small, "--json", "step.json", folder=tmp_path)
    report = json.loads((tmp_path / "step.json").read_text())
    steps = {"plain eager", "plain, our losses"}
    for precision in ("float32", "bfloat16"):
        steps |= {f"ours, {precision}", f"{precision}, shared latents"}
    captured = {"float32, captured", "bfloat16, captured"} if device.type == "cuda" else set()
    assert report["microseconds"].keys() == report["images_per_second"].keys() == steps | captured
    assert all(name in printed for name in steps | captured)
    for parts in report["milliseconds_by_part"].values():
        assert parts.keys() == {*PARTS, REST}
        assert min(parts.values()) >= 0
        assert min(parts[name] for name in PARTS) > 0


@pytest.mark.slow
def test_each_regularization_is_timed_beside_none(tmp_path, device):
    small = ("--device", device, "--network", "mlp", "--batch-size", 4, "--rounds", 1, "--steps", 1, "--threads", 1)
    printed = run("bench_regularizers", *small, "--json", "regularizers.json", folder=tmp_path)
    times = json.loads((tmp_path / "regularizers.json").read_text())["microseconds"]
    assert list(times) == list(REGULARIZERS)
    assert all(name in printed for name in REGULARIZERS)


@pytest.mark.slow
def test_each_conditioning_is_timed_beside_concatenation(tmp_path, device):
    small = ("--device", device, "--network", "mlp", "--batch-size", 4, "--rounds", 1, "--steps", 1, "--threads", 1)
    printed = run("bench_conditioning", *small, "--json", "conditioning.json", folder=tmp_path)
    times = json.loads((tmp_path / "conditioning.json").read_text())["microseconds"]
    assert list(times) == list(CONDITIONINGS)
    assert "concatenation / this" in printed


def test_a_start_is_timed(tmp_path):
    printed = run("bench_start_up", "--rounds", 1, "--only", "bad option", folder=tmp_path)
    (line,) = re.findall(r"\| amgan-fast evaluate, a bad option \| ([0-9.]+) \| ([0-9.]+) \|", printed)
    assert all(float(seconds) > 0 for seconds in line)


@pytest.mark.parametrize("name", sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__)))
def test_whatever_a_benchmark_imports_is_there(name):
    importlib.import_module(f"benchmarks.{name}")
