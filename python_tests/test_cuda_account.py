"""What tools.cuda_check counts of a launch, on hand-made machine code whose counts are known, without nvcc; the last
tests compile a kernel. None needs a GPU."""

from __future__ import annotations

import shutil
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tools.cuda_check import compiler
from tools.cuda_check.account import PIPES, SHEETS, Call, Card, LaunchAccount, account, moved_bytes, samples, time_of
from tools.cuda_check.launches import constant_bank, parameter_base, parameter_places, parse_record
from tools.cuda_check.machine import Counts, Launch, Machine
from tools.cuda_check.occupancy import LIMITS
from tools.cuda_check.operands import Address, address, parse
from tools.cuda_check.program import Program
from tools.cuda_check.sass import Instruction, parse_sass
from tools.cuda_check.steps import decode

BASE = 0x210  # of the parameters


def sass_of(*code: str) -> list[Instruction]:
    lines = (f"        /*{16 * i:04x}*/  {instruction} ;\n" for i, instruction in enumerate(code))
    return parse_sass("\t\tFunction : f\n" + "".join(lines))["f"]


def gone_through(*code: str, threads: int = 32, blocks: int = 1, index: int = 0, parameters: bytes = b"",
                 labels: tuple[tuple[int, int], ...] = ()) -> Counts:  # fmt: skip
    launch = Launch((blocks, 1, 1), (threads, 1, 1), parameters, BASE, labels=labels)
    return Machine(Program(sass_of(*code)), launch, index).run()


def value_of(*code: str, register: int = 0, parameters: bytes = b"") -> list[int]:
    """What a register of each thread holds in the end; the code decides on something by it, so that it is looked at."""
    code = (*code, f"ISETP.NE.AND P0, PT, R{register}, RZ, PT", "@P0 EXIT", "EXIT")
    launch = Launch((3, 1, 1), (32, 1, 1), parameters, BASE)
    machine = Machine(Program(sass_of(*code)), launch, 2)
    machine.run()
    assert machine.known[register, :].all()
    return [int(x) for x in machine.values[register, :]]


LOOP = (
    "MOV R0, RZ",
    "LDC R1, c[0x0][0x210]",
    "MUFU.EX2 R2, R2",
    "IADD3 R0, R0, 0x1, RZ",
    "ISETP.GE.AND P0, PT, R0, R1, PT",
    "@!P0 BRA 0x20",
    "EXIT",
)


@pytest.mark.parametrize("trips", [1, 5, 1000])
def test_a_loop_runs_as_often_as_its_parameter_says(trips):
    counts = gone_through(*LOOP, threads=96, parameters=struct.pack("<i", trips))
    assert counts.instructions == 3 * (2 + 4 * trips + 1)
    assert counts.opcodes["MUFU.EX2"] == 3 * trips
    assert not counts.unknown


def test_a_grid_is_strided_by_its_blocks():
    """Rows blockIdx, blockIdx + gridDim, ... below 10: of 4 blocks the first two have three rows, the others two."""
    code = (
        "S2R R0, SR_CTAID.X",
        "ISETP.GE.AND P0, PT, R0, 0xa, PT",
        "@P0 EXIT",
        "LDC R1, c[0x0][0xc]",
        "IMAD.IADD R0, R0, 0x1, R1",
        "BRA 0x10",
    )
    rows = [gone_through(*code, blocks=4, index=i).opcodes["BRA"] for i in range(4)]
    assert rows == [3, 3, 2, 2]


def test_a_warp_that_diverges_goes_both_ways_and_then_together():
    code = (
        "S2R R0, SR_LANEID",
        "BSSY B0, 0x70",
        "ISETP.GE.U32.AND P0, PT, R0, 0x8, PT",
        "@P0 BRA 0x60",
        "FADD R1, R1, R1",
        "FADD R1, R1, R1",
        "BSYNC B0",
        "FMUL R1, R1, R1",
        "EXIT",
    )
    counts = gone_through(*code)
    assert counts.opcodes["FADD"] == 2
    assert counts.opcodes["FMUL"] == 1, "after the barrier the warp is one again"


