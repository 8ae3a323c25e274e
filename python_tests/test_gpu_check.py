"""tools.gpu_check: what it reads out of the steps' results, its report and its exit status; without a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import amgan_fast
from benchmarks import gpu
from tools.gpu_check.__main__ import main, why_not
from tools.gpu_check.findings import Findings, read_operations, read_peers, read_sanitizer, read_tests
from tools.gpu_check.markdown_report import without_folders
from tools.gpu_check.steps import Step, all_steps, file_of, find_sanitizer

ROOT = Path(__file__).parent.parent

JUNIT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" hostname="somebody">
<testcase classname="python_tests.test_a" name="test_passes[cuda]"/>
<testcase classname="python_tests.test_a" name="test_skips"><skipped message="needs cuda"/></testcase>
<testcase classname="python_tests.test_a" name="test_fails[cuda-3]"><failure message="/home/somebody"/></testcase>
<testcase classname="python_tests.test_a" name="test_breaks"><error message="setup"/></testcase>
</testsuite></testsuites>"""

GPU = {
    "name": "NVIDIA H100 80GB HBM3",
    "capability": "9.0",
    "multiprocessors": 132,
    "memory_bytes": 80 * 2**30,
    "memory_clock_khz": 2_619_000,
    "memory_bus_bits": 5120,
    "peak_bandwidth": gpu.peak_bandwidth(2_619_000, 5120),
    "driver": "580.65",
    "cuda": "13.0",
}

OPERATIONS = {
    "bandwidths": {"copy": 2.9e12, "peak": 3.35e12},
    "results": [
        {
            "key": f"score_sums {rows}x10 float32",
            "op": "score_sums",
            "shape": [rows, 10],
            "dtype": "float32",
            "limit": "sum",
            "microseconds": {"ours": {"median": 5.0, "quartiles": [4.5, 5.5]}, "limit": {"median": 4.0}},
            "ratios": dict.fromkeys(("eager/ours", "compile/ours", "exp/ours", "ours/limit"), 1.5)
            | {"share of copy": share, "share of peak": 0.9 * share},
        }
        for rows, share in ((100, 0.05), (200_000, 0.8))
    ],
}

PEERS = {
    "logits": {"rows": 500, "classes": 10, "batch": 100},
    "exact": 4.5,
    "results": [
        {
            "tool": "ours",
            "version": "0.1.0",
            "seconds": 0.002,
            "peak_mib": 3.0,
            "inception_score": 4.5,
            "relative_error": 1e-9,
            "same": True,
        },
        {"tool": "torchmetrics", "error": "ImportError: /home/somebody/lib/x.so cannot be loaded"},
    ],
}


# --- Reading what steps leave


def test_tests_are_counted_and_failed_ones_named(tmp_path):
    junit = tmp_path / "tests.xml"
    junit.write_text(JUNIT)
    found = read_tests(junit)
    assert found.figures == "1 passed, 2 failed, 1 skipped"
    assert found.problems == ["python_tests.test_a::test_fails[cuda-3]", "python_tests.test_a::test_breaks"]


def junit_of_one(folder: Path, outcome: str = "") -> Path:
    path = folder / "tests.xml"
    path.write_text(f'<testsuites><testcase classname="a" name="b">{outcome}</testcase></testsuites>')
    return path


def test_skipped_tests_prove_nothing(tmp_path):
    assert read_tests(junit_of_one(tmp_path)).problems == []
    assert read_tests(junit_of_one(tmp_path, "<skipped/>")).problems == ["no test passed"]


@pytest.mark.parametrize(
    ("printed", "problems"),
    [
        ("========= ERROR SUMMARY: 0 errors\n", []),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n", []),
        ("========= ERROR SUMMARY: 10 errors\n", ["10 errors"]),
        (
            "========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)\n",
            ["1 hazard displayed (0 errors, 1 warning)"],
        ),
        ("1 passed\n", ["no summary"]),
    ],
)
def test_summaries_of_the_sanitizer(printed, problems, tmp_path):
    log = tmp_path / "log"
    log.write_text(f"========= COMPUTE-SANITIZER\n{printed}")
    found = read_sanitizer(log, junit_of_one(tmp_path))
    assert found.problems == problems
    assert "tests: 1 passed" in found.figures
    assert read_sanitizer(log, junit_of_one(tmp_path, "<skipped/>")).problems[-1] == "no test passed"


