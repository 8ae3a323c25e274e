// Short rows: a tile of them in shared memory, copied 16 bytes at a time as one span whatever the length of a row, with
// up to eight threads a row. Gradients go back the same way.
#pragma once

#include <cstdint>

#include "cuda/row.cuh"

namespace amgan::cuda {

extern __shared__ uint4 tile_memory[];

// Up to Layout::kBlockRows rows, all columns of them. An element lies at the same place within 16 bytes as in global
// memory, so that packs stay packs.
template <typename Scalar, typename Layout>
class Tile {
 public:
  static int64_t bytes(int64_t columns) {
    return static_cast<int64_t>(sizeof(Scalar)) * (Layout::kBlockRows * columns + kPack<Scalar>);
  }

  // By all threads of the block; rows are row_stride apart.
  __device__ __forceinline__ void load_rows(const Scalar* data, int64_t row_stride, int rows, int columns) {
    columns_ = columns;
    size_ = rows * columns;
    head_ = until_aligned(data);
    elements_ = reinterpret_cast<Scalar*>(tile_memory) + (kPack<Scalar> - head_) % kPack<Scalar>;
    if (row_stride == columns) {
      copy(data, elements_);
    } else {
      for (int i = threadIdx.x; i < size_; i += Layout::kBlockThreads) {
        elements_[i] = data[i / columns * row_stride + i % columns];
      }
    }
  }

  // By all threads of the block; rows are contiguous.
  __device__ __forceinline__ void store_rows(Scalar* out) const {
    if (until_aligned(out) == head_) {
      copy(elements_, out);
    } else {
      for (int i = threadIdx.x; i < size_; i += Layout::kBlockThreads) out[i] = elements_[i];
    }
  }

  __device__ __forceinline__ Scalar* row(int index) const { return elements_ + index * columns_; }

 private:
  // size_ elements between places that are alike within 16 bytes.
  __device__ __forceinline__ void copy(const Scalar* from, Scalar* to) const {
    const int head = min(head_, size_), packs = (size_ - head) / kPack<Scalar>;
    const int tail = head + packs * kPack<Scalar>, thread = threadIdx.x;
    const auto* from_packs = reinterpret_cast<const uint4*>(from + head);
    auto* to_packs = reinterpret_cast<uint4*>(to + head);
#pragma unroll 4
    for (int i = thread; i < packs; i += Layout::kBlockThreads) to_packs[i] = from_packs[i];
    if (thread < head) to[thread] = from[thread];
    if (thread < size_ - tail) to[tail + thread] = from[tail + thread];
  }

  Scalar* elements_;
  int columns_, size_, head_;
};

// A row of a tile: as Row (row.cuh), with columns rank, rank + kThreads, ...
template <typename Scalar, typename Layout_>
class TileRow {
 public:
  using Layout = Layout_;
  using T = Computing<Scalar>;
  using Column = int;
  using Threads = Group<Layout::kThreads>;
  static constexpr int kRegisters = Layout::kInRegisters ? Layout::kValues : 1;

  __device__ __forceinline__ TileRow(const Scalar* data, int64_t columns)
      : data_(data), columns_(static_cast<int>(columns)) {
    if constexpr (Layout::kInRegisters) {
#pragma unroll
      for (T& value : values_) value = -INFINITY;
      each_slot([&](int slot, int column) { values_[slot] = load(data_ + column); });
    }
  }

  template <typename Function>
  __device__ __forceinline__ void for_each(Function function) {
    if constexpr (Layout::kInRegisters) {
      each_slot([&](int slot, int column) { function(column, values_[slot]); });
    } else {
      for (int column = Threads::rank(); column < columns_; column += Layout::kThreads) {
        T value = load(data_ + column);
        function(column, value);
      }
    }
  }

  template <typename Function>
  __device__ __forceinline__ void for_each_value(Function function) {
    static_assert(Layout::kInRegisters, "of rows in registers");
#pragma unroll
    for (T& value : values_) function(value);
  }

  // As for Row; -inf, which adds nothing to a softmax, in place of columns that there are not.
  template <typename Function>
  __device__ __forceinline__ void for_each_pack(Function function) const {
    constexpr int kCount = 4;
    for (int first = Threads::rank(); first < columns_; first += kCount * Layout::kThreads) {
      T logits[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const int column = first + i * Layout::kThreads;
        logits[i] = column < columns_ ? load(data_ + column) : T(-INFINITY);
      }
      function(first, Layout::kThreads, logits);
    }
  }

  template <typename Function>
  __device__ __forceinline__ void store_each(Scalar* out, Function function) {
    each_slot([&](int slot, int column) { store(out + column, function(values_[slot])); });
  }

  __device__ __forceinline__ T logit(int64_t column) const { return load(data_ + column); }

 private:
  template <typename Function>
  __device__ __forceinline__ void each_slot(Function function) {
    const int rank = Threads::rank(), left = columns_ - rank;
#pragma unroll
    for (int slot = 0; slot < Layout::kValues; ++slot) {
      if (slot * Layout::kThreads < left) function(slot, rank + slot * Layout::kThreads);
    }
  }

  const Scalar* data_;
  int columns_;
  T values_[kRegisters];
};

// Calls visit(row, its index, where its gradient goes) for the rows of this thread's block: rows [block * kBlockRows,
// ...) and those of every blocks-th block after it. `grad` is null where no gradient is wanted.
template <typename Scalar, typename Layout, typename Visit>
__device__ __forceinline__ void for_rows(const Scalar* data, int64_t rows, int64_t row_stride, int64_t columns,
                                         int64_t classes, Scalar* grad, int64_t block, int64_t blocks, Visit visit) {
  using Threads = Group<Layout::kThreads>;
  const int64_t step = blocks * Layout::kBlockRows;
  if constexpr (Layout::kInTile) {
    Tile<Scalar, Layout> tile;
    for (int64_t first = block * Layout::kBlockRows; first < rows; first += step) {
      const int count = static_cast<int>(min(int64_t{Layout::kBlockRows}, rows - first));
      tile.load_rows(data + first * row_stride, row_stride, count, static_cast<int>(columns));
      __syncthreads();
      if (Threads::index() < count) {
        Scalar* const elements = tile.row(Threads::index());
        TileRow<Scalar, Layout> row(elements, classes);
        visit(row, first + Threads::index(), elements);
      }
      __syncthreads();
      if (grad != nullptr) {
        tile.store_rows(grad + first * columns);
        __syncthreads();  // before the tile is filled again
      }
    }
  } else {
    for (int64_t index = block * Layout::kBlockRows + Threads::index(); index < rows; index += step) {
      Row<Scalar, Layout> row(data + index * row_stride, classes);
      visit(row, index, grad + index * columns);
    }
  }
}

}  // namespace amgan::cuda
