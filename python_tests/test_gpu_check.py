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
from benchmarks.op_cases import MAKERS
from tools.gpu_check.__main__ import chosen, default_workers, main, why_not
from tools.gpu_check.findings import (
    Findings,
    read_collection,
    read_first_contact,
    read_operations,
    read_peers,
    read_sanitizer,
    read_tests,
    read_training,
)
from tools.gpu_check.markdown_report import without_folders
from tools.gpu_check.steps import DTYPES, OPERATIONS, Step, Steps, find_sanitizer

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
    "l2_bytes": 50 * 2**20,
    "memory_clock_khz": 2_619_000,
    "memory_bus_bits": 5120,
    "peak_bandwidth": gpu.peak_bandwidth(2_619_000, 5120),
    "driver": "580.65",
    "cuda": "13.0",
}

OPERATIONS_REPORT = {
    "machine": {"torch": "2.14.1+cu130"},
    "bandwidths": {"copy": 2.9e12, "peak": 3.35e12},
    "results": [
        {
            "key": f"score_sums {rows}x10 float32",
            "op": "score_sums",
            "shape": [rows, 10],
            "dtype": "float32",
            "limit": "sum",
            "microseconds": {"ours": {"median": 5.0, "quartiles": [4.5, 5.5]}, "limit": {"median": 4.0}},
            "GB/s": 1.0,
            "fastest plain form": {"eager": "log_softmax, exp", "compile": "log_softmax, matmul"},
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


def test_a_test_that_was_interrupted_has_not_passed(tmp_path):
    junit = tmp_path / "tests.xml"  # as pytest leaves it
    junit.write_text('<testsuites><testcase classname="a" name="b" time="0.1"/><testcase time="0.0"/></testsuites>')
    assert read_tests(junit).figures == "1 passed, 0 failed, 0 skipped"


def test_tests_are_counted_and_failed_ones_named(tmp_path):
    junit = tmp_path / "tests.xml"
    junit.write_text(JUNIT)
    found = read_tests(junit)
    assert found.figures == "1 passed, 2 failed, 1 skipped"
    assert found.problems == ["python_tests.test_a::test_fails[cuda-3]", "python_tests.test_a::test_breaks"]


def test_packages_that_tests_lack_are_counted(tmp_path):
    log = tmp_path / "log"
    skipped = "SKIPPED [1] python_tests/test_{}.py:0: needs {}, which is not installed\n"
    log.write_text(
        "python_tests/test_a.py: 84\npython_tests/test_b.py: 1200\n\n"
        + skipped.format("c", "sybil") + skipped.format("d", "PIL") + skipped.format("e", "PIL")
    )  # fmt: skip
    found = read_collection(log)
    assert found == Findings("1,284 tests in 2 files; 1 files need sybil; 2 files need PIL")
    log.write_text("no tests ran\n")
    assert read_collection(log).problems == ["no test was collected"]
    message = "('/x/test_a.py', 0, 'Skipped: needs sybil, which is not installed')"
    case = f'<testcase name="a"><skipped message="collection skipped">{message}</skipped></testcase>'
    junit = tmp_path / "tests.xml"
    junit.write_text(f'<testsuites><testcase classname="a" name="b"/>{case}</testsuites>')
    assert read_tests(junit).figures == "1 passed, 0 failed, 1 skipped; 1 files need sybil"


def test_wrong_measurements_are_problems(tmp_path):
    path = written(tmp_path, {"a": {"us": 1.0}, "b": {"wrong": 3, "problem": "results that differ"}})
    assert read_first_contact(path) == Findings("1 measurements", ["b: results that differ"])


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
    found = read_operations(written(tmp_path, OPERATIONS_REPORT))
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


def test_what_a_step_lacks_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, **_: f"bin/{name}")
    for found, missing in (("tools/compute-sanitizer", ""), (None, "compute-sanitizer not found")):
        monkeypatch.setattr("tools.gpu_check.steps.find_sanitizer", lambda found=found: found)
        steps = {step.name: step.missing for step in Steps(tmp_path, "", 8)}
        sanitized = {name for name in steps if "check-float" in name or "check-bfloat" in name}
        assert len(sanitized) == 16
        assert steps == dict.fromkeys(steps, "") | dict.fromkeys(sanitized, missing)
        assert len(set(steps)) == len(list(Steps(tmp_path, "", 8)))
    monkeypatch.setattr("shutil.which", lambda name, **_: None)
    assert {step.missing for step in Steps(tmp_path, "", 8) if step.name == "counters"} == {"ncu not found"}
    without = {step.name: step.missing for step in Steps(tmp_path, "no GPU", 8)}
    assert {name for name, missing in without.items() if not missing} == {"facts", "collect"}
    assert set(without.values()) == {"", "no GPU"}


def test_each_file_and_module_that_a_step_names_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.gpu_check.steps.find_sanitizer", lambda: "sanitizer")
    words = [word for step in Steps(tmp_path, "", 8) for word in step.command]
    files = {word.removeprefix("--ignore=").partition("::")[0] for word in words if ".py" in word}
    modules = {word for word in words if word.startswith(("benchmarks.", "tools."))}
    assert (len(files), len(modules)) == (5, 4)
    assert all(Path(word).is_file() for word in files)
    assert all(importlib.util.find_spec(module) for module in modules)


def test_only_pytest_without_a_sanitizer_or_a_profiler_has_several_processes(tmp_path):
    with_workers = {step.name for step in Steps(tmp_path, "", 8) if "-n" in step.command}
    assert with_workers == {"tests", "graphs"}
    assert not any("-n" in step.command for step in Steps(tmp_path, "", 1))


def test_tests_of_one_dtype_are_those_of_its_name_alone():
    """As pytest's -k takes it: a text that a name contains."""
    for name, rest in DTYPES.items():
        assert [x for x in DTYPES if name in x and not (rest and "bfloat16" in x)] == [name]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: f"{make.func.__name__}{make.args}")
def test_the_parts_of_bench_ops_have_every_case_once(make):
    for case in make("meta"):
        assert sum(part in case.key for part in OPERATIONS) == 1, case.key


# --- Which steps are run


def named(*names: str) -> list[Step]:
    return [Step(name, [], lambda: Findings("")) for name in names]


def test_steps_are_chosen_by_name_or_its_beginning():
    steps = named("tests", "tests-slow", "memcheck-a", "memcheck-b")
    assert chosen(steps, None) == steps
    assert [step.name for step in chosen(steps, ["tests"])] == ["tests"]
    assert [step.name for step in chosen(steps, ["memcheck", "tests-s"])] == ["tests-slow", "memcheck-a", "memcheck-b"]
    with pytest.raises(
        ValueError, match=r"--only is bench, wanted the name of a step, or its beginning: tests, tests-"
    ):
        chosen(steps, ["tests", "bench"])


# --- From the steps to the report


def printing(name: str, code: str = "", findings: Findings | None = None, **more: object) -> Step:
    """A step that runs this code."""
    return Step(name, [sys.executable, "-c", code], lambda: findings or Findings("1 passed"), **more)


class Planned(list[Step]):
    """Steps that stand in for those there are."""

    def __init__(self, folder: Path, steps: tuple[Step, ...]) -> None:
        super().__init__(steps)
        self._folder = folder

    def file(self, name: str, suffix: str) -> Path:
        return self._folder / f"{name}{suffix}"


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs main with other steps, on a GPU that is made up, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    facts = {"gpu": GPU, "torch": torch.__version__, "build": amgan_fast.build_info(), "commit": "abcdef0"}
    monkeypatch.setattr("tools.gpu_check.__main__.machine", lambda: facts)

    def run(*steps: Step, options: tuple[str, ...] = ()) -> tuple[str | None, str, dict]:
        """The message of a failure, and the report for people and for programs."""
        monkeypatch.setattr("tools.gpu_check.__main__.Steps", lambda folder, *_: Planned(folder, steps))
        monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", "out", *options])
        message = None
        try:
            main()
        except SystemExit as end:
            message = str(end.code)
        report = tmp_path / "out" / "report.md"
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
    assert "- first: exit status 3; its output is in first.log\n" in text
    assert "The end of what first printed:\n\n```text\nfirst of all\n```\n" in text
    assert "- second: test_a::test_b\n" in text
    assert "- fourth: FileNotFoundError" in text
    assert Path("out/first.log").read_text() == "first of all\n"
    assert Path("out/last.log").read_text() == "for\n"
    assert "first of all\n" in capfd.readouterr().out


def test_the_report_is_there_after_every_step(check):
    """A machine that goes away takes only what it was at."""
    look = "print(open('out/report.md').readline().strip(), open('out/report.json').read().count('seconds'))"
    check(printing("first"), printing("second", look), printing("third", look))
    assert Path("out/second.log").read_text() == "# GPU check: 1 passed, 2 to come 1\n"
    assert Path("out/third.log").read_text() == "# GPU check: 2 passed, 1 to come 2\n"


def test_a_step_that_hangs_is_stopped_with_what_it_started(check, monkeypatch):
    monkeypatch.setattr("tools.gpu_check.running.GRACE", 1)
    ignoring = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ignoring!r}])"
    message, text, report = check(printing("hangs", code), printing("last"), options=("--limit", "1"))
    assert message == "gpu-check failed: hangs"
    assert "- hangs: stopped after 1 s" in text
    assert [step["status"] for step in report["steps"]] == ["failed", "passed"]
    assert report["steps"][0]["seconds"] < 30


