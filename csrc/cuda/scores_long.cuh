// Score sums of rows of more than 8,192 classes (float64: 2,048): every element is read twice.
//
// Two launches, both with a fixed split of the work, so that sums repeat bitwise on every GPU of one architecture:
//   1. a thread block a row: what is to be known of its softmax, left in the workspace;
//   2. a thread a column: p, p^2 and log p summed over a chunk of the rows of a block; the last thread block of a tile
//      of columns adds up its chunks, in the order of the rows.
//
// The sums of one row of K columns are 3 K numbers of 8 bytes: too many for the registers of a multiprocessor, and in
// memory they cost 48 bytes a column to read and write for each row, where reading the row again costs 2 to 8.
#pragma once

#include <algorithm>

#include "cuda/entropy_row.cuh"
#include "cuda/score_terms.cuh"
#include "cuda/tile.cuh"

namespace amgan::cuda {

// What is known of a row of logits. Of probabilities, their entropy alone. Aligned for a load of 16 bytes.
template <typename T>
struct alignas(16) RowState {
  T max;
  math::EntropyTerms<T> terms;
};

// For all threads of the row.
template <bool kProbabilities, typename Row>
__device__ __forceinline__ RowState<typename Row::T> row_state(Row& row) {
  using T = typename Row::T;
  using std::log;
  if constexpr (kProbabilities) {
    RowState<T> state{};
    row.for_each([&](auto, T prob) { state.terms.entropy -= math::times_prob(log(prob), prob); });
    state.terms.entropy = Row::Threads::reduce(state.terms.entropy, Sum());
    return state;
  } else {
    T exponentials[Row::kRegisters];
    const math::EntropyRow<T> sums = entropy_row(row, exponentials);
    return {sums.max, Row::Threads::once([&] { return math::entropy_terms(sums); })};
  }
}

// Sums of one column over rows: in T over kFlushRows of them, which are then to be added to `total`.
template <typename T>
struct ColumnSums {
  double prob = 0, prob_sq = 0, log_prob = 0;

  template <bool kProbabilities>
  __device__ __forceinline__ void add(T value, const RowState<T>& state) {
    using std::log;
    const T shifted = value - state.max;
    const T p = kProbabilities ? value : state.terms.prob(exp_nonpositive(shifted));
    const T log_p = kProbabilities ? log(value) : state.terms.log_prob(shifted);
    prob_ += p;
    prob_sq_ += p * p;
    log_prob_ += log_p * kLogUnit;
  }

  __device__ __forceinline__ void flush() {
    prob += prob_;
    prob_sq += prob_sq_;
    log_prob += static_cast<double>(log_prob_) / kLogUnit;
    prob_ = prob_sq_ = log_prob_ = 0;
  }

 private:
  T prob_ = 0, prob_sq_ = 0, log_prob_ = 0;
};

constexpr int kColumnThreads = 256;
constexpr int kSplitColumns = 32;  // threads of a thread block side by side
constexpr int kSplitLanes = kColumnThreads / kSplitColumns;

// Doubles of the sums of all blocks.
inline int64_t sums_size(const ScoresArgs& args) {
  return args.blocks + 3 * args.blocks * args.classes;
}

// The place of one chunk of the rows, of sums_size doubles.
inline Sums sums_at(double* place, int64_t blocks, int64_t classes) {
  const int64_t columns = blocks * classes;
  return {place, place + blocks, place + blocks + columns, place + blocks + 2 * columns};
}

// The place that lies `doubles` further on in all of them.
__device__ __forceinline__ Sums operator+(const Sums& sums, int64_t doubles) {
  return {sums.entropy + doubles, sums.prob + doubles, sums.prob_sq + doubles, sums.log_prob + doubles};
}

// What one thread block of a launch writes and another one reads.
__device__ __forceinline__ volatile double* shared_by_blocks(double* sums) {
  return sums;
}

// How launch 2 splits its work among thread blocks, from the shape alone: tile of columns x block x chunk of its rows.
struct ColumnSplit {
  int64_t tiles;       // that cover the columns
  int64_t chunks;      // of the rows of each block
  int64_t chunk_rows;  // rows of a chunk, at most