def test_lanes_that_come_late_are_waited_for_behind_rare_code():
    """Two lanes take a detour that lies behind the end, and come back to the barrier."""
    code = (
        "S2R R0, SR_LANEID",
        "BSSY B0, 0x50",
        "ISETP.LT.U32.AND P0, PT, R0, 0x2, PT",
        "@P0 BRA 0x70",
        "BSYNC B0",
        "FMUL R1, R1, R1",
        "EXIT",
        "FADD R1, R1, R1",
        "BRA 0x40",
    )
    counts = gone_through(*code)
    assert (counts.opcodes["FADD"], counts.opcodes["FMUL"]) == (1, 1)


def test_a_block_waits_at_its_barrier_and_threads_that_left_are_not_waited_for():
    """The first thread writes to shared memory what all read behind the barrier: who is last."""
    code = (
        "S2R R0, SR_TID.X",
        "ISETP.NE.AND P1, PT, R0, RZ, PT",
        "@!P1 ATOMG.E.INC.STRONG.GPU PT, R2, desc[UR4][R4.64], R6",
        "LDC R3, c[0x0][0xc]",
        "@!P1 IADD3 R3, R3, -0x1, RZ",
        "@!P1 ISETP.EQ.AND P0, PT, R2, R3, PT",
        "@!P1 SEL R2, RZ, 0x1, !P0",
        "@!P1 STS.U8 [RZ+0x10], R2",
        "BAR.SYNC.DEFER_BLOCKING 0x0",
        "LDS.U8 R5, [RZ+0x10]",
        "ISETP.NE.AND P0, PT, R5, RZ, PT",
        "@!P0 EXIT",
        "DADD R8, R8, R8",
        "EXIT",
    )
    doubles = [gone_through(*code, threads=64, blocks=3, index=i).opcodes["DADD"] for i in range(3)]
    assert doubles == [0, 0, 2], "only the block that comes last"


def test_what_data_decide_takes_the_shorter_way_and_is_told():
    code = (
        "LDG.E R0, desc[UR4][R2.64]",
        "FSETP.NAN.AND P0, PT, R0, R0, PT",
        "@P0 BRA 0x50",
        "FMUL R1, R1, R1",
        "EXIT",
        *["FADD R1, R1, R1"] * 9,
        "BRA 0x30",
    )
    counts = gone_through(*code)
    assert counts.opcodes["FADD"] == 0
    assert dict(counts.unknown) == {0x20: 1}


def test_the_end_of_a_loop_that_nobody_knows_is_told_as_such():
    program = Program(sass_of("LDG.E R0, [R2]", "ISETP.NE.AND P0, PT, R0, RZ, PT", "@P0 BRA 0x0", "EXIT"))
    assert program.repeats == {0x20}
    assert Program(sass_of("@P0 BRA 0x20", "FADD R1, R1, R1", "EXIT")).repeats == set()


def test_labels_are_known_memory():
    code = (
        "LDC.64 R2, c[0x0][0x210]",
        "LDG.E.64 R4, desc[UR4][R2.64]",
        "ISETP.EQ.AND P0, PT, R4, 0x3, PT",
        "@!P0 BRA 0x60",
        "ISETP.EQ.AND P0, PT, R5, RZ, PT",
        "@P0 EXIT",
        "FADD R1, R1, R1",
        "EXIT",
    )
    place = 1 << 40
    known = gone_through(*code, parameters=struct.pack("<q", place), labels=((place, 64),))
    assert known.opcodes["FADD"] == 0
    assert not known.unknown


def test_bytes_are_those_of_threads_whose_predicate_holds():
    code = (
        "S2R R0, SR_TID.X",
        "ISETP.GE.AND P0, PT, R0, 0x5, PT",
        "@!P0 LDG.E.128 R4, desc[UR4][R2.64]",
        "STG.E.U16 desc[UR4][R2.64], R4",
        "EXIT",
    )
    counts = gone_through(*code, threads=64)
    assert (counts.read, counts.written) == (5 * 16, 64 * 2)


