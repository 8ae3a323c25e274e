// The total of a loss in the launch that computes the losses: every block leaves the sum of its rows, and the block
// that finishes last adds them up, in the order of the blocks. No float atomics, no memory to be cleared before.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "cuda/reduce.cuh"

namespace amgan::cuda {

// What the blocks of 1 or 2 batches leave, one batch after the other, and where their total goes. A mean over no rows
// comes as scale = NaN.
template <typename T>
struct Total {
  T* result;              // or null: no total is wanted
  volatile double* sums;  // read by another thread block than wrote them
  int64_t blocks[2];
  double scale[2];
  int ticket;
};

// Counts the blocks that are done (arrives_last).
constexpr int kTickets = 32768;
static __device__ unsigned tickets[2 * kTickets];

// A ticket of its own for every stream, whose launches follow each other, and for every launch that a graph captures,
// since the graph may run beside anything. An error once there are none left for graphs.
inline cudaError_t choose_ticket(cudaStream_t stream, int* ticket) {
  static std::mutex mutex;
  static std::unordered_map<cudaStream_t, int> of_stream;
  static int captured = 0;
  cudaStreamCaptureStatus status;
  if (const cudaError_t error = cudaStreamIsCapturing(stream, &status); error != cudaSuccess) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  if (status != cudaStreamCaptureStatusNone) {
    if (captured == kTickets) return cudaErrorLaunchOutOfResources;
    *ticket = kTickets + captured++;
  } else {
    *ticket = of_stream.try_emplace(stream, static_cast<int>(of_stream.size()) % kTickets).first->second;
  }
  return cudaSuccess;
}

// Called by every thread of every block at its end, with the sum of its rows.
template <int kBlockThreads, typename T>
__device__ __forceinline__ void add_to_total(const Total<T>& total, double sum) {
  using Block = Group<kBlockThreads>;
  if (total.result == nullptr) return;
  sum = Block::reduce(sum, Sum());
  if (threadIdx.x == 0) total.sums[blockIdx.x] = sum;
  if (!arrives_last(&tickets[total.ticket], gridDim.x)) return;
  double result = 0;
  const volatile double* sums = total.sums;
  for (int batch = 0; batch < 2; ++batch) {
    if (total.blocks[batch] == 0) continue;
    double of_batch = 0;
    for (int64_t i = threadIdx.x; i < total.blocks[batch]; i += kBlockThreads) of_batch += sums[i];
    result += total.scale[batch] * Block::reduce(of_batch, Sum());
    sums += total.blocks[batch];
  }
  if (threadIdx.x == 0) *total.result = static_cast<T>(result);
}

}  // namespace amgan::cuda
