// Batch norm of one channel with the statistics of the batch. With n rows, d = x - mean, s = 1 / sqrt(variance +
// epsilon), and g the gradient with respect to z:
//
//   z = weight s d + bias          dL/dweight = s sum(g d)          dL/dbias = sum(g)
//   dL/dx = weight s (g - sum(g) / n - d s^2 sum(g d) / n)
//
// The mean comes off first, where torch has x weight s + (bias - mean weight s): a constant channel then gives its bias
// exactly. What is the same for all rows is computed here, once for each channel and in double: host code.
#pragma once

#include "math/portable.h"

AMGAN_MATH_BEGIN

// The variance of the batch (by n, not by n - 1), from sums of x - c and of its square for any c near the mean.
struct Moments {
  double offset;  // mean - c
  double variance;
};

inline Moments moments(double sum, double sum_of_squares, double n) {
  const double offset = sum / n, variance = sum_of_squares / n - offset * offset;
  return {offset, variance < 0 ? 0 : variance};  // NaN stays
}

struct BatchNormChannel {
  double weight;
  double inverse_deviation;  // s

  BatchNormChannel(double weight, double variance, double epsilon)
      : weight(weight), inverse_deviation(1 / std::sqrt(variance + epsilon)) {}

  // z = scale d + bias
  double scale() const { return weight * inverse_deviation; }
};

// dL/dx = scale g + by_d d + constant, and the two others.
struct BatchNormGradient {
  double constant, by_d, weight, bias;

  BatchNormGradient(const BatchNormChannel& channel, double sum_g, double sum_gd, double n)
      : constant(-channel.scale() * sum_g / n),
        by_d(-channel.weight * std::pow(channel.inverse_deviation, 3) * sum_gd / n),
        weight(sum_gd * channel.inverse_deviation),
        bias(sum_g) {}
};

AMGAN_MATH_END
