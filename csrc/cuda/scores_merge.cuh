// Sums over chunks of rows, left in the workspace by the thread blocks of one launch and added up, in order and in
// float64, by a second one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/score_terms.cuh"

namespace amgan::cuda {

// How the rounds of groups of rows are split among thread blocks, from the shape alone, so that sums repeat bitwise on
// every GPU of one architecture. A thread block takes the rounds of a chunk of one group, and leaves its sums.
struct Chunks {
  int64_t count;
  int64_t rounds;  // of a chunk, at most

  // min_rounds: fewer are not worth the place of their sums.
  Chunks(int64_t groups, int64_t all_rounds, int64_t min_rounds) {
    constexpr int64_t kEnough = 768;  // thread blocks to fill any GPU
    const int64_t wanted = std::clamp<int64_t>(kEnough / groups, 1, std::max<int64_t>(1, all_rounds / min_rounds));
    rounds = std::clamp<int64_t>(divide_up(all_rounds, wanted), 1, kFlushRows);
    count = std::max<int64_t>(1, divide_up(all_rounds, rounds));
  }
};

// What a thread block leaves of the rows of one block of the result: p, p^2, log p + log s of all columns, the latter
// in units of 1 / kLogUnit; then the sums of log s and of the entropies.
template <typename T>
struct Record {
  T* prob;      // [K]
  T* prob_sq;   // [K]
  T* log_prob;  // [K]
  T* of_rows;   // [2]

  static AMGAN_INLINE int64_t size(int64_t classes) { return 3 * classes + 2; }

  __device__ __forceinline__ Record(T* records, int64_t index, int64_t classes)
      : prob(records + index * size(classes)),
        prob_sq(prob + classes),
        log_prob(prob_sq + classes),
        of_rows(log_prob + classes) {}
};

// Records [chunks, parts, B]: that of the rows first, first + B, ... is at `first`, in several parts.
template <typename T>
struct Records {
  T* data;
  int64_t count;  // of each block: chunks x parts

  static int64_t doubles(const ScoresArgs& args, int64_t count) {
    return divide_up(count * args.blocks * Record<T>::size(args.classes) * sizeof(T), sizeof(double));
  }
};

// values[i] becomes the sum of values[i], values[i + width], ... of `count` times width numbers; in a fixed order, by
// all kThreads threads of the block.
template <int kThreads, typename T>
__device__ __forceinline__ void fold(T* values, int width, int count) {
  while (count > 1) {
    const int half = (count + 1) / 2;
    __syncthreads();
    for (int i = threadIdx.x; i < (count - half) * width; i += kThreads) values[i] += values[i + half * width];
    count = half;
  }
  __syncthreads();
}

template <typename T>
struct MergeParams {
  Records<T> records;
  int64_t rows, classes, blocks, offset;
  double* count;  // [B]
  Sums result;
};

// What becomes of number i of the records of a block, summed.
template <typename T>
__device__ __forceinline__ void store_sum(const MergeParams<T>& params, int64_t block, int64_t i, double sum) {
  const int64_t classes = params.classes, at = block * classes + i;
  if (i < classes) {
    params.result.prob[at] = sum;
  } else if (i < 2 * classes) {
    params.result.prob_sq[at - classes] = sum;
  } else if (i < 3 * classes) {
    params.result.log_prob[at - 2 * classes] = sum;
  } else if (i == 3 * classes + 1) {
    params.result.entropy[block] = sum;
  }
}

// kWidth numbers side by side, each the sum over kLanes threads, of which one takes every kLanes-th record; in a fixed
// order.
template <typename T, int kWidth, int kLanes>
__global__ void __launch_bounds__(kWidth* kLanes) merge_kernel(const __grid_constant__ MergeParams<T> params) {
  __shared__ double values[kWidth * kLanes];
  const int64_t classes = params.classes, blocks = params.blocks, size = Record<T>::size(classes);
  const int lane = threadIdx.x / kWidth;
  for (int64_t tile = int64_t{blockIdx.x} * kWidth; tile < blocks * size; tile += int64_t{gridDim.x} * kWidth) {
    const int64_t number = tile + threadIdx.x % kWidth, first = number / size, i = number % size;
    const T* const records = params.records.data + number;  // those of the next chunk are blocks * size further on
    const bool is_log = i >= 2 * classes && i < 3 * classes;
    double sum = 0;
    if (number < blocks * size) {
#pragma unroll 4
      for (int64_t record = lane; record < params.records.count; record += kLanes) {
        const T* const at = records + record * blocks * size;
        const double value = *at;
        sum += is_log ? value / kLogUnit - static_cast<double>(at[3 * classes - i]) : value;
      }
    }
    values[threadIdx.x] = sum;
    fold<kWidth * kLanes>(values, kWidth, kLanes);
    if (lane == 0 && number < blocks * size) {
      const int64_t block = (first + params.offset) % blocks;  // row i belongs to block (offset + i) % B
      store_sum(params, block, i, values[threadIdx.x]);
      if (i == 0) params.count[block] = static_cast<double>(rows_from(first, params.rows, blocks));
    }
    __syncthreads();  // before values is written again
  }
}

template <typename T, int kWidth, int kLanes>
cudaError_t launch_merge(const MergeParams<T>& params, cudaStream_t stream) {
  constexpr int64_t kMaxGrid = 1 << 20;
  const int64_t tiles = divide_up(params.blocks * Record<T>::size(params.classes), kWidth);
  const auto grid = static_cast<unsigned>(std::min(tiles, kMaxGrid));
  merge_kernel<T, kWidth, kLanes><<<grid, kWidth * kLanes, 0, stream>>>(params);
  return cudaGetLastError();
}

template <typename T>
cudaError_t merge_records(const ScoresArgs& args, const Records<T>& records, cudaStream_t stream) {
  const MergeParams<T> params{records,    args.rows,      args.classes, args.blocks, args.offset % args.blocks,
                              args.count, result_of(args)};
  // Many records are of few blocks of the result, few of many.
  return records.count < 32 ? launch_merge<T, 256, 1>(params, stream) : launch_merge<T, 32, 32>(params, stream);
}

}  // namespace amgan::cuda
