"""What the build says of itself, what importing costs, and that the reference has the operations' signatures."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import amgan_fast
from amgan_fast import ops, reference

KEYS = {
    "version": str,
    "torch": str,
    "compiler": str,
    "cpu_capability": str,
    "cpu_builds": list,
    "cuda": bool,
    "cuda_reason": (str, type(None)),
    "cuda_version": (str, type(None)),
    "cuda_architectures": list,
}


def test_build_info_has_its_keys_and_types():
    info = amgan_fast.build_info()
    assert set(info) == set(KEYS)
    for key, kind in KEYS.items():
        assert isinstance(info[key], kind), key
    assert all(isinstance(x, str) and x for key in ("cpu_builds", "cuda_architectures") for x in info[key])


def test_build_info_agrees_with_itself_and_with_torch():
    info = amgan_fast.build_info()
    assert info["version"] == amgan_fast.__version__
    assert info["torch"].split("+")[0].split(".")[:2] == torch.__version__.split("+")[0].split(".")[:2]
    assert info["cpu_capability"] in info["cpu_builds"]
    assert "DEFAULT" in info["cpu_builds"]
    if info["cuda"]:
        assert info["cuda_reason"] is None
        assert info["cuda_version"]
        assert info["cuda_architectures"]
    else:
        assert info["cuda_reason"]
        assert info["cuda_version"] is None
        assert info["cuda_architectures"] == []


def test_build_info_is_a_copy():
    amgan_fast.build_info()["version"] = "changed"
    amgan_fast.build_info()["cpu_builds"].clear()
    assert amgan_fast.build_info()["version"] == amgan_fast.__version__
    assert amgan_fast.build_info()["cpu_builds"]


def python(code: str, **environment: str) -> str:
    package = str(Path(amgan_fast.__file__).parent.parent)
    path = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=Path(__file__).parent,  # not the checkout's root, whose amgan_fast may lack the compiled module
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("module", ["amgan_fast", "amgan_fast.ops", "amgan_fast.reference"])
def test_importing_the_operations_is_light(module):
    code = f"import sys, {module}; print(*[m for m in sys.modules if '.' not in m])"
    heavy = {"torchvision", "matplotlib", "sklearn", "scipy", "typer", "rich", "PIL", "torchmetrics", "pandas"}
    assert not heavy & set(python(code).split())


def test_works_without_a_visible_gpu():
    code = (
        "import torch, amgan_fast; from amgan_fast import ops; amgan_fast.build_info();"
        "print(ops.am_generator_loss(torch.zeros(2, 3)).item(), torch.cuda.is_initialized())"
    )
    assert python(code, CUDA_VISIBLE_DEVICES="").split() == [str(torch.tensor(3.0).log().item()), "False"]


@pytest.mark.parametrize("name", [name for name in ops.__all__ if name.islower()])
def test_reference_has_the_same_signature(name):
    fused, plain = (inspect.signature(getattr(module, name)).parameters for module in (ops, reference))
    forwarded = any(p.kind is p.VAR_KEYWORD for p in plain.values())
    wanted = {k: p for k, p in fused.items() if not (forwarded and p.kind is p.KEYWORD_ONLY)}
    given = {k: p for k, p in plain.items() if p.kind is not p.VAR_KEYWORD}
    assert list(given) == list(wanted)
    for key, parameter in wanted.items():
        assert (given[key].kind, given[key].default) == (parameter.kind, parameter.default), key


@pytest.mark.parametrize("name", [name for name in ops.__all__ if name.islower()])
def test_operations_are_documented_and_typed(name):
    function = getattr(ops, name)
    assert inspect.getdoc(function)
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty
    assert all(p.annotation is not p.empty for p in signature.parameters.values())


@pytest.mark.parametrize("name", [name for name in ops.__all__ if name.islower()])
def test_arguments_equal_those_of_the_torch_operation(name):
    """The schema repeats names and defaults, and it is the schema that decides: both must say the same, but that it has
    places for integers that are keywords in Python (csrc/ops/scores.cpp says why)."""
    schema = getattr(torch.ops.amgan_fast, name).default._schema.arguments
    parameters = inspect.signature(getattr(ops, name)).parameters
    documented = [argument for argument in schema if argument.name in parameters]
    assert {x.name for x in schema} - {x.name for x in documented} <= {"label_smoothing"}  # for kplus1_cross_entropy
    for argument, (key, parameter) in zip(documented, parameters.items(), strict=True):
        is_keyword = parameter.kind is parameter.KEYWORD_ONLY
        assert (argument.name, argument.kwarg_only) == (key, is_keyword and str(argument.type) != "int")
        if is_keyword:
            assert argument.default_value == parameter.default, key
