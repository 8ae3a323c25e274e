"""A kernel's machine code as blocks of instructions, with what of it decides on the way that is taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from itertools import pairwise

from tools.cuda_check.operands import TRUES
from tools.cuda_check.sass import Instruction
from tools.cuda_check.steps import decode, guard_bit

ENDS = ("bra", "exit", "ret", "call", "bsync", "bar", "brx", "jmp", "jmx", "brxu", "break")
MEMORY = ("load_global", "store_global", "copy_async")


@dataclass
class Block:
    first: int  # of its steps
    last: int  # behind them
    counts: Counter[str]  # instructions by opcode
    relevant: list[int] = field(default_factory=list)  # those that have to be carried out


class Program:
    def __init__(self, code: list[Instruction], constants: bytes = b"") -> None:
        self.steps = [decode(instruction) for instruction in code]
        self.constants = constants  # bank 2 of sm_7x and sm_8x, 3 later
        self.place = {instruction.address: i for i, instruction in enumerate(code)}
        self.blocks = self._blocks(code)
        self.block_at = {block.first: i for i, block in enumerate(self.blocks)}
        self._mark_relevant()

    def at(self, address: int) -> int:
        """The step at an address, or behind it where that is a NOP."""
        if address not in self.place:
            later = [known for known in self.place if known > address]
            self.place[address] = self.place[min(later)] if later else len(self.steps)
        return self.place[address]

    def _blocks(self, code: list[Instruction]) -> list[Block]:
        starts = {0}
        for i, step in enumerate(self.steps):
            if step.kind in ENDS:
                starts.add(i + 1)
            if step.destination >= 0 and step.kind in ("bra", "call", "bssy"):
                starts.add(self.at(step.destination))
        bounds = [*sorted(start for start in starts if start < len(code)), len(code)]
        return [Block(a, b, Counter(of.opcode for of in code[a:b])) for a, b in pairwise(bounds)]

    @cached_property
    def successors(self) -> list[list[int]]:
        """Of each block. A call is taken to go on behind it and into the function, a return to lead nowhere."""
        result = []
        for block in self.blocks:
            step, to = self.steps[block.last - 1], []
            conditional = step.guard is not None or any(o.index not in TRUES or o.sign for o, _ in step.sources)
            if step.kind in ("bra", "call") and step.destination >= 0:
                to.append(self.block_at.get(self.at(step.destination), -1))
            through = step.kind not in ("bra", "exit", "ret", "jmp") or (step.kind != "ret" and conditional)
            if (through or (step.kind == "ret" and step.guard)) and block.last < len(self.steps):
                to.append(self.block_at[block.last])
            result.append([i for i in to if i >= 0])
        return result

    # --- What decides

    def _mark_relevant(self) -> None:
        """Steps whose results decide on a way or on an access, by what is still needed behind each block. What lies in
        shared memory is needed where a load of its width is."""
        shared: set[int] = set()
        while True:
            before = set(shared)
            self._mark(shared)
            if shared == before:
                return

    def _mark(self, shared: set[int]) -> None:
        needed = [0] * len(self.blocks)  # at the beginning of each
        previous: list[list[int]] = [[] for _ in self.blocks]
        for i, following in enumerate(self.successors):
            for to in following:
                previous[to].append(i)
        waiting = set(range(len(self.blocks)))
        while waiting:
            i = waiting.pop()
            needs = self._through(i, needed, shared)
            if needs != needed[i]:
                needed[i] = needs
                waiting.update(previous[i])

    def _through(self, i: int, needed: list[int], shared: set[int]) -> int:
        block, needs = self.blocks[i], 0
        for to in self.successors[i]:
            needs |= needed[to]
        block.relevant = []
        for at in range(block.last - 1, block.first - 1, -1):
            step = self.steps[at]
            writes = step.written
            if step.kind in MEMORY:
                needs |= guard_bit(step.guard)
                if not writes & needs:  # it counts, whatever it reads
                    block.relevant.append(at)
                    continue
            decides = step.kind in ENDS or step.kind == "bssy"
            if step.kind == "store_shared":
                decides = step.width in shared
            if not (decides or writes & needs):
                continue
            block.relevant.append(at)
            if step.guard is None:
                needs &= ~writes
            if step.kind != "opaque":
                needs |= step.read
            else:
                needs |= guard_bit(step.guard)
            if step.kind == "load_shared":
                shared.add(step.width)
        block.relevant.reverse()
        return needs

    @cached_property
    def repeats(self) -> set[int]:
        """The branches, by address, of which one way can come back to them and the other cannot: the ends of loops."""
        reach = self._reach()
        found = set()
        for i, block in enumerate(self.blocks):
            to = self.successors[i]
            if len(to) == 2 and self.steps[block.last - 1].kind == "bra":
                back = [reach[j] >> i & 1 for j in to]
                if back[0] != back[1]:
                    found.add(self.steps[block.last - 1].instruction.address)
        return found

    def _reach(self) -> list[int]:
        """A bit for each block that one gets to from each, itself included."""
        reach = [1 << i for i in range(len(self.blocks))]
        changed = True
        while changed:
            changed = False
            for i in range(len(self.blocks) - 1, -1, -1):
                found = reach[i]
                for to in self.successors[i]:
                    found |= reach[to]
                if found != reach[i]:
                    reach[i], changed = found, True
        return reach

    # --- What nobody knows

    @cached_property
    def shorter(self) -> dict[int, bool]:
        """Of each block that ends in a branch: whether the way to where both meet again is shorter by taking it."""
        after = self._postdominators()
        result = {}
        for i, block in enumerate(self.blocks):
            step = self.steps[block.last - 1]
            if step.kind == "bra" and len(self.successors[i]) == 2:
                taken, through = (self._distance(to, after[i]) for to in self.successors[i])
                result[i] = taken < through
        return result

    def _postdominators(self) -> list[int]:
        """The first block that every way from each block comes through; -1 where there is none."""
        everything = (1 << len(self.blocks)) - 1
        sets = [1 << i if not self.successors[i] else everything for i in range(len(self.blocks))]
        changed = True
        while changed:
            changed = False
            for i in range(len(self.blocks) - 1, -1, -1):
                if self.successors[i]:
                    common = everything
                    for to in self.successors[i]:
                        common &= sets[to]
                    common |= 1 << i
                    if common != sets[i]:
                        sets[i], changed = common, True
        sizes = [bin(s).count("1") for s in sets]
        result = []
        for i, own in enumerate(sets):
            others = [j for j in range(len(self.blocks)) if own >> j & 1 and j != i]
            result.append(max(others, key=lambda j: sizes[j], default=-1))
        return result

    def _distance(self, start: int, end: int) -> int:
        """The fewest instructions from the beginning of a block to that of another, or to an end."""
        done: set[int] = set()
        waiting = [(0, start)]
        while waiting:
            length, i = heappop(waiting)
            if i == end or (end < 0 and not self.successors[i]):
                return length
            if i in done:
                continue
            done.add(i)
            step = self.steps[self.blocks[i].last - 1]
            following = self.successors[i][1:] if step.kind == "call" else self.successors[i]
            for to in following:
                heappush(waiting, (length + self.blocks[i].last - self.blocks[i].first, to))
        return 1 << 30
