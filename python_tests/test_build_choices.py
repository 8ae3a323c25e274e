"""Whether the CUDA kernels are built, and for which architectures: what cmake's files choose, without a build."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

CMAKE = Path(__file__).parent.parent / "cmake"
SCRIPT = CMAKE / "describe_torch.py"
COMMAND = shutil.which("cmake", path=Path(sys.executable).parent) or shutil.which("cmake") or ""
KNOWN = {"75", "80", "86", "87", "89", "90", "100", "103", "120"}  # to an nvcc


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("describe_torch", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_torch(flags: str | None = None, gpus: tuple[tuple[int, int], ...] = (), cuda: str | None = "13.0"):
    """As torch 2.12: where no GPU is visible torch.cuda.get_arch_list() is empty, whatever torch was built for."""
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(
            is_available=lambda: bool(gpus),
            device_count=lambda: len(gpus),
            get_device_capability=lambda index: gpus[index],
            get_arch_list=lambda: (flags or "").split() if gpus else [],
        ),
        _C=SimpleNamespace(_cuda_getArchFlags=lambda: flags),
    )


@pytest.mark.parametrize(
    ("flags", "gpus", "known", "chosen"),
    [
        # Machine code of what torch was built for, and PTX of the newest.
        ("sm_75 sm_86 sm_90 sm_100 sm_120", (), KNOWN, ["75-real", "86-real", "90-real", "100-real", "120"]),
        ("sm_50 sm_60 sm_70 sm_75 sm_86", (), KNOWN, ["75-real", "86"]),  # older ones are not built for
        ("sm_80 sm_90 sm_120 compute_120", (), KNOWN - {"120"}, ["80-real", "90"]),  # by an older nvcc
        ("sm_90 sm_90a sm_100a", (), KNOWN, ["90"]),  # what only some GPUs of an architecture have is not needed
        ("sm_75 sm_90", (), set(), ["75-real", "90"]),  # an nvcc that does not say what it knows
        ("sm_50", (), KNOWN, []),
        ("", (), KNOWN, []),
        (None, (), KNOWN, []),
        # A GPU decides: machine code for it alone.
        ("sm_75 sm_90", ((9, 0),), KNOWN, ["90-real"]),
        ("sm_75 sm_90", ((12, 0), (8, 6), (8, 6)), KNOWN, ["86-real", "120-real"]),
        ("sm_75 sm_90", ((7, 0),), KNOWN, []),
    ],
)  # fmt: skip
def test_architectures_are_those_of_the_gpu_or_of_torch(script, flags, gpus, known, chosen):
    assert script.available(a_torch(flags, gpus), known) == chosen


def test_a_cpu_build_of_torch_names_no_architecture(script):
    torch_of_cpu = a_torch(cuda=None)
    del torch_of_cpu._C._cuda_getArchFlags  # not in every one
    assert script.available(torch_of_cpu, KNOWN) == []


def test_this_torch_tells_what_it_was_built_for(script):
    numbers = script.built_for(torch)
    assert bool(numbers) == bool(torch.version.cuda)
    assert all(number >= 50 for number in numbers)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("9.0", ["90-real"]),
        ("8.0;9.0a 12.0+PTX", ["80-real", "90a-real", "120"]),
        ("Ampere, Hopper", ["80-real", "86-real", "90-real"]),
    ],
)
def test_the_environment_names_architectures_as_torch_does(script, asked, chosen):
    assert script.asked_for(asked, KNOWN) == (chosen, "")


@pytest.mark.parametrize("asked", ["7.0", "9", "sm_90", "13.0", "9.0 Volta"])
def test_what_the_environment_may_not_name(script, asked):
    chosen, error = script.asked_for(asked, KNOWN)
    assert chosen == []
    assert error == f"TORCH_CUDA_ARCH_LIST names '{asked.split()[-1]}', wanted 7.5 or newer, and known to nvcc"


# --- Whether they are built


def decide(
    folder: Path, wanted: str = "", cuda: str = "13.0", release: str = "13.0", **torch_json: object
) -> list[str]:
    """The reason why not, and the error, that cmake/cuda.cmake finds for a torch and an nvcc of these versions."""
    nvcc = folder / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.88'\n")
    nvcc.chmod(0o755)
    described = json.dumps({"architectures": [], "architectures_error": "", **torch_json})
    script = folder / "decide.cmake"
    script.write_text(
        f'set(torch_json [==[{described}]==])\nset(torch_version 2.11.0)\nset(torch_cuda "{cuda}")\n'
        f'set(nvcc "{nvcc if release else ""}")\ninclude({CMAKE / "cuda.cmake"})\n'
        'message("reason: ${AMGAN_CUDA_REASON}")\nmessage("error: ${AMGAN_CUDA_ERROR}")\n'
    )
    done = subprocess.run(
        [COMMAND, "-P", str(script)],
        env=os.environ | {"AMGAN_CUDA": wanted},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(": ")[2] for line in done.stderr.splitlines() if line.startswith(("reason: ", "error: "))]


needs_cmake = pytest.mark.skipif(not COMMAND, reason="there is no cmake")


@needs_cmake
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"wanted": "0"}, "switched off by AMGAN_CUDA=0"),
        ({"cuda": ""}, "torch 2.11.0 is a CPU-only build"),
        ({"release": ""}, "no nvcc found (PATH, CUDA_HOME)"),
        (
            {"release": "12.8"},
            "nvcc is CUDA 12.8, torch 2.11.0 was built with CUDA 13.0: the major versions must agree",
        ),
        (
            {},
            "neither a visible GPU nor torch 2.11.0 names an architecture of 7.5 or newer that nvcc 13.0 knows "
            "(TORCH_CUDA_ARCH_LIST)",
        ),
    ],
)
def test_why_nothing_is_built_is_one_line(tmp_path, given, reason):
    assert decide(tmp_path, **given) == [reason, ""]
    if given.get("wanted") != "0":
        error = f"AMGAN_CUDA=1, but the CUDA kernels cannot be built: {reason}"
        assert decide(tmp_path, **given | {"wanted": "1"}) == [reason, error]


@needs_cmake
def test_what_cannot_be_asked_for(tmp_path):
    assert decide(tmp_path, "yes")[1] == "AMGAN_CUDA is 'yes', wanted auto, 0 or 1"
    assert (
        decide(tmp_path, architectures_error="TORCH_CUDA_ARCH_LIST names '1.0'")[1]
        == "TORCH_CUDA_ARCH_LIST names '1.0'"
    )
