"""Compile every CUDA kernel for every architecture, and report what the compiler made of it; needs nvcc and no GPU.

    python benchmarks/cuda_check.py [--architectures 90 120] [--all] [--accept]

Warnings are errors. Prints a table of sm_90 (--all: of every architecture) and a line for each other architecture, and
writes everything to build/cuda_check.json. Accesses to global memory are given as count x bits; blocks are those that a
multiprocessor holds at once, dynamic shared memory aside; counts are of the SASS, whether a path is taken or not.
"per logit" is instructions per logit: for rows that are read in a loop, per exponential on the shortest way round it;
for rows unrolled in the registers of a block, by how much the way that reads, exponentiates and writes everything grows
with the logits of a thread, or, of kernels with one number of them only, per exponential round the loop over rows. Rows
of a tile, and float64, whose exponential takes no MUFU.EX2, have no such figure.

Fails where a kernel spills or reaches local memory, and where one of sm_90 is worse than benchmarks/cuda_check.json
says: more than 10% more registers or instructions per logit, or a narrower widest load. --accept writes that file.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import site
import subprocess
import sys
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parent.parent
EXPECTED = Path(__file__).with_suffix(".json")
REPORT = Path("build/cuda_check.json")
SHOWN = 90  # the architecture of the table and of the expected file
GROWTH = 1.1  # more than this is a failure
FLAGS = ["-std=c++17", "-O3", "-Icsrc", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"]
FLAGS += ["-Xptxas", "-v", "-cubin"]
COMPARED = ("registers", "per_logit", "widest_load")

Kernel = dict[str, Any]


class Limits(NamedTuple):
    """What a multiprocessor holds at once."""

    threads: int
    blocks: int
    shared: int  # bytes
    reserved: int  # bytes of shared memory per block that the driver takes
    shared_unit: int  # bytes by which shared memory is allocated


# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; units and the blocks of 12.0, where
# editions of the guide disagree, as in cuda_occupancy.h of CUDA 13.
LIMITS = {
    75: Limits(1024, 16, 64 * 1024, 0, 256),
    80: Limits(2048, 32, 164 * 1024, 1024, 128),
    86: Limits(1536, 16, 100 * 1024, 1024, 128),
    89: Limits(1536, 24, 100 * 1024, 1024, 128),
    90: Limits(2048, 32, 228 * 1024, 1024, 128),
    100: Limits(2048, 32, 228 * 1024, 1024, 128),
    120: Limits(1536, 24, 100 * 1024, 1024, 128),
}
WARP = 32
REGISTERS = 65_536  # of a multiprocessor
REGISTER_UNIT = 256  # by which they are allocated to a warp
PARTITIONS = 4  # of a multiprocessor, each with a quarter of the registers
MAX_BLOCK_THREADS = 1024


def round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def blocks_per_sm(architecture: int, threads: int, registers: int, shared: int) -> int:
    """Blocks resident on a multiprocessor, as cudaOccupancyMaxActiveBlocksPerMultiprocessor."""
    limits = LIMITS[architecture]
    warps = round_up(threads, WARP) // WARP
    warp_registers = round_up(registers * WARP, REGISTER_UNIT)
    warps_by_registers = REGISTERS // PARTITIONS // warp_registers * PARTITIONS
    block_shared = round_up(shared + limits.reserved, limits.shared_unit)
    by_shared = limits.shared // block_shared if block_shared else limits.blocks
    return min(limits.blocks, limits.threads // WARP // warps, warps_by_registers // warps, by_shared)


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


class Instruction(NamedTuple):
    address: int
    guarded: bool  # by a predicate
    opcode: str
    operands: str


def parse_sass(listing: str) -> dict[str, list[Instruction]]:
    """Instructions by mangled name, from the output of cuobjdump -sass; NOPs, which pad the code, are left out."""
    line = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(@\S+)?\s*([A-Z][\w.]*)\s*(.*?)\s*;", re.M)
    kernels = {}
    for part in listing.split("Function : ")[1:]:
        name, _, code = part.partition("\n")
        found = [Instruction(int(at, 16), bool(guard), *rest) for at, guard, *rest in line.findall(code)]
        kernels[name.strip()] = [instruction for instruction in found if instruction.opcode != "NOP"]
    return kernels


def successors(code: list[Instruction]) -> list[list[int]]:
    """Where each instruction may go on. Calls return, and warps are taken to be converged: BRA.DIV, the way of those
    that are not, leads to copies of the shuffles around it that hardly ever run."""
    index = {instruction.address: i for i, instruction in enumerate(code)}
    result = []
    for i, (_, guarded, opcode, operands) in enumerate(code):
        kind, *modifiers = opcode.split(".")
        jumps = kind == "BRA" and "DIV" not in modifiers
        ends = kind in ("EXIT", "RET") or (jumps and "," not in operands)
        target = index.get(int(operands.split(",")[-1], 16)) if jumps else None
        following = i + 1 if (guarded or not ends) and i + 1 < len(code) else None
        result.append([to for to in (target, following) if to is not None])
    return result


def reachable(edges: list[list[int]], start: int, barrier: int = -1) -> set[int]:
    """All that one gets to from the start without passing the barrier."""
    seen, waiting = {barrier}, [start]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += edges[node]
    return seen - {barrier}


def natural_loops(code: list[Instruction]) -> list[set[int]]:
    """The instructions of each loop. A branch backwards closes a loop only where every way to it passes its target: the
    compiler also moves rare code behind the end, from where it branches back into the middle."""
    edges = successors(code)
    live = reachable(edges, 0)
    predecessors: list[list[int]] = [[] for _ in code]
    for node in live:
        for following in edges[node]:
            predecessors[following].append(node)
    loops: dict[int, set[int]] = {}
    for node in live:
        for head in edges[node]:
            if head <= node and node not in reachable(edges, 0, barrier=head):
                loops[head] = loops.get(head, {head}) | reachable(predecessors, node, barrier=head)
    return list(loops.values())


def is_exponential(instruction: Instruction) -> bool:
    return instruction.opcode.startswith("MUFU.EX2")


def shortest_round(code: list[Instruction], loop: set[int]) -> list[int]:
    """The fewest instructions that go once around the loop and take an exponential: rare detours are not in it."""
    edges, head = successors(code), min(loop)
    came: dict[tuple[int, bool], tuple[int, bool] | None] = {(head, is_exponential(code[head])): None}
    waiting = deque(came)
    while waiting:  # breadth first: every instruction counts 1
        state = waiting.popleft()
        node, took = state
        for following in edges[node]:
            if following == head and took:
                path = [state]
                while (before := came[path[-1]]) is not None:
                    path.append(before)
                return [node for node, _ in path]
            reached = (following, took or is_exponential(code[following]))
            if following in loop and following != head and reached not in came:
                came[reached] = state
                waiting.append(reached)
    return sorted(loop)


def per_exponential(code: list[Instruction]) -> float | None:
    """Instructions per exponential in the innermost loop that takes most of them."""
    loops = [loop for loop in natural_loops(code) if any(is_exponential(code[i]) for i in loop)]
    innermost = [shortest_round(code, loop) for loop in loops if not any(other < loop for other in loops)]
    counts = [(sum(is_exponential(code[i]) for i in path), len(path)) for path in innermost]
    exponentials, instructions = max(counts, default=(0, 0))
    return round(instructions / exponentials, 1) if exponentials else None


def straight_way(code: list[Instruction]) -> int:
    """Instructions of the way through unrolled code that reads, takes the exponentials of and writes every pack, and
    apart from that is the shortest."""
    edges = successors(code)
    best: dict[int, tuple[int, int]] = {0: (0, 0)}  # packs and exponentials, instructions avoided
    for i, instruction in enumerate(code):
        if i not in best:
            continue
        wide = instruction.opcode.startswith(("LDG", "STG")) and "128" in instruction.opcode
        taken, avoided = best[i]
        best[i] = (taken + (wide or is_exponential(instruction)), avoided - 1)
        for following in edges[i]:
            if following > i:
                best[following] = max(best.get(following, best[i]), best[i])
    ends = (best[i] for i, instruction in enumerate(code) if i in best and instruction.opcode in ("EXIT", "RET"))
    return -max(ends, default=(0, 0))[1]


def layout_of(kernel: Kernel) -> tuple[int, int]:
    """Threads a row, and logits that each keeps in registers; 0 for none."""
    found = re.search(r"Layout<(\d+), (\d+)>", kernel["kernel"])
    return (int(found[1]), int(found[2])) if found else (0, 0)


def per_logit(kernel: Kernel, kernels: list[Kernel]) -> float | None:
    """Instructions per logit: of a loop, per exponential; of rows that are unrolled in the registers of a block, what
    more logits a thread add, from two such layouts, or where there is one, per exponential of the loop over rows."""
    threads, values = layout_of(kernel)
    if values == 0:
        return kernel["per_exponential"]
    family, after = re.split(r"Layout<\d+, \d+>", kernel["kernel"])
    ways = {
        layout_of(other)[1]: other["straight_way"]
        for other in kernels
        if re.split(r"Layout<\d+, \d+>", other["kernel"]) == [family, after]
        and min(layout_of(other)) > 0
        and layout_of(other)[0] >= 128
    }
    if threads < 128 or not kernel["ex2"]:
        return None
    if len(ways) < 2:
        return kernel["per_exponential"]
    few, many = min(ways), max(ways)
    return round((ways[many] - ways[few]) / (many - few), 1)


def widths(code: list[Instruction], opcodes: tuple[str, ...]) -> dict[int, int]:
    """How many accesses to global memory there are of each width, in bits."""
    bits = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128, "256": 256}
    accesses = [opcode.split(".") for _, _, opcode, _ in code]
    found = Counter(
        next((bits[modifier] for modifier in modifiers if modifier in bits), 32)
        for opcode, *modifiers in accesses
        if opcode in opcodes
    )
    return dict(sorted(found.items(), reverse=True))


def summarize(code: list[Instruction]) -> Kernel:
    loads = widths(code, ("LDG", "LDGSTS"))
    return {
        "loads": loads,
        "stores": widths(code, ("STG",)),
        "widest_load": max(loads, default=0),
        "local": sum(opcode.split(".")[0] in ("LDL", "STL") for _, _, opcode, _ in code),
        "ex2": sum(opcode.startswith("MUFU.EX2") for _, _, opcode, _ in code),
        "instructions": len(code),
        "per_exponential": per_exponential(code),
        "straight_way": straight_way(code),
    }


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


def compile_and_read(source: Path, architecture: int, folder: Path) -> list[Kernel]:
    cubin = folder / f"{source.stem}.sm_{architecture}.cubin"
    log = run(tool("nvcc"), *FLAGS, f"-arch=sm_{architecture}", "-o", cubin, source)
    dump = run(tool("cuobjdump"), "-elf", "-sass", cubin)
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


def compile_all(architectures: list[int], jobs: int, console: Console) -> list[Kernel]:
    folder = REPORT.with_suffix("").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    work = list(product(architectures, sorted((ROOT / "csrc/cuda").glob("*.cu"))))
    pool = ThreadPoolExecutor(jobs)
    try:
        results = pool.map(lambda item: compile_and_read(item[1], item[0], folder), work)
        return [kernel for kernels in track(results, "compiling", len(work), console=console) for kernel in kernels]
    finally:
        pool.shutdown(cancel_futures=True)


def local_memory(kernels: list[Kernel]) -> list[str]:
    return [
        f"sm_{kernel['architecture']} {kernel['kernel']}: {kernel['spilled']} bytes spilled, {kernel['local']} LDL/STL"
        for kernel in kernels
        if kernel["spilled"] or kernel["local"]
    ]


def compared_values(kernels: list[Kernel]) -> dict[str, Kernel]:
    shown = [kernel for kernel in kernels if kernel["architecture"] == SHOWN]
    return {kernel["kernel"]: {name: kernel[name] for name in COMPARED} for kernel in shown}


def regressions(found: dict[str, Kernel], expected: dict[str, Kernel]) -> list[str]:
    problems = [f"{key}: not in {EXPECTED.name}" for key in found.keys() - expected.keys()]
    problems += [f"{key}: no longer exists" for key in expected.keys() - found.keys()]
    for key in found.keys() & expected.keys():
        new, old = found[key], expected[key]
        for field, name in (("registers", "registers"), ("per_logit", "instructions per logit")):
            if new[field] and old[field] and new[field] > GROWTH * old[field]:
                problems.append(f"{key}: {old[field]} -> {new[field]} {name}")
        if new["widest_load"] < old["widest_load"]:
            problems.append(f"{key}: widest load {old['widest_load']} -> {new['widest_load']} bits")
    return sorted(problems)


def verdicts(kernels: list[Kernel], nvcc: str) -> list[str]:
    problems = local_memory(kernels)
    found = compared_values(kernels)
    if found:
        expected: dict[str, Any] = (
            json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {"nvcc": nvcc, "kernels": {}}
        )
        worse = regressions(found, expected["kernels"])
        problems += worse
        if worse and expected["nvcc"] != nvcc:
            problems.append(f"{EXPECTED.name} was written with nvcc {expected['nvcc']}, this is {nvcc}")
        if worse:
            problems.append("if this is as it should be: python benchmarks/cuda_check.py --accept")
    return problems


def accept(found: dict[str, Kernel], nvcc: str) -> None:
    """One line a kernel, so that a change of the file reads like the table."""
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(values)}" for key, values in found.items())
    temporary = EXPECTED.with_suffix(".tmp")
    temporary.write_text(f'{{\n "nvcc": {json.dumps(nvcc)},\n "kernels": {{\n{lines}\n }}\n}}\n')
    temporary.replace(EXPECTED)


def show(architecture: int, kernels: list[Kernel], console: Console) -> None:
    fields = ["registers", "shared", "spilled", "threads", "blocks", "loads", "stores", "local", "ex2", "instructions"]
    table = Table(title=f"sm_{architecture}")
    table.add_column("kernel", no_wrap=True)
    for field in [*fields, "per logit"]:
        table.add_column(field.replace("ex2", "EX2"), justify="right")
    for kernel in kernels:
        accesses = {name: " ".join(f"{n}x{bits}" for bits, n in kernel[name].items()) for name in ("loads", "stores")}
        values = kernel | accesses
        table.add_row(kernel["kernel"], *(str(values[field]) for field in fields), str(kernel["per_logit"] or ""))
    console.print(table)


def show_totals(architecture: int, kernels: list[Kernel], console: Console) -> None:
    total = {name: sum(kernel[name] for kernel in kernels) for name in ("spilled", "local", "ex2", "instructions")}
    most = max(kernel["registers"] for kernel in kernels)
    fewest = min(kernel["blocks"] * kernel["threads"] for kernel in kernels)
    console.print(
        f"sm_{architecture}: {len(kernels)} kernels, at most {most} registers, at least {fewest} threads / SM, "
        f"{total['spilled']} bytes spilled, {total['local']} LDL/STL, {total['ex2']:,} EX2, "
        f"{total['instructions']:,} instructions",
        highlight=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, nargs="+", choices=LIMITS, default=list(LIMITS), metavar="SM")
    parser.add_argument("--all", action="store_true", help="print the table of every architecture")
    parser.add_argument("--accept", action="store_true", help=f"write {EXPECTED.name}")
    parser.add_argument("--jobs", type=int, default=2, help="compilations at a time")
    options = parser.parse_args()
    if options.accept and SHOWN not in options.architectures:
        parser.error(f"--accept needs sm_{SHOWN} among --architectures")

    console = Console(width=180)
    nvcc = re.findall(r"V([\d.]+)", run(tool("nvcc"), "--version"))[0]
    kernels = compile_all(options.architectures, options.jobs, Console(stderr=True))
    for architecture in options.architectures:
        of_architecture = [kernel for kernel in kernels if kernel["architecture"] == architecture]
        present = show if options.all or architecture == SHOWN else show_totals
        present(architecture, of_architecture, console)
    REPORT.write_text(json.dumps({"nvcc": nvcc, "kernels": kernels}, indent=1))
    console.print(f"written: {REPORT}")
    if options.accept:
        accept(compared_values(kernels), nvcc)
        console.print(f"written: {EXPECTED.name}")
    problems = verdicts(kernels, nvcc)
    if problems:
        sys.exit("\n".join(["cuda-check failed:", *problems]))


if __name__ == "__main__":
    main()
