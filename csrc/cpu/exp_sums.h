// Sums over the exponentials of rows. A lane is a row (lanes.h) or every vector-th column of one (row.h).
#pragma once

#include <limits>

#include "cpu/vec.h"
#include "math/softmax.h"

namespace amgan::cpu {
namespace {

// Of x = l_k - max, one exponential per element. NaN where a logit is NaN or +inf.
template <typename T, bool want_shifts, bool want_weighted>
struct ExpSums {
  Vec<T> sum{T(0)};        // of exp(x)
  Vec<T> below_one{T(0)};  // of those exp(x) below 1
  Vec<T> shifts{T(0)};     // of x
  Vec<T> weighted{T(0)};   // of x exp(x), a logit of -inf counting 0

  // Takes a vector of x and returns exp(x).
  Vec<T> add(const Vec<T>& x) {
    const Vec<T> e = exp_nonpositive(x);
    sum = sum + e;
    below_one = add_below_one(below_one, e);
    if constexpr (want_shifts) shifts = shifts + x;
    if constexpr (want_weighted) {
      weighted = at::vec::fmadd(larger(x, Vec<T>(std::numeric_limits<T>::lowest())), e, weighted);
    }
    return e;
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

  template <bool want_shifts, bool want_weighted>
  void add(const ExpSums<T, want_shifts, want_weighted>& sums) {
    sum += sum_lanes(sums.sum);
    below_one += sum_lanes(sums.below_one);
    if constexpr (want_shifts) shifts += sum_lanes(sums.shifts);
    if constexpr (want_weighted) weighted += sum_lanes(sums.weighted);
  }

  T excess() const { return static_cast<T>(math::sum_less_one(sum, below_one)); }
};

}  // namespace
}  // namespace amgan::cpu