def test_tests_that_are_stopped_have_counted_those_before(check, tmp_path):
    tests = tmp_path / "test_two.py"
    tests.write_text("import time\ndef test_a(): pass\ndef test_b():\n    print('now')\n    time.sleep(60)\n")
    junit = tmp_path / "tests.xml"
    options = ("-p", "no:randomly", "-p", "no:cacheprovider", f"--junit-xml={junit}", "-q", str(tests))
    step = Step("tests", [sys.executable, "-m", "pytest", *options], lambda: read_tests(junit))
    _, _, report = check(step, options=("--limit", "6"))
    assert report["steps"][0]["status"] == "failed"
    assert report["steps"][0]["figures"].startswith("1 passed")
    assert report["steps"][0]["problems"][-1].startswith("stopped after 6 s")


def test_what_passes_or_cannot_run_is_no_failure(check):
    message, text, report = check(printing("tests"), printing("sanitizer", missing="not found"))
    assert message is None
    assert text.startswith("# GPU check: 1 passed, 1 not run\n")
    assert "## Failures" not in text
    for fact in (GPU["name"], "capability 9.0", "driver 580.65", f"torch {torch.__version__} with CUDA 13.0"):
        assert fact in text
    assert "L2 cache 50 MiB, peak 3,352 GB/s = 2 x 2,619 MHz x 5,120 bits, from torch.cuda.get_device_prop" in text
    assert report["machine"]["build"]["compiler"] == amgan_fast.build_info()["compiler"]
    assert "commit abcdef0" in text


