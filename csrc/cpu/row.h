// What the kernels do with one row across its columns, a vector of columns at a time. For rows of many columns; short
// ones fill no vector (lanes.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cpu/exp_sums.h"
#include "cpu/vec.h"

namespace amgan::cpu {
namespace {

// Room for one row of T that is read and written in whole vectors, and two past the end; the next begins on a cache
// line.
template <typename T>
int64_t row_buffer_size(int64_t n) {
  constexpr int64_t line = std::max<int64_t>(Vec<T>::size(), 64 / sizeof(T));
  return (n + line - 1) / line * line + 2 * line;
}

// Where the exponentials of a group of rows wait for its gradients: in the gradients themselves, so that the second
// pass writes what is in L1 already; in half precision, in a workspace.
template <typename scalar_t>
class RowExps {
 public:
  using T = Computing<scalar_t>;

  RowExps(T* workspace, int64_t classes) : workspace_(workspace), stride_(row_buffer_size<T>(classes)) {}

  // Rows whose exponentials fit in L1 together, a lane each.
  static int64_t group_rows(int64_t classes) { return std::clamp<int64_t>(4096 / classes, 1, Vec<T>::size()); }

  static int64_t workspace_size(int64_t classes) {
    return kInGradient ? 0 : group_rows(classes) * row_buffer_size<T>(classes);
  }

  T* of(int64_t lane, scalar_t* grad) const {
    if constexpr (kInGradient) {
      return grad;
    } else {
      return workspace_ + lane * stride_;
    }
  }

 private:
  static constexpr bool kInGradient = std::is_same_v<scalar_t, T>;

  T* const workspace_;
  const int64_t stride_;
};

// Without NaN: a row that holds one gives any of its values, and its sums below are NaN.
template <typename scalar_t>
Computing<scalar_t> row_max(const scalar_t* x, int64_t n) {
  using T = Computing<scalar_t>;
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  constexpr int64_t step = Vec<T>::size();
  Vec<T> even(lowest), odd(lowest);
  int64_t k = 0;
  for (; k + 2 * step <= n; k += 2 * step) {
    even = larger(even, load_vec(x + k));
    odd = larger(odd, load_vec(x + k + step));
  }
  if (k + step <= n) {
    even = larger(even, load_vec(x + k));
    k += step;
  }
  if (k < n) odd = larger(odd, load_vec(x + k, n - k, lowest));
  return max_lanes(larger(even, odd));
}

// In float, which holds it and of which a vector has twice as many.
template <typename scalar_t>
double row_max(const Wide<scalar_t>* x, int64_t n) {
  return row_max(&x->value, n);
}

// The lowest index that holds the maximum; the row has no NaN.
template <typename scalar_t, typename T>
int64_t first_of(const scalar_t* x, int64_t n, T max) {
  constexpr int64_t step = Vec<T>::size();
  const Vec<T> wanted(max);
  int64_t k = 0;
  while (k + step <= n && lane_bits(equal(load_vec(x + k), wanted)) == 0) k += step;
  while (k < n - 1 && static_cast<T>(x[k]) != max) ++k;
  return k;
}

// As torch.argmax: the first NaN, or the lowest index of the maximum. For the rare rows that are not finite.
template <typename scalar_t>
int64_t argmax(const scalar_t* x, int64_t n) {
  int64_t largest = 0;
  for (int64_t k = 0; k < n; ++k) {
    if (x[k] != x[k]) return k;
    if (x[k] > x[largest]) largest = k;
  }
  return largest;
}

// A shift that keeps a row finite: its maximum, or 0 where every logit is -inf.
template <typename T>
T finite_shift(T max) {
  return max == -std::numeric_limits<T>::infinity() ? T(0) : max;
}

// row_sums, with e or without.
template <bool want_shifts, bool want_weighted, bool want_exps, typename scalar_t>
RowTotals<Computing<scalar_t>> row_sums_of(const scalar_t* x, int64_t n, Computing<scalar_t> shift,
                                           Computing<scalar_t>* e, const scalar_t* ahead) {
  using T = Computing<scalar_t>;
  constexpr int64_t step = Vec<T>::size();
  const Vec<T> shift_v(shift);
  RowTotals<T> totals;
  for (int64_t begin = 0; begin < n; begin += kColumnBlock) {
    ExpSums<T, want_shifts, want_weighted, !want_exps> sums;
    const int64_t end = std::min(begin + kColumnBlock, n);
    int64_t k = begin;
    for (; k + step <= end; k += step) {
      __builtin_prefetch(ahead + k, 0, 2);
      const Vec<T> value = sums.add(load_vec(x + k) - shift_v);
      if constexpr (want_exps) value.store(e + k);
    }
    if (k < end) {
      const Vec<T> logits = load_vec(x + k, end - k, -std::numeric_limits<T>::infinity());
      const Vec<T> value = sums.add_last(logits - shift_v, end - k);
      if constexpr (want_exps) value.store(e + k, static_cast<int>(end - k));
    }
    totals.add(sums);
  }
  if constexpr (want_exps) totals.find_below_one(e, n);
  return totals;
}

// The sums of a row; its n exponentials stay in e, unless that is null. The row at `ahead` is fetched into the
// second-level cache meanwhile.
template <bool want_shifts, bool want_weighted, typename scalar_t>
RowTotals<Computing<scalar_t>> row_sums(const scalar_t* x, int64_t n, Computing<scalar_t> shift, Computing<scalar_t>* e,
                                        const scalar_t* ahead) {
  return e == nullptr ? row_sums_of<want_shifts, want_weighted, false>(x, n, shift, e, ahead)
                      : row_sums_of<want_shifts, want_weighted, true>(x, n, shift, e, ahead);
}

// Stores f(k), the vector at column k, for all n columns, rounded once. f may read what it replaces.
template <typename scalar_t, typename F>
void store_row(int64_t n, scalar_t* out, const F& f) {
  using T = Computing<scalar_t>;
  const auto rounded = [&](int64_t k) {
    if constexpr (std::is_same_v<scalar_t, T>) {
      return f(k);
    } else {
      return at::vec::convert_from_float<scalar_t>(f(k), f(k + Vec<T>::size()));
    }
  };
  constexpr int64_t step = Vec<scalar_t>::size();
  // Rows of odd length begin anywhere: a store across two cache lines costs more than one partial vector before.
  const int64_t past = reinterpret_cast<uintptr_t>(out) % sizeof(Vec<scalar_t>) / sizeof(scalar_t);
  int64_t k = past == 0 ? 0 : std::min(step - past, n);
  if (k > 0) rounded(0).store(out, static_cast<int>(k));
  for (; k + step <= n; k += step) rounded(k).store(out + k);
  if (k < n) rounded(k).store(out + k, static_cast<int>(n - k));
}

}  // namespace
}  // namespace amgan::cpu