def test_a_call_comes_back_behind_itself():
    code = (
        "CALL.REL.NOINC 0x40",
        "FADD R1, R1, R1",
        "CALL.REL.NOINC 0x40",
        "EXIT",
        "FMUL R1, R1, R1",
        "RET.REL.NODEC R6 0x0",
    )
    counts = gone_through(*code)
    assert (counts.opcodes["FMUL"], counts.opcodes["FADD"], counts.opcodes["EXIT"]) == (2, 1, 1)


def test_a_jump_that_a_register_decides_is_refused():
    with pytest.raises(NotImplementedError, match="BRX"):
        gone_through("BRX R2 -0x10", "EXIT")


DIVISION = (  # of R8 by R9, as the compiler writes it
    "I2F.U32.RP R0, R9",
    "MUFU.RCP R0, R0",
    "IADD3 R2, R0, 0xffffffe, RZ",
    "F2I.FTZ.U32.TRUNC.NTZ R3, R2",
    "IMAD.MOV.U32 R2, RZ, RZ, RZ",
    "IMAD.MOV R4, RZ, RZ, -R3",
    "IMAD R4, R4, R9, RZ",
    "IMAD.HI.U32 R3, R3, R4, R2",
    "IMAD.HI.U32 R0, R3, R8, RZ",
    "IMAD.MOV R3, RZ, RZ, -R0",
    "IMAD R3, R9, R3, R8",
    "ISETP.GE.U32.AND P0, PT, R3, R9, PT",
    "@P0 IMAD.IADD R3, R3, 0x1, -R9",
    "@P0 VIADD R0, R0, 0x1",
    "ISETP.GE.U32.AND P1, PT, R3, R9, PT",
    "@P1 VIADD R0, R0, 0x1",
)


@pytest.mark.parametrize(
    ("a", "b"), [(7, 7), (1000, 3), (4_000_000_000, 7), (2**32 - 1, 1), (123_456_789, 1001), (5, 9)]
)
def test_the_compilers_division(a, b):
    values = value_of("LDC.64 R8, c[0x0][0x210]", *DIVISION, parameters=struct.pack("<II", a, b))
    assert values == [a // b] * 32


A, B = 0xFFFFFFF0, 0x12345678


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("IADD3 R0, R2, R3, 0x5", (A + B + 5) % 2**32),
        ("IADD3 R0, -R2, R3, RZ", (B - A) % 2**32),
        ("IMAD R0, R2, R3, R2", (A * B + A) % 2**32),
        ("IMAD.HI.U32 R0, R2, R3, RZ", A * B >> 32),
        ("LEA R0, R3, R2, 0x4", ((B << 4) + A) % 2**32),
        ("LEA.HI R0, R2, R3, RZ, 0x4", B + (A >> 28)),
        ("LOP3.LUT R0, R2, R3, RZ, 0xc0, !PT", A & B),
        ("LOP3.LUT R0, R2, R3, RZ, 0x3c, !PT", A ^ B),
        ("SHF.R.U32.HI R0, RZ, 0x4, R2", A >> 4),
        ("SHF.R.S32.HI R0, RZ, 0x2, R2", 0xFFFFFFFC),
        ("SHF.L.U32 R0, R3, 0x4, RZ", (B << 4) % 2**32),
        ("SHF.R.U64 R0, R2, 0x8, R3", ((B << 32 | A) >> 8) % 2**32),
        ("SHF.L.U64.HI R0, R2, 0x8, R3", ((B << 32 | A) << 8 >> 32) % 2**32),
        ("PRMT R0, R3, 0x3210, RZ", B),
        ("PRMT R0, R2, 0x8880, RZ", 0xFFFFFFF0),
        ("IMNMX R0, R2, R3, PT", A),
        ("VIMNMX.U32 R0, R2, R3, PT", B),
        ("VIMNMX.S32 R0, PT, PT, R2, R3, !PT", B),
        ("IABS R0, R2", 16),
        ("SEL R0, R2, R3, !PT", B),
        ("POPC R0, R2", 28),
        ("FLO.U32 R0, R3", 28),
        ("SGXT R0, R2, 0x5", 0xFFFFFFF0),
        ("BMSK R0, RZ, 0x5", 31),
        ("HFMA2.MMA R0, -RZ, RZ, 1, 0", 0x3C000000),
        ("MOV R0, c[0x0][0x214]", B),
        ("CS2R R0, SRZ", 0),
    ],
)
def test_integers(instruction, expected):
    values = value_of("LDC.64 R2, c[0x0][0x210]", instruction, parameters=struct.pack("<II", A, B))
    assert values == [expected] * 32


