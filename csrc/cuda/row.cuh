// How threads share a row of logits, by its length:
//
//   up to 16, 32, 64      1, 4 or 8 threads a row, out of a tile of rows in shared memory (tile.cuh)
//   up to 1,024           half a warp or a warp a row, in registers, the next row on its way there (float64: up to 512)
//   up to 8,192           a block of 256 a row, in registers (float64: 128 from 513 to 1,024, none beyond 4,096)
//   longer                a block of 512 or 1,024 a row, in shared memory (long_row.cuh)
//
// What a row costs once (shuffles, logarithms, divisions, labels) takes a warp some 250 instructions, as many as 30
// logits a thread: hence many logits to few threads, and two rows a warp wherever their logits find room in its
// registers.
//
// For the scores:
//
//   up to 16, 32, 64, 128  1, 2, 4 or 8 threads a row, out of a tile of rows in shared memory (scores_tile.cuh)
//   up to 512, 1,024       16 or 32 threads a row, in registers (scores_rows.cuh)
//   up to 2,048, ..., 8,192  64, 128 or 256 a row, as above (float64: 256 up to 2,048)
//   longer                 as above, and then a thread a column (scores_long.cuh)
//
// Rows of K+1 columns start anywhere, so a row is taken as up to kPack - 1 elements before the first multiple of 16
// bytes, packs of 16 bytes, and elements after the last pack: one thread each for those of the edges, while packs go to
// neighbours in turn. Every row has as many packs as the worst placed one (Cut), so that a thread has logits in the
// same registers in every row.
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
  static constexpr bool kInTile = kThreads < 16;
  static constexpr bool kIsLong = kThreads > 256 && !kInRegisters;  // long_row.cuh
  using Column = std::conditional_t<kInRegisters, int, int64_t>;    // 64-bit ones would cost two registers each
  static constexpr int kBlockThreads = kThreads < 128 ? 128 : kThreads;
  static constexpr int kBlockRows = kBlockThreads / kThreads;

  // Of a row of a tile.
  static __host__ __device__ constexpr int column(int rank, int slot) { return rank + slot * kThreads; }

  // Whether the next row is on its way to registers while this one is computed. Warps that share a row would wait for
  // each other all the same, and so many together hide the way from memory by themselves. Turing's code has no
  // registers left for it.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  static constexpr bool kPrefetches = false;
#else
  static constexpr bool kPrefetches = kInRegisters && !kInTile && kThreads <= 32;
#endif

  // Thread blocks for this many rows, from the shape alone, so that sums repeat bitwise whatever the number of
  // multiprocessors. Each block has an end of its own, in which it adds to the total (total.cuh): so one for every
  // kBlockRows rows as long as there are 1,024 at most (512 large ones), and beyond that some rounds for each, up to
  // blocks enough that those which a GPU runs last are few among them.
  static int64_t blocks(int64_t rows) {
    constexpr int64_t kFew = kThreads < 512 ? 1024 : 512, kMost = 4 * kFew, kRounds = 4;
    const int64_t groups = rows / kBlockRows + (rows % kBlockRows != 0);
    return std::clamp<int64_t>(groups, 1, std::clamp(groups / kRounds, kFew, kMost));
  }
};

// Threads that a multiprocessor must hold at a time, which is what bounds the registers of a thread: 1,024 leave 64 to
// each, 768 leave 80, 640 96, 512 128, 384 168. By how many of them hold logits: of this row, each `kSets` times, and
// of the next. Float64 takes two and its functions many more; Turing's and consumer Blackwell's code takes more.
template <typename Scalar, typename Layout, int kSets>
constexpr int min_threads() {
#if defined(__CUDA_ARCH__)
  constexpr bool turing = __CUDA_ARCH__ < 800, blackwell = __CUDA_ARCH__ >= 1200;
#else
  constexpr bool turing = false, blackwell = false;
#endif
  if (Layout::kIsLong) return sizeof(Scalar) == 8 || turing || blackwell ? Layout::kThreads : 1024;
  constexpr bool of_warp = Layout::kThreads == 16 || Layout::kThreads == 32;
  constexpr int kOfNext = Layout::kPrefetches ? Layout::kValues * static_cast<int>(sizeof(Scalar)) / 4 : 0;
  constexpr int kLogits = kSets * Layout::kValues + kOfNext;
  if (sizeof(Scalar) == 8) return Layout::kValues >= 16 || of_warp ? 256 : 384;
  if (Layout::kInTile) return turing || blackwell ? 768 : 1024;
  if (!of_warp) return turing || blackwell ? 256 : Layout::kInRegisters && kLogits <= 16 ? 768 : 512;
  if (kLogits <= 16) return turing ? 640 : 768;
  if (kLogits <= 32) return turing ? 512 : 640;
  return turing ? 256 : kLogits <= 80 ? 512 : 384;
}

