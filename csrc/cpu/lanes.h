// One row a lane: a tile holds as many rows as a vector has lanes, column by column, so that short rows are computed
// without a horizontal step and without empty lanes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cpu/vec.h"

namespace amgan::cpu {
namespace {

// Rows of more columns than this are faster across their columns (row.h): benchmarks/switch_point.py, which sets
// others.
#if !defined(AMGAN_LANE_COLUMNS)
#define AMGAN_LANE_COLUMNS 64
#endif
constexpr int64_t kLaneColumns = AMGAN_LANE_COLUMNS;

template <typename T>
constexpr int64_t kLanes = Vec<T>::size();

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
#define AMGAN_QUADS 1

// Part g of a register is four columns of row 4g + j, from column k on.
template <typename RowAt>
__m256 load_two_quads(const RowAt& row, int64_t j, int64_t k) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(load_four(row(j) + k)), load_four(row(4 + j) + k), 1);
}

// Transposes the 4 x 4 parts that four registers hold.
inline void transpose_quads(__m256 (&r)[4]) {
  const __m256d low = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1]));
  const __m256d high = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
  const __m256d low_next = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3]));
  const __m256d high_next = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
  r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, low_next));
  r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, low_next));
  r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high, high_next));
  r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high, high_next));
}

#if defined(CPU_CAPABILITY_AVX512)
using Register = __m512;

template <typename RowAt>
Register load_quads(const RowAt& row, int64_t j, int64_t k) {
  const auto upper = [&](int64_t lane) { return row(8 + lane); };
  return _mm512_insertf32x8(_mm512_castps256_ps512(load_two_quads(row, j, k)), load_two_quads(upper, j, k), 1);
}

template <typename RowAt>
void store_quads(Register r, const RowAt& row, int64_t j, int64_t k) {
  _mm_storeu_ps(row(j) + k, _mm512_castps512_ps128(r));
  _mm_storeu_ps(row(4 + j) + k, _mm512_extractf32x4_ps(r, 1));
  _mm_storeu_ps(row(8 + j) + k, _mm512_extractf32x4_ps(r, 2));
  _mm_storeu_ps(row(12 + j) + k, _mm512_extractf32x4_ps(r, 3));
}

inline void transpose_quads(__m512 (&r)[4]) {
  const __m512d low = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
  const __m512d high = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
  const __m512d low_next = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
  const __m512d high_next = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
  r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, low_next));
  r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, low_next));
  r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, high_next));
  r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, high_next));
}

#else
using Register = __m256;

template <typename RowAt>
Register load_quads(const RowAt& row, int64_t j, int64_t k) {
  return load_two_quads(row, j, k);
}

template <typename RowAt>
void store_quads(Register r, const RowAt& row, int64_t j, int64_t k) {
  _mm_storeu_ps(row(j) + k, _mm256_castps256_ps128(r));
  _mm_storeu_ps(row(4 + j) + k, _mm256_extractf128_ps(r, 1));
}
#endif

// Four columns from k on, a vector each.

template <typename RowAt>
void load_columns(const RowAt& row, const float*, int64_t k, Vec<float> (&columns)[4]) {
  Register r[4];
  for (int j = 0; j < 4; ++j) r[j] = load_quads(row, j, k);
  transpose_quads(r);
  for (int j = 0; j < 4; ++j) columns[j] = r[j];
}

// Transposed while they are narrow, then widened.
template <typename RowAt, typename scalar_t>
void load_columns(const RowAt& row, const Wide<scalar_t>*, int64_t k, Vec<double> (&columns)[4]) {
  const auto narrow = [&](int64_t lane) { return &row(lane)->value; };
  HalfVector r[4];
#if defined(CPU_CAPABILITY_AVX512)
  for (int j = 0; j < 4; ++j) r[j] = load_two_quads(narrow, j, k);
  transpose_quads(r);
#else
  for (int j = 0; j < 4; ++j) r[j] = load_four(narrow(j) + k);
  _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
#endif
  for (int j = 0; j < 4; ++j) columns[j] = widened(r[j]);
}

