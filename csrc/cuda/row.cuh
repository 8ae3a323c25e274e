// How threads share a row of logits, by its length:
//
//   up to 16, 32, 64      1, 4 or 8 threads a row, out of a tile of rows in shared memory (tile.cuh)
//   up to 256             a warp a row, in registers
//   up to 1,024, 8,192    a block of 128 or 256 a row, in registers (float64: up to 4,096)
//   longer                a block of 256 a row, read again for gradients
//
// For the scores:
//
//   up to 16, 64, 1,024   1, 8 or 32 threads a row, out of a tile of spans (scores_short.cuh)
//   up to 2,048, 4,096    a block of 256 or 512 a row, out of shared memory (scores_medium.cuh; float64: up to 2,048)
//   longer                as above, and then a thread a column (scores_long.cuh)
//
// Rows of K+1 columns start anywhere, so a row is taken as up to kPack - 1 elements before the first multiple of 16
// bytes, packs of 16 bytes, and up to kPack - 1 elements after the last: one thread each for those of the edges, while
// packs go to neighbours in turn.
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
  static constexpr bool kInTile = kThreads < 32;
  static constexpr int kBlockThreads = kThreads < 128 ? 128 : kThreads;
  static constexpr int kBlockRows = kBlockThreads / kThreads;

  // Thread blocks for this many rows: enough to fill any GPU, few enough for one block to add up what they leave
  // (total.cuh), and from the shape alone, so that sums repeat bitwise on every GPU. At least one, which writes a total
  // over no rows.
  static int64_t blocks(int64_t rows) {
    constexpr int64_t kMaxBlocks = 8192;
    return std::clamp<int64_t>(rows / kBlockRows + (rows % kBlockRows != 0), 1, kMaxBlocks);
  }
};

// Threads that a multiprocessor must hold at a time, which is what bounds the registers of a thread: to 64 where 8 or
// 16 values are in them and a value takes one, to 80 of those on Turing and consumer Blackwell, whose code takes more;
// else to 128; to 168 where a value takes two, and not at all where 16 do.
template <typename Scalar, typename Layout>
constexpr int min_threads() {
  constexpr bool wide = sizeof(Scalar) == 8;
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ < 800 || __CUDA_ARCH__ >= 1200)
  constexpr bool takes_more = true;
#else
  constexpr bool takes_more = false;
#endif
  if (Layout::kBlockThreads == 256) return wide || takes_more ? 256 : 512;
  if (wide) return Layout::kValues == 16 ? 256 : 384;
  return takes_more ? 768 : 1024;
}

template <typename Scalar, typename Layout>
constexpr int kMinBlocks = min_threads<Scalar, Layout>() / Layout::kBlockThreads;

// Calls function(Layout) for rows of more than 1,024 real logits.
template <typename Scalar, typename Function>
auto with_block_layout(int64_t classes, Function function) {
  constexpr int kLongest = sizeof(Scalar) == 8 ? 16 : 32;
  if (classes <= 256 * kLongest) return function(Layout<256, kLongest>{});
  return function(Layout<256, 0>{});
}

// Calls function(Layout) for rows of this many real logits. Up to 16 values leave room for all in 64 registers.
template <typename Scalar, typename Function>
auto with_layout(int64_t classes, Function function) {
  if (classes <= 16) return function(Layout<1, 16>{});
  if (classes <= 32) return function(Layout<4, 8>{});
  if (classes <= 64) return function(Layout<8, 8>{});
  if (classes <= 256) return function(Layout<32, 8>{});
  if (classes <= 1024) return function(Layout<128, 8>{});
  return with_block_layout<Scalar>(classes, function);
}

// The same for rows of up to 1,024 elements that are in shared memory already.
template <typename Function>
auto with_span_layout(int64_t classes, Function function) {
  if (classes <= 16) return function(Layout<1, 0>{});
  if (classes <= 64) return function(Layout<8, 0>{});
  return function(Layout<32, 0>{});
}

// The same for longer rows whose score sums take every element once: as long as the sums of all columns find room in
// the registers of a thread block.
template <typename Scalar>
constexpr int64_t kMediumColumns = sizeof(Scalar) == 8 ? 2048 : 4096;

template <typename Scalar, typename Function>
auto with_medium_layout(int64_t classes, Function function) {
  if constexpr (kMediumColumns<Scalar> > 2048) {
    if (classes > 2048) return function(Layout<512, 8>{});
  }
  return function(Layout<256, 8>{});
}

// A row of global memory, of more than 64 columns: a head, packs and a tail.
template <typename Scalar, typename Layout_>
class Row {
 public:
  using Layout = Layout_;
  using T = Computing<Scalar>;
  using Column = std::conditional_t<Layout::kInRegisters, int, int64_t>;
  using Threads = Group<Layout::kThreads>;
  static constexpr int kRegisters = Layout::kValues + 1;  // one for the edges

  __device__ __forceinline__ Row(const Scalar* data, int64_t length) : data_(data) {
    const auto columns = static_cast<Column>(length);
    const int rank = Threads::rank();
    head_ = until_aligned(data);
    packs_ = static_cast<int>((columns - head_) / kPack<Scalar>);
    const int tail = static_cast<int>((columns - head_) % kPack<Scalar>);
    edge_ = rank < head_ ? rank : rank - head_ < tail ? columns - tail + rank - head_ : -1;
    if constexpr (Layout::kInRegisters) {
#pragma unroll
      for (int slot = 0; slot < kPacks; ++slot) {
#pragma unroll
        for (int i = 0; i < kPack<Scalar>; ++i) values_[slot][i] = -INFINITY;
      }
      each_pack([&](int slot, Column column) { load_pack(data_ + column, values_[slot]); });
      if (edge_ >= 0) of_edge_ = load(data_ + edge_);
    }
  }