template <typename Scalar, typename Layout, int kSets = 1>
constexpr int kMinBlocks = min_threads<Scalar, Layout, kSets>() / Layout::kBlockThreads;

// Calls function(Layout) for rows that no registers hold: 512 threads as long as the row fits into 99 KB of shared
// memory, which every block may have from compute capability 8.0 on, and two of a multiprocessor at a time on 9.0 and
// 10.0. float64 takes more registers than 1,024 threads may have.
template <typename Scalar, typename Function>
auto with_long_layout(int64_t classes, Function function) {
  constexpr int64_t kHalf = 12 * 512 * kPack<Scalar>;
  if constexpr (sizeof(Scalar) < 8) {
    if (classes > kHalf) return function(Layout<1024, 0>{});
  }
  return function(Layout<512, 0>{});
}

// Calls function(Layout) for rows of this many real logits: beyond 16 never one for twice as many. Fewer threads with
// more logits each share what a row costs once. kSets: registers that a logit takes, times the size of T.
template <typename Scalar, int kSets, typename Function>
auto with_layout(int64_t classes, Function function) {
  constexpr bool kWide = sizeof(Scalar) == 8, kNarrow = sizeof(Scalar) == 2 && kSets == 1;
  using To256 = std::conditional_t<kWide, Layout<32, 8>, Layout<16, 16>>;  // 16 would spill on sm_120
  using To512 = std::conditional_t<(kWide || kSets == 2), Layout<32, 16>, Layout<16, 32>>;
  using OfWarp = std::conditional_t<kNarrow, Layout<16, 64>, Layout<32, 32>>;
  using To1024 = std::conditional_t<kWide, Layout<128, 8>, OfWarp>;
  if (classes <= 16) return function(Layout<1, 16>{});
  if (classes <= 32) return function(Layout<4, 8>{});
  if (classes <= 64) return function(Layout<8, 8>{});
  if (classes <= 128) return function(Layout<16, 8>{});
  if (classes <= 256) return function(To256{});
  if (classes <= 512) return function(To512{});
  if (classes <= 1024) return function(To1024{});
  if (classes <= 2048) return function(Layout<256, 8>{});
  if (classes <= 4096) return function(Layout<256, 16>{});
  if constexpr (!kWide) {
    if (classes <= 8192) return function(Layout<256, 32>{});
  }
  return with_long_layout<Scalar>(classes, function);
}

// The compiler has the value in a register here, and knows nothing of it.
__device__ __forceinline__ void stays(int64_t& value) {
  asm volatile("" : "+l"(value));
}

// How rows of one length are cut, wherever they start: into packs of 16 bytes, as many as every one of them has between
// two multiples of 16, and elements at its edges. (1,001 columns of float32: 249 packs and 5 elements, up to 3 before.)
template <typename Scalar>
struct Cut {
  int packs;
  int edges;

  __device__ __forceinline__ explicit Cut(int64_t columns)
      : packs(static_cast<int>((columns - (kPack<Scalar> - 1)) / kPack<Scalar>)),
        edges(static_cast<int>(columns - int64_t{packs} * kPack<Scalar>)) {}
};

// A row of global memory, of more than 64 columns. Neighbours take packs in turn, and one element of the edges each.
//
// One object serves for row after row. `fetch` sends for the logits of one, `unpack` waits for them and makes it the
// row that the other functions are about. In between, the next row may be on its way: `expect` says where it begins,
// and `fetch_expected` sends for it. Whoever computes calls that as soon as the logits have turned into something else:
// any earlier, and each would have to be copied to another register before.
template <typename Scalar, typename Layout_>
class Row {
 public:
  using Layout = Layout_;
  using Element = Scalar;
  using T = Computing<Scalar>;
  using Column = typename Layout::Column;
  using Threads = Group<Layout::kThreads>;
  static constexpr int kRegisters = Layout::kValues + 1;  // one for the edges

  // Registers without a column, which are the same for every row, stay -inf.
  __device__ __forceinline__ explicit Row(Cut<Scalar> cut) : cut_(cut) {
    if constexpr (Layout::kInRegisters) {
#pragma unroll
      for (uint4& bits : bits_) bits = minus_infinities<Scalar>();
      store(&edge_bits_, T(-INFINITY));
    }
  }

  // Rows that are not in registers are read where they are asked for.
  __device__ __forceinline__ void fetch(const Scalar* data) {
    next_ = {data, until_aligned(data)};
    if constexpr (Layout::kInRegisters) {
      const Scalar* const first = data + offset_of_first(next_);
      each_pack([&](int slot, Column offset) { bits_[slot] = load_bits(first + offset); });
      if (has_edge()) edge_bits_ = data[edge(next_)];
    }
  }

  __device__ __forceinline__ void unpack() {
    at_ = next_;
    if constexpr (Layout::kInRegisters) {
#pragma unroll
      for (int slot = 0; slot < kPacks; ++slot) cuda::unpack<Scalar>(bits_[slot], values_[slot]);
      of_edge_ = load(&edge_bits_);
    }
  }

