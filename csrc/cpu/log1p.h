// log(1 + x) for finite x >= -1, a vector at a time. at::vec calls a library function for it, number by number with
// AVX-512, which takes as long as forty exponentials; the short rows of this project need one log for every ten or so.
//
// 1 + x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), and log(1 + f) = f - f^2/2 + f^3 P(f) with the P of Cephes'
// logf (S. Moshier). For k = 0, f is x itself: nothing of a small x is lost. Within 2e-7 relative.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstdint>
#include <limits>

#include "cpu/mask.h"

namespace amgan::cpu {
namespace {

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)

// 1 + x = 2^exponent * mantissa
struct Split {
  at::vec::Vectorized<float> exponent, mantissa;
};

constexpr int32_t kSqrtHalfBits = 0x3f3504f3;

inline Split split(const at::vec::Vectorized<float>& value) {
#if defined(CPU_CAPABILITY_AVX512)
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i k = _mm512_srai_epi32(_mm512_sub_epi32(bits, _mm512_set1_epi32(kSqrtHalfBits)), 23);
  return {_mm512_cvtepi32_ps(k), _mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(k, 23)))};
#else
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i k = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(kSqrtHalfBits)), 23);
  return {_mm256_cvtepi32_ps(k), _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(k, 23)))};
#endif
}

inline at::vec::Vectorized<float> log1p_vec(const at::vec::Vectorized<float>& x) {
  using V = at::vec::Vectorized<float>;
  using at::vec::fmadd;
  const V one(1.0f), zero(0.0f);
  const V sum = x + one;
  const Split parts = split(sum);
  const V f = select(equal(parts.exponent, zero), x, parts.mantissa - one);
  // Pairs of terms, pairs of pairs: Horner's chain of nine would be most of the time of a row of 11 columns.
  const V square = f * f, fourth = square * square;
  const auto pair = [&](float slope, float constant) { return fmadd(V(slope), f, V(constant)); };
  const V low = fmadd(pair(-1.6668057665e-1f, 2.0000714765e-1f), square, pair(-2.4999993993e-1f, 3.3333331174e-1f));
  const V high = fmadd(pair(-1.1514610310e-1f, 1.1676998740e-1f), square, pair(-1.2420140846e-1f, 1.4249322787e-1f));
  const V p = fmadd(fmadd(V(7.0376836292e-2f), fourth, high), fourth, low);
  // log 2 in two parts, the first of which times k is exact.
  V result = fmadd(p * f, square, parts.exponent * V(-2.12194440e-4f));
  result = fmadd(square, V(-0.5f), result) + f;
  result = fmadd(parts.exponent, V(0.693359375f), result);
  result = fmadd(sum, zero, result);  // NaN stays NaN
  return select(equal(sum, zero), V(-std::numeric_limits<float>::infinity()), result);
}

#endif

// float64, and other machines.
template <typename T>
at::vec::Vectorized<T> log1p_vec(const at::vec::Vectorized<T>& x) {
  return x.log1p();
}

}  // namespace
}  // namespace amgan::cpu
