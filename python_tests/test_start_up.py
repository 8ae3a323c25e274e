"""What is imported when: the command line says what it takes without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import typer
from PIL import Image
from tiny_runs import tiny_config

import amgan_fast
from amgan_fast.cli import app
from amgan_fast.data import DATASETS
from amgan_fast.objectives import MODELS
from amgan_fast.option_declarations import DatasetName, ModelName

COMMANDS = sorted(typer.main.get_command(app).commands)
HEAVY = "torch torchvision numpy scipy sklearn matplotlib tensorboard PIL jinja2 safetensors pytorch_msssim filelock"

# Runs the command once with each of the lists of arguments, and prints of each its exit status, and what is imported
# by then of the modules that it is asked for.
PROGRAM = """
import contextlib, io, json, sys
from amgan_fast.cli import main
runs, modules = json.loads(sys.argv[1]), sys.argv[2].split()
found = []
for arguments in runs:
    sys.argv = ["amgan-fast", *arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            found.append([end.code, [name for name in modules if name in sys.modules]])
print(json.dumps(found))
"""


def python(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_by(*runs: tuple[str, ...], modules: str = HEAVY) -> list[list[object]]:
    """(exit status, those of the modules that are imported by then) of each run."""
    return json.loads(python(PROGRAM, json.dumps(runs), modules))


def test_the_help_of_the_program_and_a_bad_command_import_nothing_heavy():
    assert imported_by(("--help",), (), ("trian",), ("--nothing",)) == [[0, []], [2, []], [2, []], [2, []]]


@pytest.mark.parametrize("line", ["amgan-fast tr", "amgan-fast train --model am", "amgan-fast evaluate --features in"])
def test_completion_imports_nothing_heavy(line, monkeypatch):
    words = line.split()
    monkeypatch.setenv("_AMGAN_FAST_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert imported_by(()) == [[0, []]]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_a_bad_option_of_a_command_import_nothing_heavy(command):
    assert imported_by((command, "--help"), (command, "--nothing")) == [[0, []], [2, []]]


def test_what_a_command_cannot_use_ends_before_anything_heavy_is_imported():
    runs = (
        ("train", "--model", "vae"),
        ("train", "--dataset", "cats"),
        ("train", "--steps", "0"),
        ("train", "--resume", "runs/1", "--seed", "1"),
        ("train-classifier", "--out", "c.pt", "--depth", "40"),
        ("compare", "--dataset", "cats"),
        ("sample",),
        ("merge",),
        ("merge", "1.safetensors", "--report", "page.pdf"),
        ("evaluate",),
        ("evaluate", "--logits", "l.npy", "--dtype", "int4"),
        ("evaluate", "--logits", "l.npy", "--workers", "2"),
        ("evaluate", "--logits", "l.npy", "--dataset", "cats"),
        ("evaluate", "--logits", "l.npy", "--report", "page.pdf"),
        ("evaluate", "--logits", "l.npy", "--state", "nowhere/to/be.safetensors"),
        ("info", "--json", "nowhere/to/be.json"),
        ("report", "nowhere"),
        ("report", "nowhere", "either"),
        ("report", "nowhere", "--out", "page.pdf"),
    )
    assert imported_by(*runs) == [[2, []]] * len(runs)


def test_listing_runs_imports_no_torch(tmp_path):
    """A lock is a file's, and a page is Jinja's."""
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        tiny_config(seed=seed).save(tmp_path / str(seed) / "config.toml")
    run = ("runs", str(tmp_path), "--report", str(tmp_path / "page.html"))
    modules = " ".join(name for name in HEAVY.split() if name not in ("filelock", "jinja2"))
    assert imported_by(run, modules=modules) == [[0, []]]


def test_scoring_logits_imports_nothing_that_is_for_pictures_data_or_compiling(tmp_path):
    np.save(tmp_path / "logits.npy", 9 * np.eye(4, dtype=np.float32).repeat(25, axis=0))
    run = ("evaluate", "--logits", str(tmp_path / "logits.npy"), "--json", str(tmp_path / "scores.json"))
    assert imported_by(run, modules="torchvision matplotlib sklearn jinja2 tensorboard torch._dynamo") == [[0, []]]


def test_scoring_images_imports_nothing_that_is_for_training(tmp_path):
    for number in range(10):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
    options = ("--classifier", "torch.nn:Flatten", "--json", str(tmp_path / "scores.json"))
    run = ("evaluate", "--images", str(tmp_path), *options)
    modules = "torchvision torch._dynamo filelock amgan_fast.train amgan_fast.objectives amgan_fast.runs"
    assert imported_by(run, modules=modules) == [[0, []]]


def test_drawing_samples_does_not_import_torchvision_which_brings_the_compiler(tmp_path):
    use = "save_sheet(Path(sys.argv[1]), torch.zeros(2, 3, 1, 8, 8, dtype=torch.uint8), ['a', 'b'])"
    python(
        "import sys\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from amgan_fast.drawing import save_sheet\n"
        f"{use}\n"
        "assert not {'torchvision', 'torch._dynamo'} & set(sys.modules)\n",
        str(tmp_path / "sheet.png"),
    )


def test_what_the_command_line_takes_for_a_model_or_a_dataset_is_what_there_is():
    assert get_args(ModelName) == tuple(MODELS)
    assert get_args(DatasetName) == tuple(DATASETS)


def test_the_package_has_all_that_it_says():
    assert set(amgan_fast.__all__) <= set(dir(amgan_fast))
    for name in amgan_fast.__all__:
        assert getattr(amgan_fast, name) is not None
    with pytest.raises(AttributeError, match="'amgan_fast' has no attribute 'nothing'"):
        _ = amgan_fast.nothing


def test_the_package_imports_torch_where_something_of_it_needs_that():
    python(
        "import sys\n"
        "import amgan_fast\n"
        "assert 'torch' not in sys.modules\n"
        "import amgan_fast.ops\n"
        "sys.modules['torch'].ops.amgan_fast.score_sums\n"
    )


@pytest.mark.parametrize(
    ("library", "said_first"),
    [
        (None, "amgan_fast has no compiled operations here"),
        (__file__, f"{__file__} cannot be loaded with torch"),
    ],
)
def test_a_compiled_library_that_does_not_fit_is_an_error_of_what_needs_it(library, said_first):
    module = "None" if library is None else f"types.SimpleNamespace(LIBRARY={library!r})"
    said = python(
        "import sys, types\n"
        f"sys.modules['amgan_fast._library'] = {module}\n"
        "import amgan_fast\n"
        "try:\n"
        "    import amgan_fast.ops\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert said.startswith(said_first)
