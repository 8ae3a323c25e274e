// Vectors of the computing type: loads that convert, the few operations at::vec lacks, and the mathematics of csrc/math
// on a vector of rows. Anonymous namespace throughout: every instruction set needs its own copy.
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "args/common.h"
#include "cpu/exp.h"
#include "cpu/log1p.h"
#include "cpu/mask.h"
#include "math/portable.h"

namespace amgan::cpu {
namespace {

// A number that is computed in double: what memory holds as scalar_t, and every load makes a double of.
template <typename scalar_t>
struct Wide {
  scalar_t value;

  explicit operator double() const { return static_cast<float>(value); }
};

template <typename scalar_t>
constexpr bool kWide = false;
template <typename scalar_t>
constexpr bool kWide<Wide<scalar_t>> = true;

// The type in which a row of scalar_t is computed.
template <typename scalar_t>
using Computing = std::conditional_t<std::is_same_v<scalar_t, double> || kWide<scalar_t>, double, float>;

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

// The same in double, whatever the dtype.
template <typename F>
void for_dtype_in_double(Dtype dtype, const F& f) {
  for_dtype(dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    if constexpr (std::is_same_v<scalar_t, double>) {
      f(zero);
    } else {
      f(Wide<scalar_t>());
    }
  });
}

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)

inline __m128 load_four(const float* x) {
  return _mm_loadu_ps(x);
}
inline __m128 load_four(const c10::BFloat16* x) {
  const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(bits), 16));
}
inline __m128 load_four(const c10::Half* x) {
  return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
}

// As many as there are lanes of double.
#if defined(CPU_CAPABILITY_AVX512)
using HalfVector = __m256;
inline Vec<double> widened(HalfVector x) {
  return _mm512_cvtps_pd(x);
}
inline HalfVector load_floats(const float* x) {
  return _mm256_loadu_ps(x);
}
inline HalfVector load_floats(const c10::BFloat16* x) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline HalfVector load_floats(const c10::Half* x) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
#else
using HalfVector = __m128;
inline Vec<double> widened(HalfVector x) {
  return _mm256_cvtps_pd(x);
}
template <typename scalar_t>
HalfVector load_floats(const scalar_t* x) {
  return load_four(x);
}
#endif

template <typename scalar_t>
Vec<double> load_wide(const Wide<scalar_t>* x) {
  return widened(load_floats(&x->value));
}

#else

template <typename scalar_t>
Vec<double> load_wide(const Wide<scalar_t>* x) {
  double values[Vec<double>::size()];
  for (int64_t k = 0; k < Vec<double>::size(); ++k) values[k] = static_cast<double>(x[k]);
  return Vec<double>::loadu(values);
}

#endif

// One vector, converted to the computing type.
template <typename scalar_t>
Vec<Computing<scalar_t>> load_vec(const scalar_t* x) {
  if constexpr (std::is_same_v<scalar_t, Computing<scalar_t>>) {
    return Vec<scalar_t>::loadu(x);
  } else if constexpr (kWide<scalar_t>) {
    return load_wide(x);
  } else {
    Vec<float> converted;
    at::vec::load_to_float<scalar_t>(x, converted);
    return converted;
  }
}

// The first n elements of a vector, with `fill` in the lanes past them.
template <typename scalar_t>
Vec<Computing<scalar_t>> load_vec(const scalar_t* x, int64_t n, Computing<scalar_t> fill) {
  using T = Computing<scalar_t>;
#if defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, float>) {
    const auto given = static_cast<__mmask16>((1u << n) - 1);
    if constexpr (std::is_same_v<scalar_t, float>) {
      return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), given, x);
    } else {
      const __m256i bits = _mm256_maskz_loadu_epi16(given, x);
      __m512 values;
      if constexpr (std::is_same_v<scalar_t, c10::BFloat16>) {
        at::vec::cvtbf16_fp32(bits, values);
      } else {
        at::vec::cvtfp16_fp32(bits, values);
      }
      return _mm512_mask_blend_ps(given, _mm512_set1_ps(fill), values);
    }
  }
