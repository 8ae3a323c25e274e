// The family of row losses on K real logits l_1..l_K and the fake logit l_f:
//
//   A = logsumexp(l_1..l_K, l_f)   R = logsumexp(l_1..l_K)   S = mean(l_1..l_K)
//   loss = a*A + r*R - t*l_y - f*l_f - u*S
//
// and where rows have a second label, - s*l_y2 besides, written so that nothing large is subtracted from something
// large. With d = l_f - R and sp(x) = log(1 + exp(x)), A - R = sp(d) and A - l_f = sp(-d), hence
//
//   loss = f*sp(-d) + (a-f)*sp(d) + t*(R - l_y) + u*(R - S) + z*R + s*(R - l_y2),   z = a + r - t - f - u - s
//
// where every term but the last is non-negative apart from its coefficient, and z = 0 for each loss of the papers.
// With D the softmax over all, D_r = 1 - D_f its real part and C the softmax over the real logits:
//
//   dloss/dl_k = ((a+r)*D_r + r*D_f) * C_k - t*[k=y] - s*[k=y2] - u/K      dloss/dl_f = (a-f)*D_f - f*D_r
//
// (again without a difference of nearly equal numbers: r = -a leaves -a*D_f*C_k, f = a leaves -a*D_r).
#pragma once

#include "math/softmax.h"

AMGAN_MATH_BEGIN

template <typename T>
struct Coefficients {
  T a, r, t, f, u;
  T z;  // a + r - t - f - u - s, taken in double: in float its rounding error would be multiplied by R

  template <typename U>
  AMGAN_INLINE Coefficients<U> as() const {
    return {U(a), U(r), U(t), U(f), U(u), U(z)};
  }

  // Those of a row whose label may be the generated class: its target term l_y is l_f.
  template <typename Mask>
  AMGAN_INLINE Coefficients targeting_fake(const Mask& label_is_fake) const {
    return {a, r, select(label_is_fake, T(0), t), select(label_is_fake, f + t, f), u, z};
  }

  // Those of a row whose second label may be the generated class: what is on l_y2, `second`, is on l_f.
  template <typename Mask>
  AMGAN_INLINE Coefficients second_on_fake(const Mask& label_is_fake, T second) const {
    return {a, r, t, select(label_is_fake, f + second, f), u, z};
  }

  // Those of a row that has no label, though others have: what is on its class, and on all classes alike, is on them
  // together, on R. -log D_y becomes -log D_r.
  template <typename Mask>
  AMGAN_INLINE Coefficients unlabelled(const Mask& without_label) const {
    return {a, select(without_label, r - (t + u), r), select(without_label, T(0), t),
            f, select(without_label, T(0), u),        z};
  }
};

// What one pass over the real logits of a row leaves, in logits shifted by their maximum.
template <typename T>
struct KPlus1Row {
  T max;     // the largest real logit; 0 where all of them are -inf, so that the shifts stay finite
  T excess;  // sum_k exp(l_k - max), less 1
  T shifts;  // sum_k (l_k - max); read only where u != 0
  T target;  // l_y - max; read only where t != 0
  T fake;    // l_f itself
};

// sp(d), sp(-d), D_f = sigmoid(d) and D_r = sigmoid(-d) from a single exponential.
template <typename T>
struct FakeGap {
  T softplus, softplus_neg, prob_fake, prob_real;

  FakeGap() = default;
  AMGAN_INLINE explicit FakeGap(T d) {
    const T zero(0), one(1);
    const auto positive = less(zero, d);
    const T e = Functions<T>::exp(select(positive, zero - d, d));  // d = NaN passes through
    const T small = Functions<T>::log1p(e);
    const T scale = one / (one + e);
    softplus = select(positive, d + small, small);
    softplus_neg = select(positive, small, small - d);
    prob_fake = select(positive, scale, e * scale);
    prob_real = select(positive, e * scale, scale);
  }
};

// What loss, gradient and terms share: the transcendental functions of a row. NaN throughout where a logit is NaN or
// +inf, and then so are loss, gradient and terms: sums of real logits that hold one are NaN by themselves, while
// l_f = +inf has limits, with which an overflow would look like certainty.
template <typename T>
struct KPlus1Logs {
  T log_sum;       // R - max
  FakeGap<T> gap;  // at d = l_f - R

  KPlus1Logs() = default;
  AMGAN_INLINE explicit KPlus1Logs(const KPlus1Row<T>& row)
      : log_sum(Functions<T>::log1p(select(less(row.fake, T(INFINITY)), row.excess, T(NAN)))),
        gap((row.fake - row.max) - log_sum) {}
};

// -log D_y = labelgan + auxiliary (AM-GAN, Lemma 2).
template <typename T>
struct KPlus1RowTerms {
  T labelgan;   // A - R
  T auxiliary;  // R - l_y
};

// R - l for a shifted logit, or mean of logits. One of -inf is infinitely far below, also where R itself is -inf.
template <typename T>
AMGAN_INLINE T below_log_sum(T log_s, T shifted) {
  return select(equal(shifted, T(-INFINITY)), T(0) - shifted, log_s - shifted);
}

template <typename T>
AMGAN_INLINE KPlus1RowTerms<T> kplus1_terms(const KPlus1Row<T>& row, const KPlus1Logs<T>& logs) {
  return {logs.gap.softplus, below_log_sum<T>(logs.log_sum, row.target)};
}

// An infinite term with coefficient 0 is absent; a NaN stays, so that no NaN logit is lost.
template <typename T>
AMGAN_INLINE T times_coefficient(T c, T term) {
  return select(equal(c, T(0)), select(equal(term, term), T(0), term), c * term);
}

