// Score sums of rows of up to 1,024 classes: every element is read once.
//
// A thread block takes spans of rows (spans.cuh), several at a time. Threads take rows of them, for the sums of their
// softmax, then columns: each adds up p, p^2 and log p of 2 columns of the span, in registers, down all spans of its
// chunk. At the end the sums of columns that belong to one block of the result are added up, and a second launch adds
// up the chunks, in order.
#pragma once

#include "cuda/scores_merge.cuh"
#include "cuda/spans.cuh"

namespace amgan::cuda {

template <typename Scalar>
struct SpanParams {
  ScoresInput<Scalar> input;
  Spans spans;
  double* count;         // [B]
  Sums sums;             // of chunk 0, or the result where there is one chunk
  int64_t chunk_stride;  // doubles from one chunk's sums to the next
};

// 50,000 rows of 10 classes in 100 blocks: a span is 100 rows, 1,000 columns, one row of every block, and the next span
// of the same group begins 100 rows (the period) further on. So column 57 of every span is class 7 of the 6th block,
// and thread 57, which has columns 57 and 569 (57 + 512), may keep its sums in registers for good:
//
//   1. bring `tile_spans` spans to shared memory;
//   2. rows: each row of these spans gets its maximum, 1/s, log s and entropy, by 1, 8 or 32 threads; into `states`;
//   3. columns: each thread goes down the spans and adds p, p^2 and log p of its two columns to its own sums;
//   4. the entropies of equal rows of all spans are added up; then 1. again, until the chunk is done;
//   5. through shared memory the sums of columns that belong to one block are folded, and written.
//
// A chunk is a part of the spans of a group, where there are fewer groups than keep a GPU busy.
template <typename Scalar, typename Layout, bool kProbabilities>
__global__ void __launch_bounds__(kSpanThreads, sizeof(Scalar) == 8 ? 1 : 2)
    span_kernel(const __grid_constant__ SpanParams<Scalar> params) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;

  const ScoresInput<Scalar>& input = params.input;
  const Spans& spans = params.spans;
  const int columns = static_cast<int>(input.classes);
  const int64_t chunk = blockIdx.x / spans.groups, first = blockIdx.x % spans.groups * spans.span_rows;
  const int span_rows = static_cast<int>(min(int64_t{spans.span_rows}, spans.period - first));
  int64_t period = chunk * spans.chunks.rounds;
  const int64_t periods = (input.rows - first + spans.period - 1) / spans.period;
  int left = static_cast<int>(min(spans.chunks.rounds, periods - period));

  // Two columns a thread, the same ones in every span; row_of is the row of a span that each belongs to.
  SpanTile<Scalar> tile(input, spans, first);
  ColumnSums<T> sums[kThreadColumns];
  int row_of[kThreadColumns];
#pragma unroll
  for (int j = 0; j < kThreadColumns; ++j) row_of[j] = (threadIdx.x + j * kSpanThreads) / columns;
  for (int row = threadIdx.x; row < span_rows; row += kSpanThreads) tile.entropies[row] = 0;

