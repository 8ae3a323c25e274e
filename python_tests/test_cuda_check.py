"""What tools.cuda_check reads out of the compiler's output, and its verdicts; without nvcc and without a GPU."""

from __future__ import annotations

import json
import shutil

import pytest

from tools.cuda_check import gate
from tools.cuda_check.compiler import parse_ptxas, parse_threads, readable
from tools.cuda_check.kernels import per_logit, summarize
from tools.cuda_check.loops import natural_loops, per_exponential, straight_way
from tools.cuda_check.occupancy import blocks_per_sm
from tools.cuda_check.sass import Instruction, parse_sass

PTXAS = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z5firstv' for 'sm_90'
ptxas info    : Function properties for _Z5firstv
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 30 registers, used 1 barriers, 128 bytes smem, 408 bytes cmem[0]
ptxas info    : Compiling entry function '_Z6secondv' for 'sm_90'
ptxas info    : Function properties for _Z6secondv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
"""

ELF = """\
.nv.info
\t<0x1>
\tAttribute:\tEIATTR_REGCOUNT
\tFormat:\tEIFMT_SVAL
\tValue:\tfunction: _Z5firstv(0xb)\tregister count: 30


.nv.info._Z5firstv
\t<0x1>
\tAttribute:\tEIATTR_MAXREG_COUNT
\tFormat:\tEIFMT_HVAL
\tValue:\t0xff
\t<0x2>
\tAttribute:\tEIATTR_MAX_THREADS
\tFormat:\tEIFMT_SVAL
\tValue:\t0x80 0x2 0x1\x20


.nv.info._Z6secondv
\t<0x1>
\tAttribute:\tEIATTR_MAXREG_COUNT
\tFormat:\tEIFMT_HVAL
\tValue:\t0xff
"""

# A loop over rows (0010 to 00b0) around one over columns (0030 to 0070), and behind the end what warps do that have
# diverged, with a branch back into the middle that is no loop.
SASS = """\
\t\tFunction : _Z4loopv
\t.headerflags\t@"EF_CUDA_SM90"
        /*0000*/                   LDC R1, c[0x0][0x28] ;             /* 0x00000a00ff017b82 */
                                                                      /* 0x000fe20000000800 */
        /*0010*/                   LDG.E.128 R4, desc[UR4][R2.64] ;   /* 0x00000a00ff017b82 */
        /*0020*/                   MUFU.EX2 R3, R3 ;                  /* 0x00000a00ff017b82 */
        /*0030*/                   LDG.E.U16.CONSTANT R5, [R2.64] ;   /* 0x00000a00ff017b82 */
        /*0040*/              @!P1 LDG.E R6, desc[UR4][R2.64+0x4] ;   /* 0x00000a00ff017b82 */
        /*0050*/                   MUFU.EX2 R5, R5 ;                  /* 0x00000a00ff017b82 */
        /*0060*/                   MUFU.EX2 R6, R6 ;                  /* 0x00000a00ff017b82 */
        /*0070*/               @P0 BRA 0x30 ;                         /* 0x00000a00ff017b82 */
        /*0080*/                   BRA.DIV UR4, 0xe0 ;                /* 0x00000a00ff017b82 */
        /*0090*/                   SHFL.BFLY PT, R7, R6, 0x1, 0x1f ;  /* 0x00000a00ff017b82 */
        /*00a0*/                   STG.E.64 desc[UR4][R2.64], R6 ;    /* 0x00000a00ff017b82 */
        /*00b0*/                   BRA P2, 0x10 ;                     /* 0x00000a00ff017b82 */
        /*00c0*/                   EXIT ;                             /* 0x00000a00ff017b82 */
        /*00e0*/                   WARPSYNC.COLLECTIVE R3, 0x100 ;    /* 0x00000a00ff017b82 */
        /*00f0*/                   BRA 0xa0 ;                         /* 0x00000a00ff017b82 */
        /*0100*/                   BRA 0x100;                         /* 0x00000a00ff017b82 */
        /*0110*/                   NOP;                               /* 0x00000a00ff017b82 */
\t\tFunction : _Z8unrolledv
        /*0000*/                   LDL R1, [R0] ;                     /* 0x00000a00ff017b82 */
        /*0010*/                   MUFU.EX2 R5, R5 ;                  /* 0x00000a00ff017b82 */
        /*0020*/                   STL.64 [R0], R1 ;                  /* 0x00000a00ff017b82 */
        /*0030*/                   EXIT ;                             /* 0x00000a00ff017b82 */
\t\tFunction : _Z4copyv
        /*0000*/                   EXIT ;                             /* 0x00000a00ff017b82 */
