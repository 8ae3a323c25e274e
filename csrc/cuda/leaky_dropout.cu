// Leaky ReLU + dropout, and its gradient: the factor of each element times x or the gradient of y.
//
// One launch. Forward reads x and writes y, backward reads both y and its gradient: 16 bytes at a time where all are so
// aligned. Each pack computes the Philox block that its elements have in common, 40 instructions of integers; there is
// no mask in memory.
#include "cuda/dtype.cuh"
#include "cuda/launchers.h"
#include "math/leaky_dropout.h"
#include "math/philox.h"

namespace amgan::cuda {
namespace {

constexpr int kBlockThreads = 256;
constexpr int kThreadPacks = 2;    // on their way from memory at the same time
constexpr int kBlockElements = 8;  // of a Philox block, 16 bits each

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

// Up to kPack elements of which the first `count` exist.
template <typename Scalar>
__device__ __forceinline__ void load_some(const Scalar* p, int64_t count, bool aligned,
                                          Computing<Scalar> (&v)[kPack<Scalar>]) {
  if (aligned && count >= kPack<Scalar>) {
    load_pack(p, v);
  } else {
#pragma unroll
    for (int i = 0; i < kPack<Scalar>; ++i) v[i] = i < count ? load(p + i) : Computing<Scalar>(0);
  }
}

template <typename Scalar>
__device__ __forceinline__ void store_some(Scalar* p, int64_t count, bool aligned,
                                           const Computing<Scalar> (&v)[kPack<Scalar>]) {
  if (aligned && count >= kPack<Scalar>) {
    store_pack(p, v);
  } else {
#pragma unroll
    for (int i = 0; i < kPack<Scalar>; ++i) {
      if (i < count) store(p + i, v[i]);
    }
  }
}

// The 16 bits of each element of the pack that begins at element `first`.
template <int kCount>
__device__ __forceinline__ void random_bits(uint64_t key, uint64_t counter, int64_t first, uint32_t (&bits)[kCount]) {
  const uint64_t block = static_cast<uint64_t>(first) / kBlockElements;
  const math::PhiloxBlock<uint32_t> random =
      math::philox<uint32_t>({math::low(counter), math::high(counter), math::low(block), math::high(block)}, key);
  const int place = static_cast<int>(first % kBlockElements) / kCount;  // of the pack in the block
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    uint32_t word = random.words[i / 2];
#pragma unroll
    for (int other = 1; other < kBlockElements / kCount; ++other) {
      if (place == other) word = random.words[(other * kCount + i) / 2];
    }
    bits[i] = word >> (16 * (i % 2)) & 0xffffu;
  }
}

template <typename Scalar, bool kBackward>
__global__ void __launch_bounds__(kBlockThreads) leaky_dropout_kernel(const __grid_constant__ Params<Scalar> params) {
  using T = Computing<Scalar>;
  constexpr int kWidth = kPack<Scalar>;
  const uint64_t key = params.philox.key(), offset = params.philox.first_word();
  if (params.philox.used && blockIdx.x == 0 && threadIdx.x == 0) {
    params.philox.used[0] = static_cast<int64_t>(key);
    params.philox.used[1] = static_cast<int64_t>(offset);
  }

  const int64_t begin = (int64_t{blockIdx.x} * kThreadPacks * kBlockThreads + threadIdx.x) * kWidth;
  T values[kThreadPacks][kWidth], signs[kThreadPacks][kWidth];
#pragma unroll
  for (int pack = 0; pack < kThreadPacks; ++pack) {
    const int64_t first = begin + pack * kBlockThreads * kWidth;
    load_some(params.values + first, params.size - first, params.aligned, values[pack]);
    if constexpr (kBackward) load_some(params.signs + first, params.size - first, params.aligned, signs[pack]);
  }
#pragma unroll
  for (int pack = 0; pack < kThreadPacks; ++pack) {
    const int64_t first = begin + pack * kBlockThreads * kWidth;
    uint32_t bits[kWidth];
    random_bits(key, offset / 4, first, bits);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const bool kept = bits[i] >= static_cast<uint32_t>(params.factors.dropped);
      values[pack][i] = params.factors.apply(kept, values[pack][i], kBackward ? signs[pack][i] : values[pack][i]);
    }
    store_some(params.out + first, params.size - first, params.aligned, values[pack]);
  }
}

template <typename Scalar>
cudaError_t launch(const LeakyDropoutArgs& args, cudaStream_t stream) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  const Params<Scalar> params{static_cast<const Scalar*>(args.values),
                              static_cast<const Scalar*>(args.signs),
                              static_cast<Scalar*>(args.out),
                              args.size,
                              aligned(args.values) && aligned(args.signs) && aligned(args.out),
                              args.factors.as<Computing<Scalar>>(),
                              args.philox};
  constexpr int64_t kElements = int64_t{kBlockThreads} * kThreadPacks * kPack<Scalar>;
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
}  // namespace amgan::cuda

cudaError_t amgan_cuda_leaky_dropout(const amgan::LeakyDropoutArgs* args, cudaStream_t stream) {
  return amgan::cuda::dispatch(
      args->dtype, [&](auto tag) { return amgan::cuda::launch<typename decltype(tag)::type>(*args, stream); });
}
