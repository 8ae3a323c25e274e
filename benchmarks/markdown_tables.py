"""The results of the benchmarks as the Markdown tables that they print, of docs/benchmarks.md and of gpu_check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


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


def ratio(value: float) -> str:
    """Two digits: a loss of a few hundredths shows."""
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def plain_form(fastest: dict[str, str]) -> str:
    """Names of the eager one and, where it is another, of the compiled one."""
    eager, compiled = fastest["eager"], fastest.get("compile")
    return eager if compiled in (None, eager) else f"{eager}; compiled: {compiled}"


def operations(report: dict[str, Any]) -> Iterator[str]:
    names = ["eager/ours", "compile/ours", "ours/limit", "ours/limit from memory"]
    shares = [name for name in report["results"][0]["ratios"] if name.startswith("share of ")]
    compiled = f"compile {report['machine']['torch'].partition('+')[0]} / ours"
    plain = ["eager / ours", compiled, "fastest plain form"]
    times_columns = ["ours, µs", "quartiles", "GB/s"]
    yield from header(
        ["operation", "shape", *times_columns, *plain, "ours / limit", "from memory", "limit", *shares],
    )
    for result in report["results"]:
        times, ratios = result["microseconds"], result["ratios"]
        half = "" if result["dtype"] == "float32" else f", {result['dtype']}"
        low, high = times["ours"]["quartiles"]
        eager, compiled, limit, from_memory = (ratio(ratios[name]) if name in ratios else "" for name in names)
        yield row(
            [
                result["op"] + half,
                " x ".join(f"{n:,}" for n in result["shape"]),
                f"{times['ours']['median']:,.1f}",
                f"{low:,.1f} to {high:,.1f}",
                f"{result['GB/s']:,.1f}",
                eager,
                compiled or "-",
                plain_form(result["fastest plain form"]),
                limit,
                from_memory,
                f"{result['limit']}, {times['limit']['median']:,.1f} µs",
                *(f"{ratios[name]:.0%}" for name in shares),
            ]
        )


def operations_page(report: dict[str, Any]) -> Iterator[str]:
    """docs/operation_times.md."""
    yield "# Times of the operations"
    yield ""
    yield "Left by `python -m benchmarks.bench_ops`; [benchmarks.md](benchmarks.md#operations) explains the columns."
    yield ""
    yield machine(report)
    yield ""
    yield from operations(report)


def training(reports: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Of bench_train_step, by network."""
    yield from header(["network, step", "ms", "quartiles", "images/s"])
    for network, report in reports.items():
        for name, times in report["microseconds"].items():
            low, high = (f"{quartile / 1000:,.2f}" for quartile in times["quartiles"])
            rate = f"{report['images_per_second'][name]:,.0f}"
            yield row([f"{network}, {name}", f"{times['median'] / 1000:,.2f}", f"{low} to {high}", rate])


def peers(report: dict[str, Any]) -> Iterator[str]:
    size = report["logits"]
    shape = f"{size['rows']:,} x {size['classes']:,}"
    yield f"{shape} logits, batches of {size['batch']:,}; exact: {report['exact']:.14g}."
    yield ""
    busy = any("busy_seconds" in result for result in report["results"])
    columns = ["tool", "seconds", "times ours", "peak MiB", "Inception Score", "relative error"]
    yield from header(columns + ["busy / quiet"] * busy)
    own = next((result.get("seconds") for result in report["results"] if result["tool"] == "ours"), None)
    for result in report["results"]:
        name = f"{result['tool']} {result.get('version', '')}"
        if "error" in result:
            yield row([name, *["-"] * 4, result["error"]] + ["-"] * busy)
            continue
        when_busy = result.get("busy_seconds")
        yield row(
            [
                name,
                f"{result['seconds']:.3f}",
                f"{result['seconds'] / own:.1f}" if own else "-",
                "-" if result["peak_mib"] is None else f"{result['peak_mib']:,.0f}",
                f"{result['inception_score']:.14g}",
                f"{result['relative_error']:.1e}" + ("" if result["same"] else ", too much"),
            ]
            + [f"{when_busy / result['seconds']:.1f}" if when_busy else "-"] * busy
        )


def price_of_precision(results: list[dict[str, Any]]) -> Iterator[str]:
    """Of bench_peers."""
    yield from header(["our sums of", "in float64, ms", "in float32, ms", "float64 / float32", "reading, ms"])
    for result in results:
        kinds = ("float64", "float32", "reading")
        double, single, reading = (result["microseconds"][kind]["median"] / 1000 for kind in kinds)
        batches = "at once" if result["batch"] == result["rows"] else f"batches of {result['batch']:,}"
        shape = f"{result['rows']:,} x {result['classes']:,}, {batches}"
        yield row([shape, f"{double:.2f}", f"{single:.2f}", ratio(double / single), f"{reading:.2f}"])


def evaluations(report: dict[str, Any]) -> Iterator[str]:
    """Of bench_evaluate."""
    yield from header(["files", "tool", "wall, s", "times ours", "after imports, s", "times ours", "peak MiB", "score"])
    for result in report["results"]:
        work = report["work"][result["work"]]
        resized = f", resized to {work['size']}" if work["size"] else ""
        files = f"{work['count']:,} {result['work']}, {work['side']} x {work['side']}{resized}"
        if "error" in result:
            yield row([files, result["tool"], *["-"] * 5, result["error"]])
            continue
        own = next((one for one in report["results"] if (one["tool"], one["work"]) == ("ours", result["work"])), result)
        ratios = (f"{result[kind] / own[kind]:.2f}" if kind in own else "-" for kind in ("wall", "after_imports"))
        wall_ratio, ratio = ratios
        peak = "-" if result["peak_mib"] is None else f"{result['peak_mib']:,.0f}"
        times = [f"{result['wall']:.2f}", wall_ratio, f"{result['after_imports']:.2f}", ratio]
        yield row([files, result["tool"], *times, peak, f"{result['score']:.8g}"])
