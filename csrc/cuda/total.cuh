// The total of a loss in the launch that computes the losses. No float atomics, no memory to be cleared before.
//
// Few rows: one thread block stands for the whole grid, each of its parts for one block of it, and the parts add up
// through shared memory. 100 real and 100 generated rows of 11 columns are two parts of 128 threads, a row a thread:
//
//   part 0   rows 0 .. 99 of batch 0   4 warps  \
//   part 1   rows 0 .. 99 of batch 1   4 warps   > 8 sums in shared memory, added by one warp -> total
//
// Otherwise every block leaves the sum of its rows, and the block that finishes last adds them up, in the order of the
// blocks. That costs each block a store, a fence and an atomic, one after the other, and the last one another read:
// about four times the way to the L2 cache and back, which a launch of some microseconds feels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "args/common.h"
#include "cuda/reduce.cuh"

namespace amgan::cuda {

// Where the total of 1 or 2 batches goes. A mean over no rows comes as scale = NaN.
template <typename T>
struct Total {
  T* result;              // or null: no total is wanted
  volatile double* sums;  // a block, where there are several; read by another than wrote them
  int64_t blocks[2];      // of each batch, one batch after the other
  double scale[2];
  int ticket;
};

// Counts the blocks that are done. Zero before and after: atomicInc wraps at the last.
static __device__ unsigned tickets[kStreamTickets + kGraphTickets];

// How the rows of 1 or 2 batches are split among thread blocks: from their shape alone, since the bits of the total
// depend on it.
template <typename Scalar, typename Layout>
struct Split {
  // Parts that one thread block may have, of rows in tiles: more would wait for each other longer than for the L2
  // cache.
  static constexpr int kMaxParts = !Layout::kInTile ? 0 : sizeof(Scalar) == 8 ? 2 : 4;

  int64_t blocks[2];

  explicit Split(int64_t rows, int64_t more_rows = 0)
      : blocks{Layout::blocks(rows), more_rows > 0 ? Layout::blocks(more_rows) : 0} {
    if (rows == 0 && more_rows > 0) blocks[0] = 0;  // no rows at all are one block's, which writes their total
  }

  int64_t count() const { return blocks[0] + blocks[1]; }
  bool is_one_block() const { return count() <= kMaxParts; }
  int64_t workspace() const { return is_one_block() ? 0 : count(); }
};

// Most threads of a block: kParts = 0 where it is one of a grid.
template <typename Layout, int kParts>
constexpr int kMostThreads = Layout::kBlockThreads * (kParts > 0 ? kParts : 1);

// Thread blocks of the grid, and the last of them adds up.
template <int kBlockThreads, typename T>
__device__ __forceinline__ void add_up_last(const Total<T>& total, double sum) {
  using Block = Group<kBlockThreads>;
  sum = Block::reduce(sum, Sum());
  // Thread 0 speaks for its block: what the others are to see is its own store, which the first fence puts before the
  // count. (Gradients are nobody's concern before the launch ends.) The second one, after the count and before the
  // barrier, puts the stores of the other blocks before the loads of all threads of this one.
  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    total.sums[blockIdx.x] = sum;
    __threadfence();
    is_last = atomicInc(&tickets[total.ticket], gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!is_last) return;
  constexpr int kLoads = 8;  // under way at a time
  double result = 0;
  const volatile double* sums = total.sums;
  for (int batch = 0; batch < 2; ++batch) {
    double of_batch = 0;
    for (int64_t first = threadIdx.x; first < total.blocks[batch]; first += kLoads * kBlockThreads) {
      double read[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        const int64_t block = first + i * kBlockThreads;
        read[i] = block < total.blocks[batch] ? sums[block] : 0;
      }
#pragma unroll
      for (const double sum_of_block : read) of_batch += sum_of_block;
    }
    result += total.scale[batch] * Block::reduce(of_batch, Sum());
    sums += total.blocks[batch];
  }
  if (threadIdx.x == 0) *total.result = static_cast<T>(result);
}

// One block of up to kParts parts: threadIdx.y is the part.
template <int kBlockThreads, int kParts, typename T>
__device__ __forceinline__ void add_up_parts(const Total<T>& total, double sum) {
  using Warp = Group<32>;
  constexpr int kWarps = kBlockThreads / 32;
  static_assert(kWarps * kParts <= 32, "a lane for each warp");
  __shared__ double of_warp[kWarps * kParts];
  const int warp = threadIdx.y * kWarps + threadIdx.x / 32, lane = Warp::rank();
  sum = Warp::reduce(sum, Sum());
  if (lane == 0) of_warp[warp] = sum;
  __syncthreads();
  if (warp != 0) return;
  const int first = static_cast<int>(total.blocks[0]) * kWarps;
  const int all = static_cast<int>(total.blocks[0] + total.blocks[1]) * kWarps;
  const double mine = lane < all ? of_warp[lane] : 0;
  double of_batch[2] = {lane < first ? mine : 0, lane < first ? 0 : mine};
  Warp::reduce(of_batch, Sum());
  if (lane == 0) *total.result = static_cast<T>(total.scale[0] * of_batch[0] + total.scale[1] * of_batch[1]);
}

// Called by every thread of every block at its end, with the sum of its rows.
template <int kBlockThreads, int kParts, typename T>
__device__ __forceinline__ void add_to_total(const Total<T>& total, double sum) {
  if (total.result == nullptr) return;
  if constexpr (kParts > 0) {
    add_up_parts<kBlockThreads, kParts>(total, sum);
  } else {
    add_up_last<kBlockThreads>(total, sum);
  }
}

}  // namespace amgan::cuda