def leave(name: str, report: dict) -> Step:
    """A step that leaves results."""
    path = f"out/{name}.json"
    return printing(name, f"from pathlib import Path; Path({path!r}).write_text({json.dumps(report)!r})")


def test_benchmarks_are_in_the_report_and_folders_are_not(check):
    more = OPERATIONS_REPORT | {"results": [OPERATIONS_REPORT["results"][0] | {"op": "class_entropy"}]}
    _, text, report = check(
        leave("bench_ops-scores", OPERATIONS_REPORT), leave("bench_ops-entropy", more), leave("bench_peers", PEERS)
    )
    assert text.count("## Operations") == 1
    assert "| score_sums | 200,000 x 10 |" in text
    assert "| class_entropy | 100 x 10 |" in text
    assert "| sum, 4.0 µs | 80% | 72% |" in text
    assert "| ours 0.1.0 | 0.002 | 1.0 |" in text
    assert "ImportError: x.so cannot be loaded" in text
    assert report["bench_ops"]["results"] == OPERATIONS_REPORT["results"] + more["results"]
    for place in (text, json.dumps(report)):
        assert "somebody" not in place
        assert str(Path.cwd()) not in place


def test_training_steps_are_in_the_report_by_network(check):
    def measured(ms):
        times = {"ours, float32, captured": {"median": 1000 * ms, "quartiles": [900 * ms, 1100 * ms]}}
        return {"microseconds": times, "images_per_second": {"ours, float32, captured": 1e5 / ms}}

    _, text, report = check(
        leave("bench_train_step-conv", measured(0.5)), leave("bench_train_step-paper", measured(2.0))
    )
    assert "| conv, ours, float32, captured | 0.50 | 0.45 to 0.55 | 200,000 |\n" in text
    assert "| paper, ours, float32, captured | 2.00 | 1.80 to 2.20 | 50,000 |\n" in text
    assert set(report["bench_train_step"]) == {"conv", "paper"}
    path = Path("out/bench_train_step-conv.json")
    assert read_training(path) == Findings("ours, float32, captured 200,000 images/s")


