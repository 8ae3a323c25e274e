"""Print the results of both benchmarks as the Markdown tables of docs/benchmarks.md.

python -m benchmarks.markdown_tables [build/bench_ops.json] [build/bench_peers.json]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu import SHARES


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def header(names: list[str]) -> Iterator[str]:
    yield row(names)
    yield row(["---"] + ["---:"] * (len(names) - 1))


def machine(report: dict[str, Any]) -> str:
    machine = report["machine"]
    build = machine["build"]
    device = machine["gpu"] or f"{machine['cpu']}, {machine['cpus']} CPUs, {build['cpu_capability']}"
    return f"{device}; {machine['threads']} threads, torch {machine['torch']}, {build['compiler']}."


def operations(report: dict[str, Any]) -> Iterator[str]:
    ratio_columns = ["eager / ours", "compile / ours", "exp / ours", "ours / limit", "from memory"]
    shares = [name for name in SHARES if any(name in result["ratios"] for result in report["results"])]
    yield from header(["operation", "shape", "ours, µs", "quartiles", *ratio_columns, "limit", *shares])
    for result in report["results"]:
        times, ratios = result["microseconds"], result["ratios"]
        half = "" if result["dtype"] == "float32" else f", {result['dtype']}"
        low, high = times["ours"]["quartiles"]
        yield row(
            [
                result["op"] + half,
                " x ".join(f"{n:,}" for n in result["shape"]),
                f"{times['ours']['median']:,.1f}",
                f"{low:,.1f} to {high:,.1f}",
                *(f"{ratios[name]:.1f}" for name in ("eager/ours", "compile/ours", "exp/ours", "ours/limit")),
                f"{from_memory:.1f}" if (from_memory := ratios.get("ours/limit from memory")) else "",
                f"{result['limit']}, {times['limit']['median']:,.1f} µs",
                *(f"{ratios[name]:.0%}" for name in shares),
            ]
        )


def peers(report: dict[str, Any]) -> Iterator[str]:
    size = report["logits"]
    shape = f"{size['rows']:,} x {size['classes']:,}"
    yield f"{shape} logits, batches of {size['batch']:,}; exact: {report['exact']:.14g}."
    yield ""
    yield from header(["tool", "seconds", "times ours", "peak MiB", "Inception Score", "relative error"])
    own = next((result.get("seconds") for result in report["results"] if result["tool"] == "ours"), None)
    for result in report["results"]:
        name = f"{result['tool']} {result.get('version', '')}"
        if "error" in result:
            yield row([name, *["-"] * 4, result["error"]])
            continue
        yield row(
            [
                name,
                f"{result['seconds']:.3f}",
                f"{result['seconds'] / own:.1f}" if own else "-",
                f"{result['peak_mib']:,.0f}",
                f"{result['inception_score']:.14g}",
                f"{result['relative_error']:.1e}",
            ]
        )


def main() -> None:
    operations_path, peers_path = map(Path, sys.argv[1:] or ["build/bench_ops.json", "build/bench_peers.json"])
    report = json.loads(operations_path.read_text())
    print(machine(report), "", *operations(report), "", *peers(json.loads(peers_path.read_text())), sep="\n")


if __name__ == "__main__":
    main()
