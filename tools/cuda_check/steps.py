"""Machine code as steps that a machine can take: targets, sources and meaning of each instruction."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tools.cuda_check import semantics as mean
from tools.cuda_check.operands import (
    REGISTERS,
    TRUES,
    ZEROS,
    Address,
    Operand,
    address,
    parse,
    split,
)
from tools.cuda_check.sass import Instruction
from tools.cuda_check.semantics import Array, Meaning

PLAIN_MEMORY = ("LDG", "LDS", "STG", "STS", "LDGSTS", "ATOMG", "ATOMS", "REDG", "RED", "LD", "ST", "LDL", "STL")
BITS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128, "256": 256}


@dataclass
class Step:
    """``kind`` says what a machine does with it: "compute" by ``meaning``, "opaque" without; or its name."""

    instruction: Instruction
    kind: str
    guard: tuple[int, bool] | None  # predicate, and whether it is the other way round
    targets: list[tuple[str, int, int]] = field(default_factory=list)  # "r" or "p", index, registers
    sources: list[tuple[Operand, int]] = field(default_factory=list)  # with their bits
    meaning: Meaning | None = None
    width: int = 32  # bits of an access to memory
    address: Address | None = None
    destination: int = -1  # of a branch

    @property
    def written(self) -> int:
        """A bit for each register and predicate."""
        found = 0
        for kind, index, count in self.targets:
            if kind == "p":
                found |= 0 if index in TRUES else 1 << (REGISTERS + index)
            elif index not in ZEROS:
                found |= ((1 << count) - 1) << index
        return found

    @property
    def read(self) -> int:
        found = guard_bit(self.guard)
        for operand, bits in self.sources:
            if operand.kind == "predicate" and operand.index not in TRUES:
                found |= 1 << (REGISTERS + operand.index)
            if operand.kind == "register" and operand.index not in ZEROS:
                found |= ((1 << -(-bits // 32)) - 1) << operand.index
            if operand.base is not None and operand.base not in ZEROS:
                found |= 1 << operand.base
        if self.address is not None:
            for index, bits, _ in self.address.registers:
                if index not in ZEROS:
                    found |= (3 if bits == 64 else 1) << index
        if self.kind == "p2r":
            found |= ((1 << 8) - 1) << (REGISTERS + 8 * self.instruction.opcode.startswith("U"))
        return found


def guard_bit(guard: tuple[int, bool] | None) -> int:
    return 0 if guard is None or guard[0] in TRUES else 1 << (REGISTERS + guard[0])


def guard_of(text: str) -> tuple[int, bool] | None:
    if not text:
        return None
    operand = parse(text.removeprefix("@"))
    return operand.index, operand.sign == "!"


def register_targets(operands: list[Operand], width: int) -> tuple[list[tuple[str, int, int]], list[Operand]]:
    """The register in front, the predicates right behind it, and what is left: the sources."""
    first, *rest = operands
    targets = [("r", first.index, width)]
    while rest and rest[0].kind == "predicate":
        targets.append(("p", rest[0].index, 1))
        rest = rest[1:]
    return targets, rest


NOTHING = Operand("immediate", value=0)
ZERO = Operand("register", ZEROS[0])
FALSE = Operand("predicate", TRUES[0], sign="!")


def compute(step: Step, targets: list[tuple[str, int, int]], sources: list[Operand], meaning: Meaning,
            widths: dict[int, int] | None = None) -> Step:  # fmt: skip
    step.kind, step.targets, step.meaning = "compute", targets, meaning
    step.sources = [(operand, (widths or {}).get(i, 32)) for i, operand in enumerate(sources)]
    return step


def opaque(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    """The first operand, and the second one where the first is a predicate."""
    base = step.instruction.opcode.split(".")[0]
    wide = base.startswith("D") or "64" in modifiers or "F64" in modifiers[:1] or "WIDE" in modifiers
    count = 4 if "128" in modifiers else 2 if wide else 1
    for operand in operands[:2]:
        if operand.kind == "predicate":
            step.targets.append(("p", operand.index, 1))
            continue
        if operand.kind == "register":
            step.targets.append(("r", operand.index, count))
        break
    return step


def decode(instruction: Instruction) -> Step:
    base, *modifiers = instruction.opcode.split(".")
    texts = split(instruction.operands)
    step = Step(instruction, "opaque", guard_of(instruction.guard))
    if base in PLAIN_MEMORY:
        return memory(step, base, modifiers, texts)
    if base in ("BRA", "EXIT", "RET", "CALL", "BSSY", "BSYNC", "BREAK", "BAR", "BRX", "JMP", "JMX", "BRXU"):
        return control(step, base, modifiers, texts)
    operands = [parse(text) for text in texts]
    if not operands:
        step.kind = "nothing"
        return step
    name = NAMES.get(base, base[1:] if base.startswith("U") and base[1:] in MEANINGS else base)
    if name in MEANINGS:
        return MEANINGS[name](step, operands, modifiers)
    return opaque(step, operands, modifiers)


def memory(step: Step, base: str, modifiers: list[str], texts: list[str]) -> Step:
    places = [i for i, text in enumerate(texts) if "[" in text and not text.startswith("c[")]
    step.width = next((BITS[m] for m in modifiers if m in BITS), 32)
    if not places:
        return step
    step.address = address(texts[places[-1]])
    operands = [parse(text) for i, text in enumerate(texts) if i not in places]
    count = max(step.width // 32, 1)
    if base in ("STG", "STS", "ST", "STL"):
        step.kind = {"STG": "store_global", "ST": "store_global", "STS": "store_shared"}.get(base, "nothing")
        step.sources = [(operand, step.width) for operand in operands]
        return step
    if base == "LDGSTS":
        step.kind = "copy_async"
        return step
    step.kind = {"LDG": "load_global", "LD": "load_global", "LDS": "load_shared", "ATOMG": "atomic"}.get(base, "opaque")
    opaque(step, operands, [])
    step.targets = [(kind, index, count if kind == "r" else 1) for kind, index, _ in step.targets]
    if step.kind == "atomic":
        step.sources = [(operand, 32) for operand in operands if operand.kind == "register"][1:]
    return step


def control(step: Step, base: str, modifiers: list[str], texts: list[str]) -> Step:
    step.kind = base.lower()
    if base == "BRA" and {"DIV", "CONV"} & set(modifiers):
        step.kind = "nothing"
        return step
    for text in texts:
        if re.fullmatch(r"0x[0-9a-f]+", text):
            step.destination = int(text, 16)
    operands = [parse(text) for text in texts]
    if base in ("BRA", "EXIT"):
        step.sources = [(operand, 1) for operand in operands if operand.kind == "predicate"]
    if base in ("BSSY", "BSYNC", "BREAK"):
        step.width = next((int(text[1:]) for text in texts if re.fullmatch(r"B\d+", text)), 0)  # which barrier
        step.sources = [(operand, 1) for operand in operands if operand.kind == "predicate"]
    if base == "BAR":
        step.kind = "bar" if {"SYNC", "SYNCALL", "RED"} & set(modifiers) else "nothing"
    return step


# --- Instructions with a meaning

Builder = Callable[[Step, list[Operand], list[str]], Step]


def _mov(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    width = 64 if "64" in modifiers else 32
    return compute(step, [("r", operands[0].index, width // 32)], operands[1:2], lambda a: (a,), {0: width})


def _cs2r(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    count = 1 if "32" in modifiers else 2
    if step.instruction.operands.endswith("SRZ"):
        return compute(step, [("r", operands[0].index, count)], [NOTHING], lambda a: (a,))
    return opaque(step, operands, ["64"] if count == 2 else [])


def _imad(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    wide = "WIDE" in modifiers
    targets, sources = register_targets(operands, 2 if wide else 1)
    meaning = mean.multiply_add(modifiers)
    return compute(step, targets, sources, meaning, {2: 64} if wide or "HI" in modifiers else None)


def _iadd3(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    targets, sources = register_targets(operands, 1)
    if "64" in modifiers:
        targets = [("r", operands[0].index, 2)]
        return compute(step, targets, sources[:3], lambda a, b, c: (a + b + c,), {0: 64, 1: 64, 2: 64})
    words, carries = sources[:3], sources[3:]
    negated = sum(operand.kind != "immediate" and operand.sign == "-" for operand in words)
    words = [replace(operand, sign="~") if operand.sign == "-" else operand for operand in words]
    more = [Operand("immediate", value=negated)] if negated else []
    return compute(step, targets, [*words, *more, *carries], mean.add3)


def _iadd(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    if "64" in modifiers:
        return compute(step, [("r", operands[0].index, 2)], operands[1:3], lambda a, b: (a + b,), {0: 64, 1: 64})
    return compute(step, [("r", operands[0].index, 1)], operands[1:3], lambda a, b: ((a + b) & mean.MASK,))


def _lea(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    targets, sources = register_targets(operands, 1)
    carry = sources.pop() if sources[-1].kind == "predicate" else FALSE
    by = sources.pop()
    a, b, *above = sources
    return compute(step, targets, [a, b, above[0] if above else ZERO, by, carry], mean.scaled_add(modifiers))


def _shf(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    return compute(step, [("r", operands[0].index, 1)], operands[1:4], mean.shift(modifiers))


def _lop3(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    targets = []
    while operands[0].kind == "predicate":
        targets.append(("p", operands[0].index, 1))
        operands = operands[1:]
    register, a, b, c, table, *given = operands
    code = int(table.value)

    def meaning(a: Array, b: Array, c: Array, given: Array) -> tuple[Array, ...]:
        result = mean.lookup3(code, a, b, c, mean.MASK)
        met = (result != 0) & given if "PAND" in modifiers else (result != 0) | given
        return (*([met] * len(targets)), result)

    other = given[0] if given else FALSE
    return compute(step, [*targets, ("r", register.index, 1)], [a, b, c, other], meaning)


def _plop3(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    targets = [("p", operand.index, 1) for operand in operands[:2]]
    tables = [int(operand.value) for operand in operands[5:7]]

    def meaning(a: Array, b: Array, c: Array) -> tuple[Array, ...]:
        return tuple(mean.lookup3(table, mean.u64(a), mean.u64(b), mean.u64(c), np.uint64(1)) != 0 for table in tables)

    return compute(step, targets[: len(tables)], operands[2:5], meaning)


def _isetp(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    width = 64 if {"S64", "U64"} & set(modifiers) else 32
    targets = [("p", operand.index, 1) for operand in operands[:2]]
    return compute(step, targets, operands[2:], mean.set_predicate(modifiers), {0: width, 1: width})


def _fsetp(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    targets = [("p", operand.index, 1) for operand in operands[:2]]
    return compute(step, targets, [as_float(o) for o in operands[2:]], mean.set_float_predicate(modifiers))


def as_float(operand: Operand) -> Operand:
    """Immediates of instructions on floats are numbers, but for the bits of those written as such."""
    if operand.kind == "immediate" and not isinstance(operand.value, int):
        return replace(operand, value=int(np.float32(operand.value).view(np.uint32)))
    return replace(operand, sign=f"f{operand.sign}") if operand.sign == "-" else operand


def _sel(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    width = 64 if "64" in modifiers else 32
    sources = operands[1:4]
    if step.instruction.opcode.startswith("F"):
        sources = [as_float(operand) for operand in sources]
    targets = [("r", operands[0].index, width // 32)]
    return compute(step, targets, sources, lambda a, b, p: (np.where(p, a, b),), {0: width, 1: width})


def _prmt(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    if modifiers:
        return opaque(step, operands, modifiers)
    return compute(step, [("r", operands[0].index, 1)], operands[1:4], mean.permute)


def _imnmx(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    width = 64 if {"S64", "U64"} & set(modifiers) else 32
    registers = [operand for operand in operands if operand.kind != "predicate"]
    least = operands[operands.index(registers[2]) + 1]  # the predicates before are what else it can tell
    register, a, b = registers[:3]
    targets = [("r", register.index, width // 32)]
    return compute(step, targets, [a, b, least], mean.least_or_most(modifiers), {0: width, 1: width})


def _i2f(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    if "F64" in modifiers or "F16" in modifiers:
        return opaque(step, operands, ["F64"] if "F64" in modifiers else [])
    width = 64 if {"S64", "U64"} & set(modifiers) else 32
    return compute(step, [("r", operands[0].index, 1)], operands[1:2], mean.to_float(modifiers), {0: width})


def _f2i(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    if "F64" in modifiers or "F16" in modifiers:
        return opaque(step, operands, modifiers)
    width = 64 if {"S64", "U64"} & set(modifiers) else 32
    targets = [("r", operands[0].index, width // 32)]
    return compute(step, targets, operands[1:2], mean.to_integer(modifiers))


def _mufu(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    if modifiers != ["RCP"]:
        return opaque(step, operands, [])
    return compute(step, [("r", operands[0].index, 1)], [as_float(operands[1])], mean.reciprocal)


def _hfma2(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    """How the compiler makes constants on the pipe of floats: 0 * 0 + two numbers of 16 bits."""
    if len(operands) != 5 or any(o.kind != "register" or o.index not in ZEROS for o in operands[1:3]):
        return opaque(step, operands, [])
    if any(o.kind != "immediate" for o in operands[3:]):
        return opaque(step, operands, [])
    high, low = (int(np.float16(o.value).view(np.uint16)) for o in operands[3:])
    constant = Operand("immediate", value=high << 16 | low)
    return compute(step, [("r", operands[0].index, 1)], [constant], lambda a: (a,))


def _unary(meaning: Meaning) -> Builder:
    def build(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
        return compute(step, [("r", operands[0].index, 1)], operands[1:2], meaning)

    return build


def _flo(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    targets, sources = register_targets(operands, 1)
    return compute(step, targets, sources[:1], mean.leading(modifiers))


def _of_two(make: Callable[[list[str]], Meaning]) -> Builder:
    def build(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
        return compute(step, [("r", operands[0].index, 1)], operands[1:3], make(modifiers))

    return build


def _ldc(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    step.width = next((BITS[m] for m in modifiers if m in BITS), 32)
    step.kind = "load_constant"
    step.targets = [("r", operands[0].index, max(step.width // 32, 1))]
    step.sources = [(operands[1], step.width)]
    return step


def _named(kind: str) -> Builder:
    def build(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
        opaque(step, operands, modifiers)
        step.kind = kind
        written = len(step.targets)
        step.sources = [(operand, 32) for operand in operands[written:]]
        return step

    return build


def _p2r(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    step.kind, step.targets = "p2r", [("r", operands[0].index, 1)]
    step.sources = [(operand, 32) for operand in operands[2:]]
    return step


def _r2p(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    first = 8 * step.instruction.opcode.startswith("U")
    step.kind, step.targets = "r2p", [("p", first + i, 1) for i in range(7)]
    step.sources = [(operand, 32) for operand in operands[1:]]
    return step


def _vote(step: Step, operands: list[Operand], modifiers: list[str]) -> Step:
    targets, sources = register_targets(operands, 1) if operands[0].kind == "register" else ([], operands)
    if operands[0].kind == "register":  # of the predicates behind the register the last is the source
        predicates = [o for o in operands[1:] if o.kind == "predicate"]
        targets = [("r", operands[0].index, 1), *(("p", o.index, 1) for o in predicates[:-1])]
        sources = predicates[-1:]
    else:
        targets, sources = [("p", o.index, 1) for o in operands[:-1]], operands[-1:]
    step.kind, step.targets, step.sources = "vote", targets, [(operand, 1) for operand in sources]
    return step


NAMES = {"VOTEU": "VOTE", "UP2UR": "P2R", "UR2UP": "R2P"}
MEANINGS: dict[str, Builder] = {
    "MOV": _mov, "R2UR": _mov, "CS2R": _cs2r, "IMAD": _imad, "IADD3": _iadd3, "IADD": _iadd, "VIADD": _iadd,
    "LEA": _lea, "SHF": _shf, "LOP3": _lop3, "PLOP3": _plop3, "ISETP": _isetp, "FSETP": _fsetp, "SEL": _sel,
    "FSEL": _sel, "PRMT": _prmt, "IMNMX": _imnmx, "VIMNMX": _imnmx, "I2F": _i2f, "I2FP": _i2f, "F2I": _f2i,
    "MUFU": _mufu, "IABS": _unary(mean.absolute), "POPC": _unary(mean.population), "FLO": _flo,
    "SGXT": _of_two(mean.extend), "BMSK": _of_two(mean.mask_of), "LDC": _ldc, "LDCU": _ldc, "S2R": _named("special"),
    "S2UR": _named("special"), "SHFL": _named("shuffle"), "P2R": _p2r, "R2P": _r2p, "HFMA2": _hfma2, "VOTE": _vote,
}  # fmt: skip
