#!/usr/bin/env bash
# torch 2.13.0, headers of ATen: at::vec::vec_reduce_all, which adds up (or compares) the lanes of a vector, halves a
# vector of floats again and again, and takes a vector of doubles apart: each lane goes through memory into a vector of
# its own, with zeros in the other lanes, and is added by itself. With AVX-512 that is 7 additions of whole vectors for 8
# doubles and 4 for 16 floats, and each addition of doubles waits for stores.
#
# Output seen:
#   torch 2.13.0, AVX-512, instructions
#   float: 4 additions, 0 stores to the stack
#   double: 7 additions, 21 stores to the stack
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
cat >"$folder/reduce.cpp" <<'CPP'
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

template <typename T>
T sum(const T* x) {
  using V = at::vec::Vectorized<T>;
  return at::vec::vec_reduce_all<T>([](const V& a, const V& b) { return a + b; }, V::loadu(x));
}

extern "C" float sum_of_floats(const float* x) { return sum(x); }
extern "C" double sum_of_doubles(const double* x) { return sum(x); }
CPP
torch=$("$folder/env/bin/python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)')
c++ -std=c++20 -O3 -w -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c -DCPU_CAPABILITY=AVX512 \
  -DCPU_CAPABILITY_AVX512 -I "$torch/include" -S "$folder/reduce.cpp" -o "$folder/reduce.s"
"$folder/env/bin/python" - "$folder/reduce.s" <<'PYTHON'
import re
import sys

import torch

lines = open(sys.argv[1]).read().split("\n")
print(f"torch {torch.__version__.split('+')[0]}, AVX-512, instructions")
found = {}
for name, label in (("float", "sum_of_floats"), ("double", "sum_of_doubles")):
    begin = lines.index(f"{label}:")
    end = next(i for i in range(begin, len(lines)) if ".cfi_endproc" in lines[i])
    body = lines[begin:end]
    adds = sum(bool(re.match(r"\s+vaddp[sd]\s", line)) for line in body)
    stores = sum(bool(re.match(r"\s+vmov\S+\s+%\S+, -?\d*\(%r[sb]p\)", line)) for line in body)
    found[name] = (adds, stores)
    print(f"{name}: {adds} additions, {stores} stores to the stack")
sys.exit(not (found["float"] == (4, 0) and found["double"][0] == 7 and found["double"][1] >= 7))
PYTHON