def test_sums_and_comparisons_of_64_bits():
    a, b = 2**40 + 2**31, 2**33 + 2**31 + 7
    code = (
        "LDC.64 R2, c[0x0][0x210]",
        "LDC.64 R4, c[0x0][0x218]",
        "IADD3 R6, P0, R2, R4, RZ",
        "IADD3.X R7, R3, R5, RZ, P0, !PT",
        "IADD.64 R8, R2, R4",
        "ISETP.GT.U32.AND P0, PT, R2, R4, PT",
        "ISETP.GT.AND.EX P0, PT, R3, R5, PT, P0",
        "SEL R0, R7, RZ, P0",
        "ISETP.GT.S64.AND P1, PT, R2, R4, P0",
        "@P1 IMAD.IADD R0, R0, 0x1, R9",
    )
    assert value_of(*code, parameters=struct.pack("<qq", a, b)) == [2 * ((a + b) >> 32)] * 32


def test_uniform_predicates_kept_in_a_register():
    code = ("UISETP.NE.AND UP0, UPT, UR2, URZ, UPT", "UP2UR UR4, UPR, URZ, 0x1", "MOV R0, UR4")
    assert value_of("ULDC UR2, c[0x0][0x210]", *code, parameters=struct.pack("<i", 7)) == [1] * 32


def test_what_threads_tell_each_other():
    lanes = np.arange(32)
    assert value_of("S2R R2, SR_LANEID", "SHFL.BFLY PT, R0, R2, 0x4, 0x1f") == list(lanes ^ 4)
    assert value_of("S2R R2, SR_LANEID", "SHFL.DOWN PT, R0, R2, 0x4, 0x1f") == [
        min(i + 4, i) if i > 27 else i + 4 for i in range(32)
    ]
    code = ("S2R R2, SR_LANEID", "ISETP.LT.AND P0, PT, R2, 0x3, PT", "VOTE.ANY R0, PT, P0")
    assert value_of(*code) == [7] * 32


def test_operands():
    assert (parse("-R5").index, parse("-R5").sign) == (5, "-")
    assert (parse("c[0x0][UR37+0x168]").base, parse("c[0x0][UR37+0x168]").value) == (256 + 37, 0x168)
    assert parse("!UP0").index == 8
    assert address("desc[UR36][R4.64+-0x10]") == Address(((4, 64, 1),), -16)
    assert address("[R6.X4+UR5+0x80]") == Address(((6, 32, 4), (256 + 5, 0, 1)), 128)
    step = decode(Instruction(0, "@!P2", "LDG.E.128", "R8, desc[UR4][R2.64]"))
    assert step.guard == (2, True)
    assert step.targets == [("r", 8, 4)]


# --- From the recorder

