// Score sums of rows of up to 128 classes: every element is read once, by way of a tile in shared memory.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda/score_sums.cuh"
#include "cuda/scores_merge.cuh"
#include "cuda/tile.cuh"

namespace amgan::cuda {

constexpr int64_t kTileColumns = 128;

// Calls function(Layout) for rows of this many classes: as few threads a row as keep its sums in registers.
template <typename Scalar, bool kProbabilities, typename Function>
auto with_tile_layout(int64_t classes, Function function) {
  if constexpr (sizeof(Scalar) == 8) {
    if (classes <= 8) return function(Layout<1, 8>{});
    if (classes <= 16) return function(Layout<2, 8>{});
    if (classes <= 32) return function(Layout<4, 8>{});
    if (classes <= 64) return function(Layout<8, 8>{});
    return function(Layout<16, 8>{});
  } else {
    if constexpr (!kProbabilities) {
      if (classes <= 8) return function(Layout<1, 8>{});
      if (classes <= 12) return function(Layout<1, 12>{});
    }
    if (classes <= 16) return function(Layout<1, 16>{});
    if (classes <= 32) return function(Layout<2, 16>{});
    if (classes <= 64) return function(Layout<4, 16>{});
    return function(Layout<8, 16>{});
  }
}

// How the rows are split, from the shape alone. Rows of one block of the result are B rows apart, so a thread block
// takes a span of consecutive rows, again every `period` rows, and a thread always those of the same block:
//
//   rows      0 ......... period ......... 2 period ..         period: B, or several times B where B is small
//   group 0   [span     ] [span     ]      [span     ]         span: as many rows as a thread block has threads for
//   group 1        [span     ]   [span     ]  ..               chunk: some of the spans of a group
struct Spans {
  int64_t period;  // rows from one span of a group to the next, a multiple of B
  int64_t groups;  // spans that cover a period
  int span_rows;   // at most
  Chunks chunks;   // of the spans of a group

  template <typename Layout>
  static Spans of(const ScoresArgs& args) {
    constexpr int64_t kMinRows = 32;  // of a record
    const int64_t one = 1, most = Layout::kBlockRows;
    const int64_t repeats = std::max(one, std::min(most, args.rows) / args.blocks), period = repeats * args.blocks;
    const int64_t span_rows = divide_up(period, divide_up(period, most)), groups = divide_up(period, span_rows);
    return {period, groups, static_cast<int>(span_rows),
            Chunks(groups, divide_up(args.rows, period), divide_up(kMinRows, repeats))};
  }
};

template <typename Scalar>
struct TileParams {
  ScoresInput<Scalar> input;
  Spans spans;
  Records<Computing<Scalar>> records;
};

// Values of a thread that are some column's, whatever the number of classes.
template <typename Scalar, typename Layout, bool kProbabilities>
constexpr int kAlwaysInTile = sizeof(Scalar) == 8 || Layout::kValues == 8 ? 0
                              : Layout::kThreads > 1                      ? Layout::kValues / 2
                              : kProbabilities                            ? 0
                                                                          : Layout::kValues - 4;

// 50,000 rows of 10 classes in 100 blocks: a span is 100 rows, one row of every block, and the next span begins 100
// rows (the period) further on. Thread 57 takes row 57 of every span, which always belongs to the same block, so that
// it may keep the sums of all 10 columns in its registers for good:
//
//   1. bring a span to shared memory, 16 bytes at a time;
//   2. each thread takes its row from there and adds it up; then 1. again, until the chunk is done;
//   3. with 5 blocks instead of 100 the period is a multiple of 5 rows, 125: row 0, 5, 10, ... of a span then belong to
//      one block, 25 repeats, and fold adds up their sums before they are written.
//
// The span after the next is asked for meanwhile; more thread blocks on the same multiprocessor compute while one
// waits.
template <typename Scalar, typename Layout, bool kProbabilities>
__global__ void __launch_bounds__(Layout::kBlockThreads, sizeof(Scalar) == 8 ? 3 : 4)
    tile_kernel(const __grid_constant__ TileParams<Scalar> params) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;
  constexpr int kCount = Layout::kValues, kAlways = kAlwaysInTile<Scalar, Layout, kProbabilities>;
  constexpr int kLine = 128 / sizeof(Scalar);

