// Leaky ReLU + dropout, and its gradient: the factor of each element times x or the gradient of y.
//
// One launch. Forward reads x and writes y, backward reads both y and its gradient: 16 bytes at a time where all are so
// aligned, neighbours by neighbouring threads. A thread has those elements in either half of a region that the same
// Philox blocks decide over (args/leaky_dropout.h); there is no mask in memory.
#include <algorithm>

#include "args/leaky_dropout.h"
#include "cuda/dtype.cuh"
#include "cuda/launchers.h"
#include "math/leaky_dropout.h"
#include "math/philox.h"

namespace amgan::cuda {
namespace {

using math::kBlockRun, math::kRegion, math::kRegionBlocks;

constexpr int kBlockThreads = 256;

// Consecutive elements of a thread in each half of its region: a pack, or all of a Philox block where these are more.
template <typename Scalar>
constexpr int kRun = kPack<Scalar> < kBlockRun ? kBlockRun : kPack<Scalar>;
template <typename Scalar>
constexpr int kRegionThreads = kRegion / 2 / kRun<Scalar>;

// LeakyDropoutArgs with types.
template <typename Scalar>
struct Params {
  using T = Computing<Scalar>;
  const Scalar* values;
  const Scalar* signs;
  Scalar* out;
  int64_t size;
  bool aligned;  // all three to 16 bytes
  math::LeakyDropout<T> factors;
  PhiloxArgs philox;
};

template <typename Scalar>
using Run = Computing<Scalar>[kRun<Scalar> / kPack<Scalar>][kPack<Scalar>];

// The elements of a run of which the first `count` exist.
template <typename Scalar>
__device__ __forceinline__ void load_run(const Scalar* p, int64_t count, bool aligned, Run<Scalar>& v) {
  constexpr int kWidth = kPack<Scalar>;
  if (aligned && count >= kRun<Scalar>) {
#pragma unroll
    for (int k = 0; k < kRun<Scalar>; k += kWidth) load_pack(p + k, v[k / kWidth]);
  } else {
#pragma unroll
    for (int k = 0; k < kRun<Scalar>; ++k) v[k / kWidth][k % kWidth] = k < count ? load(p + k) : Computing<Scalar>(0);
  }
}

template <typename Scalar>
__device__ __forceinline__ void store_run(Scalar* p, int64_t count, bool aligned, const Run<Scalar>& v) {
  constexpr int kWidth = kPack<Scalar>;
  if (aligned && count >= kRun<Scalar>) {
#pragma unroll
    for (int k = 0; k < kRun<Scalar>; k += kWidth) store_pack(p + k, v[k / kWidth]);
  } else {
#pragma unroll
    for (int k = 0; k < kRun<Scalar>; ++k) {
      if (k < count) store(p + k, v[k / kWidth][k % kWidth]);
    }
  }
}

template <typename Scalar, bool kBackward>
__global__ void __launch_bounds__(kBlockThreads) leaky_dropout_kernel(const __grid_constant__ Params<Scalar> params) {
  using T = Computing<Scalar>;
  constexpr int kLength = kRun<Scalar>, kWidth = kPack<Scalar>;
  const uint64_t key = params.philox.key(), offset = params.philox.first_word();
  if (params.philox.used && blockIdx.x == 0 && threadIdx.x == 0) {
    params.philox.used[0] = static_cast<int64_t>(key);
    params.philox.used[1] = static_cast<int64_t>(offset);
  }

  const int64_t thread = int64_t{blockIdx.x} * kBlockThreads + threadIdx.x;
  const int64_t region = thread / kRegionThreads<Scalar>;
  const int place = static_cast<int>(thread % kRegionThreads<Scalar>) * kLength;
  const int64_t first = region * kRegion + place;
  Run<Scalar> values[2], signs[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t from = first + half * (kRegion / 2);
    load_run(params.values + from, params.size - from, params.aligned, values[half]);
    if constexpr (kBackward) load_run(params.signs + from, params.size - from, params.aligned, signs[half]);
  }

#pragma unroll
  for (int run = 0; run < kLength; run += kBlockRun) {
    const uint64_t counter = offset / 4, block = region * kRegionBlocks + (place + run) / kBlockRun;
    const math::PhiloxBlock<uint32_t> random = math::philox<uint32_t>(
        {math::low_word(counter), math::high_word(counter), math::low_word(block), math::high_word(block)}, key);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int k = 0; k < kBlockRun; ++k) {
        const uint32_t bits = random.words[2 * half + k / 2] >> (16 * (k % 2)) & 0xffffu;
        const bool kept = bits >= static_cast<uint32_t>(params.factors.dropped);
        const int pack = (run + k) / kWidth, i = (run + k) % kWidth;
        T& value = values[half][pack][i];
        value = params.factors.apply(kept, value, kBackward ? signs[half][pack][i] : value);
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t from = first + half * (kRegion / 2);
    store_run(params.out + from, params.size - from, params.aligned, values[half]);
  }
}

template <typename Scalar>
cudaError_t launch_typed(const LeakyDropoutArgs& args, cudaStream_t stream) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  const Params<Scalar> params{static_cast<const Scalar*>(args.values),
                              static_cast<const Scalar*>(args.signs),
                              static_cast<Scalar*>(args.out),
                              args.size,
                              aligned(args.values) && aligned(args.signs) && aligned(args.out),
                              args.factors.as<Computing<Scalar>>(),
                              args.philox};
  constexpr int64_t kElements = int64_t{kBlockThreads} * 2 * kRun<Scalar>;
  // One block at least, which says what the generator's state was.
  const auto blocks = static_cast<unsigned>(std::max<int64_t>((args.size + kElements - 1) / kElements, 1));
  if (args.signs == nullptr) {
    leaky_dropout_kernel<Scalar, false><<<blocks, kBlockThreads, 0, stream>>>(params);
  } else {
    leaky_dropout_kernel<Scalar, true><<<blocks, kBlockThreads, 0, stream>>>(params);
  }
  return cudaGetLastError();
}

}  // namespace

template <>
cudaError_t launch(const LeakyDropoutArgs& args, cudaStream_t stream) {
  return dispatch(args.dtype, [&](auto tag) { return launch_typed<typename decltype(tag)::type>(args, stream); });
}

}  // namespace amgan::cuda