ELF = """\
.nv.info._Z1fPfi
\t<0x1>
\tAttribute:\tEIATTR_KPARAM_INFO
\tFormat:\tEIFMT_SVAL
\tValue:\tIndex : 0x0\tOrdinal : 0x1\tOffset  : 0x8\tSize    : 0x4
\t\tPointee's logAlignment : 0x0\tSpace : 0x0\tcbank : 0x1f\tParameter Space : CBANK\t
\t<0x2>
\tAttribute:\tEIATTR_KPARAM_INFO
\tFormat:\tEIFMT_SVAL
\tValue:\tIndex : 0x0\tOrdinal : 0x0\tOffset  : 0x0\tSize    : 0x8
\t<0x3>
\tAttribute:\tEIATTR_PARAM_CBANK
\tFormat:\tEIFMT_SVAL
\tValue:\t0x82 0xc0210

.nv.constant2._Z1fPfi
0x00000140 0x3f800000\x20
"""


def test_places_of_parameters_and_constants():
    assert parameter_places(ELF) == {"_Z1fPfi": [(0, 8), (8, 4)]}
    assert parameter_base(ELF) == {"_Z1fPfi": 0x210}
    assert constant_bank(ELF) == {"_Z1fPfi": struct.pack("<If", 0x140, 1.0)}


def test_recorded_launches():
    calls = parse_record("memory 4096 64\nf 2 1 1 128 1 1 512 0a00\ng 3 1 1 32 1 1 0 ff\n\nf 1 1 1 128 1 1 0 01\n\n")
    assert [[launch.kernel for launch in of] for of in calls] == [["f", "g"], ["f"]]
    first = calls[0][0]
    assert (first.grid, first.block, first.shared) == ((2, 1, 1), (128, 1, 1), 512)
    assert (first.parameters, first.memory) == (b"\n\0", ((4096, 64),))
    assert calls[1][0].memory == ()


# --- Times

CALL = Call.parse("class_entropy_and_grad float32 1000 1000")


def launched(blocks: int = 1320, **opcodes: float) -> LaunchAccount:
    return LaunchAccount("f", blocks, 128, 8, Counter(opcodes), CALL.input, CALL.input, {}, 0)


def test_thread_blocks_gone_through_stand_for_all():
    assert samples(3, 5) == {0: 1.0, 1: 1.0, 2: 1.0}
    for blocks in (6, 7, 1000):
        of = samples(blocks, 5)
        assert sum(of.values()) == pytest.approx(blocks)
        assert of[blocks - 1] == 1, "the last one may add up what all have left"
        assert max(of) == blocks - 1
    assert samples(1000, 2) == {499: 999.0, 999: 1.0}


def test_each_limit_by_its_rate():
    card = Card.of(90)
    times = time_of(CALL, launched(FFMA=1.32e6, **{"MUFU.EX2": 1.32e6, "DADD": 1.32e6}), card)
    each = 1.32e6 / 132 / card.mhz
    assert times["issue"] == pytest.approx(3 * each / 4)
    assert times["float32"] == pytest.approx(each * 32 / 128)
    assert times["special"] == pytest.approx(each * 32 / 16)
    assert times["float64"] == pytest.approx(each * 32 / 64)
    assert times["memory"] == pytest.approx(8e6 / card.gb_per_s / 1e3)


def test_one_multiprocessor_has_more_thread_blocks_than_the_others():
    few, many = (time_of(CALL, launched(blocks, FFMA=1e6), Card.of(90))["issue"] for blocks in (133, 13_200))
    assert few / many == pytest.approx(2 / 133 * 132)


def test_rows_that_are_read_again_come_from_the_cache_where_they_fit():
    launch = launched()
    launch.read = 2 * CALL.input
    assert moved_bytes(CALL, launch, Card.of(90)) == 2 * CALL.input
    tall = Call.parse("class_entropy_and_grad float32 4096 1000000")
    launch.read, launch.written = 2 * tall.input, tall.input
    assert moved_bytes(tall, launch, Card.of(90)) == 3 * tall.input


@pytest.mark.parametrize(("instructions", "bound"), [(1e6, "memory"), (1e8, "issue")])
def test_the_least_time_is_that_of_the_limit(instructions, bound):
    found = account(CALL, [launched(IMAD=instructions)], 90)
    assert found.bound == bound
    assert found.least_us == pytest.approx(found.times[bound], rel=0.01)
    assert found.per_element == pytest.approx(instructions * 32 / 1e6, rel=0.01)
    assert found.share_of_copy == pytest.approx(min(1, found.times["memory"] / found.least_us), abs=0.01)


