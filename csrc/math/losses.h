// The named losses as members of the family of math/kplus1.h: by name, the coefficients (a, r, t, f, u) of
//
//   a*A + r*R - t*l_y - f*l_f - u*S.
//
// The one compiled table of them; amgan_fast/objectives/losses.py has the plain one. Host code.
// [AM] Zhou et al., arXiv 1703.02000. [LS] Zhou, Zhang, Wang, 2017; see amgan_fast/ops/kplus1.py.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "math/kplus1.h"

AMGAN_MATH_BEGIN

using LossCoefficients = std::array<double, 5>;

// -log D_y, for a given y or the dynamic one: the generator's loss ([AM] eq. 14).
constexpr LossCoefficients kCrossEntropy{1, 0, 1, 0, 0};

// -log D_y of a real row ([AM] eq. 5). `smoothing` of the target mass is on the generated class ([LS] eq. 6), and of
// what is left `class_smoothing` is spread over the K real ones.
inline LossCoefficients real_row(double smoothing, double class_smoothing) {
  const double on_classes = 1 - smoothing;
  return {1, 0, (1 - class_smoothing) * on_classes, smoothing, class_smoothing * on_classes};
}

// -log D_{K+1} of a generated row ([AM] eq. 5), `smoothing` of the target mass spread over the K real classes.
inline LossCoefficients generated_row(double smoothing) {
  return {1, 0, 0, 1 - smoothing, smoothing};
}

// -log D_r, with the target (1 - smoothing, smoothing) on (real, generated): LabelGAN's generator ([AM] eq. 2).
inline LossCoefficients labelgan_generator(double smoothing) {
  return {1, smoothing - 1, 0, smoothing, 0};
}

// A share of the target mass, t + f + u, goes to all K+1 classes alike, as in PyTorch's label smoothing: 1/(K+1) of it
// to the generated class, K/(K+1) to the mean of the real ones.
inline LossCoefficients smoothed(const LossCoefficients& loss, double share, int64_t classes) {
  const auto [a, r, t, f, u] = loss;
  if (share == 0) return loss;
  const double real = static_cast<double>(classes), spread = share * (t + f + u), kept = 1 - share;
  return {a, r, kept * t, kept * f + spread / (real + 1), kept * u + spread * real / (real + 1)};
}

// As the kernels want them, with z. `second`: s, of a second label.
inline Coefficients<double> make_coefficients(const LossCoefficients& loss, double second = 0) {
  const auto [a, r, t, f, u] = loss;
  const double z = a + r - t - f - u - second;
  // What rounding can make of a sum of 0, whatever the size of the coefficients.
  const double rounding =
      1e-14 * (std::abs(a) + std::abs(r) + std::abs(t) + std::abs(f) + std::abs(u) + std::abs(second));
  return {a, r, t, f, u, std::abs(z) <= rounding ? 0.0 : z};
}

AMGAN_MATH_END
