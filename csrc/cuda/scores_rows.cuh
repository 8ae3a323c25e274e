// Score sums of rows of 129 to 8,192 classes (float64: 2,048): every element is read once, straight to registers.
//
// A team of 16 to 256 threads takes a row at a time. Each thread reads up to 32 logits of it, 16 bytes at a time, and
// adds p, p^2 and log p of its columns to its sums (score_sums.cuh), which stay in its registers down all its rows. For
// that, a column must be the same thread's in every row. Rows of 1,001 floats begin anywhere within 16 bytes, but every
// fourth begins at the same place as this one, and every eighth of 16 bits: a team takes those.
//
//   row 0   |pack 0  |pack 1  |pack 2  |...        teams 0 to 3 of thread block 0, rows 0 to 3 of its chunk:
//   row 1   .|h h h|pack 0  |pack 1  |...          head 0, 3, 2 and 1, and packs that go to the 32 threads in turn
//   row 2   ..|h h|pack 0  |pack 1  |...
//   row 3   ...|h|pack 0  |pack 1  |...
//   row 4   |pack 0  |pack 1  |...                 team 0 again, with the columns of row 0 in the same registers
//
// A team waits for nobody but itself. At the end its sums go through shared memory, where columns have their places,
// and those of the teams of a thread block are added up and left as a record, in float: at most 128 rows a thread, so
// short that the rounding of the sums averages out over many. A second launch adds up the records in float64.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda/row.cuh"
#include "cuda/score_sums.cuh"
#include "cuda/scores_merge.cuh"
#include "cuda/tile.cuh"

namespace amgan::cuda {

// kThreads threads a row, each with kValues logits in registers and an element of the edges: parts of a warp and warps
// take a row each, so that a thread block has several, and more than a warp is a thread block.
template <int kThreads_, int kValues_>
struct RowLayout {
  static constexpr int kThreads = kThreads_;
  static constexpr int kValues = kValues_;
  static constexpr int kBlockThreads = kThreads <= 32 ? 128 : kThreads;
  static constexpr int kBlockRows = kBlockThreads / kThreads;
};

// Calls function(RowLayout) for rows of this many classes, of which kThreads threads take 16, 24 or 32 each. Packs fill
// all values but the last 8 (of probabilities and of 16 values: 16), wherever in 16 bytes a row begins: hence kPack
// - 2.
template <typename Scalar, bool kProbabilities, typename Function>
auto with_row_layout(int64_t classes, Function function) {
  if constexpr (sizeof(Scalar) == 8) {
    if (classes <= 256) return function(RowLayout<32, 8>{});
    if (classes <= 1024) return function(RowLayout<128, 8>{});
    return function(RowLayout<256, 8>{});
  } else {
    classes -= kPack<Scalar> - 2;
    const auto with_threads = [&](auto threads) {
      if constexpr (!kProbabilities) {
        if (classes <= 24 * threads) return function(RowLayout<threads, 24>{});
      }
      return function(RowLayout<threads, 32>{});
    };
    if (classes <= 256) return function(RowLayout<16, 16>{});
    if (classes <= 512) return with_threads(std::integral_constant<int, 16>());
    if (classes <= 1024) return with_threads(std::integral_constant<int, 32>());
    if (classes <= 2048) return with_threads(std::integral_constant<int, 64>());
    if (classes <= 4096) return with_threads(std::integral_constant<int, 128>());
    return with_threads(std::integral_constant<int, 256>());
  }
}

template <typename Scalar>
constexpr int64_t kRowColumns = sizeof(Scalar) == 8 ? 2048 : 8192;

// A row in registers as it lies in memory: packs of 16 bytes that go to the threads in turn, and an element of the
// edges for some of them. Rows at the same place within 16 bytes have the same columns in the same registers.
template <typename Scalar, typename Layout, bool kProbabilities>
class PackedRow {
 public:
  using T = Computing<Scalar>;
  static constexpr int kCount = Layout::kValues + 1;
  // Values that are some column's, whatever the number of classes.
  static constexpr int kAlways = Layout::kValues > 16 ? Layout::kValues - (kProbabilities ? 16 : 8) : 0;

  // For rows that begin at the same place within 16 bytes as `row`.
  __device__ __forceinline__ PackedRow(const Scalar* row, int columns) {
    const int rank = Group<Layout::kThreads>::rank(), head = until_aligned(row);
    const int packs = (columns - head) / kPack<Scalar>, tail = head + packs * kPack<Scalar>;
    first_ = head + rank * kPack<Scalar>;
    packs_ = packs - rank;
    edge_ = rank < head ? rank : rank - head < columns - tail ? tail + rank - head : -1;
    of_edge_ = static_cast<Scalar>(kProbabilities ? 0.0f : -INFINITY);
    Scalar pack[kPack<Scalar>];
#pragma unroll
    for (Scalar& element : pack) element = of_edge_;
#pragma unroll
    for (uint4& bits : bits_) memcpy(&bits, pack, sizeof(bits));
  }

