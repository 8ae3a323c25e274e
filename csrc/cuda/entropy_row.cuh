// The sums of math/entropy.h, taken by the threads of a row: for the class entropy and for the scores.
#pragma once

#include "cuda/row.cuh"
#include "math/entropy.h"

namespace amgan::cuda {

// For all threads of the row. A row of -inf alone has no softmax and comes out as NaN. Logits in registers are left
// shifted by their maximum.
template <typename Scalar, typename Layout>
__device__ __forceinline__ math::EntropyRow<Computing<Scalar>> entropy_row(Row<Scalar, Layout>& logits) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;
  using std::exp;
  math::EntropyRow<T> row{row_max(logits), 0, 0};
  T sum = 0, below_one = 0;
  logits.for_each([&](auto, T& value) {
    const T shifted = value - row.max;
    const T e = exp(shifted);
    value = shifted;
    sum += e;
    below_one += e < T(1) ? e : T(0);
    row.weighted += math::times_prob(shifted, e);
  });
  row.excess = math::sum_less_one(Threads::reduce(sum, Sum()), Threads::reduce(below_one, Sum()));
  row.weighted = Threads::reduce(row.weighted, Sum());
  return row;
}

}  // namespace amgan::cuda