  // Null: there is no next row.
  __device__ __forceinline__ void expect(const Scalar* data) { next_.data = data; }

  __device__ __forceinline__ void fetch_expected() {
    if constexpr (Layout::kPrefetches) {
      if (next_.data != nullptr) fetch(next_.data);
    }
  }

  // function(column, value) for each of this thread's columns. What the function writes to `value` is there at the
  // next call where the row is in registers; elsewhere the next call reads the logit again.
  template <typename Function>
  __device__ __forceinline__ void for_each(Function function) {
    each_pack([&](int slot, Column offset) {
      T read[kPack<Scalar>];
      T(&values)[kPack<Scalar>] = Layout::kInRegisters ? values_[slot] : read;
      if constexpr (!Layout::kInRegisters) load_pack(at_.data + first_column(at_) + offset, values);
#pragma unroll
      for (int i = 0; i < kPack<Scalar>; ++i) function(first_column(at_) + offset + i, values[i]);
    });
    if (has_edge()) {
      if constexpr (!Layout::kInRegisters) of_edge_ = load(at_.data + edge(at_));
      function(edge(at_), of_edge_);
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
    each_pack([&](int, Column offset) {
      T logits[kPack<Scalar>];
      load_pack(at_.data + first_column(at_) + offset, logits);
      function(first_column(at_) + offset, 1, logits);
    });
    if (has_edge()) {
      const T logits[1] = {load(at_.data + edge(at_))};
      function(edge(at_), 1, logits);
    }
  }

  // out[column] = function(value) for each of this thread's columns, rounded once.
  template <typename Function>
  __device__ __forceinline__ void store_each(Scalar* out, Function function) {
    static_assert(Layout::kInRegisters, "of rows in registers");
    const auto of_pack = [&](int slot, T(&values)[kPack<Scalar>]) {
#pragma unroll
      for (int i = 0; i < kPack<Scalar>; ++i) values[i] = function(values_[slot][i]);
    };
    Scalar* const first = out + offset_of_first(at_);
    // Two loops: with the branch inside, every element of the one costs a skipped instruction of the other.
    if (until_aligned(out) == at_.head) {
      each_pack([&](int slot, Column offset) {
        T values[kPack<Scalar>];
        of_pack(slot, values);
        store_pack(first + offset, values);
      });
    } else {
      each_pack([&](int slot, Column offset) {
        T values[kPack<Scalar>];
        of_pack(slot, values);
#pragma unroll
        for (int i = 0; i < kPack<Scalar>; ++i) store(first + offset + i, values[i]);
      });
    }
    if (has_edge()) store(out + edge(at_), function(of_edge_));
  }

  __device__ __forceinline__ T logit(int64_t column) const { return load(at_.data + column); }

 private:
  static constexpr int kPacks = Layout::kInRegisters ? Layout::kValues / kPack<Scalar> : 1;
  static_assert(Layout::kThreads >= 2 * kPack < Scalar > -2, "a thread for each element of the edges");

  // function(slot, columns from this thread's first one) for each of its packs.
  template <typename Function>
  __device__ __forceinline__ void each_pack(Function function) const {
    if constexpr (Layout::kInRegisters) {
      const int left = cut_.packs - Threads::rank();
#pragma unroll
      for (int slot = 0; slot < kPacks; ++slot) {
        if (slot * Layout::kThreads < left) function(slot, slot * Layout::kThreads * kPack<Scalar>);
      }
    } else {
      const int rank = Threads::rank();
      for (int pack = rank; pack < cut_.packs; pack += Layout::kThreads) {
        function(0, Column{pack - rank} * kPack<Scalar>);
      }
    }
  }

  struct Place {
    const Scalar* data;
    int head;  // columns before the first pack
  };

  __device__ __forceinline__ int first_column(const Place& place) const {
    return place.head + Threads::rank() * kPack<Scalar>;
  }

  // The same for addresses: one is computed, from which all packs are as far as the code says.
  __device__ __forceinline__ int64_t offset_of_first(const Place& place) const {
    int64_t offset = first_column(place);
    stays(offset);
    return offset;
  }

  // This thread's column before or after the packs, if it has one.
  __device__ __forceinline__ bool has_edge() const { return Threads::rank() < cut_.edges; }
  __device__ __forceinline__ Column edge(const Place& place) const {
    const int rank = Threads::rank();
    return rank < place.head ? Column{rank} : rank + Column{cut_.packs} * kPack<Scalar>;
  }

  const Cut<Scalar> cut_;
  Place next_, at_;
  uint4 bits_[kPacks];  // of the next row
  Scalar edge_bits_;
  T values_[kPacks][kPack<Scalar>];  // of this one
  T of_edge_;
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
