"""Where the rows of a tile lie in shared memory (csrc/cuda/tile.cuh), as the code itself says, and who waits for whom.

Shared memory has 32 banks of 4 bytes. A warp's access takes as many turns as the fullest bank has words to give; one of
8 bytes a thread goes by half warps.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from cuda_emulator import CSRC

pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc: none on PATH")

# For every slot and lane of a warp that has a column there, where it reads, in bytes; else -1. Returns the slots, or 0
# where rows of this many classes lie in no tile.
SOURCE = """
#include "cuda/tile.cuh"
using namespace amgan::cuda;

template <typename Scalar>
int places(int64_t classes, int64_t columns, int* at) {
  return with_layout<Scalar, 1>(classes, [&](auto layout) {
    using Rows = decltype(layout);
    if (!Rows::kInTile) return 0;
    const int pitch = Tile<Scalar, Rows>::pitch(columns);
    for (int slot = 0; slot < Rows::kValues; ++slot) {
      for (int lane = 0; lane < 32; ++lane) {
        const int column = Rows::column(lane % Rows::kThreads, slot);
        *at++ = column < classes ? (lane / Rows::kThreads * pitch + column) * static_cast<int>(sizeof(Scalar)) : -1;
      }
    }
    return Rows::kValues;
  });
}

extern "C" int places_2(int64_t classes, int64_t columns, int* at) { return places<__half>(classes, columns, at); }
extern "C" int places_4(int64_t classes, int64_t columns, int* at) { return places<float>(classes, columns, at); }
extern "C" int places_8(int64_t classes, int64_t columns, int* at) { return places<double>(classes, columns, at); }
"""

Turns = Callable[[int, int, int], int]
sizes = pytest.mark.parametrize("size", [2, 4, 8])


def turns_of_access(size: int, places: list[int]) -> int:
    """Of one access of a warp, by its addresses."""
    turns = 0
    for phase in (places,) if size < 8 else (places[:16], places[16:]):
        words: dict[int, set[int]] = defaultdict(set)
        for place in phase:
            if place >= 0:
                for word in range(place // 4, (place + size - 1) // 4 + 1):
                    words[word % 32].add(word)
        turns = max([turns, *map(len, words.values())])
    return turns


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> Turns:
    """turns(bytes of an element, classes, columns): the most that one access of a row takes; 0 outside of tiles."""
    folder: Path = tmp_path_factory.mktemp("tiles")
    (folder / "places.cu").write_text(SOURCE)
    command = ["nvcc", "-std=c++17", "-shared", "-Xcompiler", "-fPIC", f"-I{CSRC}", "places.cu", "-o", "places.so"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    library = ctypes.CDLL(str(folder / "places.so"))

    def most(size: int, classes: int, columns: int) -> int:
        at = (ctypes.c_int * 1024)()
        places = getattr(library, f"places_{size}")
        slots = places(ctypes.c_int64(classes), ctypes.c_int64(columns), at)
        accesses = (list(at[32 * slot : 32 * slot + 32]) for slot in range(slots))
        return max((turns_of_access(size, access) for access in accesses), default=0)

    return most


def test_turns_are_counted_by_bank():
    assert turns_of_access(4, list(range(0, 128, 4))) == 1
    assert turns_of_access(4, list(range(0, 64 * 32, 64))) == 16
    assert turns_of_access(2, list(range(0, 64, 2))) == 1  # two threads, one word
    assert turns_of_access(8, list(range(0, 256, 8))) == 1
    assert turns_of_access(8, list(range(0, 128 * 32, 128))) == 16


@sizes
@pytest.mark.parametrize("columns", [16, 32, 64])
def test_rows_of_a_power_of_two_wait_for_no_bank(size, columns, turns):
    assert turns(size, columns, columns) == 1  # class logits alone
    assert turns(size, columns - 1, columns) == 1  # with the generated class


@sizes
def test_no_row_of_a_tile_takes_more_than_four_turns(size, turns):
    for classes in range(1, 65):
        for columns in (classes, classes + 1):
            assert 1 <= turns(size, classes, columns) <= (2 if classes <= 16 else 4), (classes, columns)
    assert turns(size, 65, 65) == 0
