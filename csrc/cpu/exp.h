// exp of values that are at most 0, within 2.1e-7 relative in float down to -87 and 4.5e-16 in double down to -708;
// about 0 below; 1 at 0; NaN stays.
//
// x = (n/32) log 2 + r, |r| <= log(2)/64: 2^(n/32) comes from a table of 32 in two registers and an addition to the
// exponent, exp(r) from two terms more than 1. Per vector 13 arithmetic instructions, against 19 of at::vec's exp_u20,
// which errs by 4e-7. The errors have no bias: it would not average out over many rows.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

namespace amgan::cpu {
namespace {

// The bits of 2^(j/size), less those that adding n << (23 - log2 size) brings along for n = j. Rounded to nearest, but
// for the few entries that are rounded the other way so that the errors cancel: their mean would be a bias of every sum
// over many rows (1e-8 with 32 entries).
template <int size>
constexpr std::array<int32_t, size> exp2_table() {
  std::array<float, size> rounded{};
  std::array<double, size> error{};
  double bias = 0;
  for (int j = 0; j < size; ++j) {
    const double x = j * (0.693147180559945309417 / size);
    double exact = 1, term = 1;
    for (int i = 1; i < 30; ++i) exact += term *= x / i;
    rounded[j] = static_cast<float>(exact);
    error[j] = rounded[j] / exact - 1;
    bias += error[j];
  }
  for (bool better = size > 1; better;) {
    int largest = 1;
    for (int j = 1; j < size; ++j) largest = error[j] * bias > error[largest] * bias ? j : largest;
    // The neighbour below or above.
    const int32_t step = bias > 0 ? -1 : 1;
    const auto other = std::bit_cast<float>(std::bit_cast<int32_t>(rounded[largest]) + step);
    const double changed = other / (rounded[largest] / (1 + error[largest])) - 1;
    const double new_bias = bias - error[largest] + changed;
    better = new_bias * new_bias < bias * bias;
    if (better) {
      rounded[largest] = other;
      error[largest] = changed;
      bias = new_bias;
    }
  }
  std::array<int32_t, size> table{};
  for (int j = 0; j < size; ++j) table[j] = std::bit_cast<int32_t>(rounded[j]) - j * ((1 << 23) / size);
  return table;
}

template <int size>
struct ExpConstants {
  static constexpr double kStep = 0.693147180559945309417 / size;
  static constexpr float kInverse = static_cast<float>(1 / kStep);
  static constexpr float kHigh = static_cast<float>(kStep);
  static constexpr float kLow = static_cast<float>(kStep - static_cast<double>(kHigh));
  static constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  static constexpr float kLowest = -87.3f;      // the smallest normal float is exp(-87.34)
  // 1 + r/2 would leave r^3/6; the slope of its Chebyshev approximation leaves a quarter of that at the ends.
  static constexpr float kSlope = static_cast<float>(1 + kStep * kStep / 32);
  // 1 + r (1 + r (1/2 + r/6)) would leave r^4/24, with the mean of r^2 h^2/40 for |r| <= h.
  static constexpr float kCurvature = static_cast<float>(0.5 + kStep * kStep / 160);
  static constexpr int kShift = 23 - std::countr_zero(static_cast<unsigned>(size));
  alignas(64) static constexpr std::array<int32_t, size> kTable = exp2_table<size>();
};

#if defined(CPU_CAPABILITY_AVX512)

struct MaskedExp {
  __m512 value;
  __mmask16 in_range;  // where the value is not 0
};

inline MaskedExp masked_exp(__m512 x) {
  using C = ExpConstants<32>;
  const auto constant = [](float value) { return _mm512_set1_ps(value); };
  const __m512i low_half = _mm512_load_si512(C::kTable.data()), high_half = _mm512_load_si512(C::kTable.data() + 16);
  const __mmask16 in_range = _mm512_cmp_ps_mask(x, constant(C::kLowest), _CMP_NLT_UQ);
  const __m512 shifted = _mm512_fmadd_ps(x, constant(C::kInverse), constant(C::kMagic));
  const __m512 n = _mm512_sub_ps(shifted, constant(C::kMagic));
  const __m512i bits = _mm512_castps_si512(shifted);
  const __m512 scale = _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_permutex2var_epi32(low_half, bits, high_half), _mm512_slli_epi32(bits, C::kShift)));
  // r less its low part is good enough for the quadratic term, and shortens the chain of dependent instructions.
  const __m512 r_high = _mm512_fnmadd_ps(n, constant(C::kHigh), x);
  const __m512 r = _mm512_fnmadd_ps(n, constant(C::kLow), r_high);
  const __m512 slope = _mm512_fmadd_ps(r_high, constant(0.5f), constant(C::kSlope));
  return {_mm512_maskz_fmadd_ps(in_range, _mm512_mul_ps(scale, r), slope, scale), in_range};
}

