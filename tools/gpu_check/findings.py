"""What the steps leave, and what is read out of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree


@dataclass
class Findings:
    figures: str
    problems: list[str] = field(default_factory=list)


def _needs(texts: list[str]) -> list[str]:
    """Which packages files of tests say they lack, and how many files each."""
    counts = Counter(name for text in texts for name in re.findall(r"needs (\w+), which is not installed", text))
    return [f"{count} files need {name}" for name, count in counts.items()]


def read_collection(log: Path) -> Findings:
    """Of lines such as "python_tests/test_scores.py: 84"."""
    text = log.read_text()
    counts = [int(count) for count in re.findall(r"\.py: (\d+)$", text, re.MULTILINE)]
    problems = [] if counts else ["no test was collected"]
    figures = f"{sum(counts):,} tests in {len(counts)} files"
    return Findings("; ".join([figures, *_needs(text.splitlines())]), problems)


def read_tests(junit: Path) -> Findings:
    """Tests that were all skipped prove nothing."""
    counts: Counter[str] = Counter()
    failed, skipped = [], []
    for case in ElementTree.parse(junit).iter("testcase"):
        if (
            case.get("name") is None
        ):  # of a test that was interrupted pytest writes an element that looks like a success
            continue
        tags = {child.tag: child for child in case}
        outcome = "failed" if tags.keys() & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        counts[outcome] += 1
        if outcome == "failed":
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif outcome == "skipped":
            skipped.append(f"{tags['skipped'].get('message')} {tags['skipped'].text}")
    figures = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in ("passed", "failed", "skipped"))
    figures = "; ".join([figures, *_needs(skipped)])
    return Findings(figures, failed if counts["passed"] else [*failed, "no test passed"])


def read_sanitizer(log: Path, junit: Path) -> Findings:
    """The tool's own summary, and the tests that it watched."""
    summaries = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", log.read_text())
    tests = read_tests(junit)
    unclean = [text for text in summaries or ["no summary"] if not re.match(r"0 (?:errors|hazards)", text)]
    return Findings("; ".join([*summaries, f"tests: {tests.figures}"]), unclean + tests.problems)


def read_first_contact(path: Path) -> Findings:
    results = json.loads(path.read_text())
    problems = [f"{name}: {figures['problem']}" for name, figures in results.items() if "problem" in figures]
    return Findings(f"{len(results) - len(problems)} measurements", problems)


def read_operations(path: Path) -> Findings:
    report = json.loads(path.read_text())
    measured = [f"{name} {rate / 1e9:,.0f} GB/s" for name, rate in report["bandwidths"].items()]
    if not report["results"]:
        return Findings("; ".join([f"{len(report['bandwidth'])} numbers of columns", *measured]))
    best = max(report["results"], key=lambda result: result["ratios"]["share of copy"])
    share = f"{best['key']} reaches {best['ratios']['share of copy']:.0%} of the copy"
    return Findings("; ".join([f"{len(report['results'])} cases", *measured, share]))


def read_training(path: Path) -> Findings:
    rates = json.loads(path.read_text())["images_per_second"]
    return Findings("; ".join(f"{name} {rate:,.0f} images/s" for name, rate in rates.items()))


def read_peers(path: Path) -> Findings:
    results = json.loads(path.read_text())["results"]
    times = [f"{result['tool']} {result['seconds']:.3f} s" for result in results if "error" not in result]
    (ours,) = (result for result in results if result["tool"] == "ours")
    problem = ours.get("error") or ("" if ours["same"] else f"relative error {ours['relative_error']:.1e}")
    return Findings("; ".join(times), [f"ours: {problem}"] if problem else [])
