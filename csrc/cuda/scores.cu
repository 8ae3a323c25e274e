// Float64 sums over the rows of every round-robin block: count, entropy, p, p^2 and log p.
//
// Two launches, both with a fixed split of the work, so that sums repeat bitwise on every GPU:
//   1. a warp (or more, or less) a row: the sums of its softmax, left in the workspace;
//   2. a thread a column: p, p^2 and log p summed over a chunk of the rows of a block; the last thread block of a tile
//      of columns adds up its chunks, in the order of the rows.
//
// Cost: the input is read twice, with two exps a logit; 4 numbers a row and at most some megabytes of chunks are
// written and read in between.
#include "cuda/entropy_row.cuh"
#include "cuda/launchers.h"
#include "cuda/tile.cuh"

namespace amgan::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxGridY = 65535;

// What launch 1 knows of a row; of probabilities, their entropy alone. Aligned for loads of 16 bytes, as the workspace.
template <typename T>
struct alignas(16) RowState {
  T max;
  math::EntropyTerms<T> terms;
};

// Where sums of all blocks go: the result, or the place of one chunk.
struct Sums {
  double* entropy;   // [B]
  double* prob;      // [B, K]
  double* prob_sq;   // [B, K]
  double* log_prob;  // [B, K]

  // The place that lies `doubles` further on in all of them.
  __device__ Sums operator+(int64_t doubles) const {
    return {entropy + doubles, prob + doubles, prob_sq + doubles, log_prob + doubles};
  }
};

// What one thread block of a launch writes and another one reads.
__device__ __forceinline__ volatile double* shared_by_blocks(double* sums) {
  return sums;
}

// How launch 2 splits its work among thread blocks, from the shape alone: tile of columns x block x chunk of its rows.
struct Split {
  int width;           // columns of a tile: threads of a thread block side by side, a power of two
  int64_t tiles;       // that cover the columns
  int64_t chunks;      // of the rows of each block
  int64_t chunk_rows;  // rows of a chunk, at most

  explicit Split(const ScoresArgs& args) {
    constexpr int64_t kEnough = 4096;       // thread blocks to fill any GPU
    constexpr int64_t kMinChunkRows = 256;  // fewer are not worth their place and the merge
    width = 1;
    while (width < 32 && width < args.classes) width *= 2;
    tiles = (args.classes - 1) / width + 1;
    const int64_t block_rows = args.rows / args.blocks + (args.rows % args.blocks != 0);
    const int64_t wanted = std::max<int64_t>(1, kEnough / tiles / args.blocks);
    chunks = std::max<int64_t>(1, std::min(wanted, block_rows / kMinChunkRows));
    chunk_rows = block_rows / chunks + (block_rows % chunks != 0);
  }
};

template <typename Scalar>
struct Params {
  const Scalar* input;
  int64_t rows;
  int64_t classes;
  int64_t row_stride;
  int64_t blocks;
  int64_t offset;  // in 0..blocks-1
  Split split;
  RowState<Computing<Scalar>>* states;  // [rows]
  double* count;
  Sums sums;             // of chunk 0
  int64_t chunk_stride;  // doubles from one chunk's sums to the next
  Sums result;
  unsigned* done;  // [blocks, tiles] chunks whose sums are there, where there are several
};

template <typename Scalar, typename Layout, bool kProbabilities>
__global__ void __launch_bounds__(Layout::kBlockThreads, kMinBlocks<Scalar, Layout>)
    state_kernel(const __grid_constant__ Params<Scalar> params) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;
  using std::log;

  if (params.done) {
    const int64_t step = int64_t{gridDim.x} * Layout::kBlockThreads;
    for (int64_t i = int64_t{blockIdx.x} * Layout::kBlockThreads + threadIdx.x; i < params.blocks * params.split.tiles;
         i += step) {
      params.done[i] = 0;
    }
  }
  for_rows<Scalar, Layout>(
      params.input, params.rows, params.row_stride, params.classes, params.classes, static_cast<Scalar*>(nullptr),
      blockIdx.x, gridDim.x, [&](auto& row, int64_t index, Scalar*) {
        RowState<T> state{};
        if constexpr (kProbabilities) {
          row.for_each([&](auto, T prob) { state.terms.entropy -= math::times_prob(log(prob), prob); });
          state.terms.entropy = Threads::reduce(state.terms.entropy, Sum());
        } else {
          const math::EntropyRow<T> sums = entropy_row(row);
          state = {sums.max, math::entropy_terms(sums)};
        }
        if (Threads::rank() == 0) params.states[index] = state;
      });
}

