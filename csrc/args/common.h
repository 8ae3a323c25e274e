// What the arguments of all kernels share. Plain types: no tensor, no CUDA header.
#pragma once

#include <cstdint>

namespace amgan {

// Logits of 16 bits and float32 are computed in float (the "computing type"), float64 in double.
enum class Dtype : int32_t { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };

}  // namespace amgan
