"""tools.gpu_check.first_contact: its measurements on the CPU, and the file that they leave."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_gpu import FakeGpu
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import gpu
from tools.gpu_check.first_contact import counters, exponential, facts, host, kernels, streams, training
from tools.gpu_check.first_contact.__main__ import PARTS
from tools.gpu_check.first_contact.measurement import Measurement, carry_out

CPU = torch.device("cpu")


# --- The file


def test_a_part_goes_on_where_it_was_stopped_and_tries_again_what_was_wrong(tmp_path):
    path, calls = tmp_path / "results" / "part.json", Counter()

    def measure(name, *outcomes):
        def run():
            calls[name] += 1
            outcome = outcomes[min(calls[name], len(outcomes)) - 1]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return Measurement(name, run)

    part = [
        measure("good", {"us": 1.5}),
        measure("fails once", RuntimeError("out of resources\nin CUDA"), {"us": 2.5}),
        measure("wrong once", {"wrong": 3, "problem": "differs"}, {"wrong": 0}),
        measure("last", {"us": 3.5}),
    ]
    assert carry_out(part, path) == ["fails once: RuntimeError: out of resources", "wrong once: differs"]
    assert carry_out(part, path) == []
    assert calls == {"good": 1, "fails once": 2, "wrong once": 2, "last": 1}
    figures = {"good": {"us": 1.5}, "fails once": {"us": 2.5}, "wrong once": {"wrong": 0}, "last": {"us": 3.5}}
    assert json.loads(path.read_text()) == figures


def test_the_file_is_there_after_each_measurement(tmp_path):
    path = tmp_path / "part.json"
    carry_out([Measurement("a", lambda: {"us": 1.0}), Measurement("b", lambda: json.loads(path.read_text()))], path)
    assert json.loads(path.read_text())["b"] == {"a": {"us": 1.0}}


# --- The command


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.gpu_check.first_contact", *map(str, arguments)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_part_is_carried_out_on_the_cpu_for_a_rehearsal(tmp_path):
    done = command("streams", "--device", "cpu", "--json", tmp_path / "streams.json")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "streams.json").read_text())
    assert set(results) == set(streams.OPERATIONS)
    assert all(figures["wrong"] == 0 for figures in results.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_a_part_says_so(tmp_path):
    done = command("host", "--json", tmp_path / "host.json")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "no GPU")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [part for part in PARTS if part != "counters"])
def test_the_measurements_of_a_part_have_names_of_their_own(part):
    module = __import__(f"tools.gpu_check.first_contact.{part}", fromlist=[part])
    names = [measurement.name for measurement in getattr(module, part)(CPU)]
    assert names
    assert len(set(names)) == len(names)


# --- What is measured


def test_packages_that_are_missing_are_named(monkeypatch):
    wanted = ["torch>=2.11", "nowhere-to-be-found>=1.0", "tomli>=2.0; python_version < '3.11'", 'x>=1; extra == "x"']
    monkeypatch.setattr(facts.metadata, "requires", lambda name: wanted)
    assert facts._packages() == {"missing": ["nowhere-to-be-found"]}
    monkeypatch.setattr(facts.metadata, "requires", lambda name: wanted[:1])
    assert facts._packages() == {"missing": "none"}


def test_errors_of_a_function_are_found():
    step, last = 2**20, exponential.ONE
    exact = torch.exp2
    count = len(range(exponential.ZERO, last + 1, step))

    def two_floats_off(x):
        y = torch.exp2(x.double())
        y[x == -0.5] *= 1 + 1e-3
        y[x == -0.25] *= 1 - 1e-4
        return y

    found = exponential.errors(two_floats_off, exact, last, step, CPU)
    assert found["floats"] == count
    assert found["largest"] == pytest.approx(1e-3)
    assert found["at"] == -0.5
    assert found["mean"] == pytest.approx((1e-3 - 1e-4) / count)
    assert (found["at 0"], found["above 1"]) == (1.0, 0)
    above = exponential.errors(lambda x: torch.exp2(x.double()) * (1 + 1e-9), exact, last, step, CPU)
    assert above["above 1"] > 0


def test_all_floats_from_minus_0_to_minus_1_are_tried(monkeypatch):
    """In chunks; here those from -1 up, since there are a thousand million."""
    monkeypatch.setattr(exponential, "ZERO", exponential.ONE - 1000)
    monkeypatch.setattr(exponential, "CHUNK", 64)
    seen = []

    def function(x):
        seen.extend(x.tolist())
        return torch.exp2(x)

    found = exponential.errors(function, torch.exp2, exponential.ONE, 1, CPU)
    assert found["floats"] == 1001
    floats = np.array(seen[:1001], dtype=np.float32)
    assert floats[-1] == -1
    assert (np.nextafter(floats[:-1], np.float32(-1)) == floats[1:]).all()


def test_a_probability_is_that_of_two_logits():
    x = -torch.linspace(0, 80, 1001)
    assert torch.allclose(exponential.probability(x).double(), torch.sigmoid(x.double()), rtol=5e-7, atol=0)


def test_results_that_change_from_launch_to_launch_are_found(monkeypatch):
    calls = Counter()

    def changing(x):
        calls[x.shape] += 1
        return x.sum() + (calls[x.shape] == 3 and len(x) == 100)

    monkeypatch.setitem(streams.OPERATIONS, "changing", changing)
    found = streams._in_turn("changing", 5 * len(streams.SHAPES), CPU)
    assert found["wrong"] == 1
    assert found["problem"] == "results that differ from the first: {'100x11': 1}"


def test_every_shape_meets_every_stream():
    pairs = {(i * 3 % len(streams.SHAPES), i % streams.STREAMS) for i in range(streams.LAUNCHES)}
    assert len(pairs) == len(streams.SHAPES) * streams.STREAMS


def test_kernels_are_compared_with_a_copy(monkeypatch):
    monkeypatch.setattr(kernels, "_copy_bandwidth", lambda device: 1e9)
    found = kernels._at_shape((64, 11), torch.float32, CPU)
    assert set(found) == {*kernels.OPERATIONS, "copy"}
    for name, passes in {"score_sums": 1, "am_generator_loss_and_grad": 2, "copy": 2}.items():
        assert found[name]["share"] == pytest.approx(passes * 64 * 11 * 4 / found[name]["us"] / 1e3)


def test_two_equal_trainings_have_the_same_weights():
    found = training._steps("conv", "float32", CPU)
    assert found["again, largest difference of a weight after 2 steps"] == 0
    assert found["eager, images/s"] == pytest.approx(1000 * found["batch"] / found["eager, ms"])
    assert all(math.isfinite(loss) for loss in found["eager, losses"])


NCU = """==PROF== Connected to process 12
==PROF== Profiling "kplus1_kernel" - 0: 0%....100% - 7 passes
"ID","Process ID","Kernel Name","Block Size","Device","CC","Section Name","Metric Name","Metric Unit","Metric Value"
"0","12","void amgan::cuda::<unnamed>::kplus1_kernel<float>(Params<float>)","(128, 1, 1)","0","9.0","Command line \
profiler metrics","dram__bytes_read.sum","byte","800,812,345"
"0","12","void amgan::cuda::<unnamed>::kplus1_kernel<float>(Params<float>)","(128, 1, 1)","0","9.0","Command line \
profiler metrics","gpu__time_duration.sum","nsecond","512,300"
"1","12","void amgan::cuda::span_kernel<float>(int, long)","(512, 1, 1)","0","9.0","Command line \
profiler metrics","dram__throughput.avg.pct_of_peak_sustained_elapsed","%","91.5"
"1","12","void amgan::cuda::span_kernel<float>(int, long)","(512, 1, 1)","0","9.0","Command line \
profiler metrics","dram__bytes_read.sum","byte","n/a"
==PROF== Disconnected
"""


def test_counts_of_the_profiler_are_read():
    """From the form that its manual shows; nothing here has run it."""
    assert counters.read_counts(NCU) == {
        "1 kplus1_kernel": {"bytes read": 800812345, "us": pytest.approx(512.3)},
        "2 span_kernel": {"share": pytest.approx(0.915)},
    }
    assert counters.read_counts("==ERROR== The user does not have permission\n") == {}


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("", {"problem": "ncu counted nothing: exit status 0"}),
        ("echo '==ERROR== no permission'", {"problem": "ncu counted nothing: ==ERROR== no permission"}),
        (f"cat <<'END'\n{NCU}END", {"1 kplus1_kernel", "2 span_kernel"}),
    ],
)
def test_the_profiler_watches_the_kernels_of_a_program(printed, found, tmp_path, monkeypatch):
    ncu = tmp_path / "ncu"
    ncu.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n{printed}\n')
    ncu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    measurements = list(counters.counters(torch.device("cuda")))
    assert len(measurements) == 2 * len(counters.SHAPES)
    got = measurements[0].run()
    assert got == found if isinstance(found, dict) else set(got) == found
    asked = (tmp_path / "asked").read_text()
    assert "--kernel-name regex:amgan::" in asked
    assert asked.endswith("-m tools.gpu_check.first_contact.counters 200000 1001 float32\n")


@pytest.fixture
def fake_cuda(monkeypatch) -> Iterator[FakeGpu]:
    """Tensors on a GPU that have no values, and times that are 2 ms."""
    fake = FakeGpu(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (80 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "_compile_kernel", lambda source, name: lambda **launch: fake.given.append(name))
    kernels._copy_bandwidth.cache_clear()
    with FakeTensorMode():
        yield fake
    kernels._copy_bandwidth.cache_clear()


def test_every_measurement_of_kernels_on_a_gpu(fake_cuda):
    """Whatever a GPU answers: the way to the figures is free of mistakes."""
    results = {measurement.name: measurement.run() for measurement in kernels.kernels(torch.device("cuda"))}
    assert len(results) == 2 + 2 * len(kernels.SHAPES)
    rate = 2 * gpu.COPIED_BYTES / 2e-3
    assert results["copy of 512 MiB"]["GB/s"] == pytest.approx(rate / 1e9)
    assert results["100x11 float32"]["am_discriminator_loss_and_grad"]["of empty"] == 1
    assert "nothing" in fake_cuda.given
    half = results["1000000x1001 bfloat16"]["am_generator_loss_and_grad"]
    assert half["share"] == pytest.approx(2 * 2 * 1_001_000_000 / 2e-3 / rate)


def test_what_does_not_fit_the_memory_of_a_gpu_is_not_run(fake_cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**30))
    results = {measurement.name: measurement.run() for measurement in kernels.kernels(torch.device("cuda"))}
    assert results["1000000x1001 float32"] == {"not run": "needs 11 GiB of free GPU memory"}
    assert "am_generator_loss" in results["1024x1001 float32"]


def test_every_measurement_of_the_host_on_a_gpu(fake_cuda):
    results = {measurement.name: measurement.run() for measurement in host.host(torch.device("cuda"))}
    assert all(figures["us"] > 0 for figures in results.values())


@pytest.mark.skipif(not torch.version.cuda, reason="torch without CUDA has no compiler of kernels")
@pytest.mark.parametrize(("source", "name"), [(exponential.PROBE, "ex2"), (gpu.EMPTY, "nothing")])
def test_probes_compile(source, name):
    """By torch's own NVRTC, whose use here is as of torch.cuda._compile_kernel."""
    from torch.cuda._utils import _nvrtc_compile

    code, entry = _nvrtc_compile(source, name, "90")
    assert entry == name
    assert len(code) > 100


@pytest.mark.cuda
def test_the_empty_kernel_is_launched():
    gpu.empty_kernel()()
    torch.cuda.synchronize()


@pytest.mark.cuda
def test_2_to_the_x_on_a_gpu():
    x = torch.tensor([0.0, -1.0, -0.5], device="cuda")
    assert exponential.compile_probe()(x).tolist() == pytest.approx([1.0, 0.5, 2**-0.5], rel=exponential.LIMIT)