#endif
  if constexpr (std::is_same_v<scalar_t, T>) {
    return Vec<T>::set(Vec<T>(fill), Vec<T>::loadu(x, n), n);
  } else {
    T values[Vec<T>::size()];
    for (int64_t k = 0; k < Vec<T>::size(); ++k) values[k] = k < n ? static_cast<T>(x[k]) : fill;
    return Vec<T>::loadu(values);
  }
}

// The vector at column k of n, with zeros past the end.
template <typename scalar_t>
Vec<Computing<scalar_t>> load_within(const scalar_t* x, int64_t k, int64_t n) {
  using T = Computing<scalar_t>;
  return k + Vec<T>::size() <= n ? load_vec(x + k) : load_vec(x + k, std::max<int64_t>(n - k, 0), T(0));
}

// The larger of a and b, by one instruction: with a NaN in a, NaN; with a NaN in b alone, either.
template <typename T>
Vec<T> larger(const Vec<T>& a, const Vec<T>& b) {
  return at::vec::clamp_min(a, b);
}

// All lanes by a tree of op. at::vec has that for float alone: doubles it takes one by one, through memory.
template <typename T, typename F>
T reduce_lanes(const F& op, const Vec<T>& v) {
#if defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, double>) {
    const Vec<double> four = op(v, Vec<double>(_mm512_shuffle_f64x2(v, v, 0x4e)));
    const Vec<double> two = op(four, Vec<double>(_mm512_shuffle_f64x2(four, four, 0xb1)));
    return _mm512_cvtsd_f64(op(two, Vec<double>(_mm512_permute_pd(two, 0x55))));
  }
#elif defined(CPU_CAPABILITY_AVX2)
  if constexpr (std::is_same_v<T, double>) {
    const Vec<double> two = op(v, Vec<double>(_mm256_permute2f128_pd(v, v, 1)));
    return _mm256_cvtsd_f64(op(two, Vec<double>(_mm256_permute_pd(two, 5))));
  }
#endif
  return at::vec::vec_reduce_all<T>(op, v);
}

template <typename T>
T sum_lanes(const Vec<T>& v) {
  return reduce_lanes([](const Vec<T>& a, const Vec<T>& b) { return a + b; }, v);
}

template <typename T>
T max_lanes(const Vec<T>& v) {
  return reduce_lanes([](const Vec<T>& a, const Vec<T>& b) { return larger(a, b); }, v);
}

// v in the first n lanes, 0 in the others.
template <typename T>
Vec<T> first_lanes(const Vec<T>& v, int64_t n) {
  return n == Vec<T>::size() ? v : Vec<T>::set(Vec<T>(T(0)), v, n);
}

// A vector of integers as numbers. Only for small ones: float ends at 2^24.
template <typename T>
Vec<T> load_integers(const int64_t* x) {
#if defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, float>) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtepi64_ps(_mm512_loadu_si512(x))),
                              _mm512_cvtepi64_ps(_mm512_loadu_si512(x + 8)), 1);
  }
#endif
  T values[Vec<T>::size()];
  for (int k = 0; k < Vec<T>::size(); ++k) values[k] = static_cast<T>(x[k]);
  return Vec<T>::loadu(values);
}

}  // namespace
}  // namespace amgan::cpu

AMGAN_MATH_BEGIN

// A row a lane.
template <typename T>
struct Functions<at::vec::Vectorized<T>> {
  using V = at::vec::Vectorized<T>;

  static cpu::Mask<T> less(const V& a, const V& b) { return cpu::less(a, b); }
  static cpu::Mask<T> equal(const V& a, const V& b) { return cpu::equal(a, b); }
  static V select(const cpu::Mask<T>& mask, const V& yes, const V& no) { return cpu::select(mask, yes, no); }
  static V exp(const V& x) { return cpu::exp_nonpositive(x); }
  static V log1p(const V& x) { return cpu::log1p_vec(x); }
};

AMGAN_MATH_END