inline at::vec::Vectorized<float> exp_nonpositive(const at::vec::Vectorized<float>& x) {
  return masked_exp(x).value;
}

#elif defined(CPU_CAPABILITY_AVX2)

// A register holds a table of 8; |r| <= log(2)/16 then takes one term more.
inline at::vec::Vectorized<float> exp_nonpositive(const at::vec::Vectorized<float>& x) {
  using C = ExpConstants<8>;
  const auto constant = [](float value) { return _mm256_set1_ps(value); };
  const __m256i table = _mm256_load_si256(reinterpret_cast<const __m256i*>(C::kTable.data()));
  const __m256 in_range = _mm256_cmp_ps(x, constant(C::kLowest), _CMP_NLT_UQ);
  const __m256 shifted = _mm256_fmadd_ps(x, constant(C::kInverse), constant(C::kMagic));
  const __m256 n = _mm256_sub_ps(shifted, constant(C::kMagic));
  const __m256i bits = _mm256_castps_si256(shifted);
  const __m256 scale = _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_permutevar8x32_epi32(table, bits), _mm256_slli_epi32(bits, C::kShift)));
  const __m256 r_high = _mm256_fnmadd_ps(n, constant(C::kHigh), x);
  const __m256 r = _mm256_fnmadd_ps(n, constant(C::kLow), r_high);
  const __m256 curvature = _mm256_fmadd_ps(r_high, constant(1.0f / 6), constant(C::kCurvature));
  const __m256 slope = _mm256_fmadd_ps(r_high, curvature, constant(1));
  return _mm256_and_ps(in_range, _mm256_fmadd_ps(_mm256_mul_ps(scale, r), slope, scale));
}

#endif

#if defined(CPU_CAPABILITY_AVX512)

// In double with AVX-512: x = m log 2 + r, where m is a multiple of 1/16 and |r| <= log(2)/32. 2^m is a number of a
// table of 16, in two registers, times 2^floor(m), which one instruction multiplies by, with the right rounding below
// 2^-1022. exp(r) = 1 + r + r^2 q(r), where q of degree 4 is the best for the relative error (Remez): at most 1.2e-17,
// and 8e-21 in the mean.
struct ExpOfDouble {
  static constexpr double kInverse = 1.44269504088896340736;
  static constexpr double kHigh = 0x1.62e42fefa39efp-1;  // log(2) and what is left of it
  static constexpr double kLow = 0x1.abc9e3b39803fp-56;
  static constexpr double kMagic = 0x1.8p48;  // adding it leaves the number of 16ths in the low bits
  static constexpr double kLowest = -746;     // exp(-745.13) is the smallest double
  // 2^(j/16), to nearest but for j = 10 and 11, which go the other way: the mean of the errors is 5e-20 then, not
  // 2e-17, and the largest 1.2e-16, not 0.8e-16.
  alignas(64) static constexpr double kTable[16] = {
      0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0,
      0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0,
      0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dcp+0, 0x1.9c49182a3f091p+0,
      0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0};
  // Of r^6 down to r^2.
  static constexpr double kTerms[] = {0x1.6c1445e38fe2cp-10, 0x1.11123a96bebbdp-7, 0x1.55555559800abp-5,
                                      0x1.555555548fa88p-3, 0x1.fffffffffffb2p-2};
};

// What 2^m takes, of m and of m + kMagic: a number of the table, and what to multiply by in the end.
struct PowerOfTwo {
  at::vec::Vectorized<double> factor, exponent;

  PowerOfTwo(const at::vec::Vectorized<double>& m, const at::vec::Vectorized<double>& shifted)
      : factor(_mm512_permutex2var_pd(_mm512_load_pd(ExpOfDouble::kTable), _mm512_castpd_si512(shifted),
                                      _mm512_load_pd(ExpOfDouble::kTable + 8))),
        exponent(m) {}

  at::vec::Vectorized<double> finish(const at::vec::Vectorized<double>& x) const {
    return _mm512_scalef_pd(x, exponent);
  }
};

#elif defined(CPU_CAPABILITY_AVX2)

// In double with AVX2, without a table, whose look-ups would cost more than the terms they save: x = m log 2 + r with m
// an integer and |r| <= log(2)/2. exp(r) = 1 + r + r^2 q(r), where q of degree 8 is the best for the relative error
// (Remez): at most 2.9e-16, and 3e-19 in the mean over r, so that it is no bias. Roundings bring that to 4.3e-16. 2^m
// is 2^64 too large until the last step, since doubles below 2^-1022 have fewer digits: there the result is rounded to
// those.
struct ExpOfDouble {
  static constexpr double kInverse = 1.44269504088896340736;
  static constexpr double kHigh = 0x1.62e42fefa39efp-1;  // log(2) and what is left of it
  static constexpr double kLow = 0x1.abc9e3b39803fp-56;
  static constexpr double kMagic = 0x1.8p52;  // as that of float
  static constexpr double kLowest = -746;     // exp(-745.13) is the smallest double
  // Of r^10 down to r^2.
  static constexpr double kTerms[] = {0x1.2707a614cff8ep-22, 0x1.72e91af99bc55p-19, 0x1.a01b7c4fa3a1bp-16,
                                      0x1.a0198d58539c6p-13, 0x1.6c16c0c83107fp-10, 0x1.11111125b3e6ep-7,
                                      0x1.55555555890c4p-5,  0x1.55555555507c5p-3,  0x1.ffffffffffed2p-2};
};

