// Rows too long for registers: a thread block of 512 or 1,024 threads keeps one in shared memory, so that whatever is
// asked of it costs one read of global memory, and fills the places of a row with the next one while it goes over the
// row for the last time.
//
// A row is a head, packs of 16 bytes and a tail, as in row.cuh. Thread t has the packs t, t + kThreads, ... in that
// order, and each pack has its own place: nobody else reads or writes there, so no barrier is needed for it.
//
//   packs   |0 .. 1023|1024 .. 2047| ... |14 x 1024 ..|15 x 1024 ..|16 x 1024 ...
//   place   | shared memory, up to 227 KB| two packs a thread in  | none: read from global
//           | a block (14 slots)         | registers (2 slots)    | memory every time
//
// How many slots shared memory has is the device's matter (227 KB on compute capability 9.0 and 10.0, 163 on 8.0, 99 on
// 8.6, 8.9 and 12.0, 64 on 7.5); what a thread does in which order is not, so the bits are the same.
//
// An example, compute capability 9.0, float32: 32,001 columns, 32,000 classes, are 8,000 packs and no edge, 8 slots of
// 1,024 threads, 128 KB. Time goes from left to right, for a block that has rows 0, 512, 1024, ...:
//
//   copies     |row 0, 4 pieces|                    |row 512 ........|                   |row 1024 ........|
//   threads        |max, sums of pieces as they come|gradient of row 0|max, sums, row 512|gradient, row 512|
//   stores                                          |row 0 ..........|                   |row 512 .........|
//
// In the third interval a thread takes the pack of row 0 from its place, asks for the pack of row 512 to come there
// (cp.async, which takes no register), and computes and stores the gradient; reads and writes are under way together.
#pragma once

#include <cuda_pipeline_primitives.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "cuda/row.cuh"

namespace amgan::cuda {

extern __shared__ uint4 row_memory[];

// As Row (row.cuh), for one row after the other.
template <typename Scalar, typename Layout_>
class LongRow {
 public:
  using Layout = Layout_;
  using Element = Scalar;
  using T = Computing<Scalar>;
  using Column = int64_t;
  using Threads = Group<Layout::kThreads>;
  static constexpr int kRegisters = 1;

  // Slots in registers: where a block has all shared memory for itself. Code for Turing takes more registers, and that
  // for 8.0 a little more.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  static constexpr int kHeld = 0;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 800
  static constexpr int kHeld = Layout::kThreads == 1024 ? 1 : 0;
#else
  static constexpr int kHeld = Layout::kThreads == 1024 ? 2 : 0;
#endif
  static constexpr int kReductionBytes = 2048;  // at least what a kernel has for sums over its threads
  static constexpr int kSlotBytes = Layout::kThreads * static_cast<int>(sizeof(uint4));

  // As many slots of shared memory as rows need and a block of the kernel may have on the current device, which is
  // asked once.
  template <auto kKernel>
  static cudaError_t slots(int64_t columns, int* slots) {
    static std::array<std::atomic<int>, 64> of_device{};
    int device;
    if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
    std::atomic<int>& known = of_device[device % of_device.size()];
    int most = known.load(std::memory_order_relaxed);
    if (most == 0) {
      int bytes;
      cudaError_t error = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
      if (error != cudaSuccess) return error;
      bytes -= kReductionBytes;
      error = cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
      if (error != cudaSuccess) return error;
      most = bytes / kSlotBytes;
      known.store(most, std::memory_order_relaxed);
    }
    const int64_t packs = columns / kPack<Scalar>;
    *slots = static_cast<int>(std::min<int64_t>(most, packs / Layout::kThreads + (packs % Layout::kThreads != 0)));
    return cudaSuccess;
  }

  // `slots` of shared memory.
  __device__ __forceinline__ LongRow(int64_t columns, int slots) : columns_(columns), slots_(slots) {}

  // Begins to bring a row to its places, whose former one is over.
  __device__ __forceinline__ void bring(const Scalar* data) {
    const Span span(data, columns_);
    int pack = Threads::rank();
#pragma unroll 1
    for (int piece = 0; piece < kPieces; ++piece) {
      for (const int end = piece_end(piece); pack < end; pack += Layout::kThreads) span.copy(pack);
      __pipeline_commit();
    }
#pragma unroll
    for (int i = 0; i < kHeld; ++i, pack += Layout::kThreads) span.read(pack, &held_[i]);
    coming_edge_ = span.edge_value();
  }

  __device__ __forceinline__ void fetch_expected() {}  // here the last that is asked of a row does that

  // The row that was brought, which lies at `data`; `next` comes after it, or is null.
  __device__ __forceinline__ void begin(const Scalar* data, const Scalar* next) {
    span_ = Span(data, columns_);
    of_edge_ = coming_edge_;
    next_ = next;
  }

  // Brings the next one, unless store_each has done so.
  __device__ __forceinline__ void end() {
    if (next_ != nullptr) bring(next_);
  }

  template <typename Function>
  __device__ __forceinline__ void for_each_pack(Function function) const {
    each_pack([&](int pack, const uint4* at) {
      T logits[kPack<Scalar>];
      unpack<Scalar>(*at, logits);
      function(span_.head + Column{pack} * kPack<Scalar>, 1, logits);
    });
    if (span_.edge >= 0) {
      const T logits[1] = {of_edge_};
      function(span_.edge, 1, logits);
    }
  }

  template <typename Function>
  __device__ __forceinline__ void for_each(Function function) const {
    for_each_pack([&](Column column, int, auto& logits) {
      for (int i = 0; i < static_cast<int>(std::extent_v<std::remove_reference_t<decltype(logits)>>); ++i) {
        function(column + i, logits[i]);
      }
    });
  }

