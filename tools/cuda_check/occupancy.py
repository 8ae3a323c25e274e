"""How many thread blocks a multiprocessor of each architecture holds at once."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """What a multiprocessor holds at once."""

    threads: int
    blocks: int
    shared: int  # bytes
    reserved: int  # bytes of shared memory per block that the driver takes
    shared_unit: int  # bytes by which shared memory is allocated


# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; units and the blocks of 12.0, where
# editions of the guide disagree, as in cuda_occupancy.h of CUDA 13.
LIMITS = {
    75: Limits(1024, 16, 64 * 1024, 0, 256),
    80: Limits(2048, 32, 164 * 1024, 1024, 128),
    86: Limits(1536, 16, 100 * 1024, 1024, 128),
    89: Limits(1536, 24, 100 * 1024, 1024, 128),
    90: Limits(2048, 32, 228 * 1024, 1024, 128),
    100: Limits(2048, 32, 228 * 1024, 1024, 128),
    120: Limits(1536, 24, 100 * 1024, 1024, 128),
}
WARP = 32
REGISTERS = 65_536  # of a multiprocessor
REGISTER_UNIT = 256  # by which they are allocated to a warp
PARTITIONS = 4  # of a multiprocessor, each with a quarter of the registers


def round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def blocks_per_sm(architecture: int, threads: int, registers: int, shared: int) -> int:
    """Blocks resident on a multiprocessor, as cudaOccupancyMaxActiveBlocksPerMultiprocessor."""
    limits = LIMITS[architecture]
    warps = round_up(threads, WARP) // WARP
    warp_registers = round_up(registers * WARP, REGISTER_UNIT)
    warps_by_registers = REGISTERS // PARTITIONS // warp_registers * PARTITIONS
    block_shared = round_up(shared + limits.reserved, limits.shared_unit)
    by_shared = limits.shared // block_shared if block_shared else limits.blocks
    return min(limits.blocks, limits.threads // WARP // warps, warps_by_registers // warps, by_shared)