def written(folder: Path, report: dict) -> Path:
    path = folder / "report.json"
    path.write_text(json.dumps(report))
    return path


def test_operations_give_both_bandwidths_and_the_best_share(tmp_path):
    found = read_operations(written(tmp_path, OPERATIONS))
    assert found.problems == []
    assert found.figures == (
        "2 cases; copy 2,900 GB/s; peak 3,350 GB/s; score_sums 200000x10 float32 reaches 80% of the copy"
    )


@pytest.mark.parametrize(
    ("ours", "problems"),
    [
        ({}, []),
        ({"same": False, "relative_error": 0.1}, ["ours: relative error 1.0e-01"]),
        ({"error": "exit status 1"}, ["ours: exit status 1"]),
    ],
)
def test_peers_may_fail_and_ours_may_not(ours, problems, tmp_path):
    first, other = PEERS["results"]
    found = read_peers(written(tmp_path, {"results": [first | ours, other]}))
    assert found.problems == problems


# --- The steps


def test_the_sanitizer_is_found_on_path_or_in_the_toolkit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))
    assert find_sanitizer() is None
    for folder in (tmp_path / "toolkit" / "bin", tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        tool = folder / "compute-sanitizer"
        tool.touch(mode=0o755)
        assert find_sanitizer() == str(tool)


def test_steps_with_and_without_the_sanitizer(monkeypatch):
    for found, missing in (("tools/compute-sanitizer", ""), (None, "compute-sanitizer not found")):
        monkeypatch.setattr("tools.gpu_check.steps.find_sanitizer", lambda found=found: found)
        steps = {step.name: step for step in all_steps()}
        sanitized = [step for name, step in steps.items() if name.startswith("compute-sanitizer")]
        assert [step.missing for step in sanitized] == [missing] * 4
        assert [name for name, step in steps.items() if not step.missing and step not in sanitized] == [
            "tests",
            "CUDA graphs",
            "bench_ops",
            "bench_peers",
        ]
    # Each file and module that a step names is there.
    words = [word for step in steps.values() for word in step.command]
    files = {word.removeprefix("--ignore=") for word in words if word.endswith(".py")}
    modules = {word for word in words if word.startswith("benchmarks.")}
    assert (len(files), len(modules)) == (2, 2)
    assert all(Path(word).is_file() for word in files)
    assert all(importlib.util.find_spec(module) for module in modules)


# --- From the steps to the report


def printing(name: str, code: str = "", findings: Findings | None = None, **more: object) -> Step:
    """A step that runs this code."""
    return Step(name, [sys.executable, "-c", code], lambda: findings or Findings("1 passed"), **more)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs main with other steps, on a GPU that is made up, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.gpu_check.__main__.why_not", lambda: None)
    monkeypatch.setattr(gpu, "describe", lambda: GPU)

    def run(*steps: Step) -> tuple[str | None, str, dict]:
        """The message of a failure, and the report for people and for programs."""
        monkeypatch.setattr("tools.gpu_check.__main__.all_steps", lambda: list(steps))
        message = None
        try:
            main()
        except SystemExit as end:
            message = str(end.code)
        report = tmp_path / "build" / "gpu_check.md"
        return message, report.read_text(), json.loads(report.with_suffix(".json").read_text())

    return run


def test_a_failing_step_keeps_no_other_from_running(check, capfd):
    message, text, report = check(
        printing("first", "import sys; print('first of all'); sys.exit(3)"),
        printing("second", findings=Findings("1 passed, 1 failed", ["test_a::test_b"])),
        printing("third", missing="compute-sanitizer not found"),
        Step("fourth", [sys.executable, "-c", ""], lambda: Findings(Path("nothing").read_text())),
        printing("last", "import os; print(os.environ['ASKED'])", environment={"ASKED": "for"}),
    )
    assert message == "gpu-check failed: first, second, fourth"
    assert [step["status"] for step in report["steps"]] == ["failed", "failed", "not run", "failed", "passed"]
    assert text.startswith("# GPU check: 1 passed, 3 failed, 1 not run\n")
    assert "| third | not run | 0 | compute-sanitizer not found |" in text
    assert "- first: exit status 3; its output is in build/gpu_check/first.log\n" in text
    assert "- second: test_a::test_b\n" in text
    assert "- fourth: FileNotFoundError" in text
    assert Path("build/gpu_check/first.log").read_text() == "first of all\n"
    assert Path("build/gpu_check/last.log").read_text() == "for\n"
    assert "first of all\n" in capfd.readouterr().out


def test_a_step_that_hangs_is_stopped_with_what_it_started(check, monkeypatch):
    monkeypatch.setattr("tools.gpu_check.running.LIMIT", 1)
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    message, text, report = check(printing("hangs", code), printing("last"))
    assert message == "gpu-check failed: hangs"
    assert "- hangs: stopped after 1 s" in text
    assert [step["status"] for step in report["steps"]] == ["failed", "passed"]
    assert report["steps"][0]["seconds"] < 30


def test_what_passes_or_cannot_run_is_no_failure(check):
    message, text, report = check(printing("tests"), printing("sanitizer", missing="not found"))
    assert message is None
    assert text.startswith("# GPU check: 1 passed, 1 not run\n")
    assert "## Failures" not in text
    for fact in (GPU["name"], "capability 9.0", "driver 580.65", f"torch {torch.__version__} with CUDA 13.0"):
        assert fact in text
    assert "peak 3,352 GB/s = 2 x 2,619 MHz x 5,120 bits, from torch.cuda.get_device_properties" in text
    assert report["machine"]["build"]["compiler"] == amgan_fast.build_info()["compiler"]
    assert report["machine"]["commit"].split()[0] in text


def leave(name: str, report: dict) -> Step:
    """A step that leaves a benchmark's report."""
    path = file_of(name, ".json")
    return printing(name, f"from pathlib import Path; Path({str(path)!r}).write_text({json.dumps(report)!r})")


def test_benchmarks_are_in_the_report_and_folders_are_not(check):
    _, text, report = check(leave("bench_ops", OPERATIONS), leave("bench_peers", PEERS))
    assert "## Operations" in text
    assert "| score_sums | 200,000 x 10 |" in text
    assert "| sum, 4.0 µs | 80% | 72% |" in text
    assert "| ours 0.1.0 | 0.002 | 1.0 |" in text
    assert "ImportError: x.so cannot be loaded" in text
    assert report["bench_ops"]["results"] == OPERATIONS["results"]
    for place in (text, json.dumps(report)):
        assert "somebody" not in place
        assert str(Path.cwd()) not in place


def test_nothing_of_an_earlier_run_is_reported(check):
    check(leave("bench_ops", OPERATIONS))
    _, text, report = check(printing("tests"))
    assert "bench_ops" not in report
    assert "## Operations" not in text
    assert not list(Path("build").glob("*.tmp"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/somebody/a.so: no such file", "a.so: no such file"),
        ("in '/tmp/b/c.py' and ~/d/e", "in 'c.py' and e"),
        ("build/gpu_check/tests.log, 3 GB/s, eager / ours", "build/gpu_check/tests.log, 3 GB/s, eager / ours"),
        ("https://example.org/a/b", "https://example.org/a/b"),
    ],
)
def test_folders_are_taken_out(text, kept):
    assert without_folders({"a": [text, 1]}) == {"a": [kept, 1]}


def test_without_a_gpu_nothing_is_run_or_written(tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "tools.gpu_check"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("gpu-check: torch sees no CUDA GPU here; nothing was run\n")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_build_without_cuda_kernels_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(amgan_fast, "build_info", lambda: {"cuda": False, "cuda_reason": "no nvcc found"})
    assert why_not() == "amgan_fast was built without CUDA kernels (no nvcc found)"


# --- Bandwidth


def test_peak_bandwidth_is_that_of_the_data_sheet():
    assert GPU["peak_bandwidth"] == pytest.approx(3.35e12, rel=2e-3)  # H100 SXM, 5 stacks of HBM3
    assert gpu.peak_bandwidth(10_501_000, 384) == pytest.approx(1.008e12, rel=2e-3)  # RTX 4090, GDDR6X
    assert gpu.peak_bandwidth(0, 384) is None


@pytest.mark.cuda
def test_a_gpu_is_described():
    found = gpu.describe()
    assert json.loads(json.dumps(found)).keys() == GPU.keys()
    assert found["memory_bytes"] > 2**30
    assert found["peak_bandwidth"] is None or found["peak_bandwidth"] > 1e10