template <typename RowAt>
void load_columns(const RowAt& row, const double*, int64_t k, Vec<double> (&columns)[4]) {
  // Of four rows from `first` on.
  const auto transposed = [&](int64_t first, __m256d(&r)[4]) {
    const auto two = [&](int64_t j, int64_t of) {  // columns `of` and of + 1, of rows j and j + 2
      const auto part = [&](int64_t lane) { return _mm_loadu_pd(row(first + lane) + k + of); };
      return _mm256_insertf128_pd(_mm256_castpd128_pd256(part(j)), part(j + 2), 1);
    };
    for (int pair = 0; pair < 2; ++pair) {
      const __m256d even = two(0, 2 * pair), odd = two(1, 2 * pair);
      r[2 * pair] = _mm256_unpacklo_pd(even, odd);
      r[2 * pair + 1] = _mm256_unpackhi_pd(even, odd);
    }
  };
  __m256d r[4];
  transposed(0, r);
#if defined(CPU_CAPABILITY_AVX512)
  __m256d upper[4];
  transposed(4, upper);
  for (int j = 0; j < 4; ++j) columns[j] = _mm512_insertf64x4(_mm512_castpd256_pd512(r[j]), upper[j], 1);
#else
  for (int j = 0; j < 4; ++j) columns[j] = r[j];
#endif
}

#else
#define AMGAN_QUADS 0
#endif

// Both go through registers four columns at a time. The last four start where they end with the row: columns in two
// groups are written twice, and nothing beyond the row is touched. row(lane) is where the row of a lane begins.

// tile[k][lane] = row(lane)[k]
template <typename T, typename RowAt>
void transpose_in(const RowAt& row, int64_t columns, T* tile) {
#if AMGAN_QUADS
  if (columns >= 4) {
    for (int64_t next = 0; next < columns; next += 4) {
      const int64_t k = std::min(next, columns - 4);
      Vec<T> four[4];
      load_columns(row, row(0), k, four);
      for (int j = 0; j < 4; ++j) four[j].store(tile + (k + j) * kLanes<T>);
    }
    return;
  }
#endif
  for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
    for (int64_t k = 0; k < columns; ++k) tile[k * kLanes<T> + lane] = static_cast<T>(row(lane)[k]);
  }
}

// row(lane)[k] = tile[k][lane]
template <typename T, typename RowAt>
void transpose_out(const T* tile, int64_t columns, const RowAt& row) {
#if AMGAN_QUADS
  if constexpr (std::is_same_v<T, float>) {
    if (columns >= 4) {
      for (int64_t next = 0; next < columns; next += 4) {
        const int64_t k = std::min(next, columns - 4);
        Register r[4];
        for (int j = 0; j < 4; ++j) r[j] = Vec<float>::loadu(tile + (k + j) * kLanes<float>);
        transpose_quads(r);
        for (int j = 0; j < 4; ++j) store_quads(r[j], row, j, k);
      }
      return;
    }
  }
#endif
  for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
    for (int64_t k = 0; k < columns; ++k) row(lane)[k] = tile[k * kLanes<T> + lane];
  }
}

// Up to kLanes rows of at most kLaneColumns + 1 columns. Lanes without a row hold zeros.
template <typename scalar_t>
class Tile {
 public:
  using T = Computing<scalar_t>;

