"""Machine code as ``cuobjdump -sass`` lists it."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple


class Instruction(NamedTuple):
    address: int
    guard: str  # by a predicate: "@P0", "@!P0"; or nothing
    opcode: str
    operands: str


def parse_sass(listing: str) -> dict[str, list[Instruction]]:
    """Instructions by mangled name, from the output of cuobjdump -sass. NOPs that pad the end are left out; others
    take their turn, and sm_120 has three behind every instruction on float64."""
    line = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(@\S+)?\s*([A-Z][\w.]*)\s*(.*?)\s*;", re.M)
    kernels = {}
    for part in listing.split("Function : ")[1:]:
        name, _, code = part.partition("\n")
        found = [Instruction(int(at, 16), *rest) for at, *rest in line.findall(code)]
        while found and found[-1].opcode == "NOP":
            found.pop()
        kernels[name.strip()] = found
    return kernels


def is_exponential(instruction: Instruction) -> bool:
    return instruction.opcode.startswith("MUFU.EX2")


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