"""


def test_ptxas_output():
    kernels = parse_ptxas(PTXAS)
    assert kernels["_Z5firstv"] == {"registers": 30, "shared": 128, "spilled": 16}
    assert kernels["_Z6secondv"] == {"registers": 255, "shared": 0, "spilled": 0}


def test_launch_bounds_or_the_most_that_any_launch_may_have():
    assert parse_threads(ELF) == {"_Z5firstv": 256, "_Z6secondv": 1024}


def test_accesses_and_counts_of_sass():
    code = parse_sass(SASS)
    looping, unrolled = (summarize(code[name]) for name in ("_Z4loopv", "_Z8unrolledv"))
    assert looping["loads"] == {128: 1, 32: 1, 16: 1}
    assert looping["stores"] == {64: 1}
    assert looping["widest_load"] == 128
    assert (looping["ex2"], looping["local"], looping["instructions"]) == (3, 0, 16)
    assert (unrolled["ex2"], unrolled["local"], unrolled["instructions"]) == (1, 2, 4)


@pytest.mark.parametrize(("name", "expected"), [("_Z4loopv", 2.5), ("_Z8unrolledv", None), ("_Z4copyv", None)])
def test_instructions_per_exponential_of_a_loop(name, expected):
    assert per_exponential(parse_sass(SASS)[name]) == expected


def sass_of(*code: str) -> list[Instruction]:
    lines = (f"        /*{16 * i:04x}*/  {instruction} ;\n" for i, instruction in enumerate(code))
    return parse_sass("\t\tFunction : f\n" + "".join(lines))["f"]


def test_a_detour_counts_neither_in_a_loop():
    """Over the exponential at 0x20, or first through the three instructions that begin at 0x50."""
    code = sass_of("FMNMX R0, R0", "@P0 BRA 0x50", "MUFU.EX2 R1, R1", "@P1 BRA 0x0", "EXIT", *["FMUL R2, R2"] * 3)
    code += [Instruction(0x80, "", "BRA", "0x20")]
    assert per_exponential(code) == 4.0


def test_nor_in_unrolled_code():
    """What reads and writes 128 bits and the exponentials is gone through, the rest where there is no way around."""
    code = sass_of("@P0 BRA 0x30", "LDG.E.128 R0, R2", "BRA 0x30", "@P1 BRA 0x60", "FADD R1, R1", "FADD R1, R1")
    assert straight_way([*code, Instruction(0x60, "", "EXIT", "")]) == 5


def test_instructions_per_logit_of_rows_in_registers_are_what_more_of_them_add():
    kernels = [
        {"kernel": f"f: f<{name}>", "straight_way": way, "per_exponential": 3.0, "ex2": 9}
        for name, way in {
            "float, Layout<8, 8>": 90,
            "float, Layout<128, 8>": 100,
            "float, Layout<256, 32>": 340,
            "half, Layout<256, 32>": 300,
            "float, Layout<256, 0>": 70,
        }.items()
    ]
    assert [per_logit(kernel, kernels) for kernel in kernels] == [None, 10.0, 10.0, 3.0, 3.0]


def test_nops_take_their_turn_between_instructions_but_not_behind_the_last():
    assert [instruction.opcode for instruction in sass_of("DADD R0, R2, R4", "NOP", "EXIT", "NOP")] == [
        "DADD",
        "NOP",
        "EXIT",
    ]


def test_loops_without_the_path_of_diverged_warps():
    code = parse_sass(SASS)["_Z4loopv"]
    loops = [[code[i].address for i in sorted(loop)] for loop in natural_loops(code)]
    assert sorted(loops) == [list(range(0x10, 0xC0, 0x10)), list(range(0x30, 0x80, 0x10))]


@pytest.mark.parametrize(
    ("architecture", "threads", "registers", "shared", "blocks"),
    [
        # CUDA C++ Best Practices Guide, "Calculating Occupancy": 37 registers, 75% and 63% of 2,048 threads
        (80, 128, 37, 0, 12),
        (90, 320, 37, 0, 4),
        # CUDA C++ Programming Guide, "Multiprocessor Level": one register more halves the blocks
        (80, 512, 64, 0, 2),
        (80, 512, 65, 0, 1),
        # the same, "Technical Specifications per Compute Capability": blocks, threads, shared memory
        *((sm, 32, 16, 0, blocks) for sm, blocks in {75: 16, 80: 32, 86: 16, 89: 24, 90: 32, 100: 32, 120: 24}.items()),
        *((sm, 512, 16, 0, blocks) for sm, blocks in {75: 2, 80: 4, 86: 3, 89: 3, 90: 4, 100: 4, 120: 3}.items()),
        *((sm, 32, 16, 48 * 1024, blocks) for sm, blocks in {75: 1, 80: 3, 86: 2, 90: 4, 100: 4, 120: 2}.items()),
    ],
)
def test_occupancy(architecture, threads, registers, shared, blocks):
    assert blocks_per_sm(architecture, threads, registers, shared) == blocks


def kernel(**changes: object) -> dict:
    values = {"kernel": "file: f<float>", "architecture": 90, "spilled": 0, "local": 0}
    return values | {"registers": 40, "per_logit": 20.0, "widest_load": 64} | changes


def counted(architecture: int, per_element: float, call: str = "op float32 8 3") -> dict:
    return {"call": call, "architecture": architecture, "per_element": per_element, "doubts": []}


COUNTED = [counted(75, 30.0), counted(90, 20.0)]


@pytest.fixture
def expected_file(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "EXPECTED", tmp_path / "expected.json")
    gate.accept(gate.compared_values([kernel()]), {"op float32 8 3": {"75": 30.0, "90": 20.0}}, "13.0")
    return tmp_path / "expected.json"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, None),
        ({"registers": 44, "per_logit": 22.0, "widest_load": 128}, None),
        ({"per_logit": None}, None),
        ({"registers": 45}, "40 -> 45 registers"),
        ({"per_logit": 22.1}, "20.0 -> 22.1 instructions per logit"),
        ({"widest_load": 32}, "widest load 64 -> 32 bits"),
        ({"spilled": 8}, "8 bytes spilled"),
        ({"local": 2}, "2 LDL/STL"),
    ],
)
def test_verdicts(changes, verdict, expected_file):
    problems = gate.verdicts([kernel(**changes)], COUNTED, "13.0")
    assert bool(problems) == (verdict is not None)
    assert verdict is None or verdict in problems[0]


def test_added_and_removed_kernels_ask_for_accept(expected_file):
    problems = gate.verdicts([kernel(kernel="file: g<float>")], COUNTED, "13.0")
    assert problems[:2] == ["file: f<float>: no longer exists", "file: g<float>: not in expected.json"]
    assert "--accept" in problems[-1]


@pytest.mark.parametrize(
    ("accounts", "verdict"),
    [
        ([counted(90, 22.0)], None),
        ([counted(90, 22.1)], "sm_90 op float32 8 3: 20.0 -> 22.1 instructions an element"),
        ([counted(75, 34.0), counted(90, 20.0)], "sm_75 op float32 8 3: 30.0 -> 34.0 instructions an element"),
        ([*COUNTED, counted(90, 1.0, "other float32 8 3")], "other float32 8 3: not in expected.json"),
        ([], "op float32 8 3: no longer counted"),
    ],
)
def test_a_call_that_takes_a_tenth_more_instructions_fails_on_any_architecture(accounts, verdict, expected_file):
    problems = gate.verdicts([kernel()], accounts, "13.0")
    assert bool(problems) == (verdict is not None)
    assert verdict is None or problems[0] == verdict


def test_a_count_that_cannot_be_right_fails(expected_file):
    doubted = counted(75, 30.0) | {"doubts": ["reads 5 of 9 bytes"]}
    assert gate.verdicts([kernel()], [doubted], "13.0") == ["sm_75 op float32 8 3: reads 5 of 9 bytes"]


def test_another_compiler_is_named(expected_file):
    assert any("nvcc 13.0, this is 12.8" in line for line in gate.verdicts([kernel(registers=80)], COUNTED, "12.8"))


def test_other_architectures_are_checked_for_local_memory_alone(expected_file):
    assert gate.verdicts([kernel(architecture=75, registers=80)], COUNTED, "13.0") == []
    assert "sm_75" in gate.verdicts([kernel(architecture=75, spilled=4)], COUNTED, "13.0")[0]


def test_accepted_values_stand_one_a_line(expected_file):
    written = expected_file.read_text()
    assert json.loads(written)["kernels"] == {"file: f<float>": {"registers": 40, "per_logit": 20.0, "widest_load": 64}}
    assert json.loads(written)["account"] == {"op float32 8 3": {"75": 30.0, "90": 20.0}}
    assert len(written.splitlines()) == 9
    assert list(expected_file.parent.iterdir()) == [expected_file]


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="c++filt not found")
def test_names():
    in_namespaces = "_ZN5amgan4cuda12_GLOBAL__N_14loopI13__nv_bfloat16NS0_6LayoutILi8ELi2EEELb0EEEvNS1_6ParamsIT_EE"
    assert readable([in_namespaces, "_Z4copyPf"]) == ["loop<bfloat16, Layout<8, 2>, false>", "copy"]