  // Up to kLanes rows, row_stride apart from each other.
  void load(const scalar_t* x, int64_t row_stride, int64_t rows, int64_t columns) {
    fetch_ahead<0>(x, row_stride, columns);
    if constexpr (kTransposed) {
      if (rows == kLanes<T>) {
        transpose_in([&](int64_t lane) { return x + lane * row_stride; }, columns, columns_);
      } else {
        alignas(64) static const scalar_t zeros[kRowSize] = {};
        const scalar_t* row[kLanes<T>];
        for (int64_t lane = 0; lane < kLanes<T>; ++lane) row[lane] = lane < rows ? x + lane * row_stride : zeros;
        transpose_in([&](int64_t lane) { return row[lane]; }, columns, columns_);
      }
    } else {
      for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
        T* row = rows_ + lane * kRowSize;
        if (lane < rows) {
          convert(x + lane * row_stride, columns, row);
        } else {
          std::fill_n(row, columns, T(0));
        }
      }
      transpose_in([&](int64_t lane) { return rows_ + lane * kRowSize; }, columns, columns_);
    }
  }

  // Writes the rows, `columns` apart from each other.
  void store(scalar_t* out, int64_t rows, int64_t columns) {
    fetch_ahead<1>(out, columns, columns);
    if constexpr (kDirect) {
      if (rows == kLanes<T>) {
        transpose_out(columns_, columns, [&](int64_t lane) { return out + lane * columns; });
      } else {
        T* row[kLanes<T>];  // what has no row goes to a place that nobody reads
        for (int64_t lane = 0; lane < kLanes<T>; ++lane) row[lane] = lane < rows ? out + lane * columns : rows_;
        transpose_out(columns_, columns, [&](int64_t lane) { return row[lane]; });
      }
    } else {
      transpose_out(columns_, columns, [&](int64_t lane) { return rows_ + lane * kRowSize; });
      for (int64_t lane = 0; lane < rows; ++lane) {
        for (int64_t k = 0; k < columns; ++k) {
          out[lane * columns + k] = static_cast<scalar_t>(rows_[lane * kRowSize + k]);
        }
      }
    }
  }

  // Of the first `columns` columns; as row_max, without NaN.
  Vec<T> max(int64_t columns) const {
    Vec<T> max(-std::numeric_limits<T>::infinity());
    for (int64_t k = 0; k < columns; ++k) max = larger(max, (*this)[k]);
    return max;
  }

  Vec<T> operator[](int64_t k) const { return Vec<T>::loadu(columns_ + k * kLanes<T>); }
  void set(int64_t k, const Vec<T>& v) { v.store(columns_ + k * kLanes<T>); }

 private:
  static constexpr int64_t kAheadRows = 4 * kLanes<T>;
  static constexpr int64_t kRowSize = (kLaneColumns + 1 + 15) / 16 * 16;
  static constexpr bool kDirect = std::is_same_v<scalar_t, T>;     // no conversion
  static constexpr bool kTransposed = kDirect || kWide<scalar_t>;  // no detour through rows_

  // Into the second-level cache, four tiles before their turn. Where a row is longer than a line, the lines of a tile
  // are touched out of order, which the processor does not foresee.
  template <int for_writing>
  static void fetch_ahead(const scalar_t* x, int64_t row_stride, int64_t columns) {
    constexpr int64_t line = 64, size = sizeof(scalar_t);
    if (columns * size <= line) return;
    const char* ahead = reinterpret_cast<const char*>(x + kAheadRows * row_stride);
    for (int64_t at = 0; at < kLanes<T> * columns * size; at += line) {
      __builtin_prefetch(ahead + at, for_writing, 2);
    }
  }

  static void convert(const scalar_t* x, int64_t n, T* out) {
    for (int64_t k = 0; k < n; k += kLanes<T>) load_within(x, k, n).store(out + k);
  }

  alignas(64) T columns_[kRowSize * kLanes<T>];
  alignas(64) T rows_[kRowSize * (kTransposed ? 1 : kLanes<T>)];
};

// A shift that keeps each row finite: its maximum, or 0 where every logit is -inf.
template <typename T>
Vec<T> finite_shift(const Vec<T>& max) {
  return select(equal(max, Vec<T>(-std::numeric_limits<T>::infinity())), Vec<T>(T(0)), max);
}

}  // namespace
}  // namespace amgan::cpu
