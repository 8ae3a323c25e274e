"""Carries out what decides on the way of a thread block's warps through a kernel, and counts what they go through.

Threads of a block are taken together, those at the lowest address first, with the convergence barriers of the machine
code (BSSY, BSYNC); an instruction counts once for every warp that has threads there. Parameters, indices and what they
lead to are known; logits are not. What depends on them takes the shorter way: rare detours are not in the count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tools.cuda_check.operands import REGISTERS, TRUES, UNIFORM, ZEROS, Operand
from tools.cuda_check.program import ENDS, Program
from tools.cuda_check.semantics import MASK, Array, u64
from tools.cuda_check.steps import Step

WARP = 32
SHARED_WINDOW = 0xFFFFFF  # of an address: the rest says which block of a cluster
SHARED_BYTES = 256 * 1024
NOWHERE = 1 << 30
MAX_STEPS = 5_000_000


@dataclass(frozen=True)
class Launch:
    """``parameters`` as constant bank 0 has them from ``base`` on; ``integers``: memory that holds labels."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    parameters: bytes
    base: int
    architecture: int = 90
    labels: tuple[tuple[int, int], ...] = ()  # address and bytes
    label: int = 3

    @property
    def threads(self) -> int:
        return self.block[0] * self.block[1] * self.block[2]


@dataclass
class Counts:
    """What warps go through: instructions by opcode, bytes of global memory, branches that nobody knows."""

    opcodes: Counter[str] = field(default_factory=Counter)
    read: float = 0
    written: float = 0
    unknown: Counter[int] = field(default_factory=Counter)  # by address of the branch
    warps: int = 0
    steps: int = 0  # of the machine: blocks of instructions that threads were in together

    @property
    def instructions(self) -> float:
        return sum(self.opcodes.values())


