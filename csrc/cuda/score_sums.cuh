// p, p^2 and log p of many rows, added up in the registers of the threads that take their columns.
#pragma once

#include "cuda/reduce.cuh"
#include "cuda/score_terms.cuh"
#include "math/entropy.h"

namespace amgan::cuda {

// For threads that share rows and have kCount columns each, the same ones of every row. Of a row with logits l:
//
//   m = max l    x = l - m    e = exp(x)    s = sum e    p = e / s    log p = x - log s    H = log s - sum x e / s
//
// The threads talk to each other about m and s alone. All else is added up apart: the sum of log p is that of x, which
// each column has, less that of log s, which is the row's; and each thread adds up its own x e / s. The logarithm of s
// is not needed until the end, so each thread remembers every kThreads-th s, and they take 32 logarithms, say, at once.
//
// Six logits on two threads, and the first row that they add:
//
//              thread 0       thread 1      together
//   l          3   1   2      5   0   3     m = 5
//   x         -2  -4  -3      0  -5  -2     sums of x: one a column
//   e         .14 .02 .05     1  .01 .14    s = 1.35
//   p         .10 .01 .04    .74 .01 .10    sums of p and p^2: two a column
//   sum x e   -.49            -.30          each thread its own part of H
//   s          1.35           -             log s later, with that of the next row, which thread 1 remembers
template <typename Scalar, int kThreads, int kCount, bool kProbabilities>
class RowSums {
 public:
  using T = Computing<Scalar>;
  using Threads = Group<kThreads>;

  // One more row, for all of its threads; `left` counts the rows down to 1. Values from kAlways on may be those of no
  // column: -inf, or 0 of probabilities. after_use() is called as soon as the values are not needed any more.
  template <int kAlways, typename Function>
  __device__ __forceinline__ void add(const T (&values)[kCount], int left, Function after_use) {
    if constexpr (kProbabilities) {
      add_probabilities(values);
      after_use();
    } else {
      add_logits<kAlways>(values, left, after_use);
    }
  }

  // After the last row: the sums of log s and of the entropies, of this thread's share.
  __device__ __forceinline__ void of_rows(T (&sums)[2]) {
    take_logarithms();
    sums[0] = log_sum_;
    sums[1] = log_sum_ - weighted_;
  }

  T prob[kCount] = {}, prob_sq[kCount] = {}, log_prob[kCount] = {};

 private:
  static constexpr int kParts = 2;

  template <int kAlways, typename Function>
  __device__ __forceinline__ void add_logits(const T (&values)[kCount], int left, Function after_use) {
    T largest = -INFINITY;  // NaN is passed over: it shows in the sum
#pragma unroll
    for (const T value : values) largest = Max()(largest, value);
    largest = Threads::reduce(largest, Max());

    T exponentials[kCount], parts[kParts] = {}, weighted = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const T shifted = values[i] - largest, e = exp_of_shifted<Scalar>(shifted);
      log_prob[i] += shifted * kLogUnit;
      weighted += (i < kAlways ? shifted : at_least_lowest(shifted)) * e;
      parts[i % kParts] += e;
      exponentials[i] = e;
    }
    after_use();
    if (isnan(weighted)) weighted = weighted_of(exponentials);
    const T excess = excess_of(exponentials, parts), inverse = T(1) / (T(1) + excess);
    weighted_ += weighted * inverse;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const T p = exponentials[i] * inverse;
      prob[i] += p;
      prob_sq[i] += p * p;
    }
    if (Threads::rank() == left % kThreads) excess_ = excess;
    if (left % kThreads == 0) take_logarithms();
  }

  // Sum of x e where an x is -inf and its e 0.
  static __device__ __forceinline__ T weighted_of(const T (&exponentials)[kCount]) {
    T weighted = 0;
#pragma unroll
    for (const T e : exponentials) weighted += math::times_prob(quick_log(e), e);
    return weighted;
  }

  // s - 1, by all threads of the row, from the exponentials and the sums of every kParts-th of them. A sum below 2
  // holds a single 1, beside which the others are forgotten: they are added up again in the one part that has it.
  static __device__ __forceinline__ T excess_of(const T (&exponentials)[kCount], T (&parts)[kParts]) {
    const T sum = Threads::reduce(total(parts), Sum());
    T below_one = 0;
    if (sum < T(2)) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        if (parts[part] < T(1)) continue;
        parts[part] = 0;
#pragma unroll
        for (int i = part; i < kCount; i += kParts) {
          if (exponentials[i] < T(1)) parts[part] += exponentials[i];
        }
      }
      below_one = Threads::reduce(total(parts), Sum());
    }
    return math::sum_less_one(sum, below_one);
  }

  static __device__ __forceinline__ T total(const T (&parts)[kParts]) {
    T sum = 0;
#pragma unroll
    for (const T part : parts) sum += part;
    return sum;
  }

  __device__ __forceinline__ void take_logarithms() {
    log_sum_ += math::Functions<T>::log1p(excess_);
    excess_ = 0;
  }

  __device__ __forceinline__ void add_probabilities(const T (&values)[kCount]) {
    using std::log;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const T p = values[i], log_p = log(p);
      prob[i] += p;
      prob_sq[i] += p * p;
      log_prob[i] += log_p * kLogUnit;
      weighted_ += math::times_prob(log_p, p);
    }
  }

  T log_sum_ = 0, weighted_ = 0;
  T excess_ = 0;  // s - 1 of a row
};

}  // namespace amgan::cuda
