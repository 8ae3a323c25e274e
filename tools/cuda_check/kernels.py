"""What is told of a kernel: of its code by itself, and of its instructions per logit beside its siblings."""

from __future__ import annotations

import re
from typing import Any

from tools.cuda_check.loops import per_exponential, straight_way
from tools.cuda_check.sass import Instruction, is_exponential, widths

Kernel = dict[str, Any]


def summarize(code: list[Instruction]) -> Kernel:
    loads = widths(code, ("LDG", "LDGSTS"))
    return {
        "loads": loads,
        "stores": widths(code, ("STG",)),
        "widest_load": max(loads, default=0),
        "local": sum(opcode.split(".")[0] in ("LDL", "STL") for _, _, opcode, _ in code),
        "ex2": sum(map(is_exponential, code)),
        "instructions": len(code),
        "per_exponential": per_exponential(code),
        "straight_way": straight_way(code),
    }


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
