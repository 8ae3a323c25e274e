"""Errors and times of the CPU kernels' exp and log1p beside those of at::vec, for every instruction set.

    python -m benchmarks.exp_log1p

Errors are against float64: of exp over every float32 in [-86, -1e-6], of log1p over every one in [1e-6, 1000]. Those of
exp of float64 are against NumPy's longdouble, at four million x in [-40, 0]. "mean" is the mean signed error at
uniformly spread x: what no number of rows averages away. Times are nanoseconds per 16 values from the second-level
cache, by one thread. Takes two minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.benchmark import Timer
from torch.utils.cpp_extension import load

import amgan_fast

ROOT = Path(__file__).parent.parent
CHUNK = 2**22
IN_CACHE = 65_536


def compile_for(build: str) -> Callable[..., Tensor]:
    """The functions compiled with the flags that CMakeLists.txt has for this build."""
    listed = re.search(rf'set\(flags_{build} "?([^")]*)"?\)', (ROOT / "CMakeLists.txt").read_text())
    assert listed, build
    library = f"amgan_exp_log1p_{build.lower()}"
    defines = [f"-DCPU_CAPABILITY={build}", f"-DCPU_CAPABILITY_{build}", f"-DAMGAN_LIBRARY={library}"]
    folder = Path(f"build/exp_log1p/{build}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    load(
        library,
        [str(Path(__file__).with_suffix(".cpp"))],
        extra_include_paths=[str(ROOT / "csrc")],
        extra_cflags=["-O3", "-fno-math-errno", "-fno-trapping-math", "-std=c++20", "-w", *defines, *listed[1].split()],
        build_directory=str(folder),
        is_python_module=False,
    )
    return getattr(torch.ops, library)


def every_float(low: float, high: float) -> Iterator[Tensor]:
    """All float32 between two of the same sign, in chunks of whole vectors; up to 15 at the end are left out."""
    first, last = (int(torch.tensor(x).view(torch.int32)) for x in sorted((low, high), key=abs))
    for begin in range(first, last - 15, CHUNK):
        count = min(CHUNK, last - begin) // 16 * 16
        yield torch.arange(begin, begin + count, dtype=torch.int32).view(torch.float32)


def largest_error(
    function: Callable[[Tensor], Tensor], exact: Callable[[Tensor], Tensor], chunks: Iterator[Tensor]
) -> float:
    return max((function(x).double() / exact(x.double()) - 1).abs().max().item() for x in chunks)


def double_errors(function: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """The largest relative error of exp of float64, and the mean signed one."""
    x = -40 * torch.rand(2**22, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = np.exp(x.numpy().astype(np.longdouble))
    errors = function(x).numpy() / exact - 1
    return float(abs(errors).max()), float(errors.mean())


def time_of(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Nanoseconds per 16 values."""
    timer = Timer("f(x)", globals={"f": function, "x": x}, num_threads=1)
    return timer.blocked_autorange(min_run_time=0.5).median * 1e9 / (x.numel() / 16)


def main() -> None:
    build_info = amgan_fast.build_info()
    builds = build_info["cpu_builds"]
    builds = builds[: builds.index(build_info["cpu_capability"]) + 1]  # this CPU has no others
    uniform = -86 * torch.rand(2**24, generator=torch.Generator().manual_seed(0))
    ranges = {"exp": (torch.exp, -86.0, -1e-6), "log1p": (torch.log1p, 1e-6, 1000.0)}
    in_cache = {"exp": -torch.rand(IN_CACHE) * 20, "log1p": torch.rand(IN_CACHE) * 20}
    lines = []
    for build in track(builds, "compiling and measuring"):
        namespace = compile_for(build)
        for name, (exact, low, high) in ranges.items():
            for whose in ("ours", "at_vec"):
                function = getattr(namespace, f"{name}_{whose}").default
                largest = largest_error(function, exact, every_float(low, high))
                mean = (
                    (function(uniform).double() / uniform.double().exp() - 1).mean().item() if name == "exp" else None
                )
                time = time_of(function, in_cache[name])
                shown = "" if mean is None else f"{mean:.1e}"
                lines.append(
                    f"| {build} | {name} | {whose.replace('_', '::')} | {largest:.1e} | {shown} | {time:.1f} |"
                )
        for whose in ("ours", "at_vec"):
            function = getattr(namespace, f"exp_double_{whose}").default
            largest, mean = double_errors(function)
            time = time_of(function, in_cache["exp"].double())
            lines.append(
                f"| {build} | exp, float64 | {whose.replace('_', '::')} | {largest:.1e} | {mean:.1e} | {time:.1f} |"
            )
    print("| build | function | | largest relative error | mean | ns per 16 |\n|---|---|---|---:|---:|---:|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
