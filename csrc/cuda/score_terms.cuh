// What the score kernels share: their arguments with types, the exponential, and the lengths of their sums.
#pragma once

#include <cstdint>

#include "args/scores.h"
#include "cuda/dtype.cuh"
#include "math/portable.h"

namespace amgan::cuda {

// float is added up over this many rows at most, then double: the rounding of so short sums averages out over many.
constexpr int64_t kFlushRows = 128;

// log p is added up in float in units of 1 / kLogUnit: of logits masked by the lowest finite float there is room for
// 2^16 then, more than the rows of a record.
constexpr float kLogUnit = 0x1p-16f;

inline int64_t divide_up(int64_t a, int64_t b) {
  return a / b + (a % b != 0);
}

// How many of `rows` rows are first, first + step, ...
AMGAN_INLINE int64_t rows_from(int64_t first, int64_t rows, int64_t step) {
  return first < rows ? (rows - first - 1) / step + 1 : 0;
}

// Where the sums of all blocks go.
struct Sums {
  double* entropy;   // [B]
  double* prob;      // [B, K]
  double* prob_sq;   // [B, K]
  double* log_prob;  // [B, K]
};

inline Sums result_of(const ScoresArgs& args) {
  return {args.entropy, args.prob, args.prob_sq, args.log_prob};
}

// ScoresArgs with types.
template <typename Scalar>
struct ScoresInput {
  const Scalar* data;
  int64_t rows;
  int64_t classes;
  int64_t row_stride;
  int64_t blocks;
  int64_t offset;  // in 0..blocks-1

  explicit ScoresInput(const ScoresArgs& args)
      : data(static_cast<const Scalar*>(args.input)),
        rows(args.rows),
        classes(args.classes),
        row_stride(args.row_stride),
        blocks(args.blocks),
        offset(args.offset % args.blocks) {}

  // Rows first, first + blocks, ...
  __device__ __forceinline__ int64_t count_from(int64_t first) const { return rows_from(first, rows, blocks); }
};

// exp(x) of a logit less the largest of its row, to be called with that logit's type. A difference of numbers of 16
// bits is known to all its digits, or nearly, and so is its product with log2(e) in two parts before it is rounded:
// what is left are the roundings of x log2(e) and of 2^x, and no bias; of float32 that would be one rounding too many.
template <typename Scalar>
__device__ __forceinline__ Computing<Scalar> exp_of_shifted(Computing<Scalar> x) {
  if constexpr (sizeof(Scalar) == 2) {
    constexpr float kLog2ERest = 1.92596299e-8f;  // log2(e) - kLog2E
    return exp2_approximately(fmaf(x, kLog2E, x * kLog2ERest));
  } else {
    return exp_nonpositive(x);
  }
}

// Within 2^-22 absolute of numbers from 1/2 to 1, of others within 2^-21 relative; by few registers.
__device__ __forceinline__ float quick_log(float x) {
  return __logf(x);
}
__device__ __forceinline__ double quick_log(double x) {
  return log(x);
}

// Asks for the line of 128 bytes around p to be brought to the second-level cache.
__device__ __forceinline__ void prefetch(const void* p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

}  // namespace amgan::cuda