  __device__ __forceinline__ void load(const Scalar* row) {
    const auto* packs = reinterpret_cast<const uint4*>(row + first_);
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      if (has(slot)) bits_[slot] = packs[slot * Layout::kThreads];
    }
    if (edge_ >= 0) of_edge_ = row[edge_];
  }

  __device__ __forceinline__ void unpack(T (&values)[kCount]) const {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      T pack[kPack<Scalar>];
      load_pack(reinterpret_cast<const Scalar*>(&bits_[slot]), pack);
#pragma unroll
      for (int i = 0; i < kPack<Scalar>; ++i) values[slot * kPack<Scalar> + i] = pack[i];
    }
    values[Layout::kValues] = cuda::load(&of_edge_);
  }

  // function(i, its column) for the values that have one.
  template <typename Function>
  __device__ __forceinline__ void for_each_column(Function function) const {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      if (!has(slot)) continue;
#pragma unroll
      for (int i = 0; i < kPack<Scalar>; ++i) {
        function(slot * kPack<Scalar> + i, first_ + slot * Layout::kThreads * kPack<Scalar> + i);
      }
    }
    if (edge_ >= 0) function(Layout::kValues, edge_);
  }

 private:
  static constexpr int kSlots = Layout::kValues / kPack<Scalar>;

  __device__ __forceinline__ bool has(int slot) const {
    return (slot + 1) * kPack<Scalar> <= kAlways || slot * Layout::kThreads < packs_;
  }

  int first_;  // column of this thread's first pack
  int packs_;  // of the row, from this thread's first one on
  int edge_;   // this thread's column beside the packs, or -1
  Scalar of_edge_;
  uint4 bits_[kSlots];
};

// How rows are split, from the shape alone: those of one block of the result, which are B apart, among the teams of
// thread blocks, so that the rows of a team begin at the same place within 16 bytes.
struct RowSplit {
  int64_t period;  // rows from one of a team to its next: a multiple of B
  int64_t parts;   // thread blocks that cover a period of one block of the result
  Chunks chunks;   // of the rounds of a thread block

  template <typename Scalar, typename Layout>
  static RowSplit of(const ScoresArgs& args) {
    constexpr int64_t kMinRows = 32;  // of a record
    int64_t alike = 1;                // rows of a block until one begins at the same place again
    const int64_t step = args.row_stride * args.blocks;
    while (step * alike % kPack<Scalar> != 0) alike *= 2;
    const int64_t apart = std::max<int64_t>(alike, Layout::kBlockRows), period = apart * args.blocks;
    const int64_t parts = apart / Layout::kBlockRows;
    return {period, parts,
            Chunks(args.blocks * parts, divide_up(args.rows, period), divide_up(kMinRows, Layout::kBlockRows))};
  }

  template <typename T>
  Records<T> records(const ScoresArgs& args) const {
    return {reinterpret_cast<T*>(args.workspace), chunks.count * parts};
  }
};

template <typename Scalar>
struct RowsParams {
  ScoresInput<Scalar> input;
  RowSplit split;
  int64_t step;  // elements from one row of a team to its next
  Records<Computing<Scalar>> records;
};

// Threads that a multiprocessor must hold: 384 leave 168 registers for each, which logarithms exceed.
template <typename Scalar, typename Layout, bool kProbabilities>
constexpr int kRowThreads = sizeof(Scalar) == 8 || kProbabilities || Layout::kThreads == 256 ? 256 : 384;

