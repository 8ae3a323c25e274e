"""What a call costs: bytes, warp instructions, exponentials and waves, and the least time that a card's data sheet
allows it.

The launches are those that the launchers make (launches.py). Of each, some thread blocks are gone through (machine.py),
the first, the last and some between, and stand for all. ``cards.json`` has the data sheets, ``targets.json`` the calls.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from tools.cuda_check.compiler import link_recorder, listing_of, readable, sources
from tools.cuda_check.kernels import Kernel
from tools.cuda_check.launches import Recorded, constant_bank, parameter_base, record
from tools.cuda_check.machine import Machine
from tools.cuda_check.occupancy import blocks_per_sm
from tools.cuda_check.program import Program
from tools.cuda_check.sass import parse_sass

WARP = 32
BYTES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
SHEETS = json.loads(Path(__file__).with_name("cards.json").read_text())
CALLS = json.loads(Path(__file__).with_name("targets.json").read_text())

# Which instructions go to which pipe; all go through the schedulers.
PIPES = {
    "float32": r"(FADD|FMUL|FFMA)\b",
    "float64": r"D(ADD|MUL|FMA|SETP|MNMX)\b",
    "alu": r"(FMNMX3?|FSETP|FSEL|FCHK|ISETP|LOP3|IADD3|SEL|SHF|LEA|PRMT|V?IMNMX3?|PLOP3|IABS|SGXT|VIADDMNMX)\b",
    "special": r"(MUFU|F2F|F2I|I2F|POPC|FLO)\b",
}


@dataclass(frozen=True)
class Card:
    name: str
    multiprocessors: int
    mhz: float
    gb_per_s: float
    l2_mb: float
    block_shared: int
    float32: int
    float64: int
    alu: int
    special: int

    @staticmethod
    def of(architecture: int) -> Card:
        return Card(**SHEETS["cards"][str(architecture)])


@dataclass(frozen=True)
class Call:
    """Rows of numbers that an operation reads, and of which it writes as many where it computes a gradient."""

    operation: str
    dtype: str
    rows: int
    columns: int

    @staticmethod
    def parse(text: str) -> Call:
        operation, dtype, rows, columns = text.split()
        return Call(operation, dtype, int(rows), int(columns))

    @property
    def batches(self) -> int:
        return 2 if "discriminator" in self.operation else 1

    @property
    def elements(self) -> int:
        return self.rows * self.columns * self.batches

    @property
    def input(self) -> int:
        return self.elements * BYTES[self.dtype] * (2 if self.operation == "leaky_dropout_backward" else 1)

    @property
    def least_bytes(self) -> int:
        """Of the input, read once, and of a result of its size, written once."""
        return self.input + (0 if self.operation == "score_sums" else self.elements * BYTES[self.dtype])

    @property
    def key(self) -> str:
        return f"{self.operation} {self.dtype} {self.rows} {self.columns}"


LONG = 3_000  # steps of the machine through a thread block beyond which fewer of them are gone through


UNDERSTOOD = 0.98  # of the input is read: the blocks gone through may each have a round of rows less than some others


def samples(blocks: int, most: int) -> dict[int, float]:
    """Thread blocks to go through, and for how many each of them stands: the last one, which may add up what all have
    left, for itself, and some in the middle for all others."""
    if blocks <= most:
        return dict.fromkeys(range(blocks), 1.0)
    inner = [(blocks - 1) * i // most for i in range(1, most)]
    return dict.fromkeys(inner, (blocks - 1) / len(inner)) | {blocks - 1: 1.0}


@dataclass
class LaunchAccount:
    """All thread blocks of a launch together."""

    kernel: str
    blocks: int
    threads: int
    resident: int  # blocks that a multiprocessor holds at once
    opcodes: Counter[str]
    read: float
    written: float
    unknown: dict[str, int]  # branches that data decide, by address: how often in the blocks gone through
    deepest: float  # instructions of the block with the most

    @property
    def instructions(self) -> float:
        return sum(self.opcodes.values())

    def of_pipe(self, pipe: str) -> float:
        return sum(count for opcode, count in self.opcodes.items() if re.match(PIPES[pipe], opcode.removeprefix("U")))

    @property
    def exponentials(self) -> float:
        return sum(count for opcode, count in self.opcodes.items() if opcode.startswith("MUFU.EX2"))


def describe(program: Program, address: int) -> str:
    return f"{address:#x}" + (" (of a loop)" if address in program.repeats else "")


def walk(program: Program, recorded: Recorded, architecture: int, base: int, kernel: dict[str, Any]) -> LaunchAccount:
    gx, gy, gz = recorded.grid
    blocks, launch = gx * gy * gz, recorded.on(architecture, base)
    opcodes, read, written, unknown, deepest = Counter[str](), 0.0, 0.0, Counter[str](), 0.0
    gone_through = {blocks - 1: Machine(program, launch, blocks - 1).run()}
    for index, weight in samples(blocks, 2 if gone_through[blocks - 1].steps > LONG else 5).items():
        counts = gone_through.get(index) or Machine(program, launch, index).run()
        for opcode, count in counts.opcodes.items():
            opcodes[opcode] += count * weight  # type: ignore[assignment]
        read, written = read + counts.read * weight, written + counts.written * weight
        unknown.update({describe(program, address): times for address, times in counts.unknown.items()})
        deepest = max(deepest, counts.instructions)
    resident = blocks_per_sm(architecture, launch.threads, kernel["registers"], kernel["shared"] + recorded.shared)
    return LaunchAccount(
        kernel["kernel"], blocks, launch.threads, resident, opcodes, read, written, dict(unknown), deepest
    )


def moved_bytes(call: Call, launch: LaunchAccount, card: Card) -> float:
    """What a launch reads and writes. Numbers that all threads of a row load come from one cache line: of a launch that
    reads the input it is the input, as often as it is read. The second time it comes from the L2 cache where the rows
    that are under way fit into it."""
    times = round(launch.read / call.input)
    if times == 0:
        return launch.read + launch.written
    under_way = min(launch.blocks, launch.resident * card.multiprocessors) * call.columns * BYTES[call.dtype]
    again = (times - 1) if under_way > card.l2_mb * 2**20 else 0
    return (1 + again) * call.input + launch.written


@dataclass
class Account:
    """One call on one card; times in microseconds."""

    call: str
    architecture: int
    card: str
    launches: int
    bytes: float
    instructions: float
    per_element: float
    exponentials: float
    exponentials_per_element: float
    waves: list[float]
    times: dict[str, float]
    bound: str
    least_us: float
    share_of_copy: float
    unknown: dict[str, dict[str, int]]
    doubts: list[str]  # why the count cannot be right


def doubts(call: Call, launches: list[LaunchAccount]) -> list[str]:
    """Loops that end nobody knows when, and input that nobody reads: an instruction is not understood."""
    found = [
        f"{of.kernel}: data decide when a loop ends, at {at}" for of in launches for at in of.unknown if "loop" in at
    ]
    read = sum(of.read for of in launches)
    if read < UNDERSTOOD * call.input:
        found.append(f"reads {read:,.0f} of {call.input:,} bytes")
    return found


def time_of(call: Call, launch: LaunchAccount, card: Card) -> dict[str, float]:
    """Microseconds by what could bound a launch. Thread blocks are dealt out evenly: the multiprocessor with the most
    has this share of them."""
    share = -(-launch.blocks // card.multiprocessors) / launch.blocks
    result = {"memory": moved_bytes(call, launch, card) / card.gb_per_s / 1e3}
    result["issue"] = launch.instructions * share / SHEETS["schedulers"] / card.mhz
    for pipe in PIPES:
        result[pipe] = launch.of_pipe(pipe) * WARP * share / getattr(card, pipe) / card.mhz
    return result


def account(call: Call, launches: list[LaunchAccount], architecture: int) -> Account:
    card = Card.of(architecture)
    each = [time_of(call, launch, card) for launch in launches]
    times = {name: sum(of[name] for of in each) for name in each[0]}
    busy = sum(max(of.values()) for of in each)  # a launch follows the one before
    times["launch"] = SHEETS["launch_us"] * len(launches)
    bound = "launch" if busy < times["launch"] else max(times, key=lambda name: times[name] * (name != "launch"))
    least = max(busy, times["launch"])
    instructions = sum(launch.instructions for launch in launches)
    exponentials = sum(launch.exponentials for launch in launches)
    per = WARP / call.elements
    return Account(
        call.key, architecture, card.name, len(launches),
        sum(moved_bytes(call, launch, card) for launch in launches), instructions, round(instructions * per, 1),
        exponentials, round(exponentials * per, 2),
        [round(launch.blocks / (launch.resident * card.multiprocessors), 2) for launch in launches],
        {name: round(time, 3) for name, time in times.items()}, bound, round(least, 2),
        round(max(call.least_bytes / card.gb_per_s / 1e3, times["launch"] / len(launches)) / least, 2),
        {launch.kernel: launch.unknown for launch in launches}, doubts(call, launches),
    )  # fmt: skip


class Listings:
    """The kernels of an architecture by their readable names, which all architectures have in common."""

    def __init__(self, architecture: int, folder: Path, kernels: list[Kernel]) -> None:
        self._told = {k["kernel"].partition(": ")[2]: k for k in kernels if k["architecture"] == architecture}
        self._code: dict[str, tuple[Any, int, bytes]] = {}
        self._programs: dict[str, Program] = {}
        for source in sources():
            listing = listing_of(source.stem, architecture, folder).read_text()
            code, bases, constants = parse_sass(listing), parameter_base(listing), constant_bank(listing)
            for mangled, name in zip(code, readable(list(code)), strict=True):
                self._code[name] = (code[mangled], bases[mangled], constants.get(mangled, b""))

    def find(self, name: str) -> tuple[Program, int, Kernel]:
        code, base, constants = self._code[name]
        if name not in self._programs:
            self._programs[name] = Program(code, constants)
        return self._programs[name], base, self._told[name]


def accounts(architecture: int, first: int, folder: Path, kernels: list[Kernel]) -> list[dict[str, Any]]:
    """Of all calls on the card of an architecture; the recorder's launchers came with the ``first`` one."""
    card, calls = Card.of(architecture), [Call.parse(entry["call"]) for entry in CALLS]
    listings = Listings(architecture, folder, kernels)
    elf = "\n\n".join(listing_of(source.stem, first, folder).read_text() for source in sources())
    recorded = record(
        folder / "record", elf, [call.key for call in calls], architecture, card.multiprocessors, card.block_shared
    )
    result = []
    for call, launches in zip(calls, recorded, strict=True):
        walked = []
        for launch, name in zip(launches, readable([launch.kernel for launch in launches]), strict=True):
            program, base, kernel = listings.find(name)
            walked.append(walk(program, launch, architecture, base, kernel))
        result.append(asdict(account(call, walked, architecture)))
    return result


def account_all(architectures: list[int], folder: Path, kernels: list[Kernel], jobs: int) -> list[dict[str, Any]]:
    link_recorder(architectures[0], folder)
    work = partial(accounts, first=architectures[0], folder=folder.resolve(), kernels=kernels)
    with ProcessPoolExecutor(jobs) as pool:
        results = track(pool.map(work, architectures), "counting", len(architectures), console=Console(stderr=True))
        return list(chain.from_iterable(results))
