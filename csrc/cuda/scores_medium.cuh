// Score sums of rows of 1,025 to 4,096 classes (float64: 2,048): every element is read once, one exp2 each.
//
// A thread block takes a chunk of the rows of one block of the result, a row at a time, and each thread 8 columns of
// them: it keeps the logits of a row and their exponentials in registers until the sums of the whole row are
// known, and the sums of its columns down all rows. A row starts anywhere within 16 bytes, its columns always belong to
// the same threads: so it passes through shared memory, where it comes in packs. The next row is on its way meanwhile.
#pragma once

#include "cuda/scores_merge.cuh"
#include "cuda/tile.cuh"

namespace amgan::cuda {

// A row on its way from global to shared memory, in registers of all threads of a block.
template <typename Scalar, typename Layout>
class RowInFlight {
 public:
  __device__ __forceinline__ void load(const Scalar* data, int columns) {
    head_ = min(until_aligned(data), columns);
    const int rank = threadIdx.x, packs = (columns - head_) / kPack<Scalar>, tail = head_ + packs * kPack<Scalar>;
    edge_ = rank < head_ ? rank : rank - head_ < columns - tail ? tail + rank - head_ : -1;
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      if (pack(slot) < packs) packs_[slot] = *reinterpret_cast<const uint4*>(data + column(slot));
    }
    if (edge_ >= 0) of_edge_ = data[edge_];
    packs_of_row_ = packs;
  }

  // Returns where the row begins, which is at the same place within 16 bytes.
  __device__ __forceinline__ Scalar* store(uint4* place) const {
    Scalar* const elements = reinterpret_cast<Scalar*>(place) + (kPack<Scalar> - head_) % kPack<Scalar>;
    if (edge_ >= 0) elements[edge_] = of_edge_;
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      if (pack(slot) < packs_of_row_) *reinterpret_cast<uint4*>(elements + column(slot)) = packs_[slot];
    }
    return elements;
  }

 private:
  static constexpr int kSlots = Layout::kValues / kPack<Scalar>;

  static __device__ __forceinline__ int pack(int slot) { return threadIdx.x + slot * Layout::kThreads; }
  __device__ __forceinline__ int column(int slot) const { return head_ + pack(slot) * kPack<Scalar>; }

  int head_, packs_of_row_, edge_;
  Scalar of_edge_;
  uint4 packs_[kSlots];
};

template <typename Scalar>
struct RowsParams {
  ScoresInput<Scalar> input;
  Chunks chunks;         // of the rows of a block
  double* count;         // [B]
  Sums sums;             // of chunk 0, or the result where there is one chunk
  int64_t chunk_stride;  // doubles from one chunk's sums to the next
};

// 50,000 rows of 2,000 classes in 10 blocks, float32: blockIdx.x says which of the 10, and which chunk of its 5,000
// rows first, first + 10, first + 20, ...; 256 threads take these rows one after the other. Thread t has columns t, t +
// 256,
// ..., t + 1,792 of every row, so that their sums stay in its registers:
//
//   row 0   global -> registers (packs) -> shared memory -> 8 columns a thread -> max, 1/s -> p, p^2, log p -> sums
//   row 1             global -> registers ............................ waits ............. -> shared memory -> ...
//
// The next row is asked for as soon as the registers of the last one's packs are free: its way from global memory takes
// as long as the arithmetic of this one.
template <typename Scalar, typename Layout, bool kProbabilities>
__global__ void __launch_bounds__(Layout::kThreads, sizeof(Scalar) == 8 ? 1 : 512 / Layout::kThreads)
    rows_kernel(const __grid_constant__ RowsParams<Scalar> params) {
  using T = Computing<Scalar>;
  using Row = TileRow<Scalar, Layout>;

  const ScoresInput<Scalar>& input = params.input;
  const int columns = static_cast<int>(input.classes);
  const int64_t chunk = blockIdx.x / input.blocks, first = blockIdx.x % input.blocks;
  const int64_t skipped = chunk * params.chunks.rounds, step = input.blocks * input.row_stride;
  const int64_t count = input.count_from(first);
  const Scalar* data = input.data + first * input.row_stride + skipped * step;

  ColumnSums<T> sums[Layout::kValues];
  double entropy = 0;
  RowInFlight<Scalar, Layout> next;
  int64_t left = min(params.chunks.rounds, count - skipped);
  if (left > 0) next.load(data, columns);
  // No sync at the end of a round: the reductions of row_state have one after every thread has read its 8 logits, so
  // that nobody overwrites the row in shared memory that another still needs.
  for (; left > 0; --left) {
    const Scalar* const elements = next.store(tile_memory);
    data += step;
    if (left > 1) next.load(data, columns);
    __syncthreads();
    Row row(elements, columns);
    T exponentials[Row::kRegisters];
    const RowState<T> state = row_state<kProbabilities>(row, exponentials);
    int i = 0;
    row.for_each_value([&](T value) {
      if constexpr (kProbabilities) {
        add_to<kProbabilities>(sums[i], value, state);
      } else {
        sums[i].add(state.terms.prob(exponentials[i]), state.terms.log_prob(value));
      }
      ++i;
    });
    if (threadIdx.x == 0) entropy += state.terms.entropy;
  }

  // The rows first, first + B, ... belong to this block of the result: row i to (offset + i) % B.
  const int64_t block = (first + input.offset) % input.blocks;
  const Sums place = params.sums + chunk * params.chunk_stride;
#pragma unroll
  for (int i = 0; i < Layout::kValues; ++i) {
    const int column = threadIdx.x + i * Layout::kThreads;
    if (column >= columns) continue;
    place.prob[block * columns + column] = sums[i].prob();
    place.prob_sq[block * columns + column] = sums[i].prob_sq();
    place.log_prob[block * columns + column] = sums[i].log_prob();
  }
  if (threadIdx.x == 0) {
    place.entropy[block] = entropy;
    if (chunk == 0) params.count[block] = static_cast<double>(count);
  }
}

inline Chunks row_chunks(const ScoresArgs& args) {
  return Chunks(args.blocks, std::max<int64_t>(1, divide_up(args.rows, args.blocks)));
}

inline int64_t medium_rows_workspace(const ScoresArgs& args) {
  return row_chunks(args).workspace(args);
}

template <typename Scalar, typename Layout, bool kProbabilities>
cudaError_t launch_rows(const RowsParams<Scalar>& params, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(params.input.blocks * params.chunks.count);
  const size_t shared = (params.input.classes / kPack<Scalar> + 2) * 16;
  rows_kernel<Scalar, Layout, kProbabilities><<<grid, Layout::kThreads, shared, stream>>>(params);
  return cudaGetLastError();
}

template <typename Scalar>
cudaError_t sum_medium_rows(const ScoresArgs& args, cudaStream_t stream) {
  const Chunks chunks = row_chunks(args);
  const RowsParams<Scalar> params{ScoresInput<Scalar>(args), chunks, args.count, chunks.place(args), sums_size(args)};
  const cudaError_t error = with_medium_layout<Scalar>(args.classes, [&](auto layout) {
    return args.probabilities ? launch_rows<Scalar, decltype(layout), true>(params, stream)
                              : launch_rows<Scalar, decltype(layout), false>(params, stream);
  });
  return error != cudaSuccess || !chunks.merge() ? error : merge_chunks(args, chunks, stream);
}

}  // namespace amgan::cuda
