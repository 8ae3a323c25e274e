"""What the launchers launch: grid, block and parameters of every kernel, recorded from the host code itself.

The launchers are linked with a stand-in for the CUDA runtime (recorder/) that launches nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.cuda_check.machine import Launch


@dataclass(frozen=True)
class Recorded:
    """A launch of the kernel with this mangled name, with bytes of dynamic shared memory."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    parameters: bytes
    memory: tuple[tuple[int, int], ...]

    def on(self, architecture: int, base: int) -> Launch:
        return Launch(self.grid, self.block, self.parameters, base, architecture, self.memory)


def attributes(elf: str) -> dict[str, str]:
    """What cuobjdump -elf shows of a kernel's attributes, by mangled name."""
    return dict(re.findall(r"^\.nv\.info\.(\S+)\n(.*?)\n\n", elf + "\n\n", re.M | re.S))


def parameter_places(elf: str) -> dict[str, list[tuple[int, int]]]:
    """Offset and size of each parameter, in their order, by mangled name."""
    found = {}
    for name, text in attributes(elf).items():
        entries = re.findall(r"Ordinal : 0x(\w+)\s+Offset  : 0x(\w+)\s+Size    : 0x(\w+)", text)
        places = sorted((int(ordinal, 16), int(at, 16), int(size, 16)) for ordinal, at, size in entries)
        found[name] = [(at, size) for _, at, size in places]
    return found


def parameter_base(elf: str) -> dict[str, int]:
    """Where the parameters begin in constant bank 0, by mangled name."""
    found = {}
    for name, text in attributes(elf).items():
        value = re.search(r"EIATTR_PARAM_CBANK\s+Format:\s+\S+\s+Value:\s+0x\w+ 0x(\w+)", text)
        if value:
            found[name] = int(value[1], 16) & 0xFFFF
    return found


def constant_bank(elf: str) -> dict[str, bytes]:
    """The constants that the compiler has put aside for each kernel (bank 2 or 3)."""
    found = {}
    for name, text in re.findall(r"^\.nv\.constant[23]\.(\S+)\n((?:0x\w{8}[ \n])+)", elf, re.M):
        found[name] = b"".join(int(word, 16).to_bytes(4, "little") for word in text.split())
    return found


def parse_record(text: str) -> list[list[Recorded]]:
    """The launches of each call, from what the recorder writes."""
    calls = []
    for answer in text.rstrip("\n").split("\n\n"):
        lines = [line.split() for line in answer.splitlines() if line]
        memory = tuple((int(line[1]), int(line[2])) for line in lines if line[0] == "memory")
        launches = []
        for kernel, *numbers, parameters in (line for line in lines if line[0] != "memory"):
            gx, gy, gz, bx, by, bz, shared = map(int, numbers)
            launches.append(Recorded(kernel, (gx, gy, gz), (bx, by, bz), shared, bytes.fromhex(parameters), memory))
        calls.append(launches)
    return calls


def record(
    recorder: Path, elf: str, calls: list[str], architecture: int, multiprocessors: int, block_shared: int
) -> list[list[Recorded]]:
    """``elf``: of the object files of the recorder, whose kernels have names of their own."""
    places = recorder.with_name(f"record.sm_{architecture}.parameters")
    lines = (" ".join(map(str, (name, *sum(of, ())))) for name, of in parameter_places(elf).items())
    places.write_text("\n".join(lines) + "\n")
    environment = os.environ | {
        "RECORD_PARAMETERS": str(places), "RECORD_ARCHITECTURE": str(architecture),
        "RECORD_MULTIPROCESSORS": str(multiprocessors), "RECORD_BLOCK_SHARED": str(block_shared),
    }  # fmt: skip
    done = subprocess.run(
        [recorder], input="\n".join(calls) + "\n", env=environment, capture_output=True, text=True, check=True
    )
    return parse_record(done.stdout)
