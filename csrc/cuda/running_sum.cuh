// Sums over many rows that lose no digit worth having: float64, or two floats where the numbers are floats, since
// float64 instructions run at a 64th of the rate on most GPUs, and so do conversions to it.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

namespace amgan::cuda {

template <typename T>
class RunningSum;

template <>
class RunningSum<double> {
 public:
  __device__ __forceinline__ void add(double x) { sum_ += x; }
  __device__ __forceinline__ double value() const { return sum_; }

 private:
  double sum_ = 0;
};

// What rounding takes from the sum is added up beside it (Knuth's TwoSum), so that n numbers of one sign are summed
// within some n 2^-49 relative. Intrinsics, because a multiplication merged into an addition would break it.
template <>
class RunningSum<float> {
 public:
  __device__ __forceinline__ void add(float x) {
    const float sum = __fadd_rn(sum_, x);
    const float added = __fsub_rn(sum, sum_);
    lost_ = __fadd_rn(lost_, __fadd_rn(__fsub_rn(sum_, __fsub_rn(sum, added)), __fsub_rn(x, added)));
    sum_ = sum;
  }

  __device__ __forceinline__ double value() const {
    return isfinite(sum_) ? static_cast<double>(sum_) + lost_ : static_cast<double>(sum_);
  }

 private:
  float sum_ = 0, lost_ = 0;
};

}  // namespace amgan::cuda
