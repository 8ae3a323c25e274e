// Masks of lanes: a mask register where the machine has them, which costs two instructions less for every choice than
// at::vec's vectors of ones; such a vector elsewhere.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstdint>
#include <type_traits>

namespace amgan::cpu {
namespace {

template <typename T>
using Vec = at::vec::Vectorized<T>;

template <typename T>
constexpr uint32_t kAllLanes = (1u << Vec<T>::size()) - 1;

#if defined(CPU_CAPABILITY_AVX512)

template <typename T>
using Mask = std::conditional_t<std::is_same_v<T, float>, __mmask16, __mmask8>;

inline __mmask16 less(const Vec<float>& a, const Vec<float>& b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
inline __mmask8 less(const Vec<double>& a, const Vec<double>& b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
}

inline __mmask16 equal(const Vec<float>& a, const Vec<float>& b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
inline __mmask8 equal(const Vec<double>& a, const Vec<double>& b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ);
}

inline Vec<float> select(__mmask16 mask, const Vec<float>& yes, const Vec<float>& no) {
  return _mm512_mask_blend_ps(mask, no, yes);
}
inline Vec<double> select(__mmask8 mask, const Vec<double>& yes, const Vec<double>& no) {
  return _mm512_mask_blend_pd(mask, no, yes);
}

// sum + value where the mask is set, sum elsewhere.
inline Vec<float> add_where(__mmask16 mask, const Vec<float>& sum, const Vec<float>& value) {
  return _mm512_mask_add_ps(sum, mask, sum, value);
}
inline Vec<double> add_where(__mmask8 mask, const Vec<double>& sum, const Vec<double>& value) {
  return _mm512_mask_add_pd(sum, mask, sum, value);
}

// Where the number of a lane is at least `least`.
template <typename T>
Mask<T> at_least(const uint16_t* numbers, int32_t least) {
  if constexpr (std::is_same_v<T, float>) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers)));
    return _mm512_cmpge_epi32_mask(wide, _mm512_set1_epi32(least));
  } else {
    const __m512i wide = _mm512_cvtepu16_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers)));
    return _mm512_cmpge_epi64_mask(wide, _mm512_set1_epi64(least));
  }
}

// A bit for every lane.
inline uint32_t lane_bits(__mmask16 mask) {
  return mask;
}
inline uint32_t lane_bits(__mmask8 mask) {
  return mask;
}

#else

template <typename T>
using Mask = Vec<T>;

template <typename T>
Vec<T> less(const Vec<T>& a, const Vec<T>& b) {
  return a < b;
}

template <typename T>
Vec<T> equal(const Vec<T>& a, const Vec<T>& b) {
  return a == b;
}

template <typename T>
Vec<T> select(const Vec<T>& mask, const Vec<T>& yes, const Vec<T>& no) {
  return Vec<T>::blendv(no, yes, mask);
}

// sum + value where the mask is set, sum elsewhere.
template <typename T>
Vec<T> add_where(const Vec<T>& mask, const Vec<T>& sum, const Vec<T>& value) {
  return sum + (value & mask);
}

// Where the number of a lane is at least `least`.
template <typename T>
Mask<T> at_least(const uint16_t* numbers, int32_t least) {
#if defined(CPU_CAPABILITY_AVX2)
  if constexpr (std::is_same_v<T, float>) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers)));
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(wide, _mm256_set1_epi32(least - 1)));
  } else {
    const __m256i wide = _mm256_cvtepu16_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(numbers)));
    return _mm256_castsi256_pd(_mm256_cmpgt_epi64(wide, _mm256_set1_epi64x(least - 1)));
  }
#else
  T values[Vec<T>::size()];
  for (int i = 0; i < Vec<T>::size(); ++i) values[i] = static_cast<T>(numbers[i]);
  return less(Vec<T>(static_cast<T>(least - 0.5)), Vec<T>::loadu(values));
#endif
}

// A bit for every lane.
template <typename T>
uint32_t lane_bits(const Vec<T>& mask) {
  return mask.zero_mask() ^ kAllLanes<T>;
}

#endif

}  // namespace
}  // namespace amgan::cpu
