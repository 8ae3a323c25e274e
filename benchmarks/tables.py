"""Print the results of both benchmarks as the Markdown tables of docs/benchmarks.md.

python benchmarks/tables.py [build/bench_ops.json] [build/bench_peers.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def print_row(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |")


def print_header(names: list[str]) -> None:
    print_row(names)
    print_row(["---"] + ["---:"] * (len(names) - 1))


def print_machine(report: dict[str, Any]) -> None:
    machine = report["machine"]
    build = machine["build"]
    device = machine["gpu"] or f"{machine['cpu']}, {machine['cpus']} CPUs, {build['cpu_capability']}"
    print(f"{device}; {machine['threads']} threads, torch {machine['torch']}, {build['compiler']}.\n")


def print_operations(report: dict[str, Any]) -> None:
    ratio_columns = ["eager / ours", "compile / ours", "exp / ours", "ours / limit", "from memory"]
    print_header(["operation", "shape", "ours, µs", "quartiles", *ratio_columns, "limit"])
    for result in report["results"]:
        times, ratios = result["microseconds"], result["ratios"]
        half = "" if result["dtype"] == "float32" else f", {result['dtype']}"
        low, high = times["ours"]["quartiles"]
        print_row(
            [
                result["op"] + half,
                " x ".join(f"{n:,}" for n in result["shape"]),
                f"{times['ours']['median']:,.1f}",
                f"{low:,.1f} to {high:,.1f}",
                *(f"{ratios[name]:.1f}" for name in ("eager/ours", "compile/ours", "exp/ours", "ours/limit")),
                f"{from_memory:.1f}" if (from_memory := ratios.get("ours/limit from memory")) else "",
                f"{result['limit']}, {times['limit']['median']:,.1f} µs",
            ]
        )


def print_peers(report: dict[str, Any]) -> None:
    size = report["logits"]
    shape = f"{size['rows']:,} x {size['classes']:,}"
    print(f"\n{shape} logits, batches of {size['batch']:,}; exact: {report['exact']:.14g}.\n")
    print_header(["tool", "seconds", "times ours", "peak MiB", "Inception Score", "relative error"])
    own = next(result["seconds"] for result in report["results"] if result["tool"] == "ours")
    for result in report["results"]:
        name = f"{result['tool']} {result.get('version', '')}"
        if "error" in result:
            print_row([name, *["-"] * 4, result["error"]])
            continue
        print_row(
            [
                name,
                f"{result['seconds']:.3f}",
                f"{result['seconds'] / own:.1f}",
                f"{result['peak_mib']:,.0f}",
                f"{result['inception_score']:.14g}",
                f"{result['relative_error']:.1e}",
            ]
        )


def main() -> None:
    operations, peers = (Path(path) for path in (sys.argv[1:] or ["build/bench_ops.json", "build/bench_peers.json"]))
    report = json.loads(operations.read_text())
    print_machine(report)
    print_operations(report)
    print_peers(json.loads(peers.read_text()))


if __name__ == "__main__":
    main()
