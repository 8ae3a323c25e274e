// What the arguments of all kernels share. Plain types: no tensor, no CUDA header.
#pragma once

#include <cstdint>

namespace amgan {

// Logits of 16 bits and float32 are computed in float (the "computing type"), float64 in double.
enum class Dtype : int32_t { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };

// The counters by which the thread blocks of a CUDA launch find out which of them is the last (cuda/total.cuh): a
// "ticket" is the number of one. The first are for streams, the others for launches that CUDA graphs hold
// (ops/tickets.h).
constexpr int kStreamTickets = 32768;
constexpr int kGraphTickets = 32768;

}  // namespace amgan
