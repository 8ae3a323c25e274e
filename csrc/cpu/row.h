// What the kernels do with one row of values in the computing type T: load, maximum, exponentials, store.
// Anonymous namespace throughout: every instruction set needs its own copy.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "args/common.h"

namespace amgan::cpu {
namespace {

template <typename T>
using Vec = at::vec::Vectorized<T>;

// The type in which a row of scalar_t is computed.
template <typename scalar_t>
using Computing = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;

template <typename F>
void for_dtype(Dtype dtype, const F& f) {
  switch (dtype) {
    case Dtype::float32:
      return f(float());
    case Dtype::float64:
      return f(double());
    case Dtype::bfloat16:
      return f(c10::BFloat16());
    case Dtype::float16:
      return f(c10::Half());
  }
}

// The row in the computing type: the row itself, or a converted copy in the buffer.
template <typename scalar_t>
const Computing<scalar_t>* load_row(const scalar_t* row, int64_t n, Computing<scalar_t>* buffer) {
  if constexpr (std::is_same_v<scalar_t, Computing<scalar_t>>) {
    return row;
  } else {
    int64_t k = 0;
    for (; k + Vec<scalar_t>::size() <= n; k += Vec<scalar_t>::size()) {
      const auto [low, high] = at::vec::convert_to_float<scalar_t>(Vec<scalar_t>::loadu(row + k));
      low.store(buffer + k);
      high.store(buffer + k + Vec<float>::size());
    }
    for (; k < n; ++k) buffer[k] = static_cast<float>(row[k]);
    return buffer;
  }
}

// A buffer for values of one row. Whole vectors may be read and written past its end.
template <typename T>
int64_t row_buffer_size(int64_t n) {
  return n + 2 * Vec<T>::size();
}

template <typename T>
std::vector<T> row_buffer(int64_t n) {
  return std::vector<T>(row_buffer_size<T>(n));
}

// out_k = weight * e_k + constant, rounded once; e is a row_buffer.
template <typename scalar_t>
void store_scaled(const Computing<scalar_t>* e, int64_t n, Computing<scalar_t> weight, Computing<scalar_t> constant,
                  scalar_t* out) {
  using T = Computing<scalar_t>;
  const Vec<T> w(weight), c(constant);
  const auto scaled = [&](int64_t k) { return at::vec::fmadd(Vec<T>::loadu(e + k), w, c); };
  const auto rounded = [&](int64_t k) {
    if constexpr (std::is_same_v<scalar_t, T>) {
      return scaled(k);
    } else {
      return at::vec::convert_from_float<scalar_t>(scaled(k), scaled(k + Vec<T>::size()));
    }
  };
  int64_t k = 0;
  for (; k + Vec<scalar_t>::size() <= n; k += Vec<scalar_t>::size()) rounded(k).store(out + k);
  if (k < n) rounded(k).store(out + k, n - k);
}

// The vector at x + k, with `fill` in the lanes past the end.
template <typename T>
Vec<T> load_or(const T* x, int64_t k, int64_t n, T fill) {
  if (k + Vec<T>::size() <= n) return Vec<T>::loadu(x + k);
  return Vec<T>::set(Vec<T>(fill), Vec<T>::loadu(x + k, n - k), n - k);
}

// NaN if any element is NaN.
template <typename T>
T row_max(const T* x, int64_t n) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  constexpr int64_t step = Vec<T>::size();
  Vec<T> even(lowest), odd(lowest);
  int64_t k = 0;
  for (; k + 2 * step <= n; k += 2 * step) {
    even = at::vec::maximum(even, Vec<T>::loadu(x + k));
    odd = at::vec::maximum(odd, Vec<T>::loadu(x + k + step));
  }
  for (; k < n; k += step) even = at::vec::maximum(even, load_or(x, k, n, lowest));
  return at::vec::vec_reduce_all<T>([](const Vec<T>& a, const Vec<T>& b) { return at::vec::maximum(a, b); },
                                    at::vec::maximum(even, odd));
}

// The lowest index that holds the maximum, or the first NaN, as torch.argmax.
template <typename T>
int64_t first_of(const T* x, int64_t n, T max) {
  constexpr int64_t step = 32;  // a block whose comparisons the compiler vectorises
  const bool nan = max != max;
  int64_t k = 0;
  for (; k + step <= n; k += step) {
    bool found = false;
    for (int64_t j = 0; j < step; ++j) found |= nan ? x[k + j] != x[k + j] : x[k + j] == max;
    if (found) break;
  }
  while (k < n - 1 && !(nan ? x[k] != x[k] : x[k] == max)) ++k;
  return k;
}

// A shift that keeps a row finite: its maximum, or 0 where every logit is -inf.
template <typename T>
T finite_shift(T max) {
  return max == -std::numeric_limits<T>::infinity() ? T(0) : max;
}

// exp of values that are at most 0. exp_u20 errs by less than 4e-7 relative on [-80, 0] and is 0 from about -87 on; it
// does not keep NaN, which exp_sums restores.
inline Vec<float> exp_of(const Vec<float>& x) {
  return x.exp_u20();
}
inline Vec<double> exp_of(const Vec<double>& x) {
  return x.exp();
}

template <typename T>
struct ExpSums {
  T sum;       // sum exp(x_k - shift)
  T shifts;    // sum (x_k - shift)
  T weighted;  // sum (x_k - shift) exp(x_k - shift), a logit of -inf counting 0
};

// One exponential per element; kept in e, a row_buffer, unless that is null. A shift that is NaN or +inf makes the sums
// NaN.
template <bool want_shifts, bool want_weighted, typename T>
ExpSums<T> exp_sums(const T* x, int64_t n, T shift, T* e) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  constexpr int64_t step = Vec<T>::size();
  const Vec<T> shift_v(shift), lowest(std::numeric_limits<T>::lowest());
  Vec<T> sum(T(0)), shifts(T(0)), weighted(T(0));
  const auto add = [&](const Vec<T>& shifted) {
    const Vec<T> value = exp_of(shifted);
    sum = sum + value;
    if constexpr (want_weighted) weighted = at::vec::fmadd(at::vec::maximum(shifted, lowest), value, weighted);
    return value;
  };
  int64_t k = 0;
  for (; k + step <= n; k += step) {
    const Vec<T> shifted = Vec<T>::loadu(x + k) - shift_v;
    if constexpr (want_shifts) shifts = shifts + shifted;
    const Vec<T> value = add(shifted);
    if (e != nullptr) value.store(e + k);
  }
  if (k < n) {
    const Vec<T> value = add(load_or(x, k, n, -infinity) - shift_v);
    if constexpr (want_shifts) shifts = shifts + load_or(x, k, n, shift) - shift_v;
    if (e != nullptr) value.store(e + k);
  }
  const auto total = [](const Vec<T>& v) {
    return at::vec::vec_reduce_all<T>([](const Vec<T>& a, const Vec<T>& b) { return a + b; }, v);
  };
  const T spoil = std::isfinite(shift) ? T(0) : std::numeric_limits<T>::quiet_NaN();
  return {total(sum) + spoil, total(shifts) + spoil, total(weighted) + spoil};
}

// Rows are summed in chunks whose bounds depend on the shape alone: any number of threads gives the same bits.
struct Chunks {
  int64_t rows;   // per chunk
  int64_t grain;  // chunks that are worth a thread of their own

  explicit Chunks(int64_t columns)
      : rows(std::clamp<int64_t>(16384 / columns, 1, 256)),
        grain(std::max<int64_t>(kElementsPerThread / (rows * columns), 1)) {}

  int64_t count(int64_t total_rows) const { return (total_rows + rows - 1) / rows; }

  // Fewer elements than this take less time than waking a thread.
  static constexpr int64_t kElementsPerThread = 32768;
};

}  // namespace
}  // namespace amgan::cpu
