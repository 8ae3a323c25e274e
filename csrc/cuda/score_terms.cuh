// What the score kernels share: their arguments with types, what they know of a row, and the sums of a column.
#pragma once

#include <cstdint>

#include "args/scores.h"
#include "cuda/entropy_row.cuh"
#include "cuda/running_sum.cuh"

namespace amgan::cuda {

inline int64_t divide_up(int64_t a, int64_t b) {
  return a / b + (a % b != 0);
}

// Where the sums of all blocks go: the result, or the place of one chunk of the rows.
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

inline Sums result_of(const ScoresArgs& args) {
  return {args.entropy, args.prob, args.prob_sq, args.log_prob};
}

// Doubles of the sums of all blocks.
inline int64_t sums_size(const ScoresArgs& args) {
  return args.blocks + 3 * args.blocks * args.classes;
}

// The place of one chunk of the rows, of sums_size doubles.
inline Sums sums_at(double* place, int64_t blocks, int64_t classes) {
  const int64_t columns = blocks * classes;
  return {place, place + blocks, place + blocks + columns, place + blocks + 2 * columns};
}

// ScoresArgs with types.
template <typename Scalar>
struct ScoresInput {
  const Scalar* data;
  int64_t rows;
  int64_t classes;
  int64_t row_stride;
  int64_t blocks;
  int64_t offset;  // in 0..blocks-1

  explicit ScoresInput(const ScoresArgs& args)
      : data(static_cast<const Scalar*>(args.input)),
        rows(args.rows),
        classes(args.classes),
        row_stride(args.row_stride),
        blocks(args.blocks),
        offset(args.offset % args.blocks) {}

  // Rows first, first + blocks, ...
  __device__ __forceinline__ int64_t count_from(int64_t first) const {
    return first < rows ? (rows - first - 1) / blocks + 1 : 0;
  }
};

// Of probabilities, their entropy alone. Aligned for a load of 16 bytes.
template <typename T>
struct alignas(16) RowState {
  T max;
  math::EntropyTerms<T> terms;
};

// For all threads of the row. Logits in registers are left with their exponentials as entropy_row leaves them.
template <bool kProbabilities, typename Row>
__device__ __forceinline__ RowState<typename Row::T> row_state(Row& row,
                                                               typename Row::T (&exponentials)[Row::kRegisters]) {
  using T = typename Row::T;
  using std::log;
  RowState<T> state{};
  if constexpr (kProbabilities) {
    row.for_each([&](auto, T prob) { state.terms.entropy -= math::times_prob(log(prob), prob); });
    state.terms.entropy = Row::Threads::reduce(state.terms.entropy, Sum());
  } else {
    const math::EntropyRow<T> sums = entropy_row(row, exponentials);
    state = {sums.max, Row::Threads::once([&] { return math::entropy_terms(sums); })};
  }
  return state;
}

template <bool kProbabilities, typename Row>
__device__ __forceinline__ RowState<typename Row::T> row_state(Row& row) {
  typename Row::T exponentials[Row::kRegisters];
  return row_state<kProbabilities>(row, exponentials);
}

// Sums of one column over rows.
template <typename T>
class ColumnSums {
 public:
  __device__ __forceinline__ void add(T p, T log_p) {
    prob_.add(p);
    prob_sq_.add(p * p);
    log_prob_.add(log_p * kLogUnit);
  }

  __device__ __forceinline__ double prob() const { return prob_.value(); }
  __device__ __forceinline__ double prob_sq() const { return prob_sq_.value(); }
  __device__ __forceinline__ double log_prob() const { return log_prob_.value() / kLogUnit; }

 private:
  // Logits masked by the lowest finite float leave room for 2^40 of them.
  static constexpr T kLogUnit = sizeof(T) == sizeof(float) ? T(0x1p-40) : T(1);

  RunningSum<T> prob_, prob_sq_, log_prob_;
};

// A logit or a probability of a row.
template <bool kProbabilities, typename T>
__device__ __forceinline__ void add_to(ColumnSums<T>& sums, T value, const RowState<T>& state) {
  using std::log;
  if constexpr (kProbabilities) {
    sums.add(value, log(value));
  } else {
    const T shifted = value - state.max;
    sums.add(state.terms.prob(exp_nonpositive(shifted)), state.terms.log_prob(shifted));
  }
}

}  // namespace amgan::cuda
