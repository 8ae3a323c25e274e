// Reductions over a group of threads, in an order that depends on nothing but the group's size.
#pragma once

#include <cuda_runtime.h>

namespace amgan::cuda {

// Passes over NaN.
struct Max {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ __forceinline__ double operator()(double a, double b) const { return fmax(a, b); }
};

struct Min {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

struct Sum {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};

// kThreads consecutive threads, a power of two: a part of a warp, or a whole block of several warps.
template <int kThreads>
struct Group {
  static_assert((kThreads & (kThreads - 1)) == 0, "no such group");

  static __device__ __forceinline__ int rank() { return threadIdx.x % kThreads; }
  static __device__ __forceinline__ int index() { return threadIdx.x / kThreads; }

  // Parts of a warp may part ways (another row, the end of the rows), so each names only its own lanes.
  static __device__ __forceinline__ unsigned mask() {
    static_assert(kThreads <= 32, "a mask of lanes");
    return (0xffffffffu >> (32 - kThreads)) << (threadIdx.x % 32 / kThreads * kThreads);
  }

  // All threads of the group must call: what they wrote before is there for all of them afterwards.
  static __device__ __forceinline__ void sync() {
    if constexpr (kThreads <= 32) {
      __syncwarp(mask());
    } else {
      __syncthreads();
    }
  }

  // Every thread gets the results; all threads of the group must call.
  template <typename T, int kCount, typename Operation>
  static __device__ __forceinline__ void reduce(T (&values)[kCount], Operation operation) {
    if constexpr (kThreads <= 32) {
#pragma unroll
      for (int step = kThreads / 2; step > 0; step /= 2) {
#pragma unroll
        for (T& value : values) value = operation(value, __shfl_xor_sync(mask(), value, step));
      }
    } else {
      constexpr int kWarps = kThreads / 32;
      __shared__ alignas(16) T of_warp[kCount][kWarps];
      Group<32>::reduce(values, operation);
      if (threadIdx.x % 32 == 0) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) of_warp[i][threadIdx.x / 32] = values[i];
      }
      __syncthreads();
      if constexpr (kWarps > 8) {  // else 16 bytes at a time take fewer instructions than the shuffles
#pragma unroll
        for (int i = 0; i < kCount; ++i) values[i] = of_warp[i][threadIdx.x % kWarps];
        Group<kWarps>::reduce(values, operation);
      } else {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          values[i] = of_warp[i][0];
#pragma unroll
          for (int warp = 1; warp < kWarps; ++warp) values[i] = operation(values[i], of_warp[i][warp]);
        }
      }
      __syncthreads();  // before of_warp is written again
    }
  }

  template <typename T, typename Operation>
  static __device__ __forceinline__ T reduce(T value, Operation operation) {
    T values[1] = {value};
    reduce(values, operation);
    return values[0];
  }

  // What function() returns, for every thread. The first warp alone calls it: the instructions of the others are
  // spared. All threads of the group must come here.
  template <typename Function>
  static __device__ __forceinline__ auto once(Function function) {
    if constexpr (kThreads <= 32) {
      return function();
    } else {
      __shared__ decltype(function()) shared;
      if (threadIdx.x < 32) {
        const auto result = function();
        if (threadIdx.x == 0) shared = result;
      }
      __syncthreads();
      const auto result = shared;
      __syncthreads();  // before it is written again
      return result;
    }
  }
};

// True for all threads of the block that is the last of `blocks` to come here, which then sees what the others wrote
// before. The counter is zero before and after: atomicInc wraps at the last.
__device__ __forceinline__ bool arrives_last(unsigned* counter, unsigned blocks) {
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicInc(counter, blocks - 1) == blocks - 1;
  __syncthreads();
  __threadfence();
  return is_last;
}

}  // namespace amgan::cuda