class Machine:
    def __init__(self, program: Program, launch: Launch, index: int) -> None:
        """``index`` of the thread block in its grid."""
        self.program, self.launch = program, launch
        gx, gy, _ = launch.grid
        self.block_index = (index % gx, index // gx % gy, index // (gx * gy))
        self.linear_block = index
        self.threads = -(-launch.threads // WARP) * WARP
        n = self.threads
        self.values = np.zeros((REGISTERS, n), np.uint64)
        self.known = np.zeros((REGISTERS, n), bool)
        self.known[list(ZEROS)] = True
        self.flags = np.zeros((16, n), bool)
        self.flags_known = np.zeros((16, n), bool)
        self.flags[list(TRUES)] = self.flags_known[list(TRUES)] = True
        self.pc = np.zeros(n, np.int64)
        self.pc[launch.threads :] = NOWHERE
        self.waits = np.full(n, -1)  # for which convergence barrier; 100: for the block
        self.members = np.zeros((32, n), bool)
        self.calls: list[list[int]] = [[] for _ in range(n)]
        self.shared = np.zeros(SHARED_BYTES, np.uint8)
        self.shared_known = np.zeros(SHARED_BYTES, bool)
        self.visits = Counter[int]()
        self.counts = Counts(warps=n // WARP)
        self.constant_words = self._constants()
        self.constants: dict[tuple[int, float, int], tuple[Array, Any]] = {}

    def _constants(self) -> dict[int, tuple[Array, Array]]:
        launch = self.launch
        bank = np.zeros(8192, np.uint8)
        known = np.zeros(8192, bool)

        def put(at: int, data: bytes) -> None:
            bank[at : at + len(data)] = np.frombuffer(data, np.uint8)
            known[at : at + len(data)] = True

        places = (0x0, 0xC) if launch.architecture < 100 else (0x360, 0x370)
        put(places[0], np.array(launch.block, np.uint32).tobytes())
        put(places[1], np.array(launch.grid, np.uint32).tobytes())
        put(launch.base, launch.parameters)
        own = np.frombuffer(self.program.constants + bytes(16), np.uint8)
        return {0: (bank, known), 2: (own, np.ones(len(own), bool)), 3: (own, np.ones(len(own), bool))}

    # --- Sources and targets

    def register(self, index: int, width: int = 32) -> tuple[Array, Array]:
        if width <= 32 or index in ZEROS:
            return self.values[index], self.known[index]
        return self.values[index] | self.values[index + 1] << u64(32), self.known[index] & self.known[index + 1]

    def constant(self, operand: Operand, width: int) -> tuple[Array, Any]:
        if operand.base is not None:
            return self._constant(operand, width)
        key = (operand.index, operand.value, width)
        if key not in self.constants:
            self.constants[key] = self._constant(operand, width)
        return self.constants[key]

    def _constant(self, operand: Operand, width: int) -> tuple[Array, Any]:
        if operand.index not in self.constant_words:
            return u64(0), np.False_
        data, known = self.constant_words[operand.index]
        offset: Array = np.asarray(int(operand.value))
        ok: Array = np.True_
        if operand.base is not None:
            base, ok = self.register(operand.base)
            offset = (base + u64(int(operand.value))).astype(np.int64)
        offset = np.where(offset + width // 8 < len(data), offset, len(data) - 16)
        value = u64(0)
        for i in range(min(width, 64) // 8):
            value = value | data[offset + i].astype(np.uint64) << u64(8 * i)
            ok = ok & known[offset + i]
        return value, ok

    def source(self, operand: Operand, width: int) -> tuple[Array, Any]:
        if operand.kind == "predicate":
            flag = self.flags[operand.index]
            return (~flag if operand.sign == "!" else flag), self.flags_known[operand.index]
        if operand.kind == "register":
            value, known = self.register(operand.index, width)
        elif operand.kind == "constant":
            value, known = self.constant(operand, width)
        elif operand.kind == "immediate":
            bits = (
                int(operand.value) if isinstance(operand.value, int) else int(np.float32(operand.value).view(np.uint32))
            )
            return u64(bits & ((1 << width) - 1)), np.True_
        else:
            return u64(0), np.False_
        ones = MASK if width <= 32 else u64(2**64 - 1)
        if operand.absolute:
            value = value & u64(0x7FFFFFFF)
        if operand.sign == "f-":
            value = value ^ u64(0x80000000)
        elif operand.sign == "-":
            value = (~value + u64(1)) & ones
        elif operand.sign == "~":
            value = ~value & ones
        return value, known

    def put(self, target: tuple[str, int, int], value: Array, known: Any, active: Array, maybe: Array | None) -> None:
        kind, index, count = target
        if kind == "p":
            if index not in TRUES:
                self._assign(self.flags[index], self.flags_known[index], value, known, active, maybe)
            return
        if index in ZEROS:
            return
        for i in range(count):
            word = (value >> u64(32 * i)) & MASK if count == 2 else value if i == 0 else u64(0)
            self._assign(self.values[index + i], self.known[index + i], word, known, active, maybe)

    def _assign(self, values: Array, knowns: Array, value: Any, known: Any, active: Array, maybe: Array | None) -> None:
        np.copyto(values, value, where=active, casting="unsafe")
        np.copyto(knowns, known, where=active)
        if maybe is not None:
            knowns[maybe] = False

    def passing(self, step: Step, active: Array) -> tuple[Array, Array | None]:
        """The threads that carry it out, and those of which nobody knows."""
        if step.guard is None:
            return active, None
        index, negated = step.guard
        met = ~self.flags[index] if negated else self.flags[index]
        known = self.flags_known[index]
        maybe = active & ~known
        return active & met & known, maybe if maybe.any() else None

    # --- Steps

    def carry_out(self, step: Step, active: Array) -> None:
        active, maybe = self.passing(step, active)
        getattr(self, f"_{step.kind}")(step, active, maybe)

    def _compute(self, step: Step, active: Array, maybe: Array | None) -> None:
        values, known = [], np.True_
        for operand, width in step.sources:
            value, ok = self.source(operand, width)
            values.append(value)
            known = known & ok
        assert step.meaning is not None
        if step.instruction.opcode != "PRMT" and not np.any(known):
            self._opaque(step, active, maybe)
            return
        if step.instruction.opcode == "PRMT" and len(values) == 3:
            known = self._known_bytes(step, known)
        results = step.meaning(*values)
        for target, result in zip(step.targets, results, strict=False):
            self.put(target, result, known, active, maybe)

    def _known_bytes(self, step: Step, known: Any) -> Any:
        """Numbers of 16 bits lie in registers whose upper half nobody set: as if it were known."""
        selector = step.sources[1][0]
        if selector.kind == "immediate" and int(selector.value) & 0xFF00 in (0x7600, 0x5400, 0x3200):
            return known | self.source(*step.sources[0 if int(selector.value) & 0xFF == 0x10 else 2])[1]
        return known

    def _opaque(self, step: Step, active: Array, maybe: Array | None) -> None:
        gone = active if maybe is None else active | maybe
        for kind, index, count in step.targets:
            if kind == "p" and index not in TRUES:
                self.flags_known[index][gone] = False
            elif kind == "r" and index not in ZEROS:
                self.known[index : index + count, gone] = False

    def _nothing(self, step: Step, active: Array, maybe: Array | None) -> None:
        pass

    def _load_constant(self, step: Step, active: Array, maybe: Array | None) -> None:
        operand, width = step.sources[0]
        if operand.kind != "constant":
            self._opaque(step, active, maybe)
            return
        _, index, count = step.targets[0]
        parts = (replace(operand, value=operand.value + 4 * i) for i in range(count))
        words = [self.constant(part, min(width, 32)) for part in parts]  # the base may be among the targets
        for i, (value, known) in enumerate(words):
            if width < 32 and ".S" in step.instruction.opcode:
                value = np.where(value >> u64(width - 1) & u64(1), value | (MASK << u64(width)) & MASK, value)
            self.put(("r", index + i, 1), value, known, active, maybe)

    def _special(self, step: Step, active: Array, maybe: Array | None) -> None:
        name = step.instruction.operands.split("SR_")[-1]
        thread = np.arange(self.threads, dtype=np.uint64)
        x, y = u64(self.launch.block[0]), u64(self.launch.block[1])
        numbers = {
            "TID.X": thread % x, "TID.Y": thread // x % y, "TID.Z": thread // (x * y), "LANEID": thread % u64(WARP),
            "CTAID.X": u64(self.block_index[0]), "CTAID.Y": u64(self.block_index[1]),
            "CTAID.Z": u64(self.block_index[2]), "CgaCtaId": u64(0), "EQMASK": u64(1) << thread % u64(WARP),
            "LTMASK": (u64(1) << thread % u64(WARP)) - u64(1), "SWINLO": u64(0),
        }  # fmt: skip
        if name in numbers:
            self.put(step.targets[0], numbers[name], np.True_, active, maybe)
        else:
            self._opaque(step, active, maybe)

    def _addresses(self, step: Step, is_global: bool) -> tuple[Array, Any]:
        if step.address is None:
            return u64(0), np.False_
        known: Array = np.True_
        total = u64(step.address.offset % 2**64)
        for index, bits, factor in step.address.registers:
            wide = is_global and (bits == 64 or (bits == 0 and (index < UNIFORM or len(step.address.registers) > 1)))
            value, ok = self.register(index, 64 if wide else 32)
            total, known = total + value * u64(factor), known & ok
        return total, known

    def _count_bytes(self, step: Step, active: Array, maybe: Array | None) -> int:
        return (int(active.sum()) + (0 if maybe is None else int(maybe.sum()))) * step.width // 8

    def _load_global(self, step: Step, active: Array, maybe: Array | None) -> None:
        self.counts.read += self._count_bytes(step, active, maybe)
        address, known = self._addresses(step, is_global=True)
        inside = np.zeros(self.threads, bool)
        for start, length in self.launch.labels:
            inside |= (address >= u64(start)) & (address < u64(start + length))
        for target in step.targets:
            kind, index, count = target
            for i in range(count if kind == "r" else 0):
                value = u64(self.launch.label if i == 0 else 0)
                self.put(("r", index + i, 1), value, known & inside, active, maybe)

    def _copy_async(self, step: Step, active: Array, maybe: Array | None) -> None:
        self.counts.read += self._count_bytes(step, active, maybe)

    def _store_global(self, step: Step, active: Array, maybe: Array | None) -> None:
        self.counts.written += self._count_bytes(step, active, maybe)

    def _atomic(self, step: Step, active: Array, maybe: Array | None) -> None:
        """Thread blocks arrive in their order at a counter that began at zero."""
        counts = ".INC" in step.instruction.opcode or ".ADD" in step.instruction.opcode
        for target in step.targets:
            self.put(target, u64(self.linear_block), np.bool_(counts and target[0] == "r"), active, maybe)

    def _shared_places(self, step: Step) -> tuple[Array, Any]:
        address, known = self._addresses(step, is_global=False)
        place = np.broadcast_to(address & u64(SHARED_WINDOW), self.threads).astype(np.int64)
        return np.minimum(place, SHARED_BYTES - 32), np.broadcast_to(known, self.threads)

    def _load_shared(self, step: Step, active: Array, maybe: Array | None) -> None:
        place, ok = self._shared_places(step)  # before the register that says where is written
        for kind, index, count in step.targets:
            for i in range(count if kind == "r" else 0):
                value, known = u64(0), ok
                for byte in range(min(step.width, 32) // 8):
                    at = place + 4 * i + byte
                    value, known = (
                        value | self.shared[at].astype(np.uint64) << u64(8 * byte),
                        known & self.shared_known[at],
                    )
                self.put(("r", index + i, 1), value, known, active, maybe)

    def _store_shared(self, step: Step, active: Array, maybe: Array | None) -> None:
        place, ok = self._shared_places(step)
        doubtful = ~ok & active if maybe is None else (~ok & active) | maybe
        if doubtful.any():
            active = active & ok
            for byte in range(step.width // 8):
                self.shared_known[place[doubtful & ok] + byte] = False
        operand = step.sources[0][0]
        for i in range(max(step.width // 32, 1)):
            part = (
                replace(operand, index=operand.index + i)
                if operand.kind == "register" and operand.index not in ZEROS
                else operand
            )
            value, known = self.source(part, 32)
            value, known = np.broadcast_to(value, self.threads), np.broadcast_to(known, self.threads)
            for byte in range(min(step.width, 32) // 8):
                at = place[active] + 4 * i + byte
                self.shared[at] = ((value[active] >> u64(8 * byte)) & u64(0xFF)).astype(np.uint8)
                self.shared_known[at] = known[active]

    def _vote(self, step: Step, active: Array, maybe: Array | None) -> None:
        flag, known = self.source(*step.sources[0])
        lanes = active if maybe is None else active | maybe
        by_warp = lambda x: np.broadcast_to(x, self.threads).reshape(-1, WARP)  # noqa: E731
        on, off = by_warp(flag & lanes), by_warp(~flag & lanes)
        sure = (by_warp(known | ~lanes)).all(1)
        opcode = step.instruction.opcode
        met = ~off.any(1) if ".ALL" in opcode else on.any(1) if ".ANY" in opcode else ~(on.any(1) & off.any(1))
        ballot = (on.astype(np.uint64) << np.arange(WARP, dtype=np.uint64)).sum(1)
        for target in step.targets:
            value = np.repeat(ballot if target[0] == "r" else met, WARP)
            self.put(target, value, np.repeat(sure, WARP), active, maybe)

    def _shuffle(self, step: Step, active: Array, maybe: Array | None) -> None:
        (data, data_known), (by, by_known), (limit, _) = (self.source(*s) for s in step.sources[:3])
        lane = np.arange(self.threads) % WARP
        by, limit = (
            np.broadcast_to(by, self.threads).astype(np.int64),
            np.broadcast_to(limit, self.threads).astype(np.int64),
        )
        segment = (limit >> 8) & 31
        top = (lane & segment) | (limit & 31 & ~segment)
        mode = step.instruction.opcode.split(".")[1]
        wanted = {"BFLY": lane ^ by, "DOWN": lane + by, "UP": lane - by, "IDX": (by & ~segment) | (lane & segment)}[
            mode
        ]
        valid = wanted >= (limit & 31) if mode == "UP" else wanted <= top
        origin = np.arange(self.threads) - lane + np.where(valid, wanted, lane)
        known = np.broadcast_to(data_known, self.threads)[origin] & by_known
        for target in step.targets:
            value = np.broadcast_to(data, self.threads)[origin] if target[0] == "r" else valid
            self.put(target, value, known, active, maybe)

    def _p2r(self, step: Step, active: Array, maybe: Array | None) -> None:
        first = 8 * step.instruction.opcode.startswith("U")
        packed, sure = u64(0), np.ones(self.threads, bool)
        (own, own_known), (mask, mask_known) = (self.source(*s) for s in step.sources[:2])
        wanted = int(np.max(mask))
        for i in range(7):
            packed = packed | self.flags[first + i].astype(np.uint64) << u64(i)
            if wanted >> i & 1:
                sure = sure & self.flags_known[first + i]
        value = (packed & mask) | (own & ~mask & MASK)
        self.put(step.targets[0], value, sure & own_known & mask_known, active, maybe)

    def _r2p(self, step: Step, active: Array, maybe: Array | None) -> None:
        (value, known), (mask, _) = (self.source(*s) for s in step.sources[-2:])
        for i, target in enumerate(step.targets):
            if int(np.max(mask)) >> i & 1:
                self.put(target, value >> u64(i) & u64(1), known, active, maybe)

    # --- Ways

    def run(self) -> Counts:
        for self.counts.steps in range(MAX_STEPS):
            ready = self.pc != NOWHERE
            if not ready.any():
                break
            runnable = ready & (self.waits < 0)
            if not runnable.any():
                self._release_block()
                continue
            at = int(self.pc[runnable].min())
            self._run_block(at, runnable & (self.pc == at))
        else:
            raise RuntimeError("a kernel without an end: more blocks of instructions than any of them takes")
        for i, warps in self.visits.items():
            for opcode, count in self.program.blocks[i].counts.items():
                self.counts.opcodes[opcode] += count * warps
        return self.counts

    def _run_block(self, at: int, active: Array) -> None:
        number = self.program.block_at[at]
        block = self.program.blocks[number]
        self.visits[number] += int(active.reshape(-1, WARP).any(1).sum())
        last = self.program.steps[block.last - 1]
        for i in block.relevant:
            step = self.program.steps[i]
            if step.kind == "bssy":
                self._enter(step.width, active)
            elif step.kind not in ENDS:
                self.carry_out(step, active)
        self.pc[active] = block.last if block.last < len(self.program.steps) else NOWHERE
        end = getattr(self, f"_end_{last.kind}", None)
        if end is not None:
            end(last, active, number)
        elif last.kind in ("brx", "brxu", "jmp", "jmx"):
            raise NotImplementedError(f"{last.instruction.opcode}: a jump to where a register says")

    def _condition(self, step: Step) -> tuple[Array, Array]:
        """Of the guard and of the predicates among the operands."""
        met, known = np.ones(self.threads, bool), np.ones(self.threads, bool)
        false = np.zeros(self.threads, bool)
        guard = [] if step.guard is None else [Operand("predicate", step.guard[0], sign="!" if step.guard[1] else "")]
        for operand in [*guard, *(operand for operand, _ in step.sources)]:
            value, ok = self.source(operand, 1)
            false |= ok & ~value
            met, known = met & value, known & ok
        return met & ~false, known | false

    def _end_bra(self, step: Step, active: Array, number: int) -> None:
        met, known = self._condition(step)
        unknown = active & ~known
        if unknown.any():
            self.counts.unknown[step.instruction.address] += 1
            met = np.where(known, met, self.program.shorter.get(number, False))
        self.pc[active & met] = self.program.at(step.destination)

    def _end_exit(self, step: Step, active: Array, number: int) -> None:
        met, known = self._condition(step)
        self._leave(active & met & known)

    def _leave(self, gone: Array) -> None:
        self.pc[gone] = NOWHERE
        self.members[:, gone] = False
        self._release_warps()

    def _end_call(self, step: Step, active: Array, number: int) -> None:
        active, _ = self.passing(step, active)
        if step.destination < 0:  # of a register: a failed assertion
            return
        back = self.program.blocks[number].last
        for thread in np.flatnonzero(active):
            self.calls[thread].append(back)
        self.pc[active] = self.program.at(step.destination)

    def _end_ret(self, step: Step, active: Array, number: int) -> None:
        active, _ = self.passing(step, active)
        for thread in np.flatnonzero(active):
            self.pc[thread] = self.calls[thread].pop() if self.calls[thread] else NOWHERE

    def _enter(self, barrier: int, active: Array) -> None:
        warps = np.repeat(active.reshape(-1, WARP).any(1), WARP)
        self.members[barrier][warps] = False
        self.members[barrier][active] = True

    def _end_bsync(self, step: Step, active: Array, number: int) -> None:
        active, _ = self.passing(step, active)
        self.waits[active] = step.width
        self._release_warps()

    def _end_break(self, step: Step, active: Array, number: int) -> None:
        met, _ = self._condition(step)
        self.members[step.width][active & met] = False
        self._release_warps()

    def _release_warps(self) -> None:
        """Threads that wait for each other where all of the warp that entered have come, or have left."""
        for barrier in np.unique(self.waits[(self.waits >= 0) & (self.waits < 100)]):
            waiting = self.waits == barrier
            late = self.members[barrier] & ~waiting & (self.pc != NOWHERE)
            blocked = np.repeat(late.reshape(-1, WARP).any(1), WARP)
            self.waits[waiting & ~blocked] = -1

    def _end_bar(self, step: Step, active: Array, number: int) -> None:
        active, _ = self.passing(step, active)
        self.waits[active] = 100
        running = self.pc != NOWHERE
        if (self.waits[running] == 100).all():
            self.waits[running] = -1

    def _release_block(self) -> None:
        """Nothing moves: all that have not left wait for the block, or diverged warps for each other."""
        stuck = (self.pc != NOWHERE) & (self.waits != 100)
        self.waits[stuck if stuck.any() else self.pc != NOWHERE] = -1
