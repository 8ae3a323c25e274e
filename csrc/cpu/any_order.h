// Columns of a row, some vectors of them at once, in whatever order is cheapest, for sums that belong to columns.
// bfloat16 is the upper half of a float: every second column is one instruction away from its float, where all of them
// in order are two.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/vec.h"

namespace amgan::cpu {
namespace {

// kColumns columns come as kVectors vectors; a place is a lane of one of these. 16 columns of double: the exponentials
// of several vectors take less time than one after the other (exp.h).
template <typename scalar_t>
struct AnyOrder {
  using T = Computing<scalar_t>;
  static constexpr int64_t kColumns = std::is_same_v<T, double> ? 16 : Vec<T>::size();
  static constexpr int kVectors = kColumns / Vec<T>::size();
  static constexpr bool kInOrder = true;

  static void load(const scalar_t* x, Vec<T> (&values)[kVectors]) {
    for (int v = 0; v < kVectors; ++v) values[v] = load_vec(x + v * Vec<T>::size());
  }

  // The first n columns, `fill` past them.
  static void load(const scalar_t* x, int64_t n, T fill, Vec<T> (&values)[kVectors]) {
    for (int v = 0; v < kVectors; ++v, x += Vec<T>::size(), n -= Vec<T>::size()) {
      values[v] = n >= Vec<T>::size() ? load_vec(x) : n > 0 ? load_vec(x, n, fill) : Vec<T>(fill);
    }
  }

  static constexpr int64_t column(int64_t place) { return place; }
};

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
template <>
struct AnyOrder<c10::BFloat16> {
  using T = float;
  static constexpr int kVectors = 2;
  static constexpr int64_t kColumns = kVectors * Vec<T>::size();
  static constexpr bool kInOrder = false;

  static void load(const c10::BFloat16* x, Vec<T> (&values)[kVectors]) {
#if defined(CPU_CAPABILITY_AVX512)
    split(_mm512_loadu_si512(x), values);
#else
    split(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), values);
#endif
  }

  static void load(const c10::BFloat16* x, int64_t n, T fill, Vec<T> (&values)[kVectors]) {
#if defined(CPU_CAPABILITY_AVX512)
    const auto given = static_cast<__mmask32>((uint64_t{1} << n) - 1);
    split(_mm512_mask_loadu_epi16(_mm512_set1_epi16(static_cast<int16_t>(c10::BFloat16(fill).x)), given, x), values);
#else
    c10::BFloat16 columns[kColumns];
    std::fill(std::copy_n(x, n, columns), columns + kColumns, c10::BFloat16(fill));
    load(columns, values);
#endif
  }

  static constexpr int64_t column(int64_t place) { return place % Vec<T>::size() * 2 + place / Vec<T>::size(); }

 private:
#if defined(CPU_CAPABILITY_AVX512)
  static void split(__m512i bits, Vec<T> (&values)[kVectors]) {
    values[0] = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    values[1] = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
  }
#else
  static void split(__m256i bits, Vec<T> (&values)[kVectors]) {
    values[0] = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
    values[1] = _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
  }
#endif
};
#endif

}  // namespace
}  // namespace amgan::cpu
