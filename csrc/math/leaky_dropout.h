// Leaky ReLU, then dropout: y = x > 0 ? x/(1-p) : slope x/(1-p) where x is kept, 0 where it is dropped, each with
// probability p.
//
// 16 random bits decide over an element, so p is a multiple of 2^-16, the same in the factors as in the choice: the
// mean of y is the leaky ReLU of x, exactly. With slope >= 0 a kept y is positive where x is, so that the gradient,
// which has the same factor, is a function of y: x need not be kept for it.
#pragma once

#include "math/portable.h"

AMGAN_MATH_BEGIN

constexpr int32_t kDropoutSteps = 65536;

// Elements that kRegionBlocks Philox blocks decide over, kBlockRun consecutive ones each in either half
// (args/leaky_dropout.h).
constexpr int kRegion = 256;
constexpr int kRegionBlocks = 32;
constexpr int kBlockRun = 4;

template <typename T>
struct LeakyDropout {
  T positive, negative;  // what multiplies a kept element
  int32_t dropped;       // those 16 bits below which it is not; 65,536 (p = 1): all, and the factors mean nothing

  template <typename U>
  AMGAN_INLINE LeakyDropout<U> as() const {
    return {U(positive), U(negative), dropped};
  }

  // value is x, and sign too; or the gradient with respect to y, and sign is y. A dropped NaN is 0.
  template <typename Mask>
  AMGAN_INLINE T apply(const Mask& kept, const T& value, const T& sign) const {
    return select(kept, value * select(less(T(0), sign), positive, negative), T(0));
  }
};

inline LeakyDropout<double> make_leaky_dropout(double p, double slope) {
  const auto dropped = static_cast<int32_t>(std::lround(p * kDropoutSteps));
  const double scale = static_cast<double>(kDropoutSteps) / (kDropoutSteps - dropped);
  return {scale, slope * scale, dropped};
}

AMGAN_MATH_END
