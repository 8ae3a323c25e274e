// Entropy of a softmax from its shifted sums. With x_k = l_k - max, s = sum exp(x_k), q = sum x_k exp(x_k):
//
//   H = log s - q/s        log p_k = x_k - log s        dH/dl_k = -p_k (log p_k + H) = p_k (q/s - x_k)
//
// The shift matters: at logits of 1e4 the unshifted logsumexp - sum p*l errs by 1e-3 in float32. Both terms of H are
// non-negative, so with an accurate s - 1 a small H is relatively accurate, too.
#pragma once

#include "math/softmax.h"

AMGAN_MATH_BEGIN

template <typename T>
struct EntropyRow {
  T max;       // largest logit
  T excess;    // s - 1
  T weighted;  // q; a logit of -inf contributes 0
};

template <typename T>
struct EntropyTerms {
  T log_sum;      // log s
  T inverse_sum;  // 1 / s
  T entropy;      // H

  // At shifted logit x = l_k - max, e = exp(x).
  AMGAN_INLINE T prob(T e) const { return e * inverse_sum; }
  AMGAN_INLINE T log_prob(T x) const { return x - log_sum; }
};

template <typename T>
AMGAN_INLINE EntropyTerms<T> entropy_terms(const EntropyRow<T>& row) {
  const T log_s = Functions<T>::log1p(row.excess);
  const T inverse = T(1) / (T(1) + row.excess);
  return {log_s, inverse, log_s - row.weighted * inverse};
}

// x * p, with 0 where p = 0, also at x = -inf.
template <typename T>
AMGAN_INLINE T times_prob(T x, T p) {
  return select(equal(p, T(0)), T(0), x * p);
}

// dH/dl_k of a row, times the gradient of what its entropy goes into.
template <typename T>
struct EntropyRowGradient {
  T weight, mean;

  // At shifted logit x, e = exp(x).
  AMGAN_INLINE T at(T x, T e) const { return times_prob<T>(mean - x, weight * e); }
};

template <typename T>
AMGAN_INLINE EntropyRowGradient<T> entropy_gradient(const EntropyRow<T>& row, const EntropyTerms<T>& terms,
                                                    T grad_output) {
  return {grad_output * terms.inverse_sum, row.weighted * terms.inverse_sum};
}

// --- Derivatives along v: the slope <dH/dl, v>, and the second derivative times v. With u_k as in RowAlong,
// m = sum p_k x_k = q/s and mean = sum p_k u_k:
//
//   slope = m*mean - sum p_k x_k u_k      (H'' v)_k = p_k ((mean - u_k) (x_k - m + 1) - slope)
template <typename T>
struct EntropyRowHessian {
  T slope, weight, mean, from;  // from = m - 1

  AMGAN_INLINE T at(T x, T u, T e) const {
    const T p = weight * e;
    return select(equal(p, T(0)), T(0), T(p * ((mean - u) * (x - from) - slope)));
  }

  template <typename Function>
  AMGAN_INLINE EntropyRowHessian each(const Function& f) const {
    return {f(slope), f(weight), f(mean), f(from)};
  }
};

// grad_output multiplies H'' v alone.
template <typename T>
AMGAN_INLINE EntropyRowHessian<T> entropy_hessian(const EntropyRow<T>& row, const RowAlong<T>& along, T grad_output) {
  const T inverse = T(1) / (T(1) + row.excess);
  const T m = row.weighted * inverse, mean = along.weighted * inverse;
  return {m * mean - along.crossed * inverse, grad_output * inverse, mean, m - T(1)};
}

AMGAN_MATH_END
