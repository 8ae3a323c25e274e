// Sums over the exponentials of rows. A lane is a row (lanes.h) or every vector-th column of one (row.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/vec.h"
#include "math/softmax.h"

namespace amgan::cpu {
namespace {

// sum + e in the lanes where e < 1.
template <typename T>
Vec<T> add_below_one(const Vec<T>& sum, const Vec<T>& e) {
  return add_where(less(e, Vec<T>(T(1))), sum, e);
}

// Of x = l_k - max, one exponential per element. NaN where a logit is NaN or +inf. Where the exponentials are kept,
// below_one can be had from them afterwards, for the few rows that need it.
template <typename T, bool want_shifts, bool want_weighted, bool want_below_one>
struct ExpSums {
  Vec<T> sum{T(0)};        // of exp(x)
  Vec<T> below_one{T(0)};  // of those exp(x) below 1
  Vec<T> shifts{T(0)};     // of x
  Vec<T> weighted{T(0)};   // of x exp(x), a logit of -inf counting 0

  // Takes n vectors of x and gives exp(x). n is not 1 where only double is faster so (exp.h).
  template <int n>
  [[gnu::always_inline]] void add(const Vec<T> (&x)[n], Vec<T> (&e)[n]) {
    if constexpr (want_weighted) {
      exp_nonpositive(x, e, weighted);
    } else {
      for (int v = 0; v < n; ++v) e[v] = exp_nonpositive(x[v]);
    }
    for (int v = 0; v < n; ++v) {
      sum = sum + e[v];
      if constexpr (want_below_one) below_one = add_below_one(below_one, e[v]);
      if constexpr (want_shifts) shifts = shifts + x[v];
    }
  }

  Vec<T> add(const Vec<T>& x) {
    const Vec<T> one[] = {x};
    Vec<T> e[1];
    add(one, e);
    return e[0];
  }

  // The lanes from n on are past the end of the row: x = -inf there, which would add to the shifts alone.
  Vec<T> add_last(const Vec<T>& x, int64_t n) {
    const Vec<T> before = shifts;
    const Vec<T> e = add(x);
    if constexpr (want_shifts) shifts = Vec<T>::set(before, shifts, n);
    return e;
  }

  Vec<T> excess() const { return math::sum_less_one<Vec<T>>(sum, below_one); }
};

// The same of a whole row, where lanes are columns: float is added up over kColumnBlock columns, double above.
constexpr int64_t kColumnBlock = 1024;

template <typename T>
struct RowTotals {
  double sum = 0, below_one = 0, shifts = 0, weighted = 0;

  template <bool want_shifts, bool want_weighted, bool want_below_one>
  void add(const ExpSums<T, want_shifts, want_weighted, want_below_one>& sums) {
    sum += sum_lanes(sums.sum);
    if constexpr (want_below_one) below_one += sum_lanes(sums.below_one);
    if constexpr (want_shifts) shifts += sum_lanes(sums.shifts);
    if constexpr (want_weighted) weighted += sum_lanes(sums.weighted);
  }

  // After sums without below_one, from the n exponentials that were kept. Only the excess of s < 2 needs it.
  void find_below_one(const T* e, int64_t n) {
    if (!(sum < 2)) return;
    for (int64_t begin = 0; begin < n; begin += kColumnBlock) {
      const int64_t end = std::min(begin + kColumnBlock, n);
      Vec<T> of_block(T(0));
      for (int64_t k = begin; k < end; k += Vec<T>::size()) of_block = add_below_one(of_block, load_within(e, k, end));
      below_one += sum_lanes(of_block);
    }
  }

  T excess() const { return static_cast<T>(math::sum_less_one(sum, below_one)); }
};

}  // namespace
}  // namespace amgan::cpu
