// Short rows: a tile of them in shared memory, copied 16 bytes at a time as one span whatever the length of a row, with
// up to eight threads a row. Gradients go back the same way.
#pragma once

#include <cstdint>

#include "cuda/long_row.cuh"
#include "cuda/row.cuh"

namespace amgan::cuda {

extern __shared__ uint4 tile_memory[];

// Up to Layout::kBlockRows rows, all columns of them. Mostly a row follows the other, and an element lies at the same
// place within 16 bytes as in global memory, so that packs stay packs.
template <typename Scalar, typename Layout>
class Tile {
 public:
  static __host__ __device__ int64_t bytes(int64_t columns) {
    return static_cast<int64_t>(sizeof(Scalar)) * (Layout::kBlockRows * pitch(columns) + kPack<Scalar>);
  }

  // Elements from row to row. At a time the threads of a warp ask for as many columns of each of their rows as there
  // are threads a row; a bank of shared memory serves one of them. Where the rows begin at an even multiple of that, as
  // they do with 16, 32 or 64 columns, those of several are in one bank: then a gap makes the multiple odd. Only rows
  // that all begin alike within 16 bytes take one, for conflicts of more than two are theirs, but for some odd lengths
  // of 4 or 8 threads a row, where up to four wait for each other.
  static __host__ __device__ __forceinline__ int pitch(int64_t columns) {
    constexpr int kBank = 4, kAtATime = Layout::kThreads * static_cast<int>(sizeof(Scalar));
    constexpr int kUnit = kAtATime < kBank ? kBank : kAtATime;
    const int bytes = static_cast<int>(columns * sizeof(Scalar));
    return (bytes + (bytes % 16 == 0 && bytes % (2 * kUnit) == 0 ? kUnit : 0)) / static_cast<int>(sizeof(Scalar));
  }

  // By all threads of the block; rows are row_stride apart.
  __device__ __forceinline__ void load_rows(const Scalar* data, int64_t row_stride, int rows, int columns) {
    columns_ = columns;
    pitch_ = pitch(columns);
    size_ = rows * columns;
    head_ = until_aligned(data);
    uint4* const memory = tile_memory + threadIdx.y * (bytes(columns) / sizeof(uint4));  // a tile a part (total.cuh)
    elements_ = reinterpret_cast<Scalar*>(memory) + (kPack<Scalar> - head_) % kPack<Scalar>;
    const Places place(*this);
    if (row_stride != columns) {
      for (int i = threadIdx.x; i < size_; i += Layout::kBlockThreads) {
        const int row = place.row(i);
        elements_[place(i)] = data[row * row_stride + (i - row * columns)];
      }
    } else if (pitch_ != columns) {
      for_each_pack([&](int i) {
        Scalar pack[kPack<Scalar>];
        const uint4 bits = load_bits(data + i);
        memcpy(pack, &bits, sizeof(bits));
#pragma unroll
        for (int k = 0; k < kPack<Scalar>; ++k) elements_[place(i + k)] = pack[k];
      });
      for_each_edge([&](int i) { elements_[place(i)] = data[i]; });
    } else {
      for_each_pack([&](int i) { *reinterpret_cast<uint4*>(elements_ + i) = load_bits(data + i); });
      for_each_edge([&](int i) { elements_[i] = data[i]; });
    }
  }

  // By all threads of the block; rows are contiguous.
  __device__ __forceinline__ void store_rows(Scalar* out) const {
    const Places place(*this);
    if (until_aligned(out) != head_) {
      for (int i = threadIdx.x; i < size_; i += Layout::kBlockThreads) out[i] = elements_[place(i)];
    } else if (pitch_ != columns_) {
      for_each_pack([&](int i) {
        Scalar pack[kPack<Scalar>];
        uint4 bits;
#pragma unroll
        for (int k = 0; k < kPack<Scalar>; ++k) pack[k] = elements_[place(i + k)];
        memcpy(&bits, pack, sizeof(bits));
        *reinterpret_cast<uint4*>(out + i) = bits;
      });
      for_each_edge([&](int i) { out[i] = elements_[place(i)]; });
    } else {
      for_each_pack([&](int i) { *reinterpret_cast<uint4*>(out + i) = load_bits(elements_ + i); });
      for_each_edge([&](int i) { out[i] = elements_[i]; });
    }
  }

  __device__ __forceinline__ Scalar* row(int index) const { return elements_ + index * pitch_; }

 private:
  // Where element i of the span of rows lies in the tile. The division by the length of a row is a multiplication:
  // exact below 2^20 / columns, while no tile has more than 2^17 / columns elements.
  struct Places {
    int gap, reciprocal;

    __device__ __forceinline__ explicit Places(const Tile& tile)
        : gap(tile.pitch_ - tile.columns_), reciprocal((1 << 20) / tile.columns_ + 1) {}
    __device__ __forceinline__ int row(int i) const { return i * reciprocal >> 20; }
    __device__ __forceinline__ int operator()(int i) const { return i + gap * row(i); }
  };

