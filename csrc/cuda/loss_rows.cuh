// What the kernels of losses share: what is given of a row beside its logits, and how a kernel is launched for all
// rows.
#pragma once

#undef NDEBUG  // a label or a weight out of range must be reported by release builds, too
#include <cassert>
#include <cstdint>

#include "cuda/tile.cuh"
#include "cuda/total.cuh"

namespace amgan::cuda {

// The given label of a row. Of the batch as it stands: with args/labels.h's struct in its place the longest rows of
// kplus1.cu spill.
template <typename Batch>
__device__ __forceinline__ int64_t label_of(const Batch& batch, int64_t row) {
  const int64_t i = row * batch.label_stride;
  return batch.labels_are_int32 ? static_cast<const int32_t*>(batch.labels)[i]
                                : static_cast<const int64_t*>(batch.labels)[i];
}

// What multiplies the loss of a row, and its gradient.
template <typename T, typename Batch>
__device__ __forceinline__ T weight_of(const Batch& batch, int64_t row) {
  if (!batch.row_weight) return 1;
  const T weight = batch.row_weight[row * batch.row_weight_stride];
  assert(weight >= 0 && weight < INFINITY && "amgan_fast: row weight out of range");
  return weight;
}

// Calls function(Split<Scalar, Layout>) for rows of so many classes in 1 or 2 batches. kSets: as in with_layout.
template <int kSets, typename Function>
cudaError_t with_split(Dtype dtype, int64_t classes, int64_t rows, int64_t more_rows, Function function) {
  return dispatch(dtype, [&](auto tag) {
    using Scalar = typename decltype(tag)::type;
    return with_layout<Scalar, kSets>(
        classes, [&](auto layout) { return function(Split<Scalar, decltype(layout)>(rows, more_rows)); });
  });
}

// Launches a kernel for all rows of a split: as a grid, or, where a total is wanted of few rows, as one block. `params`
// has `slots` and `total`. Kernels::of<Scalar, Layout, kParts> is the kernel.
template <typename Kernels, typename Scalar, typename Layout, typename Params>
cudaError_t launch_split(const Split<Scalar, Layout>& split, Params& params, int64_t classes, int64_t columns,
                         cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(split.count());
  int64_t shared = Layout::kInTile ? Tile<Scalar, Layout>::bytes(columns) : 0;
  if constexpr (Layout::kIsLong) {
    using Row = LongRow<Scalar, Layout>;
    const cudaError_t error = Row::template slots<Kernels::template of<Scalar, Layout, 0>>(classes, &params.slots);
    if (error != cudaSuccess) return error;
    shared = params.slots * Row::kSlotBytes;
  }
  if constexpr (constexpr int kParts = Split<Scalar, Layout>::kMaxParts; kParts > 0) {
    if (params.total.result && split.is_one_block()) {
      const dim3 threads(Layout::kBlockThreads, blocks);
      Kernels::template of<Scalar, Layout, kParts><<<1, threads, blocks * shared, stream>>>(params);
      return cudaGetLastError();
    }
  }
  Kernels::template of<Scalar, Layout, 0><<<blocks, Layout::kBlockThreads, shared, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace amgan::cuda