// 50,000 rows of 1,001 classes in 10 blocks, float32: 4 teams of 32 threads a thread block. Of the 5,000 rows of a
// block of the result each team has every fourth: first + 10 i, i = 0, 4, 8, ... for team 0, 40 rows apart (the
// period), which are 40 x 1,001 x 4 bytes, a multiple of 16. 74 chunks of 17 rounds make 740 thread blocks, with
// records of 12 KB each; with 100 blocks there are 7 chunks of 18. In one block of the result every eighth row of 16
// bits begins alike, so that two thread blocks (parts) share the rows of a chunk.
//
// The next row is read as soon as there are registers for it, where 8 warps fit on a multiprocessor beside it or rows
// have 24 logits a thread; else its line of each thread is on its way to the second-level cache two rows before.
template <typename Scalar, typename Layout, bool kProbabilities>
__global__ void __launch_bounds__(Layout::kBlockThreads,
                                  kRowThreads<Scalar, Layout, kProbabilities> / Layout::kBlockThreads)
    rows_kernel(const __grid_constant__ RowsParams<Scalar> params) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;
  using Row = PackedRow<Scalar, Layout, kProbabilities>;
  constexpr bool kAhead = Layout::kValues < 32 || Layout::kThreads == 256;
  constexpr int kLine = 128 / sizeof(Scalar);

  const ScoresInput<Scalar>& input = params.input;
  const RowSplit& split = params.split;
  const int columns = static_cast<int>(input.classes);
  const int64_t record = blockIdx.x, first = record % input.blocks, part = record / input.blocks % split.parts;
  const int64_t chunk = record / input.blocks / split.parts;
  const int64_t index = first + (part * Layout::kBlockRows + Threads::index()) * input.blocks;
  const int64_t skipped = chunk * split.chunks.rounds;
  int left =
      static_cast<int>(max(int64_t{0}, min(split.chunks.rounds, rows_from(index, input.rows, split.period) - skipped)));

  const Scalar* data = input.data + index * input.row_stride + skipped * params.step;
  RowSums<Scalar, Layout::kThreads, Row::kCount, kProbabilities> sums;
  Row row(data, columns);
  if (kAhead && left > 0) row.load(data);
  for (; left > 0; --left, data += params.step) {
    if constexpr (!kAhead) row.load(data);
    const auto load_next = [&] {
      if (kAhead && left > 1) row.load(data + params.step);
    };
    if (left > 2 && Threads::rank() * kLine < columns) prefetch(data + 2 * params.step + Threads::rank() * kLine);
    T values[Row::kCount];
    row.unpack(values);
    sums.template add<Row::kAlways>(values, left, load_next);
  }

  const Record<T> to(params.records.data, record, columns);
  T* const folded = reinterpret_cast<T*>(tile_memory);
  const auto leave = [&](const T(&values)[Row::kCount], T* result) {
    T* const own = folded + Threads::index() * columns;
    row.for_each_column([&](int i, int column) { own[column] = values[i]; });
    fold<Layout::kBlockThreads>(folded, columns, Layout::kBlockRows);
    for (int i = threadIdx.x; i < columns; i += Layout::kBlockThreads) result[i] = folded[i];
    __syncthreads();  // before other values take their place
  };
  leave(sums.prob, to.prob);
  leave(sums.prob_sq, to.prob_sq);
  leave(sums.log_prob, to.log_prob);
  T of_rows[2];
  sums.of_rows(of_rows);
  Group<Layout::kBlockThreads>::reduce(of_rows, Sum());
  if (threadIdx.x == 0) to.of_rows[0] = of_rows[0], to.of_rows[1] = of_rows[1];
}

// Calls function(Layout, whether the input is probabilities, RowSplit).
template <typename Scalar, typename Function>
auto with_row_split(const ScoresArgs& args, Function function) {
  const auto with = [&](auto probabilities) {
    return with_row_layout<Scalar, probabilities>(args.classes, [&](auto layout) {
      return function(layout, probabilities, RowSplit::of<Scalar, decltype(layout)>(args));
    });
  };
  return args.probabilities ? with(std::true_type()) : with(std::false_type());
}

template <typename Scalar>
int64_t rows_workspace(const ScoresArgs& args) {
  using T = Computing<Scalar>;
  return with_row_split<Scalar>(
      args, [&](auto, auto, const RowSplit& split) { return Records<T>::doubles(args, split.records<T>(args).count); });
}

template <typename Scalar>
cudaError_t sum_rows(const ScoresArgs& args, cudaStream_t stream) {
  using T = Computing<Scalar>;
  return with_row_split<Scalar>(args, [&](auto layout, auto probabilities, const RowSplit& split) {
    using Layout = decltype(layout);
    const RowsParams<Scalar> params{ScoresInput<Scalar>(args), split, split.period * args.row_stride,
                                    split.records<T>(args)};
    const auto grid = static_cast<unsigned>(params.records.count * args.blocks);
    const size_t shared = Layout::kBlockRows * args.classes * sizeof(T);
    rows_kernel<Scalar, Layout, probabilities><<<grid, Layout::kBlockThreads, shared, stream>>>(params);
    const cudaError_t error = cudaGetLastError();
    return error != cudaSuccess ? error : merge_records(args, params.records, stream);
  });
}

}  // namespace amgan::cuda