// Adds up one value of all threads of equal column, in a fixed order; the sum is that of the threads of lane 0.
__device__ __forceinline__ double sum_lanes(double value, int width) {
  __shared__ double values[kThreads];
  values[threadIdx.x] = value;
  for (int half = kThreads / 2; half >= width; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) values[threadIdx.x] += values[threadIdx.x + half];
  }
  value = values[threadIdx.x];
  __syncthreads();  // before values is written again
  return value;
}

// By the last thread block of a block and tile, once the sums of all their chunks are there.
template <typename Scalar>
__device__ __forceinline__ void merge_chunks(const Params<Scalar>& params, int64_t block, int64_t column, int lane,
                                             int lanes) {
  const Split& split = params.split;
  if (!arrives_last(&params.done[block * split.tiles + blockIdx.x], static_cast<unsigned>(split.chunks))) return;
  double prob = 0, prob_sq = 0, log_prob = 0, entropy = 0;
  const int64_t at = block * params.classes + column;
  if (column < params.classes) {
    for (int64_t chunk = lane; chunk < split.chunks; chunk += lanes) {
      const Sums sums = params.sums + chunk * params.chunk_stride;
      prob += shared_by_blocks(sums.prob)[at];
      prob_sq += shared_by_blocks(sums.prob_sq)[at];
      log_prob += shared_by_blocks(sums.log_prob)[at];
      if (column == 0) entropy += shared_by_blocks(sums.entropy)[block];
    }
  }
  prob = sum_lanes(prob, split.width);
  prob_sq = sum_lanes(prob_sq, split.width);
  log_prob = sum_lanes(log_prob, split.width);
  if (blockIdx.x == 0) entropy = sum_lanes(entropy, split.width);
  if (lane == 0 && column < params.classes) {
    params.result.prob[at] = prob;
    params.result.prob_sq[at] = prob_sq;
    params.result.log_prob[at] = log_prob;
    if (column == 0) params.result.entropy[block] = entropy;
  }
}

template <typename Scalar, bool kProbabilities>
__global__ void __launch_bounds__(kThreads, sizeof(Scalar) == 8 ? 2 : 4)
    column_kernel(const __grid_constant__ Params<Scalar> params) {
  using T = Computing<Scalar>;
  using std::log;

  const Split& split = params.split;
  const int width = split.width;
  const int lanes = kThreads / width;
  const int lane = threadIdx.x / width;
  const int64_t column = int64_t{blockIdx.x} * width + threadIdx.x % width;
  const int64_t chunk = blockIdx.z;
  for (int64_t block = blockIdx.y; block < params.blocks; block += gridDim.y) {
    // The rows of the block are start, start + B, ...
    const int64_t start = block >= params.offset ? block - params.offset : block - params.offset + params.blocks;
    const int64_t chunk_end = start + (chunk + 1) * split.chunk_rows * params.blocks;
    const int64_t end = chunk_end < params.rows ? chunk_end : params.rows;

    double entropy = 0, prob = 0, prob_sq = 0, log_prob = 0;
    if (column < params.classes) {
#pragma unroll 4
      for (int64_t row = start + (chunk * split.chunk_rows + lane) * params.blocks; row < end;
           row += lanes * params.blocks) {
        const RowState<T> state = params.states[row];
        const T value = load(params.input + row * params.row_stride + column);
        T p, log_p;
        if constexpr (kProbabilities) {
          p = value;
          log_p = log(value);
        } else {
          const T shifted = value - state.max;
          p = state.terms.prob(exp_nonpositive(shifted));
          log_p = state.terms.log_prob(shifted);
        }
        if (column == 0) entropy += state.terms.entropy;
        prob += p;
        prob_sq += static_cast<double>(p) * p;
        log_prob += log_p;
      }
    }
    prob = sum_lanes(prob, width);
    prob_sq = sum_lanes(prob_sq, width);
    log_prob = sum_lanes(log_prob, width);
    if (blockIdx.x == 0) entropy = sum_lanes(entropy, width);

    if (lane == 0 && column < params.classes) {
      const Sums sums = params.sums + chunk * params.chunk_stride;
      const int64_t at = block * params.classes + column;
      shared_by_blocks(sums.prob)[at] = prob;
      shared_by_blocks(sums.prob_sq)[at] = prob_sq;
      shared_by_blocks(sums.log_prob)[at] = log_prob;
      if (column == 0) shared_by_blocks(sums.entropy)[block] = entropy;
      if (column == 0 && chunk == 0) {
        const int64_t count = start < params.rows ? (params.rows - start - 1) / params.blocks + 1 : 0;
        params.count[block] = static_cast<double>(count);
      }
    }
    if (split.chunks > 1) merge_chunks(params, block, column, lane, lanes);
  }
}