def test_input_that_is_not_read_and_loops_without_a_known_end_are_doubts():
    launch = launched(IMAD=1)
    assert account(CALL, [launch], 90).doubts == []
    launch.read = 0.99 * CALL.input  # blocks that stand for others have a round less
    assert account(CALL, [launch], 90).doubts == []
    launch.read, launch.unknown = 0.9 * CALL.input, {"0x50": 1, "0x60 (of a loop)": 2}
    assert account(CALL, [launch], 90).doubts == [
        "f: data decide when a loop ends, at 0x60 (of a loop)",
        "reads 3,600,000 of 4,000,000 bytes",
    ]


def test_a_launch_that_does_next_to_nothing_is_bound_by_being_one():
    tiny = Call.parse("am_discriminator_loss_and_grad float32 100 11")
    launch = launched(blocks=1, IMAD=1000)
    launch.read = launch.written = tiny.input
    found = account(tiny, [launch], 90)
    assert (found.bound, found.least_us) == ("launch", SHEETS["launch_us"])


def test_every_architecture_has_a_data_sheet_whose_figures_have_a_source():
    for architecture in LIMITS:
        card = Card.of(architecture)
        assert card.name in SHEETS["sources"]
        assert all(getattr(card, pipe) > 0 for pipe in PIPES)
        assert card.block_shared <= LIMITS[architecture].shared


# --- With the compiler

KERNEL = """
extern "C" __global__ void __launch_bounds__(64) tiny(const float* in, float* out, int rows, int columns) {
  for (int row = blockIdx.x; row < rows; row += gridDim.x) {
    float sum = 0;
#pragma unroll 1
    for (int k = threadIdx.x; k < columns; k += 64) {
      float e;
      asm volatile("ex2.approx.f32 %0, %1;" : "=f"(e) : "f"(in[row * columns + k]));
      sum += e;
    }
    out[row * 64 + threadIdx.x] = sum;
  }
}
"""
TOOLS = all(shutil.which(name) for name in ("nvcc", "c++filt"))


@pytest.mark.skipif(not TOOLS, reason="needs nvcc")
@pytest.mark.parametrize("architecture", [75, 90, 120])
def test_a_compiled_kernel_takes_the_exponentials_that_its_rows_have(architecture, tmp_path):
    """200 columns are 3 rounds of both warps, and one of the first 8 threads; rows 1, 4 and 7 are those of block 1."""
    try:
        cuobjdump = compiler.tool("cuobjdump")
    except SystemExit as missing:
        pytest.skip(str(missing))
    (tmp_path / "tiny.cu").write_text(KERNEL)
    code = [f"-gencode=arch=compute_{architecture},code=sm_{architecture}", "-cubin"]
    compiler.run("nvcc", *code, "-o", tmp_path / "tiny.cubin", tmp_path / "tiny.cu")
    listing = compiler.run(cuobjdump, "-elf", "-sass", Path(tmp_path / "tiny.cubin"))
    program = Program(parse_sass(listing)["tiny"], constant_bank(listing).get("tiny", b""))
    parameters = struct.pack("<qqii", 1 << 40, 1 << 41, 8, 200)
    base = parameter_base(listing)["tiny"]
    counts = Machine(program, Launch((3, 1, 1), (64, 1, 1), parameters, base, architecture), 1).run()
    assert not counts.unknown
    assert counts.opcodes["MUFU.EX2"] == 3 * (2 * 3 + 1)
    assert (counts.read, counts.written) == (3 * 200 * 4, 3 * 64 * 4)
    inside = sum(count for opcode, count in counts.opcodes.items() if opcode.startswith("LDG"))
    assert inside == counts.opcodes["MUFU.EX2"]
