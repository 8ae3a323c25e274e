"""With torch, numpy and pytest alone `pytest -m cuda` collects the tests of operations, and says what others need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
# Hides what comes with none of the three.
HIDING = """
import sys

class Hidden:
    names = {"PIL", "matplotlib", "rich", "safetensors", "scipy", "sklearn", "sybil", "tensorboard", "tomli_w",
             "torchmetrics", "torchvision", "typer", "ignite", "torch_fidelity", "pytorch_msssim"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
OF_OPERATIONS = ("kplus1", "entropy", "hinge", "gradients", "scores", "accuracy", "errors", "non_finite", "placement",
                 "leaky_dropout", "torch_integration", "cuda_graphs", "cuda_launches", "large_inputs")  # fmt: skip


def collect(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDING, "-q", "-rs", "-p", "no:cacheprovider", "--collect-only", *arguments],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_cuda_tests_of_operations_are_all_collected_and_other_files_say_what_they_need():
    files = [str(TESTS / f"test_{name}.py") for name in (*OF_OPERATIONS, "train")]
    done = collect("-m", "cuda", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in OF_OPERATIONS:
        assert f"test_{name}.py::" in done.stdout, name
    (skipped,) = (line for line in done.stdout.splitlines() if line.startswith("SKIPPED"))
    assert "test_train.py" in skipped
    assert skipped.endswith("which is not installed")


def test_without_the_marker_a_missing_package_is_an_error():
    done = collect(str(TESTS / "test_train.py"))
    assert done.returncode == 2
    assert "ModuleNotFoundError" in done.stdout
