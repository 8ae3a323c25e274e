// Sums over chunks of rows, left in the workspace by thread blocks of one launch and added up, in order, by a second
// one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/score_terms.cuh"

namespace amgan::cuda {

// How the rounds of groups of rows are split among thread blocks, from the shape alone, so that sums repeat bitwise on
// every GPU. A thread block takes one group of a chunk of the rounds, and leaves its sums.
struct Chunks {
  int64_t count;
  int64_t rounds;  // of a chunk, at most

  Chunks(int64_t groups, int64_t all_rounds) {
    constexpr int64_t kEnough = 768;    // thread blocks to fill any GPU
    constexpr int64_t kMinRounds = 32;  // fewer are not worth their place and the second launch
    const int64_t wanted = std::clamp<int64_t>(kEnough / groups, 1, std::max<int64_t>(1, all_rounds / kMinRounds));
    rounds = divide_up(all_rounds, wanted);
    count = divide_up(all_rounds, rounds);
  }

  bool merge() const { return count > 1; }

  // Doubles of the sums of all chunks.
  int64_t workspace(const ScoresArgs& args) const { return merge() ? count * sums_size(args) : 0; }

  // Where chunk 0 goes; the others follow, sums_size doubles each.
  Sums place(const ScoresArgs& args) const {
    return merge() ? sums_at(args.workspace, args.blocks, args.classes) : result_of(args);
  }
};

// values[i] becomes the sum of values[i], values[i + width], ... of `count` times width doubles; in a fixed order, by
// all kThreads threads of the block.
template <int kThreads>
__device__ __forceinline__ void fold(double* values, int width, int count) {
  while (count > 1) {
    const int half = (count + 1) / 2;
    __syncthreads();
    for (int i = threadIdx.x; i < (count - half) * width; i += kThreads) values[i] += values[i + half * width];
    count = half;
  }
  __syncthreads();
}

// result[i] = sum over chunks of chunks[i], [i + stride], ...: 8 threads a number, in a fixed order.
constexpr int kMergeThreads = 512;
constexpr int kMergeLanes = 8;
constexpr int kMergeWidth = kMergeThreads / kMergeLanes;

__device__ __forceinline__ double* element(const Sums& sums, int64_t i, int64_t blocks, int64_t classes) {
  if (i < blocks) return sums.entropy + i;
  i -= blocks;
  const int64_t columns = blocks * classes;
  return (i < columns ? sums.prob : i < 2 * columns ? sums.prob_sq : sums.log_prob) + i % columns;
}

static __global__ void __launch_bounds__(kMergeThreads)
    merge_kernel(const double* chunks, int64_t count, int64_t blocks, int64_t classes, Sums result) {
  __shared__ double values[kMergeThreads];
  const int64_t size = blocks + 3 * blocks * classes;
  const int lane = threadIdx.x / kMergeWidth;
  for (int64_t tile = int64_t{blockIdx.x} * kMergeWidth; tile < size; tile += int64_t{gridDim.x} * kMergeWidth) {
    const int64_t i = tile + threadIdx.x % kMergeWidth;
    double sum = 0;
    if (i < size) {
#pragma unroll 8
      for (int64_t chunk = lane; chunk < count; chunk += kMergeLanes) sum += chunks[chunk * size + i];
    }
    values[threadIdx.x] = sum;
    fold<kMergeThreads>(values, kMergeWidth, kMergeLanes);
    if (lane == 0 && i < size) *element(result, i, blocks, classes) = values[threadIdx.x];
    __syncthreads();
  }
}

inline cudaError_t merge_chunks(const ScoresArgs& args, const Chunks& chunks, cudaStream_t stream) {
  constexpr int64_t kMaxGrid = 1 << 20;
  const int64_t size = sums_size(args);
  const auto grid = static_cast<unsigned>(std::min<int64_t>((size - 1) / kMergeWidth + 1, kMaxGrid));
  merge_kernel<<<grid, kMergeThreads, 0, stream>>>(args.workspace, chunks.count, args.blocks, args.classes,
                                                   result_of(args));
  return cudaGetLastError();
}

}  // namespace amgan::cuda