template <typename Scalar>
int64_t state_doubles(int64_t rows) {
  return rows * static_cast<int64_t>(sizeof(RowState<Computing<Scalar>>) / sizeof(double));
}

int64_t chunk_doubles(const ScoresArgs& args) {
  return args.blocks + 3 * args.blocks * args.classes;
}

// Doubles that hold the numbers of chunks done.
int64_t done_doubles(const ScoresArgs& args, const Split& split) {
  return (args.blocks * split.tiles + 1) / 2;
}

template <typename Scalar, typename Layout, bool kProbabilities>
cudaError_t launch_states(const Params<Scalar>& params, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(Layout::blocks(params.rows));
  const int64_t shared = Layout::kInTile ? Tile<Scalar, Layout>::bytes(params.classes) : 0;
  state_kernel<Scalar, Layout, kProbabilities><<<grid, Layout::kBlockThreads, shared, stream>>>(params);
  return cudaGetLastError();
}

template <typename Scalar, bool kProbabilities>
cudaError_t launch_columns(const Params<Scalar>& params, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(params.split.tiles), static_cast<unsigned>(std::min(params.blocks, kMaxGridY)),
                  static_cast<unsigned>(params.split.chunks));
  column_kernel<Scalar, kProbabilities><<<grid, kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

template <typename Scalar>
cudaError_t launch(const ScoresArgs& args, cudaStream_t stream) {
  const Split split(args);
  const Sums result{args.entropy, args.prob, args.prob_sq, args.log_prob};
  const int64_t columns = args.blocks * args.classes;
  double* const place = args.workspace + state_doubles<Scalar>(args.rows);
  const Sums chunks{place, place + args.blocks, place + args.blocks + columns, place + args.blocks + 2 * columns};
  const bool merges = split.chunks > 1;
  const Params<Scalar> params{
      static_cast<const Scalar*>(args.input),
      args.rows,
      args.classes,
      args.row_stride,
      args.blocks,
      args.offset % args.blocks,
      split,
      reinterpret_cast<RowState<Computing<Scalar>>*>(args.workspace),
      args.count,
      merges ? chunks : result,
      chunk_doubles(args),
      result,
      merges ? reinterpret_cast<unsigned*>(place + split.chunks * chunk_doubles(args)) : nullptr};

  cudaError_t error;
  if (args.probabilities) {
    error = launch_states<Scalar, Layout<32, 0>, true>(params, stream);
    if (error == cudaSuccess) error = launch_columns<Scalar, true>(params, stream);
  } else {
    error = with_layout<Scalar>(
        args.classes, [&](auto layout) { return launch_states<Scalar, decltype(layout), false>(params, stream); });
    if (error == cudaSuccess) error = launch_columns<Scalar, false>(params, stream);
  }
  return error;
}

}  // namespace
}  // namespace amgan::cuda

int64_t amgan_cuda_scores_workspace(const amgan::ScoresArgs* args) {
  using namespace amgan::cuda;
  const bool wide = args->dtype == amgan::Dtype::float64;
  const int64_t states = wide ? state_doubles<double>(args->rows) : state_doubles<float>(args->rows);
  const Split split(*args);
  return states + (split.chunks > 1 ? split.chunks * chunk_doubles(*args) + done_doubles(*args, split) : 0);
}

cudaError_t amgan_cuda_scores(const amgan::ScoresArgs* args, cudaStream_t stream) {
  return amgan::cuda::dispatch(
      args->dtype, [&](auto tag) { return amgan::cuda::launch<typename decltype(tag)::type>(*args, stream); });
}