  explicit ColumnSplit(const ScoresArgs& args) {
    constexpr int64_t kEnough = 4096;       // thread blocks to fill any GPU
    constexpr int64_t kMinChunkRows = 256;  // fewer are not worth their place and the merge
    tiles = (args.classes - 1) / kSplitColumns + 1;
    const int64_t block_rows = args.rows / args.blocks + (args.rows % args.blocks != 0);
    const int64_t wanted = std::max<int64_t>(1, kEnough / tiles / args.blocks);
    chunks = std::max<int64_t>(1, std::min(wanted, block_rows / kMinChunkRows));
    chunk_rows = block_rows / chunks + (block_rows % chunks != 0);
  }
};

template <typename Scalar>
struct ColumnParams {
  ScoresInput<Scalar> input;
  ColumnSplit split;
  RowState<Computing<Scalar>>* states;  // [rows]
  double* count;                        // [B]
  Sums sums;                            // of chunk 0
  int64_t chunk_stride;                 // doubles from one chunk's sums to the next
  Sums result;
  unsigned* done;  // [B, tiles] chunks whose sums are there, where there are several
};

template <typename Scalar, typename Layout, bool kProbabilities>
__global__ void __launch_bounds__(Layout::kBlockThreads, kMinBlocks<Scalar, Layout>)
    state_kernel(const __grid_constant__ ColumnParams<Scalar> params) {
  const ScoresInput<Scalar>& input = params.input;
  if (params.done) {
    const int64_t step = int64_t{gridDim.x} * Layout::kBlockThreads;
    for (int64_t i = int64_t{blockIdx.x} * Layout::kBlockThreads + threadIdx.x; i < input.blocks * params.split.tiles;
         i += step) {
      params.done[i] = 0;
    }
  }
  for_rows<Scalar, Layout>(input.data, input.rows, input.row_stride, input.classes, input.classes,
                           static_cast<Scalar*>(nullptr), blockIdx.x, gridDim.x,
                           [&](auto& row, int64_t index, Scalar*) {
                             const auto state = row_state<kProbabilities>(row);
                             if (Group<Layout::kThreads>::rank() == 0) params.states[index] = state;
                           });
}

// Adds up one value of all threads of equal column, in a fixed order; the sum is that of the threads of lane 0.
__device__ __forceinline__ double sum_lanes(double value) {
  __shared__ double values[kColumnThreads];
  values[threadIdx.x] = value;
  for (int half = kColumnThreads / 2; half >= kSplitColumns; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) values[threadIdx.x] += values[threadIdx.x + half];
  }
  value = values[threadIdx.x];
  __syncthreads();  // before values is written again
  return value;
}

// What the threads of a column have summed, over all lanes, to where it belongs; by all threads of the block.
__device__ __forceinline__ void store_column(const Sums& to, int64_t block, int64_t classes, int64_t column,
                                             double entropy, double prob, double prob_sq, double log_prob) {
  prob = sum_lanes(prob);
  prob_sq = sum_lanes(prob_sq);
  log_prob = sum_lanes(log_prob);
  if (blockIdx.x == 0) entropy = sum_lanes(entropy);
  if (threadIdx.x >= kSplitColumns || column >= classes) return;
  const int64_t at = block * classes + column;
  shared_by_blocks(to.prob)[at] = prob;
  shared_by_blocks(to.prob_sq)[at] = prob_sq;
  shared_by_blocks(to.log_prob)[at] = log_prob;
  if (column == 0) shared_by_blocks(to.entropy)[block] = entropy;
}

