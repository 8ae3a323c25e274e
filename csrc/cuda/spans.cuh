// How many short rows are split among thread blocks, and a part of them in shared memory.
//
// Rows of one block of the result are B rows apart, so the columns of B rows, or of as many as 1,024 columns hold, are
// summed side by side. What a thread block takes is a span of rows, again every `period` rows:
//
//   rows      0 ......... period ......... 2 period ..         period: B, or several times B where K is small
//   group 0   [span     ] [span     ]      [span     ]         span: up to 1,024 columns, consecutive in memory
//   group 1        [span     ]   [span     ]  ..               chunk: some of the spans of a group
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/score_terms.cuh"
#include "cuda/scores_merge.cuh"
#include "cuda/tile.cuh"

namespace amgan::cuda {

constexpr int kSpanThreads = 512;
constexpr int kThreadColumns = 2;
constexpr int kSpanColumns = kSpanThreads * kThreadColumns;
constexpr int kMaxSpanRows = 512;
constexpr int kMaxTileSpans = 16;  // a row for each warp where spans are of one row

// How the rows are split, from the shape alone.
struct Spans {
  int64_t period;   // rows from one span of a group to the next, a multiple of B
  int64_t groups;   // spans that cover a period
  Chunks chunks;    // of the spans of a group
  int span_rows;    // at most
  int span_bytes;   // in shared memory, where a span may begin anywhere within 16 bytes
  int state_bytes;  // of a row
  int tile_spans;   // in shared memory at a time

  template <typename Scalar>
  static Spans of(const ScoresArgs& args);

  size_t shared_bytes() const {
    const size_t tile = tile_spans * (size_t(span_bytes) + span_rows * state_bytes) + span_rows * sizeof(double);
    return std::max(tile, kSpanColumns * sizeof(double));  // where the sums of columns are put in the end
  }
};

// What a thread block holds in shared memory: spans, each at the same place within 16 bytes as in global memory, the
// states of their rows, and the sum of the entropies of every row of a span.
template <typename Scalar>
class SpanTile {
 public:
  using State = RowState<Computing<Scalar>>;

  // Of spans that begin `first` rows into a period.
  __device__ __forceinline__ SpanTile(const ScoresInput<Scalar>& input, const Spans& spans, int64_t first)
      : states(reinterpret_cast<State*>(memory() + spans.tile_spans * spans.span_bytes)),
        entropies(reinterpret_cast<double*>(states + spans.tile_spans * spans.span_rows)),
        input_(input),
        spans_(spans),
        first_(first),
        columns_(static_cast<int>(input.classes)) {}

  // The next spans from the given period on, by all threads of the block; __syncthreads before and after.
  __device__ __forceinline__ void load_spans(int64_t period, int count) {
    const int thread = threadIdx.x;
    if (thread < count) {
      const int64_t row = (period + thread) * spans_.period + first_, from = row * input_.row_stride;
      const int before = (kPack<Scalar> - until_aligned(input_.data + from)) % kPack<Scalar>;
      const int64_t rows = min(int64_t{spans_.span_rows}, min(spans_.period - first_, input_.rows - row));
      places()[thread] = {from, thread * spans_.span_bytes / static_cast<int>(sizeof(Scalar)) + before,
                          static_cast<int>(rows) * columns_};
    }
    __syncthreads();
    if (input_.row_stride == columns_) {
      load_packs(count);
    } else {
      for (int i = thread; i < count * kSpanColumns; i += kSpanThreads) {
        const Place& span = places()[i / kSpanColumns];
        const int column = i % kSpanColumns;
        if (column >= span.size) continue;
        const int64_t row = column / columns_;
        elements()[span.begin + column] = input_.data[span.from + row * input_.row_stride + column % columns_];
      }
    }
  }

  // Elements of a span, fewer where the rows end in it.
  __device__ __forceinline__ int size(int span) const { return places()[span].size; }
  __device__ __forceinline__ Scalar* begin(int span) const { return elements() + places()[span].begin; }

  State* const states;
  double* const entropies;

 private:
  struct alignas(16) Place {
    int64_t from;     // element of the input
    int begin, size;  // elements here
  };

  __device__ __forceinline__ void load_packs(int count) const {
    constexpr int kPacks = kSpanColumns / kPack<Scalar>, kEdges = 2 * kPack<Scalar>;
#pragma unroll 2
    for (int i = threadIdx.x; i < count * kPacks; i += kSpanThreads) {
      const Place span = places()[i / kPacks];
      const int column = (-span.begin & (kPack<Scalar> - 1)) + i % kPacks * kPack<Scalar>;
      if (column + kPack<Scalar> <= span.size) {
        *reinterpret_cast<uint4*>(elements() + span.begin + column) =
            *reinterpret_cast<const uint4*>(input_.data + span.from + column);
      }
    }
    // Up to kPack - 1 elements before the packs and after them.
    for (int i = threadIdx.x; i < count * kEdges; i += kSpanThreads) {
      const Place span = places()[i / kEdges];
      const int edge = i % kEdges, head = min(-span.begin & (kPack<Scalar> - 1), span.size);
      const int tail = span.size - (span.size - head) % kPack<Scalar>;
      const int column = edge < kPack<Scalar> ? edge : tail + edge - kPack<Scalar>;
      if (column < (edge < kPack<Scalar> ? head : span.size)) {
        elements()[span.begin + column] = input_.data[span.from + column];
      }
    }
  }

  static __device__ __forceinline__ char* memory() { return reinterpret_cast<char*>(tile_memory); }
  static __device__ __forceinline__ Scalar* elements() { return reinterpret_cast<Scalar*>(tile_memory); }
  static __device__ __forceinline__ Place* places() {
    __shared__ Place places[kMaxTileSpans];
    return places;
  }

  const ScoresInput<Scalar>& input_;
  const Spans& spans_;
  int64_t first_;
  int columns_;
};

template <typename Scalar>
Spans Spans::of(const ScoresArgs& args) {
  constexpr int64_t kMaxBytes = 40 * 1024;  // of shared memory
  const int64_t one = 1, most_rows = std::min<int64_t>(kSpanColumns / args.classes, kMaxSpanRows);
  const int64_t period = args.blocks * std::max(one, std::min(most_rows, args.rows) / args.blocks);
  const int64_t span_rows = divide_up(period, divide_up(period, most_rows)), groups = divide_up(period, span_rows);
  Spans spans{period, groups, Chunks(groups, std::max(one, divide_up(args.rows, period)))};
  spans.span_rows = static_cast<int>(span_rows);
  spans.span_bytes = (spans.span_rows * static_cast<int>(args.classes) / kPack<Scalar> + 2) * 16;
  spans.state_bytes = sizeof(RowState<Computing<Scalar>>);
  const int64_t entropies = spans.span_rows * sizeof(double);
  const int64_t fitting = (kMaxBytes - entropies) / (spans.span_bytes + spans.span_rows * spans.state_bytes);
  spans.tile_spans = static_cast<int>(std::clamp<int64_t>(fitting, 1, kMaxTileSpans));
  return spans;
}

}  // namespace amgan::cuda
