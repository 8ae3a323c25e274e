"""What is a failure: local memory anywhere, and a kernel of sm_90 that is worse than ``expected.json`` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.cuda_check.kernels import Kernel

Account = dict[str, Any]

EXPECTED = Path(__file__).with_name("expected.json")
GATED = 90  # the architecture of the expected file
GROWTH = 1.1  # more than this is a failure
COMPARED = ("registers", "per_logit", "widest_load")


def local_memory(kernels: list[Kernel]) -> list[str]:
    return [
        f"sm_{kernel['architecture']} {kernel['kernel']}: {kernel['spilled']} bytes spilled, {kernel['local']} LDL/STL"
        for kernel in kernels
        if kernel["spilled"] or kernel["local"]
    ]


def compared_values(kernels: list[Kernel]) -> dict[str, Kernel]:
    shown = [kernel for kernel in kernels if kernel["architecture"] == GATED]
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


def per_element(accounts: list[Account]) -> dict[str, dict[str, float]]:
    """Instructions an element, by call and architecture."""
    found: dict[str, dict[str, float]] = {}
    for of in accounts:
        found.setdefault(of["call"], {})[str(of["architecture"])] = of["per_element"]
    return found


def dearer(found: dict[str, dict[str, float]], expected: dict[str, dict[str, float]]) -> list[str]:
    """Calls that take more instructions than expected. Architectures that were left out now are not missed."""
    problems = [f"{call}: not in {EXPECTED.name}" for call in found.keys() - expected.keys()]
    problems += [f"{call}: no longer counted" for call in expected.keys() - found.keys()]
    for call in found.keys() & expected.keys():
        for architecture in found[call].keys() & expected[call].keys():
            new, old = found[call][architecture], expected[call][architecture]
            if new > GROWTH * old:
                problems.append(f"sm_{architecture} {call}: {old} -> {new} instructions an element")
    return sorted(problems)


def verdicts(kernels: list[Kernel], accounts: list[Account], nvcc: str) -> list[str]:
    problems, found = local_memory(kernels), compared_values(kernels)
    problems += [f"sm_{of['architecture']} {of['call']}: {doubt}" for of in accounts for doubt in of["doubts"]]
    expected: dict[str, Any] = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {"nvcc": nvcc, "kernels": {}}
    worse = regressions(found, expected["kernels"]) if found else []
    worse += dearer(per_element(accounts), expected["account"]) if "account" in expected else []
    if worse and expected["nvcc"] != nvcc:
        worse.append(f"{EXPECTED.name} was written with nvcc {expected['nvcc']}, this is {nvcc}")
    if worse:
        worse.append("if this is as it should be: python -m tools.cuda_check --accept")
    return problems + worse


def accept(found: dict[str, Kernel], elements: dict[str, dict[str, float]], nvcc: str) -> None:
    """One line a kernel, so that a change of the file reads like the table."""
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(values)}" for key, values in found.items())
    temporary = EXPECTED.with_suffix(".tmp")
    counted = ",\n".join(f"  {json.dumps(call)}: {json.dumps(values)}" for call, values in elements.items())
    account = f' "account": {{\n{counted}\n }},\n'
    temporary.write_text(f'{{\n "nvcc": {json.dumps(nvcc)},\n{account} "kernels": {{\n{lines}\n }}\n}}\n')
    temporary.replace(EXPECTED)