  for (; left > 0; left -= spans.tile_spans, period += spans.tile_spans) {
    const int count = min(spans.tile_spans, left);
    tile.load_spans(period, count);  // 1.
    __syncthreads();
    // 2. Row i of the tile is row i % span_rows of its span i / span_rows. The last span may end early: its rows past
    // the input are nobody's.
    for (int i = Threads::index(); i < count * span_rows; i += kSpanThreads / Layout::kThreads) {
      const int span = i / span_rows, column = i % span_rows * columns;
      if (column >= tile.size(span)) continue;
      TileRow<Scalar, Layout> row(tile.begin(span) + column, columns);
      const RowState<T> state = row_state<kProbabilities>(row);
      if (Threads::rank() == 0) tile.states[i] = state;
    }
    __syncthreads();
    // 3. The 512 threads of a block read consecutive columns, so that no two ask one bank of shared memory.
    for (int span = 0; span < count; ++span) {
      const Scalar* const elements = tile.begin(span);
      const int size = tile.size(span);
#pragma unroll
      for (int j = 0; j < kThreadColumns; ++j) {
        const int column = threadIdx.x + j * kSpanThreads;
        if (column < size) {
          add_to<kProbabilities>(sums[j], load(elements + column), tile.states[span * span_rows + row_of[j]]);
        }
      }
    }
    // 4. A thread a row, down the spans: in order, so that the sum is the same every time.
    for (int row = threadIdx.x; row < span_rows; row += kSpanThreads) {
      for (int span = 0; span < count && row * columns < tile.size(span); ++span) {
        tile.entropies[row] += tile.states[span * span_rows + row].terms.entropy;
      }
    }
    __syncthreads();  // before the tile is filled again
  }

  // 5. With 5 blocks instead of 100 the period is a multiple of 5 rows, say 100: row 0, 5, 10, ... of a span then
  // belong to one block, 20 repeats, and fold adds up their sums before they are written.
  const int repeats = static_cast<int>(spans.period / input.blocks);
  const int rows = span_rows / repeats;
  const auto store_sums = [&](double* values, int per_row, double* result) {
    fold<kSpanThreads>(values, rows * per_row, repeats);
    for (int i = threadIdx.x; i < rows * per_row; i += kSpanThreads) {
      const int64_t block = (first + i / per_row + input.offset) % input.blocks;
      result[chunk * params.chunk_stride + block * per_row + i % per_row] = values[i];
    }
    __syncthreads();  // before other values take their place
  };
  const auto store_columns = [&](auto sum_of, double* result) {
    auto* const values = reinterpret_cast<double*>(tile_memory);
#pragma unroll
    for (int j = 0; j < kThreadColumns; ++j) values[threadIdx.x + j * kSpanThreads] = sum_of(sums[j]);
    store_sums(values, columns, result);
  };
  store_sums(tile.entropies, 1, params.sums.entropy);
  store_columns([](const auto& column) { return column.prob(); }, params.sums.prob);
  store_columns([](const auto& column) { return column.prob_sq(); }, params.sums.prob_sq);
  store_columns([](const auto& column) { return column.log_prob(); }, params.sums.log_prob);
  if (chunk == 0) {
    for (int row = threadIdx.x; row < rows; row += kSpanThreads) {
      params.count[(first + row + input.offset) % input.blocks] = static_cast<double>(input.count_from(first + row));
    }
  }
}

template <typename Scalar, typename Layout, bool kProbabilities>
cudaError_t launch_spans(const SpanParams<Scalar>& params, cudaStream_t stream) {
  const Spans& spans = params.spans;
  const auto grid = static_cast<unsigned>(spans.groups * spans.chunks.count);
  span_kernel<Scalar, Layout, kProbabilities><<<grid, kSpanThreads, spans.shared_bytes(), stream>>>(params);
  return cudaGetLastError();
}

template <typename Scalar>
int64_t short_rows_workspace(const ScoresArgs& args) {
  return Spans::of<Scalar>(args).chunks.workspace(args);
}

template <typename Scalar>
cudaError_t sum_short_rows(const ScoresArgs& args, cudaStream_t stream) {
  const Spans spans = Spans::of<Scalar>(args);
  const SpanParams<Scalar> params{ScoresInput<Scalar>(args), spans, args.count, spans.chunks.place(args),
                                  sums_size(args)};
  const cudaError_t error = with_span_layout(args.classes, [&](auto layout) {
    return args.probabilities ? launch_spans<Scalar, decltype(layout), true>(params, stream)
                              : launch_spans<Scalar, decltype(layout), false>(params, stream);
  });
  return error != cudaSuccess || !spans.chunks.merge() ? error : merge_chunks(args, spans.chunks, stream);
}

}  // namespace amgan::cuda