  // The last that is asked of a row.
  template <typename Function>
  __device__ __forceinline__ void store_each(Scalar* out, Function function) {
    const auto values_of = [&](const uint4* at, T(&values)[kPack<Scalar>]) {
      unpack<Scalar>(*at, values);
#pragma unroll
      for (T& value : values) value = function(value);
    };
    Scalar* const first = out + span_.head;
    if (until_aligned(out) == span_.head) {
      each_pack_and_next([&](int pack, const uint4* at) {
        T values[kPack<Scalar>];
        values_of(at, values);
        store_pack(first + Column{pack} * kPack<Scalar>, values);
      });
    } else {
      each_pack_and_next([&](int pack, const uint4* at) {
        T values[kPack<Scalar>];
        values_of(at, values);
#pragma unroll
        for (int i = 0; i < kPack<Scalar>; ++i) store(first + Column{pack} * kPack<Scalar> + i, values[i]);
      });
    }
    if (span_.edge >= 0) store(out + span_.edge, function(of_edge_));
  }

  __device__ __forceinline__ T logit(int64_t column) const { return span_.logit(column); }

 private:
  // Copies of a row are waited for in so many steps.
  static constexpr int kPieces = 4;

  // Where a row lies; there may be none.
  struct Span {
    const uint4* first = nullptr;  // of the packs
    int head = 0;                  // columns before them
    int packs = 0;
    Column edge = -1;  // this thread's column beside the packs, or -1

    Span() = default;
    __device__ __forceinline__ Span(const Scalar* at, int64_t columns) {
      if (at == nullptr) return;
      const int rank = Threads::rank();
      head = until_aligned(at);
      first = reinterpret_cast<const uint4*>(at + head);
      packs = static_cast<int>((columns - head) / kPack<Scalar>);
      const int tail = static_cast<int>((columns - head) % kPack<Scalar>);
      edge = rank < head ? rank : rank - head < tail ? columns - tail + rank - head : -1;
    }

    __device__ __forceinline__ void copy(int pack) const {
      if (pack < packs) __pipeline_memcpy_async(&row_memory[pack], first + pack, sizeof(uint4));
    }
    __device__ __forceinline__ void read(int pack, uint4* bits) const {
      if (pack < packs) *bits = first[pack];
    }
    __device__ __forceinline__ T logit(Column column) const {
      return load(reinterpret_cast<const Scalar*>(first) - head + column);
    }
    __device__ __forceinline__ T edge_value() const { return edge >= 0 ? logit(edge) : T(0); }
  };

  // The pack after the last of a piece, for every thread.
  __device__ __forceinline__ int piece_end(int piece) const {
    return slots_ * (piece + 1) / kPieces * Layout::kThreads;
  }

  // visit(pack, where it lies) for each of this thread's packs, in order.
  template <typename Visit>
  __device__ __forceinline__ void each_pack(Visit visit) const {
    int pack = Threads::rank();
#pragma unroll 1
    for (int piece = 0; piece < kPieces; ++piece) {
      __pipeline_wait_prior(kPieces - 1 - piece);
      for (const int end = min(piece_end(piece), span_.packs); pack < end; pack += Layout::kThreads) {
        visit(pack, &row_memory[pack]);
      }
    }
#pragma unroll
    for (int i = 0; i < kHeld; ++i, pack += Layout::kThreads) {
      if (pack < span_.packs) visit(pack, &held_[i]);
    }
    for (; pack < span_.packs; pack += Layout::kThreads) visit(pack, span_.first + pack);
  }

  // The same, for the last time, with the next row on the heels of this one.
  template <typename Visit>
  __device__ __forceinline__ void each_pack_and_next(Visit visit) {
    const Span next(next_, columns_);
    int pack = Threads::rank();
#pragma unroll 1
    for (int piece = 0; piece < kPieces; ++piece) {
      for (const int end = piece_end(piece); pack < end; pack += Layout::kThreads) {
        if (pack < span_.packs) visit(pack, &row_memory[pack]);
        next.copy(pack);
      }
      __pipeline_commit();
    }
#pragma unroll
    for (int i = 0; i < kHeld; ++i, pack += Layout::kThreads) {
      if (pack < span_.packs) visit(pack, &held_[i]);
      next.read(pack, &held_[i]);
    }
    for (; pack < span_.packs; pack += Layout::kThreads) visit(pack, span_.first + pack);
    coming_edge_ = next.edge_value();
    next_ = nullptr;
  }

  const int64_t columns_;
  const int slots_;
  Span span_;
  const Scalar* next_ = nullptr;  // to be brought
  T of_edge_, coming_edge_;
  uint4 held_[std::max(kHeld, 1)];
};

// As for_rows (tile.cuh).
template <typename Scalar, typename Layout, typename Ahead, typename Visit>
__device__ __forceinline__ void for_long_rows(const Scalar* data, int64_t rows, int64_t row_stride, int64_t columns,
                                              int64_t classes, Scalar* grad, int64_t block, int64_t blocks, int slots,
                                              Ahead ahead, Visit visit) {
  if (block >= rows) return;
  LongRow<Scalar, Layout> row(classes, slots);
  row.bring(data + block * row_stride);
  for (int64_t index = block; index < rows; index += blocks) {
    const int64_t next = index + blocks;
    row.begin(data + index * row_stride, next < rows ? data + next * row_stride : nullptr);
    visit(row, index, grad + index * columns, ahead(index));
    row.end();
  }
}

}  // namespace amgan::cuda
