"""Compile every CUDA kernel for every architecture, and report what the compiler made of it; needs nvcc and no GPU.

    python -m tools.cuda_check [--architectures 90 120] [--all] [--accept]

Warnings are errors. Prints a table of sm_90 (--all: of every architecture) and a line for each other architecture, and
writes everything to build/cuda_check.json. Accesses to global memory are given as count x bits; blocks are those that a
multiprocessor holds at once, dynamic shared memory aside; counts are of the SASS, whether a path is taken or not.
"per logit" is instructions per logit: for rows that are read in a loop, per exponential on the shortest way round it;
for rows unrolled in the registers of a block, by how much the way that reads, exponentiates and writes everything grows
with the logits of a thread, or, of kernels with one number of them only, per exponential round the loop over rows. Rows
of a tile, and float64, whose exponential takes no MUFU.EX2, have no such figure.

Then the account: of every call of tools/cuda_check/targets.json, all told, what it moves, executes and waits for, and
which limit of the data sheets of tools/cuda_check/cards.json bounds it (tools/cuda_check/account.py). Numbers beyond
what is wanted are marked "!".

Fails where a kernel spills or reaches local memory, and where one of sm_90 is worse than tools/cuda_check/expected.json
says: more than 10% more registers or instructions per logit, or a narrower widest load; where a call takes 10%
more instructions an element, on any architecture. --accept writes that file.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools.cuda_check.account import CALLS, Card, account_all
from tools.cuda_check.compiler import compile_all, run, tool
from tools.cuda_check.gate import EXPECTED, GATED, Account, accept, compared_values, per_element, verdicts
from tools.cuda_check.kernels import Kernel
from tools.cuda_check.occupancy import LIMITS

REPORT = Path("build/cuda_check.json")


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


def show_account(architecture: int, accounts: list[Account], console: Console) -> None:
    found = [of for of in accounts if of["architecture"] == architecture]
    table = Table(title=f"sm_{architecture}, {found[0]['card']}: least times by its data sheet")
    table.add_column("call", no_wrap=True)
    for name in ("launches", "MB", "instructions", "an element", "EX2", "waves", "bound by", "µs", "share of a copy"):
        table.add_column(name, justify="right")
    for of in found:
        waves = " ".join(map(str, of["waves"]))
        counted = (of["launches"], round(of["bytes"] / 1e6, 2), f"{of['instructions']:,.0f}", of["per_element"])
        limits = (of["exponentials_per_element"], waves, of["bound"], of["least_us"], f"{of['share_of_copy']:.0%}")
        table.add_row(of["call"], *map(str, counted), *map(str, limits))
    console.print(table)


def show_targets(accounts: list[Account], console: Console) -> None:
    """Instructions an element beside those wanted, for every architecture, and what bounds each call there."""
    architectures = sorted({of["architecture"] for of in accounts})
    table = Table(title="instructions an element, all told; what bounds the call, and its share of a copy")
    for name in ("call", "wanted", *(f"sm_{sm} {Card.of(sm).name}" for sm in architectures)):
        table.add_column(name, no_wrap=name == "call")
    found = {(of["call"], of["architecture"]): of for of in accounts}
    for entry in CALLS:
        cells = []
        for architecture in architectures:
            of = found[entry["call"], architecture]
            mark = " !" if of["per_element"] > entry.get("wanted", of["per_element"]) else ""
            cells.append(f"{of['per_element']}{mark} {of['bound']} {of['share_of_copy']:.0%}")
        table.add_row(entry["call"], str(entry.get("wanted", "")), *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tools.cuda_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", type=int, nargs="+", choices=LIMITS, default=list(LIMITS), metavar="SM")
    parser.add_argument("--all", action="store_true", help="print the table of every architecture")
    parser.add_argument("--accept", action="store_true", help=f"write {EXPECTED.name}")
    parser.add_argument("--jobs", type=int, default=2, help="compilations at a time")
    options = parser.parse_args()
    if options.accept and GATED not in options.architectures:
        parser.error(f"--accept needs sm_{GATED} among --architectures")

    console = Console(width=180)
    nvcc = re.findall(r"V([\d.]+)", run(tool("nvcc"), "--version"))[0]
    kernels = compile_all(options.architectures, REPORT.with_suffix(""), options.jobs)
    for architecture in options.architectures:
        of_architecture = [kernel for kernel in kernels if kernel["architecture"] == architecture]
        present = show if options.all or architecture == GATED else show_totals
        present(architecture, of_architecture, console)
    accounts = account_all(options.architectures, REPORT.with_suffix(""), kernels, options.jobs)
    for architecture in options.architectures:
        if options.all or architecture == GATED:
            show_account(architecture, accounts, console)
    show_targets(accounts, console)
    REPORT.write_text(json.dumps({"nvcc": nvcc, "kernels": kernels, "account": accounts}, indent=1))
    console.print(f"written: {REPORT}")
    if options.accept:
        accept(compared_values(kernels), per_element(accounts), nvcc)
        console.print(f"written: {EXPECTED.name}")
    problems = verdicts(kernels, accounts, nvcc)
    if problems:
        sys.exit("\n".join(["cuda-check failed:", *problems]))


if __name__ == "__main__":
    main()