  const ScoresInput<Scalar>& input = params.input;
  const Spans& spans = params.spans;
  const int columns = static_cast<int>(input.classes), own = Threads::index();
  const int64_t chunk = blockIdx.x / spans.groups, first = blockIdx.x % spans.groups * spans.span_rows;
  const int span_rows = static_cast<int>(min(int64_t{spans.span_rows}, spans.period - first));
  const int64_t skipped = chunk * spans.chunks.rounds;
  int left =
      static_cast<int>(max(int64_t{0}, min(spans.chunks.rounds, rows_from(first, input.rows, spans.period) - skipped)));
  int64_t row = first + skipped * spans.period;
  const auto each_column = [&](auto function) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int column = Threads::rank() + i * Layout::kThreads;
      if (i < kAlways || column < columns) function(i, column);
    }
  };

  RowSums<Scalar, Layout::kThreads, kCount, kProbabilities> sums;
  Tile<Scalar, Layout> tile;
  for (; left > 0; --left, row += spans.period) {
    const Scalar* const data = input.data + row * input.row_stride;
    const int count = static_cast<int>(min(int64_t{span_rows}, input.rows - row));
    const int64_t ahead = (row + 2 * spans.period) * columns + threadIdx.x * kLine;
    if (input.row_stride == columns && threadIdx.x * kLine < span_rows * columns && ahead < input.rows * columns) {
      prefetch(input.data + ahead);
    }
    tile.load_rows(data, input.row_stride, count, columns);  // 1.
    __syncthreads();
    if (own < count) {  // 2.
      const Scalar* const elements = tile.row(own);
      T values[kCount];
#pragma unroll
      for (T& value : values) value = kProbabilities ? T(0) : T(-INFINITY);
      each_column([&](int i, int column) { values[i] = load(elements + column); });
      sums.template add<kAlways>(values, left, [] {});
    }
    __syncthreads();  // before the tile is filled again
  }

  // 3. Of the rows of a span, those of `rows` blocks lie one after the other, again and again.
  const int repeats = static_cast<int>(spans.period / input.blocks), rows = span_rows / repeats;
  const auto record = [&](int i) {
    return Record<T>(params.records.data, chunk * input.blocks + first + i, input.classes);
  };
  T* const folded = reinterpret_cast<T*>(tile_memory);
  const auto leave = [&](const T(&values)[kCount], T* Record<T>::* place) {
    if (own < span_rows) each_column([&](int i, int column) { folded[own * columns + column] = values[i]; });
    fold<Layout::kBlockThreads>(folded, rows * columns, repeats);
    for (int i = threadIdx.x; i < rows * columns; i += Layout::kBlockThreads) {
      (record(i / columns).*place)[i % columns] = folded[i];
    }
    __syncthreads();  // before other values take their place
  };
  leave(sums.prob, &Record<T>::prob);
  leave(sums.prob_sq, &Record<T>::prob_sq);
  leave(sums.log_prob, &Record<T>::log_prob);
  T of_rows[2];
  sums.of_rows(of_rows);
  Threads::reduce(of_rows, Sum());
  if (own < span_rows && Threads::rank() == 0) folded[2 * own] = of_rows[0], folded[2 * own + 1] = of_rows[1];
  fold<Layout::kBlockThreads>(folded, 2 * rows, repeats);
  for (int i = threadIdx.x; i < 2 * rows; i += Layout::kBlockThreads) record(i / 2).of_rows[i % 2] = folded[i];
}

// Calls function(Layout, whether the input is probabilities, Spans).
template <typename Scalar, typename Function>
auto with_spans(const ScoresArgs& args, Function function) {
  const auto with = [&](auto probabilities) {
    return with_tile_layout<Scalar, probabilities>(
        args.classes, [&](auto layout) { return function(layout, probabilities, Spans::of<decltype(layout)>(args)); });
  };
  return args.probabilities ? with(std::true_type()) : with(std::false_type());
}

template <typename Scalar>
int64_t tile_workspace(const ScoresArgs& args) {
  return with_spans<Scalar>(args, [&](auto, auto, const Spans& spans) {
    return Records<Computing<Scalar>>::doubles(args, spans.chunks.count);
  });
}

template <typename Scalar>
cudaError_t sum_tiles(const ScoresArgs& args, cudaStream_t stream) {
  using T = Computing<Scalar>;
  return with_spans<Scalar>(args, [&](auto layout, auto probabilities, const Spans& spans) {
    using Layout = decltype(layout);
    const TileParams<Scalar> params{
        ScoresInput<Scalar>(args), spans, {reinterpret_cast<T*>(args.workspace), spans.chunks.count}};
    const auto grid = static_cast<unsigned>(spans.groups * spans.chunks.count);
    const int64_t sums = spans.span_rows * std::max<int64_t>(args.classes, 2) * sizeof(T);
    const size_t shared = std::max(Tile<Scalar, Layout>::bytes(args.classes), sums);
    tile_kernel<Scalar, Layout, probabilities><<<grid, Layout::kBlockThreads, shared, stream>>>(params);
    const cudaError_t error = cudaGetLastError();
    return error != cudaSuccess ? error : merge_records(args, params.records, stream);
  });
}

}  // namespace amgan::cuda
