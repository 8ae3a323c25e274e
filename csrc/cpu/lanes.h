// One row a lane: a tile holds as many rows as a vector has lanes, column by column, so that short rows are computed
// without a horizontal step and without empty lanes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cpu/vec.h"

namespace amgan::cpu {
namespace {

// Rows of more columns than this are faster across their columns (row.h).
constexpr int64_t kLaneColumns = 64;

template <typename T>
constexpr int64_t kLanes = Vec<T>::size();

#if defined(CPU_CAPABILITY_AVX512)
#define AMGAN_QUADS 1
using Register = __m512;

// Part g of the register is rows[4g + j][0..3].
inline Register load_quads(const float* const* rows, int j, int64_t k) {
  const auto part = [&](int g) { return _mm_loadu_ps(rows[4 * g + j] + k); };
  const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(part(0)), part(1), 1);
  const __m256 high = _mm256_insertf128_ps(_mm256_castps128_ps256(part(2)), part(3), 1);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

inline void store_quads(Register r, float* const* rows, int j, int64_t k) {
  _mm_storeu_ps(rows[j] + k, _mm512_castps512_ps128(r));
  _mm_storeu_ps(rows[4 + j] + k, _mm512_extractf32x4_ps(r, 1));
  _mm_storeu_ps(rows[8 + j] + k, _mm512_extractf32x4_ps(r, 2));
  _mm_storeu_ps(rows[12 + j] + k, _mm512_extractf32x4_ps(r, 3));
}

// Transposes the 4 x 4 parts that four registers hold.
inline void transpose_quads(Register (&r)[4]) {
  const __m512d low = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
  const __m512d high = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
  const __m512d low_next = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
  const __m512d high_next = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
  r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, low_next));
  r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, low_next));
  r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, high_next));
  r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, high_next));
}

#elif defined(CPU_CAPABILITY_AVX2)
#define AMGAN_QUADS 1
using Register = __m256;

inline Register load_quads(const float* const* rows, int j, int64_t k) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[j] + k)), _mm_loadu_ps(rows[4 + j] + k), 1);
}

inline void store_quads(Register r, float* const* rows, int j, int64_t k) {
  _mm_storeu_ps(rows[j] + k, _mm256_castps256_ps128(r));
  _mm_storeu_ps(rows[4 + j] + k, _mm256_extractf128_ps(r, 1));
}

inline void transpose_quads(Register (&r)[4]) {
  const __m256d low = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1]));
  const __m256d high = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
  const __m256d low_next = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3]));
  const __m256d high_next = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
  r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, low_next));
  r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, low_next));
  r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high, high_next));
  r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high, high_next));
}

#else
#define AMGAN_QUADS 0
#endif

// Both go through registers four columns at a time. The last four start where they end with the row: columns in two
// groups are written twice, and nothing beyond the row is touched.

// tile[k][lane] = rows[lane][k]
template <typename T>
void transpose_in(const T* const* rows, int64_t columns, T* tile) {
#if AMGAN_QUADS
  if constexpr (std::is_same_v<T, float>) {
    if (columns >= 4) {
      for (int64_t next = 0; next < columns; next += 4) {
        const int64_t k = std::min(next, columns - 4);
        Register r[4];
        for (int j = 0; j < 4; ++j) r[j] = load_quads(rows, j, k);
        transpose_quads(r);
        for (int j = 0; j < 4; ++j) Vec<float>(r[j]).store(tile + (k + j) * kLanes<float>);
      }
      return;
    }
  }
#endif
  for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
    for (int64_t k = 0; k < columns; ++k) tile[k * kLanes<T> + lane] = rows[lane][k];
  }
}

// rows[lane][k] = tile[k][lane]
template <typename T>
void transpose_out(const T* tile, int64_t columns, T* const* rows) {
#if AMGAN_QUADS
  if constexpr (std::is_same_v<T, float>) {
    if (columns >= 4) {
      for (int64_t next = 0; next < columns; next += 4) {
        const int64_t k = std::min(next, columns - 4);
        Register r[4];
        for (int j = 0; j < 4; ++j) r[j] = Vec<float>::loadu(tile + (k + j) * kLanes<float>);
        transpose_quads(r);
        for (int j = 0; j < 4; ++j) store_quads(r[j], rows, j, k);
      }
      return;
    }
  }
#endif
  for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
    for (int64_t k = 0; k < columns; ++k) rows[lane][k] = tile[k * kLanes<T> + lane];
  }
}

// Up to kLanes rows of at most kLaneColumns + 1 columns. Lanes without a row hold zeros.
template <typename scalar_t>
class Tile {
 public:
  using T = Computing<scalar_t>;

  void load(const scalar_t* x, int64_t row_stride, int64_t rows, int64_t columns) {
    const T* of_lane[kLanes<T>];
    for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
      if (lane >= rows) {
        of_lane[lane] = kZeros;
      } else if constexpr (std::is_same_v<scalar_t, T>) {
        of_lane[lane] = x + lane * row_stride;
      } else {
        T* converted = rows_ + lane * kRowSize;
        convert(x + lane * row_stride, columns, converted);
        of_lane[lane] = converted;
      }
    }
    transpose_in(of_lane, columns, columns_);
  }

  // Writes the rows, `columns` apart from each other.
  void store(scalar_t* out, int64_t rows, int64_t columns) {
    T* of_lane[kLanes<T>];
    const bool direct = std::is_same_v<scalar_t, T>;
    for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
      of_lane[lane] = rows_ + lane * kRowSize;
      if constexpr (direct) {
        if (lane < rows) of_lane[lane] = out + lane * columns;
      }
    }
    transpose_out(columns_, columns, of_lane);
    if constexpr (!direct) {
      for (int64_t lane = 0; lane < rows; ++lane) {
        for (int64_t k = 0; k < columns; ++k) out[lane * columns + k] = static_cast<scalar_t>(of_lane[lane][k]);
      }
    }
  }

  Vec<T> operator[](int64_t k) const { return Vec<T>::loadu(columns_ + k * kLanes<T>); }
  void set(int64_t k, const Vec<T>& v) { v.store(columns_ + k * kLanes<T>); }

 private:
  static constexpr int64_t kRowSize = (kLaneColumns + 1 + 15) / 16 * 16;
  alignas(64) static constexpr T kZeros[kRowSize] = {};

  static void convert(const scalar_t* x, int64_t n, T* out) {
    int64_t k = 0;
    for (; k + kLanes<T> <= n; k += kLanes<T>) load_vec(x + k).store(out + k);
    for (; k < n; ++k) out[k] = static_cast<T>(x[k]);
  }

  alignas(64) T columns_[kRowSize * kLanes<T>];
  alignas(64) T rows_[kRowSize * kLanes<T>];
};

}  // namespace
}  // namespace amgan::cpu
