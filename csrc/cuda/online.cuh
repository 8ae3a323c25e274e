// Largest logit and sums of the exponentials of a row from one pass over it, for rows that no registers hold. One exp2
// per logit. (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax". Here the largest terms, which are
// 1, are counted apart from the others: s - 1 then keeps its digits where the others are small, see math/softmax.h.)
#pragma once

#include <cmath>
#include <limits>

#include "cuda/dtype.cuh"
#include "cuda/reduce.cuh"

namespace amgan::cuda {

// What is asked for after the pass is for all threads of the row; what is not asked for costs nothing.
template <typename Row>
class OnlineSums {
 public:
  using T = typename Row::T;
  using Column = typename Row::Column;
  using Threads = typename Row::Threads;

  __device__ __forceinline__ explicit OnlineSums(const Row& row) {
    row.for_each_pack([&](Column first, int step, const auto& logits) { add(first, step, logits); });
    const T largest = Threads::reduce(max_, Max());
    if (max_ != largest) {
      rescale(largest);
      max_ = largest;
      first_ = kNone;
    }
  }

  __device__ __forceinline__ T max() const { return max_; }

  // The lowest column that holds max.
  __device__ __forceinline__ Column first() const { return max_ == -INFINITY ? 0 : Threads::reduce(first_, Min()); }

  // sum exp(l_k - max) less 1; -1 where all logits are -inf, NaN where one is +inf or NaN.
  __device__ __forceinline__ T excess() const {
    const T excess = (Threads::reduce(equal_, Sum()) - 1) + Threads::reduce(below_, Sum());
    if (max_ == INFINITY) return NAN;
    return max_ == -INFINITY && excess == excess ? T(-1) : excess;
  }

  // sum (l_k - max) exp(l_k - max)
  __device__ __forceinline__ T weighted() const { return Threads::reduce(weighted_, Sum()); }

 private:
  static constexpr Column kNone = std::numeric_limits<Column>::max();

  // Logits of columns first, first + step, ...
  template <int kCount>
  __device__ __forceinline__ void add(Column first, int step, const T (&logits)[kCount]) {
    T largest = logits[0];
#pragma unroll
    for (int i = 1; i < kCount; ++i) largest = Max()(largest, logits[i]);
    if (largest > max_) {
      rescale(largest);
      max_ = largest;
#pragma unroll
      for (int i = kCount - 1; i >= 0; --i) first_ = logits[i] == largest ? first + i * step : first_;
    } else if (kCount == 1 && largest == max_) {
      first_ = Min()(first_, first);  // one from beside the packs may come before them
    }
    const T base = finite_max();
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const T shift = logits[i] - base, e = exp_nonpositive(shift);
      const bool is_max = logits[i] == max_;
      if (is_max) equal_ += 1;
      if (!is_max) below_ += e;
      weighted_ += at_least_lowest(shift) * e;
    }
  }

  // Sums for another max, a larger one.
  __device__ __forceinline__ void rescale(T max) {
    const T shift = max_ - max, e = exp_nonpositive(shift);
    below_ += equal_;
    weighted_ = weighted_ * e + at_least_lowest(shift) * e * below_;
    below_ *= e;
    equal_ = 0;
  }

  // Logits of -inf are infinitely far below any number, and so are they as long as there are no others.
  __device__ __forceinline__ T finite_max() const { return max_ == -INFINITY ? T(0) : max_; }

  T max_ = -INFINITY;
  T equal_ = 0;  // logits that are max
  T below_ = 0;  // sum of exp(l_k - max) of the others
  T weighted_ = 0;
  Column first_ = kNone;
};

}  // namespace amgan::cuda
