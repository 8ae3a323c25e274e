"""Machine code as ``cuobjdump -sass`` lists it."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple


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