  // function(column, value) for each of this thread's columns. What the function writes to `value` is there at the
  // next call where the row is in registers; elsewhere the next call reads the logit again.
  template <typename Function>
  __device__ __forceinline__ void for_each(Function function) {
    each_pack([&](int slot, Column column) {
      T read[kPack<Scalar>];
      T(&values)[kPack<Scalar>] = Layout::kInRegisters ? values_[slot] : read;
      if constexpr (!Layout::kInRegisters) load_pack(data_ + column, values);
#pragma unroll
      for (int i = 0; i < kPack<Scalar>; ++i) function(column + i, values[i]);
    });
    if (edge_ >= 0) {
      if constexpr (!Layout::kInRegisters) of_edge_ = load(data_ + edge_);
      function(edge_, of_edge_);
    }
  }

  // function(value) for each of this thread's kRegisters, without a branch: those without a column begin as -inf.
  template <typename Function>
  __device__ __forceinline__ void for_each_value(Function function) {
    static_assert(Layout::kInRegisters, "of rows in registers");
#pragma unroll
    for (int slot = 0; slot < kPacks; ++slot) {
#pragma unroll
      for (int i = 0; i < kPack<Scalar>; ++i) function(values_[slot][i]);
    }
    function(of_edge_);
  }

  // function(first column, step from column to column, logits) for several columns at a time, of rows that are not in
  // registers.
  template <typename Function>
  __device__ __forceinline__ void for_each_pack(Function function) const {
    each_pack([&](int, Column column) {
      T logits[kPack<Scalar>];
      load_pack(data_ + column, logits);
      function(column, 1, logits);
    });
    if (edge_ >= 0) {
      const T logits[1] = {load(data_ + edge_)};
      function(edge_, 1, logits);
    }
  }

  // out[column] = function(value) for each of this thread's columns, rounded once.
  template <typename Function>
  __device__ __forceinline__ void store_each(Scalar* out, Function function) {
    const auto of_pack = [&](int slot, Column column, T(&values)[kPack<Scalar>]) {
      if constexpr (!Layout::kInRegisters) load_pack(data_ + column, values);
#pragma unroll
      for (int i = 0; i < kPack<Scalar>; ++i) values[i] = function(Layout::kInRegisters ? values_[slot][i] : values[i]);
    };
    // Two loops: with the branch inside, every element of the one costs a skipped instruction of the other.
    if (until_aligned(out) == until_aligned(data_)) {
      each_pack([&](int slot, Column column) {
        T values[kPack<Scalar>];
        of_pack(slot, column, values);
        store_pack(out + column, values);
      });
    } else {
      each_pack([&](int slot, Column column) {
        T values[kPack<Scalar>];
        of_pack(slot, column, values);
#pragma unroll
        for (int i = 0; i < kPack<Scalar>; ++i) store(out + column + i, values[i]);
      });
    }
    if (edge_ >= 0) {
      if constexpr (!Layout::kInRegisters) of_edge_ = load(data_ + edge_);
      store(out + edge_, function(of_edge_));
    }
  }

  __device__ __forceinline__ T logit(int64_t column) const { return load(data_ + column); }

 private:
  static constexpr int kPacks = Layout::kInRegisters ? Layout::kValues / kPack<Scalar> : 1;

  // function(slot, first column) for each of this thread's packs.
  template <typename Function>
  __device__ __forceinline__ void each_pack(Function function) const {
    if constexpr (Layout::kInRegisters) {
#pragma unroll
      for (int slot = 0; slot < kPacks; ++slot) {
        const int pack = Threads::rank() + slot * Layout::kThreads;
        if (pack < packs_) function(slot, head_ + pack * kPack<Scalar>);
      }
    } else {
      for (int pack = Threads::rank(); pack < packs_; pack += Layout::kThreads) {
        function(0, head_ + Column{pack} * kPack<Scalar>);
      }
    }
  }

  const Scalar* data_;
  int head_;     // columns before the first pack
  int packs_;    // of the whole row
  Column edge_;  // this thread's column beside the packs, or -1
  T of_edge_ = -INFINITY;
  T values_[kPacks][kPack<Scalar>];
};

// The largest value of a row in registers, for all threads of it. NaN is passed over: it shows in the sums.
template <typename Row>
__device__ __forceinline__ typename Row::T row_max(Row& row) {
  typename Row::T largest = -INFINITY;
  row.for_each_value([&](auto value) { largest = Max()(largest, value); });
  return Row::Threads::reduce(largest, Max());
}

// The lowest column that holds a value, or `columns`, for all threads of the row.
template <typename Row>
__device__ __forceinline__ typename Row::Column first_of(Row& row, typename Row::T wanted,
                                                         typename Row::Column columns) {
  using Column = typename Row::Column;
  Column lowest = columns;
  row.for_each([&](Column column, auto value) {
    if (value == wanted && column < lowest) lowest = column;
  });
  return Row::Threads::reduce(lowest, Min());
}

}  // namespace amgan::cuda