// per_class: 1 / K.
template <typename T>
AMGAN_INLINE T kplus1_loss(const KPlus1Row<T>& row, const KPlus1Logs<T>& logs, const Coefficients<T>& c, T per_class) {
  const T log_s = logs.log_sum;
  const FakeGap<T>& gap = logs.gap;
  return times_coefficient<T>(c.f, gap.softplus_neg) + times_coefficient<T>(c.a - c.f, gap.softplus) +
         or_absent<T>(c.t, below_log_sum<T>(log_s, row.target)) +
         or_absent<T>(c.u, below_log_sum<T>(log_s, row.shifts * per_class)) + or_absent<T>(c.z, row.max + log_s);
}

// What a second label adds to the loss, s*(R - l_y2), and to the gradient at k = y2, where that is a real class.
template <typename T>
struct SecondLabel {
  T coefficient;  // s; 0 where the label is the generated class, since l_f has it then

  template <typename Mask>
  AMGAN_INLINE SecondLabel(T s, const Mask& label_is_fake) : coefficient(select(label_is_fake, T(0), s)) {}

  // `target`: l_y2 - max.
  AMGAN_INLINE T loss(const KPlus1Logs<T>& logs, T target) const {
    return or_absent<T>(coefficient, below_log_sum<T>(logs.log_sum, target));
  }
  AMGAN_INLINE T gradient(T grad_output) const { return T(0) - grad_output * coefficient; }

  // What it adds to the slope along v (below), with u_y2.
  AMGAN_INLINE T slope(T point) const { return T(0) - or_absent<T>(coefficient, point); }
};

// dloss/dl_k = weight * exp(l_k - max) + constant, plus target at k = y; dloss/dl_f = fake.
template <typename T>
struct KPlus1RowGradient {
  T weight, constant, target, fake;
};

// x where D_r != 0. Where all real logits are -inf, D_r = 0 and C is undefined, and so is an x that is made of C; yet
// D_k = D_r * C_k is 0.
template <typename T>
AMGAN_INLINE T of_real_mass(const FakeGap<T>& gap, T x) {
  return select(equal(gap.prob_real, T(0)), T(0), x);
}

// (a*D_r + r) * x: what multiplies the C_k in derivatives.
template <typename T>
AMGAN_INLINE T times_class_weight(const FakeGap<T>& gap, const Coefficients<T>& c, T x) {
  return of_real_mass<T>(gap, (c.a + c.r) * gap.prob_real * x) + or_absent<T>(c.r, gap.prob_fake * x);
}

// dloss/dl_f.
template <typename T>
AMGAN_INLINE T fake_weight(const FakeGap<T>& gap, const Coefficients<T>& c) {
  return (c.a - c.f) * gap.prob_fake - c.f * gap.prob_real;
}

template <typename T>
AMGAN_INLINE KPlus1RowGradient<T> kplus1_gradient(const KPlus1Row<T>& row, const KPlus1Logs<T>& logs,
                                                  const Coefficients<T>& c, T per_class, T grad_output) {
  const T zero(0);
  const T weight = times_class_weight<T>(logs.gap, c, T(1) / (T(1) + row.excess));
  return {grad_output * weight, zero - grad_output * c.u * per_class, zero - grad_output * c.t,
          grad_output * fake_weight<T>(logs.gap, c)};
}

// --- Derivatives along v: the slope <dloss/dl, v>, and the second derivative times v, H v. With u_k as in RowAlong and
// mean = sum_k C_k u_k, neither with a difference of nearly equal numbers:
//
//   slope = ((a+r)*D_r + r*D_f) * mean + ((a-f)*D_f - f*D_r) * u_f - t*u_y - s*u_y2 - u*sum_k u_k / K + z*origin
//   (H v)_k = C_k * ((a*D_r + r) * (u_k - mean) + a*D_r*D_f * (mean - u_f))      (H v)_f = a*D_r*D_f * (u_f - mean)

// u at single columns.
template <typename T>
struct KPlus1Points {
  T fake;    // u_f
  T target;  // u_y; read only where t != 0
};

// H v at k = exp(l_k - max) * (weight * u_k + constant), and at the generated logit fake.
template <typename T>
struct KPlus1RowHessian {
  T slope, weight, constant, fake;

  AMGAN_INLINE T at(T, T u, T e) const { return e * (weight * u + constant); }

  template <typename Function>
  AMGAN_INLINE KPlus1RowHessian each(const Function& f) const {
    return {f(slope), f(weight), f(constant), f(fake)};
  }
};

// grad_output multiplies H v alone.
template <typename T>
AMGAN_INLINE KPlus1RowHessian<T> kplus1_hessian(const KPlus1Row<T>& row, const KPlus1Logs<T>& logs,
                                                const RowAlong<T>& along, const KPlus1Points<T>& points,
                                                const Coefficients<T>& c, T per_class, T grad_output) {
  const FakeGap<T>& gap = logs.gap;
  const T zero(0), inverse = T(1) / (T(1) + row.excess), mean = along.weighted * inverse;
  const T slope = times_class_weight<T>(gap, c, mean) + fake_weight<T>(gap, c) * points.fake -
                  or_absent<T>(c.t, points.target) - or_absent<T>(c.u, per_class * along.sum) +
                  or_absent<T>(c.z, along.origin);
  const T between = of_real_mass<T>(gap, c.a * gap.prob_real * gap.prob_fake * (mean - points.fake));
  const T constant = of_real_mass<T>(gap, between * inverse) - times_class_weight<T>(gap, c, mean * inverse);
  return {slope, grad_output * times_class_weight<T>(gap, c, inverse), grad_output * constant,
          zero - grad_output * between};
}

AMGAN_MATH_END
