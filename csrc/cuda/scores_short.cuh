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

  SpanTile<Scalar> tile(input, spans, first);
  ColumnSums<T> sums[kThreadColumns];
  int row_of[kThreadColumns];
#pragma unroll
  for (int j = 0; j < kThreadColumns; ++j) row_of[j] = (threadIdx.x + j * kSpanThreads) / columns;
  for (int row = threadIdx.x; row < span_rows; row += kSpanThreads) tile.entropies[row] = 0;

  for (; left > 0; left -= spans.tile_spans, period += spans.tile_spans) {
    const int count = min(spans.tile_spans, left);
    tile.load_spans(period, count);
    __syncthreads();
    for (int i = Threads::index(); i < count * span_rows; i += kSpanThreads / Layout::kThreads) {
      const int span = i / span_rows, column = i % span_rows * columns;
      if (column >= tile.size(span)) continue;
      TileRow<Scalar, Layout> row(tile.begin(span) + column, columns);
      const RowState<T> state = row_state<kProbabilities>(row);
      if (Threads::rank() == 0) tile.states[i] = state;
    }
    __syncthreads();
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
    for (int row = threadIdx.x; row < span_rows; row += kSpanThreads) {
      for (int span = 0; span < count && row * columns < tile.size(span); ++span) {
        tile.entropies[row] += tile.states[span * span_rows + row].terms.entropy;
      }
    }
    __syncthreads();  // before the tile is filled again
  }

  // Where a span covers its period, several rows of it belong to one block.
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