template <typename Scalar, bool kProbabilities>
__global__ void __launch_bounds__(kColumnThreads, sizeof(Scalar) == 8 ? 2 : 4)
    column_kernel(const __grid_constant__ ColumnParams<Scalar> params) {
  using T = Computing<Scalar>;
  const ScoresInput<Scalar>& input = params.input;
  const ColumnSplit& split = params.split;
  const int lane = threadIdx.x / kSplitColumns;
  const int64_t classes = input.classes, column = int64_t{blockIdx.x} * kSplitColumns + threadIdx.x % kSplitColumns;
  const int64_t chunk = blockIdx.z;
  for (int64_t block = blockIdx.y; block < input.blocks; block += gridDim.y) {
    // The rows of the block are start, start + B, ...
    const int64_t start = block >= input.offset ? block - input.offset : block - input.offset + input.blocks;
    const int64_t end = min(start + (chunk + 1) * split.chunk_rows * input.blocks, input.rows);

    ColumnSums<T> sums;
    double entropy = 0;
    if (column < classes) {
      const int64_t step = kSplitLanes * input.blocks;
      int64_t row = start + (chunk * split.chunk_rows + lane) * input.blocks;
      while (row < end) {
        const int64_t flush = min(end, row + kFlushRows * step);
#pragma unroll 4
        for (; row < flush; row += step) {
          const RowState<T> state = params.states[row];
          sums.template add<kProbabilities>(load(input.data + row * input.row_stride + column), state);
          if (column == 0) entropy += state.terms.entropy;
        }
        sums.flush();
      }
    }
    const Sums place = params.sums + chunk * params.chunk_stride;
    store_column(place, block, classes, column, entropy, sums.prob, sums.prob_sq, sums.log_prob);
    if (column == 0 && lane == 0 && chunk == 0) params.count[block] = static_cast<double>(input.count_from(start));
    if (split.chunks == 1) continue;

    if (!arrives_last(&params.done[block * split.tiles + blockIdx.x], static_cast<unsigned>(split.chunks))) continue;
    double prob = 0, prob_sq = 0, log_prob = 0;
    entropy = 0;
    if (column < classes) {
      const int64_t at = block * classes + column;
      for (int64_t other = lane; other < split.chunks; other += kSplitLanes) {
        const Sums chunk_sums = params.sums + other * params.chunk_stride;
        prob += shared_by_blocks(chunk_sums.prob)[at];
        prob_sq += shared_by_blocks(chunk_sums.prob_sq)[at];
        log_prob += shared_by_blocks(chunk_sums.log_prob)[at];
        if (column == 0) entropy += shared_by_blocks(chunk_sums.entropy)[block];
      }
    }
    store_column(params.result, block, classes, column, entropy, prob, prob_sq, log_prob);
  }
}

template <typename Scalar>
int64_t state_doubles(int64_t rows) {
  return rows * static_cast<int64_t>(sizeof(RowState<Computing<Scalar>>) / sizeof(double));
}

// Doubles of the states, the sums of all chunks and the numbers of chunks done.
template <typename Scalar>
int64_t long_rows_workspace(const ScoresArgs& args) {
  const ColumnSplit split(args);
  const int64_t merge = split.chunks * sums_size(args) + (args.blocks * split.tiles + 1) / 2;
  return state_doubles<Scalar>(args.rows) + (split.chunks > 1 ? merge : 0);
}

template <typename Scalar, typename Layout, bool kProbabilities>
cudaError_t launch_columns(const ColumnParams<Scalar>& params, cudaStream_t stream) {
  const auto rows = static_cast<unsigned>(Layout::blocks(params.input.rows));
  state_kernel<Scalar, Layout, kProbabilities><<<rows, Layout::kBlockThreads, 0, stream>>>(params);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  constexpr int64_t kMaxGridY = 65535;
  const dim3 grid(static_cast<unsigned>(params.split.tiles),
                  static_cast<unsigned>(std::min(params.input.blocks, kMaxGridY)),
                  static_cast<unsigned>(params.split.chunks));
  column_kernel<Scalar, kProbabilities><<<grid, kColumnThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

template <typename Scalar>
cudaError_t sum_long_rows(const ScoresArgs& args, cudaStream_t stream) {
  const ColumnSplit split(args);
  double* const place = args.workspace + state_doubles<Scalar>(args.rows);
  const int64_t stride = sums_size(args);
  const Sums result = result_of(args);
  const bool merges = split.chunks > 1;
  const ColumnParams<Scalar> params{
      ScoresInput<Scalar>(args),
      split,
      reinterpret_cast<RowState<Computing<Scalar>>*>(args.workspace),
      args.count,
      merges ? sums_at(place, args.blocks, args.classes) : result,
      stride,
      result,
      merges ? reinterpret_cast<unsigned*>(place + split.chunks * stride) : nullptr,
  };
  if (args.probabilities) return launch_columns<Scalar, Layout<256, 0>, true>(params, stream);
  if constexpr (sizeof(Scalar) == 8) {
    if (args.classes <= 4096) return launch_columns<Scalar, Layout<256, 16>, false>(params, stream);
  }
  return launch_columns<Scalar, Layout<256, 0>, false>(params, stream);
}

}  // namespace amgan::cuda