  // function(i) for the packs of the span, by their first elements, and for the elements at its edges; each by one of
  // the threads of the block.
  template <typename Function>
  __device__ __forceinline__ void for_each_pack(Function function) const {
    const int packs = (size_ - head()) / kPack<Scalar>;
#pragma unroll 4
    for (int i = threadIdx.x; i < packs; i += Layout::kBlockThreads) function(head() + i * kPack<Scalar>);
  }
  template <typename Function>
  __device__ __forceinline__ void for_each_edge(Function function) const {
    const int thread = threadIdx.x, tail = (size_ - head()) % kPack<Scalar>;
    if (thread < head()) function(thread);
    if (thread < tail) function(size_ - tail + thread);
  }
  __device__ __forceinline__ int head() const { return min(head_, size_); }

  Scalar* elements_;
  int columns_, pitch_, size_, head_;
};

// A row of a tile: as Row (row.cuh), with columns rank, rank + kThreads, ...
template <typename Scalar, typename Layout_>
class TileRow {
 public:
  using Layout = Layout_;
  using Element = Scalar;
  using T = Computing<Scalar>;
  using Column = int;
  using Threads = Group<Layout::kThreads>;
  static_assert(Layout::kInRegisters, "rows of a tile are few columns");
  static constexpr int kRegisters = Layout::kValues;

  __device__ __forceinline__ void fetch_expected() {}  // a tile comes as a whole

  __device__ __forceinline__ TileRow(const Scalar* data, int64_t columns)
      : data_(data), columns_(static_cast<int>(columns)) {
#pragma unroll
    for (T& value : values_) value = -INFINITY;
    each_slot([&](int slot, int column) { values_[slot] = load(data_ + column); });
  }

  template <typename Function>
  __device__ __forceinline__ void for_each(Function function) {
    each_slot([&](int slot, int column) { function(column, values_[slot]); });
  }

  template <typename Function>
  __device__ __forceinline__ void for_each_value(Function function) {
#pragma unroll
    for (T& value : values_) function(value);
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
      if (slot * Layout::kThreads < left) function(slot, Layout::column(rank, slot));
    }
  }

  const Scalar* data_;
  int columns_;
  T values_[kRegisters];
};

// Calls visit(row, its index, where its gradient goes, ahead(index)) for the rows of this thread's block: rows [block *
// kBlockRows, ...) and those of every blocks-th block after it. `grad` is null where no gradient is wanted. `ahead`
// gets what else there is of a row from memory: a row early, together with the logits, where the layout has the next
// row on its way while this one is computed. `slots`: of long rows.
template <typename Scalar, typename Layout, typename Ahead, typename Visit>
__device__ __forceinline__ void for_rows(const Scalar* data, int64_t rows, int64_t row_stride, int64_t columns,
                                         int64_t classes, Scalar* grad, int64_t block, int64_t blocks, Ahead ahead,
                                         Visit visit, int slots = 0) {
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
        visit(row, first + Threads::index(), elements, ahead(first + Threads::index()));
      }
      __syncthreads();
      if (grad != nullptr) tile.store_rows(grad + first * columns);
      __syncthreads();  // before the tile is filled again
    }
  } else if constexpr (Layout::kIsLong) {
    for_long_rows<Scalar, Layout>(data, rows, row_stride, columns, classes, grad, block, blocks, slots, ahead, visit);
  } else {
    // Where rows begin goes on by steps: a product of 64 bits for every row would take ten instructions more.
    int64_t index = block * Layout::kBlockRows + Threads::index();
    int64_t from = index * row_stride, to = index * columns, from_step = step * row_stride, to_step = step * columns;
    stays(from_step);
    stays(to_step);
    const Cut<Scalar> cut(classes);
    if constexpr (Layout::kPrefetches) {
      if (index >= rows) return;
      Row<Scalar, Layout> row(cut);
      row.fetch(data + from);
      auto beside = ahead(index);
      for (; index < rows; index += step, to += to_step) {
        row.unpack();
        const auto beside_this = beside;
        from += from_step;
        stays(from);
        stays(to);
        const bool is_last = index + step >= rows;
        row.expect(is_last ? nullptr : data + from);
        if (!is_last) beside = ahead(index + step);
        visit(row, index, grad + to, beside_this);
      }
    } else {
      for (; index < rows; index += step, from += from_step, to += to_step) {
        Row<Scalar, Layout> row(cut);
        row.fetch(data + from);
        row.unpack();
        visit(row, index, grad + to, ahead(index));
      }
    }
  }
}

// The same where nothing but the logits is read.
template <typename Scalar, typename Layout, typename Visit>
__device__ __forceinline__ void for_rows(const Scalar* data, int64_t rows, int64_t row_stride, int64_t columns,
                                         int64_t classes, Scalar* grad, int64_t block, int64_t blocks, Visit visit) {
  const auto nothing = [](int64_t) { return 0; };
  for_rows<Scalar, Layout>(data, rows, row_stride, columns, classes, grad, block, blocks, nothing,
                           [&](auto& row, int64_t index, Scalar* to, int) { visit(row, index, to); });
}

}  // namespace amgan::cuda
