// What lets one header serve host and device, host code compiled for several instruction sets, and vectors of rows.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define AMGAN_INLINE __host__ __device__ __forceinline__
#else
#define AMGAN_INLINE inline
#endif

// Each CPU build compiles these headers with its own instruction set. An inline namespace of its own keeps the linker
// from merging, say, the AVX-512 copy of a function into the default build.
#if defined(CPU_CAPABILITY)
#define AMGAN_MATH_BEGIN  \
  namespace amgan::math { \
  inline namespace CPU_CAPABILITY {
#else
#define AMGAN_MATH_BEGIN  \
  namespace amgan::math { \
  inline namespace portable {
#endif
#define AMGAN_MATH_END \
  }                    \
  }

AMGAN_MATH_BEGIN

// The functions of a number that the formulas need. T is float or double here; csrc/cpu/vec.h has them for a vector of
// rows, whose comparisons give masks: hence less, equal and select, where a single row would branch.
template <typename T>
struct Functions {
  static AMGAN_INLINE bool less(T a, T b) { return a < b; }
  static AMGAN_INLINE bool equal(T a, T b) { return a == b; }
  static AMGAN_INLINE T select(bool condition, T yes, T no) { return condition ? yes : no; }
  static AMGAN_INLINE T exp(T x) { return std::exp(x); }
  static AMGAN_INLINE T log1p(T x) { return std::log1p(x); }
};

// False where a or b is NaN.
template <typename T>
AMGAN_INLINE auto less(const T& a, const T& b) {
  return Functions<T>::less(a, b);
}

template <typename T>
AMGAN_INLINE auto equal(const T& a, const T& b) {
  return Functions<T>::equal(a, b);
}

template <typename T, typename Mask>
AMGAN_INLINE T select(const Mask& condition, const T& yes, const T& no) {
  return Functions<T>::select(condition, yes, no);
}

AMGAN_MATH_END
