// How threads share the logits of a row: several rows a warp, a warp a row, or a block a row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cuda/dtype.cuh"
#include "cuda/reduce.cuh"

namespace amgan::cuda {

// kThreads threads a row, each keeping kValues logits in registers (kValues = 0: none, rows of any length).
template <int kThreads_, int kValues_>
struct Layout {
  static constexpr int kThreads = kThreads_;
  static constexpr int kValues = kValues_;
  static constexpr bool kInRegisters = kValues > 0;
  static constexpr int kBlockThreads = kThreads < 128 ? 128 : kThreads;
  static constexpr int kBlockRows = kBlockThreads / kThreads;

  // Thread blocks for this many rows: enough to fill any GPU, few enough for one block to add up what they leave
  // (total.cuh), and from the shape alone, so that sums repeat bitwise on every GPU.
  static int64_t blocks(int64_t rows) {
    constexpr int64_t kMaxBlocks = 8192;
    return std::min(rows / kBlockRows + (rows % kBlockRows != 0), kMaxBlocks);
  }
};

// Calls function(Layout) for rows of this many columns. More than 32 values a thread would leave too few warps.
template <typename Function>
auto with_layout(int64_t columns, Function function) {
  if (columns <= 16) return function(Layout<8, 2>{});
  if (columns <= 128) return function(Layout<32, 4>{});
  if (columns <= 256) return function(Layout<32, 8>{});
  if (columns <= 512) return function(Layout<32, 16>{});
  if (columns <= 1024) return function(Layout<32, 32>{});
  return function(Layout<256, 0>{});
}

// One thread's share of a row: columns rank, rank + kThreads, ... (neighbours read neighbours; rows have no alignment).
template <typename Scalar, typename Layout>
class Row {
 public:
  using T = Computing<Scalar>;
  using Column = std::conditional_t<Layout::kInRegisters, int, int64_t>;
  using Threads = Group<Layout::kThreads>;

  __device__ __forceinline__ Row(const Scalar* data, int64_t columns)
      : data_(data), columns_(static_cast<Column>(columns)) {
    if constexpr (Layout::kInRegisters) {
      each_slot([&](int slot, int column) { values_[slot] = load(data_ + column); });
    }
  }

  // function(column, value) for each of this thread's columns. What the function writes to `value` is there at the
  // next call where the row is in registers (kInRegisters); elsewhere the next call reads the logit again.
  template <typename Function>
  __device__ __forceinline__ void for_each(Function function) {
    if constexpr (Layout::kInRegisters) {
      each_slot([&](int slot, int column) { function(column, values_[slot]); });
    } else {
      for (Column column = Threads::rank(); column < columns_; column += Layout::kThreads) {
        T value = load(data_ + column);
        function(column, value);
      }
    }
  }

  // The value at a column, for all threads of the row.
  __device__ __forceinline__ T at(Column column) {
    if constexpr (Layout::kInRegisters) {
      T found = 0;
      each_slot([&](int slot, int mine) { found = mine == column ? values_[slot] : found; });
      return Threads::broadcast(found, column % Layout::kThreads);
    } else {
      return load(data_ + column);
    }
  }

 private:
  template <typename Function>
  __device__ __forceinline__ void each_slot(Function function) {
#pragma unroll
    for (int slot = 0; slot < Layout::kValues; ++slot) {
      const int column = Threads::rank() + slot * Layout::kThreads;
      if (column < columns_) function(slot, column);
    }
  }

  const Scalar* data_;
  Column columns_;
  T values_[Layout::kInRegisters ? Layout::kValues : 1];
};

// The largest value of a row, NaN if there is one, for all threads of the row.
template <typename Scalar, typename Layout>
__device__ __forceinline__ Computing<Scalar> row_max(Row<Scalar, Layout>& row) {
  using T = Computing<Scalar>;
  T largest = -INFINITY;
  row.for_each([&](auto, T value) { largest = Max()(largest, value); });
  return Group<Layout::kThreads>::reduce(largest, Max());
}

}  // namespace amgan::cuda
