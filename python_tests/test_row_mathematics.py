"""The formulas of csrc/math, a row at a time, against arithmetic of 300 digits.

The module is made of python_tests/row_mathematics by the compiler and pybind11 when a test asks for it: what is tested
is the header that every kernel includes, without vectors, tensors or torch.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import struct
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType

import mpmath
import pytest
from mpmath import mpf

pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not installed")
COMPILER = shutil.which("c++")
ROOT = Path(__file__).parent.parent
ROUNDING = {"float": 2.0**-24, "double": 2.0**-53}

# Their sums are exact: what is left of 1 - 0.9 - 0.1 in binary would be multiplied by the logits.
LOSSES = {
    "am_generator": (1, 0, 1, 0, 0),
    "am_discriminator, smoothed": (1, 0, 0.75, 0.125, 0.125),
    "generated row": (1, 0, 0, 0.875, 0.125),
    "labelgan_generator": (1, -1, 0, 0, 0),
    "saturating": (-1, 1, 0, 0, 0),
    "auxiliary": (0, 1, 1, 0, 0),
}
ROWS = {
    "ordinary": [0.3, -1.2, 2.5, 0.1, -0.7, 1.0],
    "nearly certain of the label": [0.0, 1.0, 40.0, -3.0, 2.0, -5.0],
    "nearly certain of another class": [35.0, 1.0, 0.5, -3.0, 2.0, 3.0],
    "nearly certain that it is generated": [0.5, 1.0, -2.0, 0.25, 3.0, 60.0],
    "large logits": [1e4, 1e4 + 2.0, 1e4 - 1.0, 1e4 + 0.5, 1e4, 1e4 + 1.0],
    "two alike": [8.0, 8.0, 8.0, -20.0, -20.0, 7.5],
}
LABEL = 2


@pytest.fixture(scope="module")
def module(tmp_path_factory) -> ModuleType:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    path = tmp_path_factory.mktemp("row") / f"row_mathematics{sysconfig.get_config_var('EXT_SUFFIX')}"
    includes = [f"-I{ROOT / 'csrc'}", f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"]
    source = str(ROOT / "python_tests" / "row_mathematics" / "row_mathematics.cpp")
    linking = ["-undefined", "dynamic_lookup"] if sysconfig.get_platform().startswith("macosx") else []
    command = [COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", *linking, *includes, source, "-o", str(path)]
    subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location("row_mathematics", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def rounded(values: list[float], kind: str) -> list[float]:
    """As the type holds them."""
    return [struct.unpack("f", struct.pack("f", x))[0] for x in values] if kind == "float" else values


def exact_loss(logits: list[mpf], coefficients: tuple[float, ...]) -> mpf:
    a, r, t, f, u = map(mpf, coefficients)
    *real, fake = logits
    all_of_them, real_ones = (mpmath.log(mpmath.fsum(map(mpmath.exp, x))) for x in (logits, real))
    return a * all_of_them + r * real_ones - t * real[LABEL] - f * fake - u * mpmath.fsum(real) / len(real)


def exact_entropy(logits: list[mpf]) -> mpf:
    exps = [mpmath.exp(x - max(logits)) for x in logits]
    probs = [e / mpmath.fsum(exps) for e in exps]
    return -mpmath.fsum(p * mpmath.log(p) for p in probs)


def exact_derivatives(function, logits: list[float], along: list[float]) -> tuple[mpf, list[mpf], mpf, list[mpf]]:
    """Value, gradient, slope and second derivative times `along`, by central differences in 300 digits."""
    at, v, h = [mpf(x) for x in logits], [mpf(x) for x in along], mpf(10) ** -60

    def moved(x: list[mpf], k: int, by: mpf) -> list[mpf]:
        return [*x[:k], x[k] + by, *x[k + 1 :]]

    def gradient(x: list[mpf]) -> list[mpf]:
        return [(function(moved(x, k, h)) - function(moved(x, k, -h))) / (2 * h) for k in range(len(x))]

    first = gradient(at)
    step = mpf(10) ** -40
    ahead, behind = (gradient([x + s * step * u for x, u in zip(at, v, strict=True)]) for s in (1, -1))
    second = [(p - q) / (2 * step) for p, q in zip(ahead, behind, strict=True)]
    return function(at), first, mpmath.fsum(g * u for g, u in zip(first, v, strict=True)), second


def check(found: tuple, wanted: tuple, kind: str, on_label: float = 0.0) -> None:
    """Value and gradient to some roundings of themselves; what is along v, of the largest number in it. Of the label's
    gradient `on_label` is subtracted, which leaves its rounding."""
    rounding = ROUNDING[kind]
    loss, gradient, slope, second = found
    assert abs(loss - wanted[0]) <= 16 * rounding * abs(wanted[0])
    for k, (one, exact) in enumerate(zip(gradient, wanted[1], strict=True)):
        assert abs(one - exact) <= 64 * rounding * abs(exact) + (4 * rounding * on_label if k == LABEL else 0)
    assert abs(slope - wanted[2]) <= 64 * rounding * max(*map(abs, wanted[1]), on_label)
    largest = max(map(abs, wanted[3]))
    for one, exact in zip(second, wanted[3], strict=True):
        assert abs(one - exact) <= 64 * rounding * largest


@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("row", ROWS)
def test_losses_of_a_row_have_the_digits_of_their_type(module, row, loss, kind):
    coefficients = LOSSES[loss]
    logits, along = rounded(ROWS[row], kind), rounded([random.Random(k).gauss(0, 1) for k in range(6)], kind)
    with mpmath.workdps(300):
        wanted = exact_derivatives(lambda x: exact_loss(x, coefficients), logits, along)
        found = getattr(module, f"kplus1_{kind}")(logits, LABEL, coefficients, along)
        check(found, wanted, kind, on_label=coefficients[2])


@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("row", ROWS)
def test_entropy_of_a_row_has_the_digits_of_its_type(module, row, kind):
    logits, along = rounded(ROWS[row], kind), rounded([random.Random(k).gauss(0, 1) for k in range(6)], kind)
    with mpmath.workdps(300):
        wanted = exact_derivatives(exact_entropy, logits, along)
        check(getattr(module, f"entropy_{kind}")(logits, along), wanted, kind)


def test_rows_that_cannot_be_are_refused(module):
    with pytest.raises(ValueError, match="label: wanted one of the real classes"):
        module.kplus1_double([1.0, 2.0, 3.0], 2, (1, 0, 1, 0, 0), [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="found other lengths"):
        module.entropy_double([1.0, 2.0, 3.0], [0.0])
