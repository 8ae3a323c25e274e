"""Compiles the kernels and reads what nvcc, ptxas and cuobjdump say of them."""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tools.cuda_check.kernels import Kernel, per_logit, summarize
from tools.cuda_check.occupancy import blocks_per_sm
from tools.cuda_check.sass import parse_sass

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++17", "-O3", "-Icsrc", "-Werror", "all-warnings", "-Xptxas", "-v"]
MAX_BLOCK_THREADS = 1024


def parse_ptxas(log: str) -> dict[str, Kernel]:
    """Registers and bytes of shared memory and of spills by mangled name, from the output of ptxas -v."""
    kernels = {}
    for part in log.split("Compiling entry function '")[1:]:
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", part)
        kernels[part.split("'", 1)[0]] = {
            "registers": int(registers[1]) if registers else 0,
            "shared": int(shared[1]) if shared else 0,
            "spilled": sum(map(int, spills)),
        }
    return kernels


def parse_threads(elf: str) -> dict[str, int]:
    """Most threads per block by mangled name: __launch_bounds__, which cuobjdump -elf shows as an attribute."""
    bounds = {}
    for name, attributes in re.findall(r"^\.nv\.info\.(\S+)\n(.*?)\n\n", elf + "\n\n", re.M | re.S):
        bound = re.search(r"EIATTR_(?:MAX_THREADS|REQNTID)\s+Format:\s+\S+\s+Value:\s+(\w+) (\w+) (\w+)", attributes)
        x, y, z = (int(size, 16) for size in bound.groups()) if bound else (MAX_BLOCK_THREADS, 1, 1)
        bounds[name] = x * y * z
    return bounds


def tool(name: str) -> str:
    """A tool of the CUDA toolkit, or of the packages that pip install --group cuda-check brings."""
    packaged = (path for folder in site.getsitepackages() for path in Path(folder).glob(f"nvidia/*/bin/{name}"))
    path = shutil.which(name) or next(packaged, None)
    if path is None:
        sys.exit(f"{name} not found; pip install --group cuda-check brings cuobjdump, the CUDA toolkit has it and nvcc")
    return str(path)


def run(*command: str | Path, stdin: str = "") -> str:
    result = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def readable(mangled: list[str]) -> list[str]:
    """Names with their template arguments, without namespaces and parameters."""
    names = run("c++filt", "--no-params", stdin="\n".join(mangled)).replace("> >", ">>").splitlines()
    noise = re.compile(r"\(anonymous namespace\)::|\b[A-Za-z_]\w*::|\b__(?:nv_)?(?=half|bfloat16)")
    return [noise.sub("", name) for name in names]


def listing_of(stem: str, architecture: int, folder: Path) -> Path:
    """Where the machine code of a file is left, as cuobjdump lists it."""
    return folder / f"{stem}.sm_{architecture}.sass"


def compile_and_read(source: Path, architecture: int, folder: Path, with_host: bool) -> list[Kernel]:
    """``with_host``: the launchers, too. The listing is left beside what was compiled."""
    compiled = folder / f"{source.stem}.sm_{architecture}.{'o' if with_host else 'cubin'}"
    kind = [f"-gencode=arch=compute_{architecture},code=sm_{architecture}", "-c" if with_host else "-cubin"]
    log = run(tool("nvcc"), *FLAGS, *kind, "-o", compiled, source)
    dump = run(tool("cuobjdump"), "-elf", "-sass", compiled)
    listing_of(source.stem, architecture, folder).write_text(dump)
    threads, code = parse_threads(dump), parse_sass(dump)
    resources = parse_ptxas(log)
    kernels = []
    for mangled, name in zip(resources, readable(list(resources)), strict=True):
        kernel = resources[mangled] | {"threads": threads[mangled]} | summarize(code[mangled])
        occupancy = blocks_per_sm(architecture, kernel["threads"], kernel["registers"], kernel["shared"])
        key = f"{source.stem}: {name}"
        kernels.append({"kernel": key, "architecture": architecture, "blocks": occupancy} | kernel)
    for kernel in kernels:
        kernel["per_logit"] = per_logit(kernel, kernels)
    return sorted(kernels, key=lambda kernel: kernel["kernel"])


def sources() -> list[Path]:
    return sorted((ROOT / "csrc/cuda").glob("*.cu"))


def link_recorder(architecture: int, folder: Path) -> Path:
    """The launchers, which were compiled with this architecture, in a program that records what they launch."""
    program = folder.resolve() / "record"
    code = sorted((ROOT / "tools/cuda_check/recorder").glob("*.cpp"))
    objects = [folder.resolve() / f"{source.stem}.sm_{architecture}.o" for source in sources()]
    run(tool("nvcc"), "-std=c++20", "-O1", "-Icsrc", "-cudart", "none", "-o", program, *code, *objects)
    return program


def compile_all(architectures: list[int], folder: Path, jobs: int) -> list[Kernel]:
    """Of every file and architecture, ``jobs`` at a time; the machine code is left in ``folder``, and with the first
    architecture's the launchers."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    work = list(product(architectures, sources()))
    pool = ThreadPoolExecutor(jobs)
    try:
        results = pool.map(lambda item: compile_and_read(item[1], item[0], folder, item[0] == architectures[0]), work)
        progress = track(results, "compiling", len(work), console=Console(stderr=True))
        return list(chain.from_iterable(progress))
    finally:
        pool.shutdown(cancel_futures=True)
