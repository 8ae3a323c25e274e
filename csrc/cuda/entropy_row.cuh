// The sums of math/entropy.h, taken by the threads of a row: for the class entropy and for the scores.
#pragma once

#include "cuda/online.cuh"
#include "cuda/row.cuh"
#include "math/entropy.h"

namespace amgan::cuda {

// s - 1 of exponentials that add up to `sum`, whose part below 1 matters only where s < 2. For all threads of the row,
// which is in registers; exp_of(value) is called for each of them, in order.
template <typename Row, typename ExpOf>
__device__ __forceinline__ typename Row::T excess(Row& row, typename Row::T sum, ExpOf exp_of) {
  using T = typename Row::T;
  T below_one = 0;
  if (sum < T(2)) {
    row.for_each_value([&](T value) {
      const T e = exp_of(value);
      if (e < T(1)) below_one += e;
    });
    below_one = Row::Threads::reduce(below_one, Sum());
  }
  return math::sum_less_one(sum, below_one);
}

// For all threads of the row. A row of -inf alone has no softmax and comes out as NaN. Logits in registers are left
// shifted by their maximum, with kNear not further than kFar, and their exponentials in `exponentials`, in the same
// order.
template <bool kNear = false, typename Row>
__device__ __forceinline__ math::EntropyRow<typename Row::T> entropy_row(
    Row& logits, typename Row::T (&exponentials)[Row::kRegisters]) {
  using T = typename Row::T;
  if constexpr (!Row::Layout::kInRegisters) {
    const OnlineSums<Row> sums(logits);
    return {sums.max(), sums.max() == -INFINITY ? T(NAN) : sums.excess(), sums.weighted()};
  } else {
    const T largest = row_max(logits);
    T sums[2] = {0, 0};  // of e and of the shifted logit times e
    int i = 0;
    logits.for_each_value([&](T& value) {
      const T shifted = value - largest, near = not_far(shifted);
      const T e = kNear ? exp_of_near<typename Row::Element>(near) : exp_nonpositive(shifted);
      value = kNear ? near : shifted;
      exponentials[i++] = e;
      sums[0] += e;
      sums[1] += near * e;
    });
    logits.fetch_expected();
    Row::Threads::reduce(sums, Sum());
    i = 0;
    return {largest, excess(logits, sums[0], [&](T) { return exponentials[i++]; }), sums[1]};
  }
}

}  // namespace amgan::cuda
