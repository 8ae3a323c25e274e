"""Operands of machine code, and where their values lie: registers of threads and warps in one file, predicates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

UNIFORM = 256  # where the registers of a warp begin; the last register of either kind is zero
REGISTERS = 512
ZEROS = (255, UNIFORM + 255)
TRUES = (7, 15)  # P0 to P6, then UP0 to UP6: the last of either kind is true


@dataclass(frozen=True)
class Operand:
    """``kind``: register, predicate, immediate, constant, or other. ``sign``: "-", "~" or "!" before it."""

    kind: str
    index: int = 0  # register or predicate; bank of a constant
    value: float = 0  # of an immediate; offset of a constant
    sign: str = ""
    absolute: bool = False
    wide: bool = False  # 64 bits of a register
    base: int | None = None  # register that the offset of a constant is relative to


class Address(NamedTuple):
    """The registers that are added up, each with the bits it has, and the offset."""

    registers: tuple[tuple[int, int, int], ...]  # index, bits, factor
    offset: int


def register(text: str) -> int | None:
    found = re.fullmatch(r"(U?)R(\d+|Z)", text)
    if not found:
        return None
    return UNIFORM * bool(found[1]) + (255 if found[2] == "Z" else int(found[2]))


def predicate(text: str) -> int | None:
    found = re.fullmatch(r"(U?)P(\d+|T)", text)
    if not found:
        return None
    return 8 * bool(found[1]) + (7 if found[2] == "T" else int(found[2]))


def split(text: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)] if text.strip() else []


def parse(text: str) -> Operand:
    sign = text[0] if text[0] in "-~!" else ""
    body = text[len(sign) :]
    absolute = body.startswith("|")
    name, *modifiers = body.replace("|", "").split(".")
    if (index := register(name)) is not None:
        return Operand("register", index, sign=sign, absolute=absolute, wide="64" in modifiers)
    if (index := predicate(name)) is not None:
        return Operand("predicate", index, sign=sign)
    if found := re.match(r"c\[0x(\w+)\]\[(?:(U?R\w+)(?:\.\w+)?\+)?(0x\w+)\]", body.strip("|")):
        base = register(found[2]) if found[2] else None
        return Operand("constant", int(found[1], 16), int(found[3], 16), sign, absolute, base=base)
    if found := re.match(r"c\[0x(\w+)\]\[(U?R\w+)\]", body):
        return Operand("constant", int(found[1], 16), 0, sign, absolute, base=register(found[2]))
    return immediate(text)


def immediate(text: str) -> Operand:
    text = text.strip()
    if re.fullmatch(r"[-+]?0x[0-9a-fA-F]+", text):
        return Operand("immediate", value=int(text, 16))
    if re.fullmatch(r"[-+]?(INF|Q?NAN|QNAN|SNAN)", text):
        return Operand("immediate", value=float(text.replace("Q", "").replace("S", "")))
    try:
        return Operand("immediate", value=float(text))
    except ValueError:
        return Operand("other")


def address(text: str) -> Address | None:
    """The global address in brackets; None where it is written in a way that is not known here."""
    brackets = re.findall(r"\[([^\]]*)\]", text.partition("desc[")[2].partition("]")[2] if "desc[" in text else text)
    if not brackets:
        return None
    registers, offset = [], 0
    for term in brackets[0].replace("+-", "+~").split("+"):
        name, *modifiers = term.strip().split(".")
        if (index := register(name)) is not None:
            factor = next((int(m[1:]) for m in modifiers if re.fullmatch(r"X\d+", m)), 1)
            registers.append((index, 64 if "64" in modifiers else 32 if modifiers else 0, factor))
        elif re.fullmatch(r"[-~]?0x[0-9a-f]+", name):
            offset += int(name.replace("~", "-"), 16)
        else:
            return None
    return Address(tuple(registers), offset)