def test_the_first_contact_is_in_the_report(check):
    time = {"us": 12.34, "quartiles": [12.0, 13.0]}
    kernels = {"copy": {"GB/s": 2951.5}, "100x11": {"score_sums": time | {"of empty": 1.25}, "torch.exp": time}}
    kernels["8x9"] = {"score_sums": time | {"share": 0.876}}
    _, text, report = check(leave("facts", {"card": {"name": "H100"}}), leave("kernels", kernels))
    assert "- card: name H100\n" in text
    assert "- copy: GB/s 2952\n" in text
    assert "|  | score_sums | torch.exp |\n" in text
    assert "| 100x11 | 12.3 µs, 1.2 x | 12.3 µs |\n" in text
    assert "| 8x9 | 12.3 µs, 88% |  |\n" in text
    assert report["kernels"] == kernels


def test_nothing_of_an_earlier_run_is_reported(check):
    check(leave("bench_ops-a", OPERATIONS_REPORT))
    _, text, report = check(printing("bench_ops-a"))
    assert "bench_ops" not in report
    assert "## Operations" not in text
    assert not list(Path("out").glob("*.tmp"))


def test_resuming_leaves_out_what_has_passed(check):
    check(printing("a", "print('a')"), printing("b", "raise SystemExit(1)"), printing("c", missing="no tool"))
    message, _, report = check(
        printing("a", "raise SystemExit(1)"), printing("b"), printing("c"), printing("d"), options=("--resume",)
    )
    assert message is None
    assert [(step["step"], step["status"]) for step in report["steps"]] == [(name, "passed") for name in "abcd"]
    assert Path("out/a.log").read_text() == "a\n"


def test_resuming_with_other_steps_keeps_what_has_failed(check):
    check(printing("a", "raise SystemExit(1)"), printing("b", "raise SystemExit(1)"))
    steps = printing("a"), printing("b"), printing("c")
    message, _, report = check(*steps, options=("--resume", "--only", "b", "c"))
    assert message == "gpu-check failed: a"
    assert [(step["step"], step["status"]) for step in report["steps"]] == [
        ("a", "failed"), ("b", "passed"), ("c", "passed")
    ]  # fmt: skip


def test_what_another_commit_has_passed_is_run_again(check, monkeypatch):
    check(printing("a"))
    facts = {"gpu": None, "torch": torch.__version__, "build": amgan_fast.build_info(), "commit": "another"}
    monkeypatch.setattr("tools.gpu_check.__main__.machine", lambda: facts)
    message, text, _ = check(printing("a", "raise SystemExit(1)"), options=("--resume",))
    assert message == "gpu-check failed: a"
    assert "- no GPU, torch" in text


def test_a_file_that_a_killed_step_left_half_written_is_no_result(check):
    message, _, report = check(printing("facts", "open('out/facts.json', 'w').write('{')"))
    assert message is None
    assert "facts" not in report


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


def test_without_a_gpu_its_steps_say_so_and_nothing_fails(tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "tools.gpu_check", "--only", "facts", "tests", "memcheck", "bench_peers", "--out", "o"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\n== tests\nno GPU\n" in done.stdout
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    status = {step["step"]: (step["status"], step["figures"]) for step in report["steps"]}
    assert status.pop("facts") == ("passed", "3 measurements")
    assert set(status) == {"tests", "bench_peers", *(f"memcheck-{dtype}" for dtype in DTYPES)}
    assert set(status.values()) == {("not run", "no GPU")}
    assert report["facts"]["software"]["torch"] == torch.__version__


def test_listed_steps_are_not_run(check, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--list", "--only", "synccheck-f", "facts"])
    monkeypatch.setattr("tools.gpu_check.__main__.why_not", lambda: "no GPU")
    main()
    assert capsys.readouterr().out.split("\n") == [
        "facts", *(f"synccheck-{name}: no GPU" for name in ("float32", "float16", "float64")), ""
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_several_processes_need_xdist(monkeypatch, capsys):
    monkeypatch.setattr("tools.gpu_check.__main__.has_xdist", lambda: False)
    assert default_workers() == 1
    monkeypatch.setattr(sys, "argv", ["gpu_check", "-n", "4"])
    with pytest.raises(SystemExit):
        main()
    assert "-n is 4, wanted 1: pytest-xdist is not installed" in capsys.readouterr().err


def test_a_build_without_cuda_kernels_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(amgan_fast, "build_info", lambda: {"cuda": False, "cuda_reason": "no nvcc found"})
    assert why_not() == "built without CUDA kernels (no nvcc found)"


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