// 2^(m + 64), of m + kMagic.
struct PowerOfTwo {
  at::vec::Vectorized<double> factor;

  PowerOfTwo(const at::vec::Vectorized<double>&, const at::vec::Vectorized<double>& shifted)
      : factor(_mm256_castsi256_pd(_mm256_add_epi64(_mm256_slli_epi64(_mm256_castpd_si256(shifted), 52),
                                                    _mm256_castpd_si256(_mm256_set1_pd(0x1p64))))) {}

  at::vec::Vectorized<double> finish(const at::vec::Vectorized<double>& x) const {
    return x * at::vec::Vectorized<double>(0x1p-64);
  }
};

#endif

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)

// Of n vectors, step by step: every step of one waits for the step before, and the others keep the processor busy
// meanwhile, which sees no further than two of them ahead. Inlined, the arrays are registers. Raises x to where exp is
// 0.
template <int n>
[[gnu::always_inline]] inline void exp_of_raised(at::vec::Vectorized<double> (&x)[n],
                                                 at::vec::Vectorized<double> (&e)[n]) {
  using V = at::vec::Vectorized<double>;
  using C = ExpOfDouble;
  using at::vec::fmadd, at::vec::fnmadd;
  V shifted[n], m[n], r[n], slope[n];
  for (int v = 0; v < n; ++v) {
    x[v] = at::vec::clamp_min(x[v], V(C::kLowest));
    shifted[v] = fmadd(x[v], V(C::kInverse), V(C::kMagic));
  }
  for (int v = 0; v < n; ++v) {
    m[v] = shifted[v] - V(C::kMagic);
    r[v] = fnmadd(m[v], V(C::kLow), fnmadd(m[v], V(C::kHigh), x[v]));
    slope[v] = V(C::kTerms[0]);
  }
  for (const double term : std::span(C::kTerms).subspan(1)) {
    for (int v = 0; v < n; ++v) slope[v] = fmadd(slope[v], r[v], V(term));
  }
  for (int v = 0; v < n; ++v) {
    slope[v] = fmadd(slope[v], r[v], V(1.0));
    const PowerOfTwo power(m[v], shifted[v]);
    e[v] = power.finish(fmadd(power.factor * r[v], slope[v], power.factor));
  }
}

inline at::vec::Vectorized<double> exp_nonpositive(const at::vec::Vectorized<double>& x) {
  at::vec::Vectorized<double> one[] = {x}, e[1];
  exp_of_raised(one, e);
  return e[0];
}

#endif

// Machines without these instructions.
template <typename T>
at::vec::Vectorized<T> exp_nonpositive(const at::vec::Vectorized<T>& x) {
  return x.exp();
}

// e[v] = exp(x[v]), and weighted += x exp(x) of them all, which is 0 at x = -inf.
template <typename T, int n>
[[gnu::always_inline]] inline void exp_nonpositive(const at::vec::Vectorized<T> (&x)[n], at::vec::Vectorized<T> (&e)[n],
                                                   at::vec::Vectorized<T>& weighted) {
  using V = at::vec::Vectorized<T>;
#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
  if constexpr (std::is_same_v<T, double>) {
    V raised[n];
    for (int v = 0; v < n; ++v) raised[v] = x[v];
    exp_of_raised(raised, e);
    for (int v = 0; v < n; ++v) weighted = at::vec::fmadd(raised[v], e[v], weighted);
    return;
  }
#endif
  for (int v = 0; v < n; ++v) {
#if defined(CPU_CAPABILITY_AVX512)
    if constexpr (std::is_same_v<T, float>) {
      const MaskedExp masked = masked_exp(x[v]);
      weighted = _mm512_mask3_fmadd_ps(x[v], masked.value, weighted, masked.in_range);
      e[v] = masked.value;
      continue;
    }
#endif
    e[v] = exp_nonpositive(x[v]);
    // One instruction; -inf, for which it is not meant, becomes the lowest number.
    weighted = at::vec::fmadd(at::vec::clamp_min(x[v], V(std::numeric_limits<T>::lowest())), e[v], weighted);
  }
}

}  // namespace
}  // namespace amgan::cpu
