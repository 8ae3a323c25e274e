// The total of a loss without atomics: every block leaves the sum of its rows, one more block adds those up.
// 8 bytes a block, one launch.
#pragma once

#include <cstdint>

#include "cuda/reduce.cuh"

namespace amgan::cuda {

// What the blocks of 1 or 2 batches left, one batch after the other.
struct Partials {
  const double* sums;
  int32_t batches;
  int64_t blocks[2];
  double scale[2];
};

constexpr int kTotalThreads = 512;

// total = sum over batches of scale * (sum over blocks). A mean over no rows comes as scale = NaN.
template <typename T>
__global__ void __launch_bounds__(kTotalThreads) total_kernel(const __grid_constant__ Partials partials, T* total) {
  double result = 0;
  const double* sums = partials.sums;
  for (int batch = 0; batch < partials.batches; ++batch) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < partials.blocks[batch]; i += kTotalThreads) sum += sums[i];
    result += partials.scale[batch] * Group<kTotalThreads>::reduce(sum, Sum());
    sums += partials.blocks[batch];
  }
  if (threadIdx.x == 0) *total = static_cast<T>(result);
}

template <typename T>
cudaError_t launch_total(const Partials& partials, T* total, cudaStream_t stream) {
  total_kernel<<<1, kTotalThreads, 0, stream>>>(partials, total);
  return cudaGetLastError();
}

}  // namespace amgan::cuda
